"""Whether a metric's path can lead to a number in a result document, as far as that is known before a run.

The types of `observe/document.py` say what a document holds.  Names of locks, phases and CPUs show
only in a run, and loads may add keys of their own at the top and to phases: there a word that
resembles no known one is let through.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import (
    NamedTuple,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from coalsim.observe.document import Phase, ResultDocument

NEAR = 0.75
"""How much a word must resemble a known one to be taken for a slip of the pen."""
OPEN = (ResultDocument, Phase)
"""Records to which a load may add keys."""
ELSEWHERE = ("runs", "intervals", "config", "host_s", "coalsim", "study", "machine", "profile", "seed")
"""Keys of a document that are no outcome."""


class Misled(NamedTuple):
    """Why a path leads nowhere, and what to do; whether a word of it is nearly one that leads on."""

    message: str
    remedy: str
    is_slip: bool = False


def metric_fault(path: str) -> Misled | None:
    """What is wrong with a metric's path; None if it may lead to a number."""
    if not path or not all(path.split(".")):
        return Misled("not a path", "write it like throughput.ops_per_s")
    return _fault(ResultDocument, path.split("."), 0)


def _fault(kind: object, steps: list[str], depth: int) -> Misled | None:
    kind = _bare(kind)
    if kind is object:
        return None
    if depth == len(steps):
        return None if _is_number(kind) else _not_yet(kind, steps)
    if isinstance(kind, type) and is_typeddict(kind):
        return _record_fault(kind, steps, depth)
    if get_origin(kind) in (dict, list):
        inner = get_args(kind)[-1]
        faults = [_fault(inner, steps, deeper) for deeper in range(depth + 1, len(steps) + 1)]
        told = [fault for fault in faults if fault is not None]
        return None if len(told) < len(faults) else min(told, key=lambda fault: not fault.is_slip)
    above = ".".join(steps[:depth])
    return Misled(f"{above} is {'a number' if _is_number(kind) else 'no table'}", f"write {above}")


def _record_fault(kind: type, steps: list[str], depth: int) -> Misled | None:
    parts = _parts(kind)
    step = steps[depth]
    known = [key for key in parts if kind is not ResultDocument or key not in ELSEWHERE]
    if step in known:
        return _fault(parts[step], steps, depth + 1)
    above = ".".join([*steps[:depth], ""])
    if step in parts:
        return Misled(f"{above}{step} is no outcome", f"use one of {', '.join(known)}")
    near = get_close_matches(step, known, n=1, cutoff=NEAR if kind in OPEN else 0.6)
    if kind in OPEN and not near:
        return None
    remedy = f"did you mean {above}{near[0]}?" if near else f"use one of {', '.join(known)}"
    return Misled("no such result", remedy, is_slip=bool(near))


def _not_yet(kind: object, steps: list[str]) -> Misled:
    """A path that ends before a number."""
    path = ".".join(steps)
    if isinstance(kind, type) and is_typeddict(kind):
        numbers = [key for key, part in _parts(kind).items() if _is_number(_bare(part))]
        remedy = (
            f"use one of {', '.join(f'{path}.{key}' for key in numbers)}" if numbers else "go further down"
        )
        return Misled("not a number but a table", remedy)
    if get_origin(kind) in (dict, list):
        return Misled("not a number but several entries", f"name one: {path}.NAME")
    return Misled("not a number", "name a number, such as throughput.ops_per_s")


def _bare(kind: object) -> object:
    while get_origin(kind) in (Required, NotRequired):
        kind = get_args(kind)[0]
    return kind


def _is_number(kind: object) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_is_number(part) for part in get_args(kind))
    return kind in (int, float)


@cache
def _parts(kind: type) -> Mapping[str, object]:
    return get_type_hints(kind)
