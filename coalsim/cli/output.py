"""What a finished run leaves behind: text or JSON on stdout, and an output folder.

    DIR/config.json   the resolved configuration: a study that asks the same
    DIR/result.json   the result document, from which every table can be made again
    DIR/summary.txt   what was printed

Nothing is written outside the folder that `--out` names.  All of it is there before a run
whose oracle found broken promises ends as one whose kernel broke.
"""

import errno
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from coalsim.cli.options import CommonOptions
from coalsim.errors import InputError, Problem
from coalsim.observe.document import ResultDocument, dump
from coalsim.observe.summary import summary
from coalsim.observe.tables import Style
from coalsim.study.pressure_outcome import check_panic
from coalsim.study.safety_outcome import check_safety
from coalsim.study.vm_outcome import check_promises
from coalsim.topology.presets import preset_names

_PATHS = (
    ("machine", "name"),
    ("kernel", "lock"),
    ("kernel", "placement"),
    ("kernel", "shootdown"),
    ("kernel", "allocator"),
    ("kernel", "victim"),
    ("workload", "kind"),
    ("workload", "trace"),
    ("workload", "snapshots"),
)
"""Keys of a configuration that may hold a path."""


def deliver(common: CommonOptions, result: ResultDocument) -> None:
    """Print the result and write the output folder, if one was asked for.

    Raises:
        InputError: the folder cannot be made or written.
        BrokenPromise: the oracle found that the kernel is wrong; everything is printed and written.
        MemoryErrorsFound: the debug modes found damage; everything is printed and written.
        KernelPanic: the kernel panicked; everything up to then is printed and written.
    """
    if common.out is not None:
        write_folder(common.out, result)
    if common.as_json:
        click.echo(dump(result), nl=False)
    else:
        click.echo(summary(result, Style.of(sys.stdout)))
    check_promises(result)
    check_panic(result)
    check_safety(result)


def prepare(common: CommonOptions) -> None:
    """Make the output folder before the run, so that nobody waits for a result that cannot be written.

    Raises:
        InputError: it cannot be made, or nothing can be written into it.
    """
    if common.out is not None:
        try:
            common.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(common.out, error.strerror) from None
        if not os.access(common.out, os.W_OK | os.X_OK):
            raise _unwritable(common.out, os.strerror(errno.EACCES))


def write_folder(folder: Path, result: ResultDocument) -> None:
    """Write configuration, result and summary into a folder.

    Raises:
        InputError: it cannot be made or written.
    """
    write_text(folder, "config.json", json.dumps(_anchored(result.get("config", {})), indent=1) + "\n")
    write_text(folder, "result.json", dump(result))
    write_text(folder, "summary.txt", summary(result) + "\n")


def _anchored(config: Mapping[str, object]) -> dict[str, object]:
    """The configuration with whole paths, so that it asks the same from wherever it is run."""
    anchored = {table: dict(keys) if isinstance(keys, dict) else keys for table, keys in config.items()}
    for table, key in _PATHS:
        keys = anchored.get(table)
        if isinstance(keys, dict) and isinstance(keys.get(key), str):
            is_class = table == "kernel" or key == "kind"
            file, colon, name = keys[key].partition(":") if is_class else (keys[key], "", "")
            is_name = not colon if is_class else table == "machine" and file in preset_names()
            if file and not is_name and Path(file).exists():
                keys[key] = f"{Path(file).resolve()}{colon}{name}"
    return anchored


def write_text(folder: Path, name: str, text: str) -> None:
    """Write one file into an output folder, which is made if need be.

    Raises:
        InputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(folder, error.strerror) from None


def _unwritable(folder: Path, why: str | None) -> InputError:
    message, remedy = f"cannot be written: {why}", "name a folder that you may write to"
    return InputError([Problem(where=str(folder), key="--out", message=message, remedy=remedy)])
