"""What the commands that read results are given: a folder, one of its points, one of its runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from coalsim.observe.document import ResultDocument

point_option = click.option(
    "--point", type=int, metavar="N", help="The point of a sweep, by its number in the table."
)
"""Puts `--point` on a command; it is handed on to `load_result`."""


def load_result(path: Path, run: int | None = None, point: int | None = None) -> "ResultDocument":
    """The result in a folder or in a file.

    Args:
        path: a folder of a run or of a sweep, or a result.json.
        run: a replication, counted from 1; None is the whole.
        point: which point of a sweep; None where there is only one.

    Raises:
        InputError: there is no usable result, or no such run or point in it.
    """
    from coalsim.sweep import resultfile
    from coalsim.sweep.loading import is_sweep, load_point, refuse_point

    if is_sweep(path):
        return load_point(path, point, run)
    if point:
        raise refuse_point(path, point)
    return resultfile.load_result(path, run)
