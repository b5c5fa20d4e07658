"""Comparisons and rankings as tables and as JSON."""

from collections.abc import Sequence

from coalsim.analysis.compare import Comparison, Difference, PointPair, Ranked, bounded
from coalsim.analysis.what_if_text import number, percent
from coalsim.guarded import clean
from coalsim.observe.tables import PLAIN, Column, Style, Table, columns, render
from coalsim.sweep.loading import settings_text

MOST_KEYS = 20
ALIKE = "where all runs of a point are alike, this load draws nothing at random: a width of 0 says nothing\n"
UNTOLD = (
    "without a tier is what cannot be ranked: one run has no interval, and where all runs of a point are "
    "alike, its width of 0 says nothing\n"
)
Settings = tuple[tuple[str, object], ...]


def comparison_text(found: Comparison, style: Style = PLAIN) -> str:
    """What differs in the configurations, a row for each point and metric, and what had no partner."""
    first, second = clean(str(found.first.folder)), clean(str(found.second.folder))
    rows = tuple(
        _row(point, one, bool(found.first.axes)) for point in found.points for one in point.differences
    )
    heads = (
        *((Column("point", "left"),) if found.first.axes else ()),
        Column("metric", "left"),
        *columns("pairs first second change interval effect", left=0),
        Column("verdict", "left"),
    )
    table = Table(
        heads,
        rows,
        title=f"{first} -> {second}",
        note="interval: 95 % of second/first - 1, pair by pair; effect: in spreads of the differences",
    )
    lines = [_changes(found), render(table, style)]
    for name, alone in ((first, found.only_first), (second, found.only_second)):
        if alone:
            lines.append(f"without a partner in {name}: {_listed(alone)}\n")
    if unpaired := sum(point.unpaired for point in found.points):
        lines.append(f"{unpaired} runs have no partner with the same seed and were left out\n")
    if any(one.pairs > 1 and not one.has_spread for point in found.points for one in point.differences):
        lines.append(ALIKE)
    return style.fit("".join(lines))


def _changes(found: Comparison) -> str:
    if not found.changed:
        return "the configurations are the same\n"
    told = [
        f"  {clean(key)}: {_shown(old)} -> {_shown(new)}\n" for key, old, new in found.changed[:MOST_KEYS]
    ]
    more = len(found.changed) - MOST_KEYS
    return "what differs:\n" + "".join(told) + (f"  {more} more keys\n" if more > 0 else "")


def _shown(value: object) -> str:
    return "(nothing)" if value is None else clean(str(value))


def _row(point: PointPair, one: Difference, has_axes: bool) -> tuple[str, ...]:
    ratio = one.ratio
    change = one.second / one.first - 1 if one.first else 0.0
    return (
        *((settings_text(point.settings).replace(" ", ","),) if has_axes else ()),
        one.metric,
        str(one.pairs),
        number(one.first),
        number(one.second),
        percent(change) if one.first else "",
        "" if ratio is None else f"{percent(ratio.low - 1)}..{percent(ratio.high - 1)}",
        "" if one.effect is None else f"{one.effect:+.2f}",
        one.verdict,
    )


def _listed(alone: Sequence[Settings]) -> str:
    shown = "; ".join(clean(settings_text(settings)) or "its only point" for settings in alone[:4])
    return shown + (f"; and {len(alone) - 4} more" if len(alone) > 4 else "")


def rankings_text(found: Sequence[Ranked], style: Style = PLAIN) -> str:
    """For each place the tiers, the best first; names in one tier cannot be told apart."""
    rows = []
    for one in found:
        at = settings_text(one.at).replace(" ", ",")
        for place, name in one.rows:
            mean = one.ranking.means[name]
            half = "" if mean.half_width is None else number(mean.half_width)
            rows.append((at, str(place or ""), name.replace(" ", ","), number(mean.mean), half))
    table = Table(
        (Column("at", "left"), Column("tier"), Column("variant", "left"), *columns("mean ±", left=0)),
        tuple(rows),
        title=f"ranking by {found[0].metric}, the best first",
        note="variants in one tier cannot be told apart at 95 % over all pairs of them; ±: half the interval "
        "of each mean by itself, which is wider than that of paired differences",
    )
    lines = [render(table, style)]
    for one in found:
        if one.left_out:
            where = clean(settings_text(one.at)) or "everywhere"
            lines.append(f"{where}: no runs that could be ranked of {clean(', '.join(one.left_out))}\n")
    if not all(one.is_told for one in found):
        lines.append(UNTOLD)
    return style.fit("".join(lines))


def comparison_document(found: Comparison) -> dict[str, object]:
    """A comparison as JSON."""
    return {
        "first": str(found.first.folder),
        "second": str(found.second.folder),
        "changed": [{"key": key, "first": old, "second": new} for key, old, new in found.changed],
        "points": [
            {
                "settings": dict(point.settings),
                "unpaired": point.unpaired,
                "metrics": {one.metric: _difference(one) for one in point.differences},
            }
            for point in found.points
        ],
        "only_first": [dict(settings) for settings in found.only_first],
        "only_second": [dict(settings) for settings in found.only_second],
    }


def _difference(one: Difference) -> dict[str, object]:
    return {
        "pairs": one.pairs,
        "first": one.first,
        "second": one.second,
        "difference": one.difference.mean,
        "half_width": one.difference.half_width,
        "ratio": None
        if one.ratio is None
        else {"mean": one.ratio.ratio, "low": bounded(one.ratio.low), "high": bounded(one.ratio.high)},
        "effect": None if one.effect is None else bounded(one.effect),
        "verdict": one.verdict,
    }


def rankings_document(found: Sequence[Ranked]) -> list[dict[str, object]]:
    """Rankings as JSON."""
    return [
        {
            "at": dict(one.at),
            "metric": one.metric,
            "tiers": [list(tier) for tier in one.tiers],
            "left_out": list(one.left_out),
            "means": {name: mean.mean for name, mean in one.ranking.means.items()},
        }
        for one in found
    ]
