"""Reading a stored result: DIR/result.json, checked before anybody prints it.

A file that is missing, damaged, of another kind, or whose numbers cannot all be true
is refused as a whole, with every mistake, its line and what to do about it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from coalsim.errors import InputError, Problem
from coalsim.guarded import clean, read_guarded, refusal
from coalsim.observe.document import ResultDocument
from coalsim.observe.lock_columns import lock_row_faults
from coalsim.observe.schema import Fault, faults
from coalsim.observe.series_check import series_faults
from coalsim.sweep.shape import shape_of
from coalsim.units import MIB

RESULT = "result.json"
MAX_RESULT = 256 * MIB
_MAX_DIGITS = 30  # longer numbers are no times, sizes or counts
_MAX_REPORTED = 20
_REMEDY = "give the folder that coalsim run --out or replay --out wrote"
_REPEAT = "run the study again: the file was changed after coalsim wrote it"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def load_result(path: Path, run: int | None = None) -> ResultDocument:
    """The result in a folder, or in the file itself.

    Args:
        path: DIR or DIR/result.json.
        run: a replication, counted from 1; None is the whole.

    Raises:
        InputError: there is no usable result, or no such run in it.
    """
    file = path / RESULT if path.is_dir() else path
    text = _text(file)
    document = checked_document(file, text)
    return document if run is None else replication_of(file, document, run)


def checked_document(file: Path, text: str) -> ResultDocument:
    """The result document that a text is.

    Args:
        file: where it is from, for messages.
        text: JSON.

    Raises:
        InputError: it is none, or its numbers cannot all be true.
    """
    value = parsed_json(file, text)
    if not (isinstance(value, dict) and "coalsim" in value):
        raise refusal(file, "not a result of coalsim", _REMEDY)
    found = [] if shape_of(ResultDocument)(value) else [*faults(value, ResultDocument)]
    document = cast(ResultDocument, value)
    if not found:
        found = [*_contradictions(document)]
    if found:
        raise InputError([*located_faults(file, text, found)])
    return document


def _text(file: Path) -> str:
    if file.name == RESULT and file.parent.is_dir() and not file.exists():
        raise refusal(file, "no such file", _REMEDY)
    try:
        return read_guarded(file, max_input=MAX_RESULT).decode("utf-8")
    except UnicodeDecodeError:
        raise refusal(file, "not a text in UTF-8", _REMEDY) from None


def parsed_json(file: Path, text: str) -> object:
    """The value that a JSON text stands for; numbers beyond all sense are refused.

    Raises:
        InputError: not JSON, or no numbers that a result holds.
    """
    try:
        value: object = json.loads(text, parse_int=_int, parse_float=_float, parse_constant=_constant)
    except json.JSONDecodeError as damage:
        remedy = f"{_REMEDY}; if it is that one, it was cut short or changed: run the study again"
        raise refusal(file, f"not JSON ({damage.msg})", remedy, line=damage.lineno) from None
    except ValueError as number:
        raise refusal(file, str(number), _REPEAT) from None
    except RecursionError:
        raise refusal(file, "nested too deeply for a result", _REMEDY) from None
    return value


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    if not abs(value := float(digits)) < 1e30:
        raise ValueError(f"the number {clean(digits[:_MAX_DIGITS])} is too large for a result")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that a result holds")


def _contradictions(document: ResultDocument, path: tuple[str | int, ...] = ()) -> Iterator[Fault]:
    """Numbers that cannot all be true; the rules between lock columns hold in single runs only."""
    for at, row in enumerate([] if "runs" in document else document["locks"]):
        for message in lock_row_faults(row):
            yield Fault((*path, "locks", at), f"lock {clean(row['name'])}: {message}")
    cpus = document["time"]
    for cpu in cpus:
        if not (cpu.isascii() and cpu.isdecimal() and len(cpu) < 9):
            yield Fault((*path, "time", cpu), f"{clean(cpu)!r} is not the number of a CPU")
        elif "cpu_nodes" in document and int(cpu) >= len(document["cpu_nodes"]):
            yield Fault((*path, "cpu_nodes"), f"CPU {cpu} has no node")
    if "series" in document:
        for fault in series_faults(document["series"]):
            yield Fault((*path, "series", *fault.path), fault.message)
    for at, run in enumerate(document.get("runs", [])):
        yield from _contradictions(run, (*path, "runs", at))


def located_faults(file: Path, text: str, found: Sequence[Fault]) -> Iterator[Problem]:
    """Faults in a JSON text, the first ones each with its line."""
    lines = _lines(text, [fault.path for fault in found])
    where = clean(str(file))
    for fault in found[:_MAX_REPORTED]:
        line = _nearest(lines, fault.path)
        yield Problem(where=where, line=line, key=clean(fault.key), message=fault.message, remedy=_REPEAT)
    if len(found) > _MAX_REPORTED:
        yield Problem(where=where, message=f"{len(found) - _MAX_REPORTED} more mistakes", remedy=_REPEAT)


def _nearest(lines: Mapping[tuple[str | int, ...], int], path: tuple[str | int, ...]) -> int:
    """The line of the path, or of what it would be in."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _lines(text: str, wanted: Sequence[tuple[str | int, ...]]) -> dict[tuple[str | int, ...], int]:
    """The line on which each wanted value, or one that holds it, begins in a JSON text."""
    prefixes = {path[:length] for path in wanted for length in range(len(path) + 1)}
    lines: dict[tuple[str | int, ...], int] = {}
    path: list[str | int] = []  # of the value that comes next
    line, scanned = 1, 0
    is_key = False
    for token in _TOKEN.finditer(text):
        line += text.count("\n", scanned, token.start())
        scanned = token.start()
        mark = token[0]
        if is_key and mark.startswith('"'):
            path[-1] = json.loads(mark, strict=False)
            is_key = False
        elif mark == ",":
            if isinstance(path[-1], int):
                path[-1] += 1
            else:
                is_key = True
        elif mark in "}]":
            path.pop()
            is_key = False
        elif mark != ":":
            if tuple(path) in prefixes:
                lines.setdefault(tuple(path), line)
            if mark in "{[":
                path.append("" if mark == "{" else 0)
                is_key = mark == "{"
    return lines


def replication_of(file: Path, document: ResultDocument, run: int) -> ResultDocument:
    """One replication of a result, counted from 1.

    Raises:
        InputError: it has no such run.
    """
    runs = document.get("runs", [])
    if 1 <= run <= len(runs):
        return runs[run - 1]
    held = f"runs 1 to {len(runs)}" if runs else "one run, without replications"
    raise InputError(
        [
            Problem(
                where=clean(str(file)),
                key="--run",
                value=str(run),
                message="no such run in the result",
                remedy=f"it holds {held}",
            )
        ]
    )
