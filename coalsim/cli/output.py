"""What a finished run leaves behind: text or JSON on stdout, and an output folder.

    DIR/config.json   the resolved configuration: a study that asks the same
    DIR/result.json   the result document, from which every table can be made again
    DIR/summary.txt   what was printed

Nothing is written outside the folder that `--out` names.
"""

import json
import sys
from pathlib import Path

import click

from coalsim.cli.options import CommonOptions
from coalsim.errors import InputError, Problem
from coalsim.observe.document import ResultDocument, dump
from coalsim.observe.summary import summary
from coalsim.observe.tables import Style


def deliver(common: CommonOptions, result: ResultDocument) -> None:
    """Print the result and write the output folder, if one was asked for.

    Raises:
        InputError: the folder cannot be made or written.
    """
    if common.out is not None:
        write_folder(common.out, result)
    if common.as_json:
        click.echo(dump(result), nl=False)
    else:
        click.echo(summary(result, Style.of(sys.stdout)))


def write_folder(folder: Path, result: ResultDocument) -> None:
    """Write configuration, result and summary into a folder.

    Raises:
        InputError: it cannot be made or written.
    """
    write_text(folder, "config.json", json.dumps(result.get("config", {}), indent=1) + "\n")
    write_text(folder, "result.json", dump(result))
    write_text(folder, "summary.txt", summary(result) + "\n")


def write_text(folder: Path, name: str, text: str) -> None:
    """Write one file into an output folder, which is made if need be.

    Raises:
        InputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        problem = Problem(
            where=str(folder),
            key="--out",
            message=f"cannot be written: {error.strerror}",
            remedy="name a folder that you may write to",
        )
        raise InputError([problem]) from None
