"""The table of a sweep: a row for each point, with the mean and half width of each metric.

Invariant: the text depends on the results alone, not on the order, the host or the number of
attempts in which they came about.
"""

from collections.abc import Sequence
from math import floor, isfinite, log10

from coalsim.guarded import clean
from coalsim.observe.tables import PLAIN, Column, Style, Table, render
from coalsim.stats.student import Interval, interval
from coalsim.sweep.loading import shown
from coalsim.sweep.points import Axis
from coalsim.sweep.results import PointResults, StudyResults

DIGITS = 6
CONFIDENCE = 0.95
FAILURES_TOLD = 10
"""Failures that the text names one by one; the JSON document and the store have all."""


def confidence_of(results: StudyResults) -> float:
    """The confidence of the intervals that are shown: the stopping rule's, if there is one."""
    return results.stop.confidence if results.stop is not None else CONFIDENCE


def point_interval(results: StudyResults, point: PointResults, metric: str) -> Interval | None:
    """Mean and interval of a metric over the runs of a point; None if no run has it."""
    values = results.values(point, metric)
    return interval(values, confidence_of(results)) if values else None


def sweep_text(results: StudyResults, style: Style = PLAIN) -> str:
    """What is printed at the end of a sweep: its table, what failed, and the warnings of its runs."""
    parts = [render(sweep_table(results, style), style)]
    if failures := failure_lines(results):
        parts.append("".join(f"{line}\n" for line in failures))
    if results.missing:
        parts.append(
            f"{results.missing} runs are missing: the same coalsim run (without --shard) adds them\n"
        )
    if results.warnings:
        parts.append("".join(f"warning: {clean(text)}\n" for text in results.warnings))
    return style.fit("\n".join(parts))


def sweep_table(results: StudyResults, style: Style = PLAIN) -> Table:
    """A row for each point."""
    sign = "±" if style.unicode else "+-"
    some_failed = any(point.failures for point in results.points)
    heads = [Column("point")]
    heads += [Column(title) for axis in results.axes for title in axis_titles(axis)]
    for metric in results.show.metrics:
        heads += [Column(metric), Column(sign)]
    heads += [Column("runs"), *([Column("failed")] if some_failed else [])]
    rows = []
    for point in results.points:
        cells = [str(point.point.number), *(shown(value) for _, value in point.point.settings)]
        for metric in results.show.metrics:
            cells += _cells(point_interval(results, point, metric))
        cells += [str(len(point.runs)), *([str(len(point.failures))] if some_failed else [])]
        rows.append(tuple(cells))
    title = f"{results.name}: {results.title}" if results.title else results.name
    percent = f"{100 * confidence_of(results):.4g} %"
    note = f"{sign}: half the width of the {percent} interval over the runs"
    if any(len(point.runs) == 1 for point in results.points):
        note += "; one run has none"
    return Table(tuple(heads), tuple(rows), title=title, note=note)


def axis_titles(axis: Axis) -> tuple[str, ...]:
    """The headings of an axis, one for each key, without blanks."""
    if len(axis.keys) == 1 and axis.label:
        return (axis.label.replace(" ", "_"),)
    return axis.keys


def _cells(found: Interval | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return number_text(found.mean), "" if found.half_width is None else number_text(found.half_width, 3)


def number_text(value: float, digits: int = DIGITS) -> str:
    """A number with so many digits at most that count, and never with an exponent that awk has to know."""
    if not isfinite(value) or value == 0:
        return "0" if value == 0 else str(value)
    if not 1e-12 < abs(value) < 1e18:
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def failure_lines(results: StudyResults) -> Sequence[str]:
    """A line for each of the first failures, and one for the others."""
    lines = [
        f"point {point.point.number}, run {row.replication + 1} (seed {row.seed}): {row.status}: "
        + clean(row.error.replace("\n", "; "))
        for point in results.points
        for row in point.failures
    ]
    more = len(lines) - FAILURES_TOLD
    return lines if more <= 0 else [*lines[:FAILURES_TOLD], f"{more} more failures"]


def sweep_document(results: StudyResults) -> dict[str, object]:
    """The table as one JSON document."""
    return {
        "study": results.name,
        "title": results.title,
        "axes": [list(axis.keys) for axis in results.axes],
        "metrics": list(results.show.metrics),
        "confidence": confidence_of(results),
        "points": [_point_document(results, point) for point in results.points],
        "missing": results.missing,
        "versions": dict(results.versions),
        "warnings": list(results.warnings),
    }


def _point_document(results: StudyResults, point: PointResults) -> dict[str, object]:
    found = {metric: point_interval(results, point, metric) for metric in results.show.metrics}
    return {
        "point": point.point.number,
        "key": point.point.key,
        "settings": dict(point.point.settings),
        "runs": len(point.runs),
        "metrics": {
            metric: {"mean": value.mean, "half_width": value.half_width, "count": value.count}
            for metric, value in found.items()
            if value is not None
        },
        "failures": [
            {
                "replication": row.replication,
                "seed": row.seed,
                "status": row.status,
                "error": row.error,
            }
            for row in point.failures
        ],
    }
