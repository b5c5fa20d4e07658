"""The reference of the result document: every path of a number in it, from its types."""

from collections.abc import Iterator
from types import UnionType
from typing import NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

from markdown import cell, code, table

from coalsim.observe.document import ResultDocument
from coalsim.sweep.metric_paths import ELSEWHERE

UNITS = (
    ("_ps", "ps"),
    ("time.CPU", "ps"),
    ("late_mean_ns", "ns"),
    ("latency_ns.count", "count"),
    ("shootdown_ns.count", "count"),
    ("_ns", "ns"),
    ("waittime", "ns"),
    ("holdtime", "ns"),
    ("wait_", "ns"),
    ("stolen", "ns"),
    ("bytes", "bytes"),
    ("per_s", "per second"),
    ("span_s", "s"),
    ("pages", "pages"),
)
"""What in a path tells the unit, the first that fits."""


def metrics_page() -> str:
    """A table for each part of the document."""
    lines = [
        "# Numbers of a result",
        "",
        "Dotted paths into the document that `coalsim run --json` prints and `result.json` holds: what",
        "`[show] metrics` and `[stop] metric` can name. `NAME` stands for the name of a lock, a phase, an",
        "operation or a cause, `CPU` or `N` for a number. An entry of a list is named by its `name`",
        "(`locks.zone->lock.waittime_total`) or its number (`memory.numa.0.numa_miss`). Times without a",
        "unit in their name are nanoseconds, sizes bytes. A run that has no use for a number leaves it",
        "out. Loads may add parts of their own at the top.",
    ]
    hints = get_type_hints(ResultDocument)
    single = [(key, kind) for key, kind in hints.items() if key not in ELSEWHERE and _is_number(_bare(kind))]
    lines += [
        "",
        "## The run",
        "",
        table(("path", "unit"), [(code(key), _unit(key)) for key, _ in single]),
    ]
    for key, kind in hints.items():
        if key in ELSEWHERE or (key, kind) in single:
            continue
        rows = [(code(path), _unit(path)) for path, _ in _numbers(kind, key, ())]
        if rows:
            lines += ["", f"## {key}", "", _about(kind), "", table(("path", "unit"), rows)]
    return "\n".join(lines) + "\n"


def _numbers(kind: object, path: str, inside: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    kind = _bare(kind)
    if _is_number(kind):
        yield path, kind
    elif isinstance(kind, type) and is_typeddict(kind):
        if kind in inside:
            return
        for key, part in get_type_hints(kind).items():
            yield from _numbers(part, f"{path}.{key}", (*inside, kind))
    elif get_origin(kind) is list:
        (item,) = get_args(kind)
        named = isinstance(item, type) and is_typeddict(item) and "name" in get_type_hints(item)
        yield from _numbers(item, f"{path}.{'NAME' if named else 'N'}", inside)
    elif get_origin(kind) is dict:
        yield from _numbers(get_args(kind)[1], f"{path}.{'CPU' if path == 'time' else 'NAME'}", inside)
    elif get_origin(kind) in (Union, UnionType):
        for part in get_args(kind):
            yield from _numbers(part, path, inside)


def _about(kind: object) -> str:
    """What the type of a part says of itself."""
    kind = _bare(kind)
    while get_origin(kind) in (list, dict):
        kind = _bare(get_args(kind)[-1])
    told = getattr(kind, "__doc__", "") if isinstance(kind, type) and is_typeddict(kind) else ""
    return cell((told or "").split("\n\n")[0])


def _bare(kind: object) -> object:
    while get_origin(kind) in (Required, NotRequired):
        kind = get_args(kind)[0]
    return kind


def _is_number(kind: object) -> bool:
    if get_origin(kind) in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return bool(parts) and all(_is_number(part) for part in parts)
    return kind in (int, float)


def _unit(path: str) -> str:
    """The unit of a number, which its path tells."""
    return next((unit for mark, unit in UNITS if mark in path), "count")
