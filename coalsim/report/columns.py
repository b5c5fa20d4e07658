"""Columns: one row for each run, with its settings and every number of its result by dotted path.

    point  <axis keys>  replication  seed  status  error  <numbers>

The numbers of single CPUs, series over time and tables without names are left out unless they are asked
for; `cpu_time_ps.CAUSE` adds up the CPUs that ran something.  Where a list has two entries of one name (a
lock that is read and written), the second goes by its name and type.

Invariant: every row has every column; None stands where a run has no such number, or failed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from coalsim.errors import ConfigError, Problem
from coalsim.guarded import clean
from coalsim.observe.document import ResultDocument
from coalsim.observe.where import added, used_cpus
from coalsim.report.words import unit_of
from coalsim.sweep.loading import shown
from coalsim.sweep.metric_paths import ELSEWHERE, metric_fault
from coalsim.sweep.metrics import metric_value
from coalsim.sweep.points import Axis
from coalsim.sweep.results import PointResults, StudyResults

Cell = int | float | str | None
CPU_TIME = "cpu_time_ps"
SINGLE = (
    "time",
    "cpu_nodes",
    "lock_waits_by_cpu",
    "lock_instances",
    "series",
    "allocations",
    "latency_histogram_ps",
)
"""Parts of a document about single CPUs, locks and moments."""
_INT64 = 1 << 63


@dataclass(frozen=True, kw_only=True)
class DataColumn:
    """A column: its name, its unit ("" for counts and words), "int", "float" or "text", and its cells."""

    name: str
    unit: str
    kind: str
    cells: tuple[Cell, ...]


def columns_of(results: StudyResults, metrics: Sequence[str] = ()) -> tuple[DataColumn, ...]:
    """All columns of a study.

    Args:
        results: the study.
        metrics: dotted paths of the numbers that are wanted; all if there are none.

    Raises:
        ConfigError: a path leads nowhere.
    """
    runs = [*_runs(results)]
    documents = [None if run is None else _with_cpu_time(run) for _, _, _, run, _, _ in runs]
    heads = [_column("point", [point.point.number for point, *_ in runs])]
    heads += _axis_columns(results.axes, [point for point, *_ in runs])
    for name, at in (("replication", 1), ("seed", 2), ("status", 4), ("error", 5)):
        heads.append(_column(name, [cast(Cell, run[at]) for run in runs]))
    if metrics:
        numbers = _asked(metrics, documents)
    else:
        found = [{} if document is None else dict(_numbers(document)) for document in documents]
        names = sorted(dict.fromkeys(name for row in found for name in row))
        numbers = [_column(name, [row.get(name) for row in found]) for name in names]
    return (*heads, *numbers)


def _runs(
    results: StudyResults,
) -> Iterator[tuple[PointResults, int, int, ResultDocument | None, str, str]]:
    """Point, replication, seed, document, status and error of every run, by point and replication."""
    table = results.config.get("run")
    given = table.get("seed") if isinstance(table, dict) else None
    for point in results.points:
        first = given if isinstance(given, int) else point.runs[0]["seed"] if point.runs else 0
        rows = [(run["seed"] - first, run["seed"], run, "done", "") for run in point.runs]
        lost = [
            (row.replication, row.seed, None, row.status, clean(row.error.replace("\n", "; ")))
            for row in point.failures
        ]
        for row in sorted([*rows, *lost], key=lambda row: row[:2]):
            yield point, *row


def _axis_columns(axes: Sequence[Axis], points: Sequence[PointResults]) -> Iterator[DataColumn]:
    for key in (key for axis in axes for key in axis.keys):
        values = [dict(point.point.settings)[key] for point in points]
        is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        yield _column(key, [cast(Cell, value) if is_number else clean(shown(value)) for value in values])


def _with_cpu_time(document: ResultDocument) -> dict[str, object]:
    """The document with the time of its CPUs added up."""
    causes = added(document["time"], used_cpus(document["time"])) if document["time"] else {}
    return {**document, CPU_TIME: dict(sorted(causes.items()))}


def _numbers(document: Mapping[str, object]) -> Iterator[tuple[str, Cell]]:
    """Every number of a document that stands for the whole run."""
    for key, value in sorted(document.items()):
        if key not in ELSEWHERE and key not in SINGLE:
            yield from _below(key, value)


def _below(path: str, value: object) -> Iterator[tuple[str, Cell]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _below(f"{path}.{key}", inner)
    elif isinstance(value, list):
        told: set[str] = set()
        for item in value:
            if isinstance(item, dict) and isinstance(name := item.get("name"), str):
                step = f"{name}:{item.get('type', '')}" if name in told else name
                told.add(name)
                yield from _below(f"{path}.{step}", item)


def _asked(metrics: Sequence[str], documents: Sequence[Mapping[str, object] | None]) -> list[DataColumn]:
    """The numbers under some paths.

    Raises:
        ConfigError: no run has one of them; all such paths are told.
    """
    columns, problems = [], []
    for metric in dict.fromkeys(metrics):
        cells = [None if document is None else metric_value(document, metric) for document in documents]
        if any(cell is not None for cell in cells):
            columns.append(_column(metric, cells))
            continue
        fault = metric_fault(metric)
        message = "no run has this number" if fault is None else fault.message
        remedy = "export without --metrics to see which there are" if fault is None else fault.remedy
        problems.append(Problem(key="--metrics", value=clean(metric), message=message, remedy=remedy))
    if problems:
        raise ConfigError(problems)
    return columns


def _column(name: str, cells: Sequence[Cell]) -> DataColumn:
    """A column of the narrowest kind that holds its cells."""
    held = [cell for cell in cells if cell is not None]
    if any(isinstance(cell, str) for cell in held):
        kind = "text"
    elif all(isinstance(cell, int) and -_INT64 <= cell < _INT64 for cell in held):
        kind = "int"
    elif all(isinstance(cell, float) and cell.is_integer() and abs(cell) < 1 << 53 for cell in held):
        kind, cells = "int", [None if cell is None else int(cell) for cell in cells]
    else:
        kind, cells = "float", [None if cell is None else float(cell) for cell in cells]
    unit = "" if kind == "text" else unit_of(name)
    return DataColumn(name=clean(name), unit=unit, kind=kind, cells=tuple(cells))
