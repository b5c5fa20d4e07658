"""Lock tables of a report: the locks that cost most at each point, over all its runs.

Totals are means over the runs, averages are over all their waits and holds, the longest is the
longest of all.  Times are nanoseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

from coalsim.sweep.results import PointResults, StudyResults

if TYPE_CHECKING:
    from coalsim.observe.document import LockEntry

MOST_LOCKS = 12
MOST_SITES = 4
MOST_ROWS = 6_000
"""Of all points together; with more, each point shows fewer locks."""


@dataclass(frozen=True, kw_only=True)
class SiteLine:
    """A call site that waited: how often and how long, mean over the runs."""

    site: str
    contentions: float
    wait_total: float


@dataclass(frozen=True, kw_only=True)
class LockLine:
    """One lock at one point."""

    name: str
    type: str
    acquisitions: float
    contentions: float
    bounces: float
    wait_total: float
    wait_average: float
    wait_longest: float
    hold_total: float
    hold_average: float
    hold_longest: float
    sites: tuple[SiteLine, ...]


@dataclass(frozen=True, kw_only=True)
class LockTables:
    """Lines of each point, those that waited longest first, and how many locks of each are not shown."""

    points: tuple[tuple[LockLine, ...], ...]
    hidden: tuple[int, ...]


def lock_tables(results: StudyResults) -> LockTables:
    """The lock tables of all points."""
    most = max(1, min(MOST_LOCKS, MOST_ROWS // max(1, len(results.points))))
    tables = [_table(point) for point in results.points]
    return LockTables(
        points=tuple(tuple(table[:most]) for table in tables),
        hidden=tuple(max(0, len(table) - most) for table in tables),
    )


def _table(point: PointResults) -> list[LockLine]:
    found: dict[tuple[str, str], list[LockEntry]] = {}
    for run in point.runs:
        for entry in run["locks"]:
            if entry["acquisitions"] or entry["contentions"]:
                found.setdefault((entry["name"], entry["type"]), []).append(entry)
    lines = [_line(entries, len(point.runs)) for entries in found.values()]
    return sorted(lines, key=lambda line: (-line.wait_total, -line.hold_total, line.name, line.type))


def _line(entries: "Sequence[LockEntry]", runs: int) -> LockLine:
    def total(column: str) -> float:
        return fsum(_number(entry, column) for entry in entries)

    def longest(column: str) -> float:
        return max(_number(entry, column) for entry in entries)

    waits, holds = total("contentions"), total("acquisitions")
    return LockLine(
        name=entries[0]["name"],
        type=entries[0]["type"],
        acquisitions=holds / runs,
        contentions=waits / runs,
        bounces=total("acq_bounces") / runs,
        wait_total=total("waittime_total") / runs,
        wait_average=total("waittime_total") / waits if waits else 0.0,
        wait_longest=longest("waittime_max"),
        hold_total=total("holdtime_total") / runs,
        hold_average=total("holdtime_total") / holds if holds else 0.0,
        hold_longest=longest("holdtime_max"),
        sites=_sites(entries, runs),
    )


def _sites(entries: "Sequence[LockEntry]", runs: int) -> tuple[SiteLine, ...]:
    """The sites that waited longest."""
    counts: dict[str, list[float]] = {}
    for entry in entries:
        for waiter in entry["waiters"]:
            of_site = counts.setdefault(waiter["site"], [0.0, 0.0])
            of_site[0] += waiter["contentions"]
            of_site[1] += waiter["wait_total"]
    largest = sorted(counts, key=lambda site: (-counts[site][1], site))[:MOST_SITES]
    return tuple(
        SiteLine(site=site, contentions=counts[site][0] / runs, wait_total=counts[site][1] / runs)
        for site in largest
    )


def _number(entry: Mapping[str, object], column: str) -> float:
    value = entry[column]
    assert isinstance(value, int | float), "documents are checked when they are read"
    return float(value)
