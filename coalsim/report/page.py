"""The page: one HTML file with all that it needs, drawn by a script of its own.

The browser is told to load nothing and to run nothing but that script and that style sheet, by their
digests, so that text of a study that got through would still do nothing.  Text is escaped by the
templates; the data stand as JSON in an element that is not run.

Invariant: the same results give the same bytes; the folder that they are read from is not told.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from coalsim.guarded import clean
from coalsim.observe.where import time_faults
from coalsim.report.columns import columns_of
from coalsim.report.data import page_data, script_text
from coalsim.report.libraries import missing_library
from coalsim.report.numbers import quantity_text
from coalsim.report.parameters import (
    MachineShown,
    kernel_costs,
    machines_of,
    other_keys,
    profile_of,
    setup_lines,
)
from coalsim.report.pictures import picture_of
from coalsim.report.ranks import rank_tables
from coalsim.report.repeat import command_lines, file_stem, study_text
from coalsim.report.words import label_of, unit_of
from coalsim.stats.student import interval
from coalsim.sweep.loading import shown
from coalsim.sweep.points import Axis
from coalsim.sweep.ranges import quantity
from coalsim.sweep.results import PointResults, StudyResults
from coalsim.sweep.table import confidence_of, point_interval

if TYPE_CHECKING:
    from jinja2 import Environment

SCRIPTS = (
    "numbers.js",
    "elements.js",
    "scales.js",
    "series.js",
    "chart.js",
    "stack.js",
    "locks.js",
    "page.js",
)
"""The parts of the script, in the order in which they build on each other."""
OPEN_ROWS = 40
"""A table with more rows is folded away."""


@dataclass(frozen=True)
class PointRow:
    """A row of the table of points; `cells` has mean and half width of each metric."""

    number: int
    settings: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]
    runs: int
    failed: int


@dataclass(frozen=True)
class FailureRow:
    """A run that gave no result."""

    point: int
    settings: str
    run: int
    seed: int
    status: str
    error: str


def report_html(results: StudyResults) -> str:
    """The whole page.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    style, script = _style(), _script()
    machines, more_machines = machines_of(results)
    ranks, too_many_ranks = rank_tables(results)
    runs = sum(len(point.runs) for point in results.points)
    failures = _failures(results)
    config = study_text(results)
    return (
        _environment()
        .get_template("page.html")
        .render(
            results=results,
            policy=_policy(style, script),
            style=style,
            script=script,
            data=script_text(page_data(results)),
            confidence=f"{100 * confidence_of(results):.4g} %",
            runs=runs,
            failures=failures,
            faults=_time_faults(results),
            heads=[head for axis in results.axes for head in _heads(axis)],
            metrics=[(label_of(metric), metric) for metric in results.show.metrics],
            lonely=sum(len(point.runs) == 1 for point in results.points),
            rows=[_row(results, point) for point in results.points],
            ranks=ranks,
            too_many_ranks=too_many_ranks,
            numbers=_all_numbers(results) if len(results.points) == 1 else [],
            profile=profile_of(results),
            setup=setup_lines(results),
            axes=[
                (_titles(axis.keys, axis.label), axis.keys, [_joined(row) for row in axis.values])
                for axis in results.axes
            ],
            machines=machines,
            more_machines=more_machines,
            pictures=[_picture(machine) for machine in machines],
            costs=kernel_costs(results),
            keys=other_keys(results.config),
            config=config,
            file_name=f"{file_stem(results.name)}.json",
            commands=command_lines(results),
            open_rows=OPEN_ROWS,
        )
    )


def _environment() -> "Environment":
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise missing_library("jinja2", "report", "the HTML report") from None
    return Environment(
        loader=PackageLoader("coalsim.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _style() -> str:
    return (files(__package__) / "style" / "page.css").read_text(encoding="utf-8")


def _script() -> str:
    parts = [(files(__package__) / "script" / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return '"use strict";\n(() => {\n' + "".join(parts) + "})();\n"


def _policy(style: str, script: str) -> str:
    """What the browser may load and run: nothing from anywhere, and of the page only what we wrote."""
    rules = (
        "default-src 'none'",
        f"script-src 'sha256-{_digest(script)}'",
        f"style-src 'sha256-{_digest(style)}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(rules)


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


def _titles(keys: Sequence[str], label: str) -> tuple[str, ...]:
    return (label,) if len(keys) == 1 and label else tuple(keys)


def _heads(axis: Axis) -> list[tuple[str, str]]:
    """A heading for each key of an axis, and whether its values are words."""
    titles = _titles(axis.keys, axis.label)
    kinds = (
        "" if all(quantity(row[at]) is not None for row in axis.values) else "word"
        for at in range(len(titles))
    )
    return [*zip(titles, kinds, strict=True)]


def _joined(values: Sequence[object]) -> str:
    return ", ".join(shown(value) for value in values)


def _row(results: StudyResults, point: PointResults) -> PointRow:
    cells = []
    for metric in results.show.metrics:
        found, unit = point_interval(results, point, metric), unit_of(metric)
        if found is None:
            cells.append(("", ""))
        else:
            half = "" if found.half_width is None else quantity_text(found.half_width, unit, 2)
            cells.append((quantity_text(found.mean, unit), half))
    settings = tuple(shown(value) for _, value in point.point.settings)
    return PointRow(point.point.number, settings, tuple(cells), len(point.runs), len(point.failures))


def _all_numbers(results: StudyResults) -> list[tuple[str, str, str]]:
    """Every number of a study of one point: its path, mean and half width."""
    rows = []
    for column in columns_of(results):
        values = [cell for cell in column.cells if isinstance(cell, int | float)]
        if column.kind != "text" and column.name not in ("point", "replication", "seed") and values:
            found = interval(values, confidence_of(results))
            half = "" if found.half_width is None else quantity_text(found.half_width, column.unit, 2)
            rows.append((column.name, quantity_text(found.mean, column.unit), half))
    return rows


def _failures(results: StudyResults) -> list[FailureRow]:
    return [
        FailureRow(
            point.point.number,
            ", ".join(f"{key} = {shown(value)}" for key, value in point.point.settings),
            row.replication + 1,
            row.seed,
            row.status,
            clean(row.error.replace("\n", "; ")),
        )
        for point in results.points
        for row in point.failures
    ]


def _time_faults(results: StudyResults) -> list[str]:
    """Runs whose CPUs' times do not add up to the simulated time: there ought to be none."""
    return [
        f"point {point.point.number}, run {number}: {fault}"
        for point in results.points
        for number, run in enumerate(point.runs, 1)
        for fault in time_faults(run)
    ]


def _picture(shown_machine: MachineShown) -> str:
    return "" if shown_machine.machine is None else picture_of(shown_machine.machine)
