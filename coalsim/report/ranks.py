"""Rankings of a report: the curves of a study at each place, in tiers, as far as the intervals allow.

Only metrics of which it is known what is better are ranked, and of large studies only as many as are
compared in about a second; `coalsim compare` ranks the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from coalsim.analysis.compare import HIGHER_IS_BETTER, LOWER_IS_BETTER, Ranked, rankings
from coalsim.errors import InputError
from coalsim.report.words import label_of
from coalsim.sweep.loading import shown
from coalsim.sweep.results import StudyResults

MOST_PAIRS = 1_000
"""Pairs of variants that are compared."""


@dataclass(frozen=True, kw_only=True)
class RankRow:
    """One place: the tiers, the best first, as long as the longest row; and variants without runs."""

    at: str
    tiers: tuple[str, ...]
    left_out: str


@dataclass(frozen=True, kw_only=True)
class RankTable:
    """The ranking by one metric.

    Args:
        label, path: of the metric.
        columns: tiers of the longest row.
        rows: the places that can be ranked.
        untold: how many places cannot, because the intervals say nothing there.
    """

    label: str
    path: str
    columns: int
    rows: tuple[RankRow, ...]
    untold: int


def rank_tables(results: StudyResults) -> tuple[tuple[RankTable, ...], bool]:
    """A table for each metric that can be ranked, and whether there was too much to rank."""
    metrics = [metric for metric in results.show.metrics if _is_known(metric)]
    if not results.show.series or not metrics:
        return (), False
    whole = len(metrics) * _pairs(results)
    tables = [_table(results, metric) for metric in (metrics if whole <= MOST_PAIRS else ())]
    return tuple(table for table in tables if table is not None), whole > MOST_PAIRS


def _is_known(metric: str) -> bool:
    return metric.rpartition(".")[2] in (*HIGHER_IS_BETTER, *LOWER_IS_BETTER)


def _pairs(results: StudyResults) -> int:
    """Pairs of variants over all places."""
    counts: dict[str, int] = {}
    for point in results.points:
        at = repr([pair for pair in point.point.settings if pair[0] not in results.show.series])
        counts[at] = counts.get(at, 0) + 1
    return sum(comb(count, 2) for count in counts.values())


def _table(results: StudyResults, metric: str) -> RankTable | None:
    try:
        found = rankings(results, metric)
    except InputError:  # no point has runs that make pairs
        return None
    told = [one for one in found if one.is_told]
    columns = max((len(one.tiers) for one in told), default=0)
    rows = tuple(_row(one, columns) for one in told)
    return RankTable(
        label=label_of(metric), path=metric, columns=columns, rows=rows, untold=len(found) - len(told)
    )


def _row(one: Ranked, columns: int) -> RankRow:
    tiers = [_listed(tier) for tier in one.tiers]
    at = ", ".join(f"{key} = {shown(value)}" for key, value in one.at)
    blank = [""] * (columns - len(tiers))
    return RankRow(at=at, tiers=(*tiers, *blank), left_out=_listed(one.left_out))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
