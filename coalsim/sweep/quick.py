"""[quick]: the short variant of a study, for `--quick`.

    [quick]
    run.duration = "1ms"                  keys that are laid over, as --set would
    [quick.axis."workload.cpus"]
    values = [1, 8]                       an axis with fewer values

Invariant: without `--quick` nothing here changes what is run; its mistakes are told all the same.
"""

from collections.abc import Iterator, Mapping, Sequence

from coalsim.errors import Problem
from coalsim.study.document import Document
from coalsim.study.overrides import Setting
from coalsim.sweep.axes import PlacedAxis, axis_from, relabelled
from coalsim.sweep.tables import RangeSection, did_you_mean, read_table


def read_quick(
    document: Document, axes: Sequence[PlacedAxis], problems: list[Problem]
) -> tuple[list[Setting], list[PlacedAxis]]:
    """What --quick sets, and the axes that it replaces; mistakes are added to `problems`."""
    raw = document.raw.get("quick", {})
    if not isinstance(raw, dict):
        problems.append(document.problem("quick", "not a table", "write [quick] and its keys below", raw))
        return [], []
    settings = [*_flattened({key: value for key, value in raw.items() if key != "axis"})]
    tables = raw.get("axis", {})
    if not isinstance(tables, dict):
        remedy = 'write [quick.axis."workload.cpus"] and values = [...] below'
        problems.append(document.problem("quick.axis", "not a table", remedy, tables))
        return settings, []
    shorter = []
    for key, (at, table) in _axis_tables(tables).items():
        found = next((placed for placed in axes if key in placed.axis.keys), None)
        if found is None:
            known = tuple(key for placed in axes for key in placed.axis.keys)
            remedy = did_you_mean(key, known) if known else "the study has no axes"
            problems.append(document.problem(at, "no axis has this key", remedy))
            continue
        section = read_table(document, at, table, RangeSection, problems)
        axis = section and axis_from(document, at, found.axis.keys, section, found.axis.label, problems)
        if axis:
            axis = relabelled(axis, found.axis.label, found.axis.scale)
            shorter.append(PlacedAxis(axis=axis, at=at))
    return settings, shorter


def _flattened(raw: Mapping[str, object], prefix: str = "") -> Iterator[Setting]:
    """Every value under its dotted key, whether the key was written with dots, quotes or tables."""
    for key, value in raw.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield Setting(key=f"{prefix}{key}", value=value, at=f"quick.{prefix}{key}")


def _axis_tables(tables: Mapping[str, object], prefix: str = "") -> dict[str, tuple[str, object]]:
    """The tables of axes by key; a key with dots may be quoted, or be tables in tables."""
    found: dict[str, tuple[str, object]] = {}
    for key, table in tables.items():
        path = f"{prefix}{key}"
        if isinstance(table, dict) and table and all(isinstance(inner, dict) for inner in table.values()):
            found |= _axis_tables(table, f"{path}.")
        else:
            found[path] = (f"quick.axis.{path}", table)
    return found
