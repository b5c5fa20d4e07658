"""Predictions, bottlenecks and elasticities as tables and as JSON."""

from collections.abc import Sequence
from math import isfinite

from coalsim.analysis.elasticities import Elasticity, Tornado
from coalsim.analysis.what_if import Prediction, Step
from coalsim.observe.tables import PLAIN, Column, Style, Table, columns, render
from coalsim.stats.student import Interval

HALF = 14
"""Cells of a bar on each side of zero."""


def predictions_text(found: Sequence[Prediction], metric: str, style: Style = PLAIN) -> str:
    """A row for each change, and a line for each law or bound that one contradicts."""
    rows = tuple(
        (
            one.name,
            number(sum(one.base) / len(one.base)),
            number(sum(one.changed) / len(one.changed)),
            percent(one.gain),
            "" if one.ratio is None else f"{percent(one.ratio.low - 1)}..{percent(one.ratio.high - 1)}",
            "" if one.bound is None else number(one.bound.rate),
            verdict(one),
        )
        for one in found
    )
    heads = (
        Column("change", "left"),
        *(Column(head) for head in ("base", "changed", "gain", "interval", "bound")),
        Column("verdict", "left"),
    )
    pairs = len(found[0].base)
    note = f"{pairs} pairs of runs with the same random numbers; interval: 95 % of changed/base - 1"
    lines = [render(Table(heads, rows, title=f"what if: {metric}", note=note), style)]
    for one in found:
        lines += [f"{one.name}: {text}\n" for text in (*one.flags, *one.notes)]
    if any(_says_nothing(one) for one in found):
        lines.append(
            "where all pairs are alike, this load draws nothing at random: a width of 0 says nothing\n"
        )
    return style.fit("".join(lines))


def verdict(one: Prediction) -> str:
    """What the interval allows to say."""
    if one.flags:
        return "CONTRADICTED: see below"
    if one.ratio is None:
        return "one pair: no interval"
    if one.ratio.low > 1:
        return "gains"
    if one.ratio.high < 1:
        return "loses"
    return "no change" if one.ratio.low == one.ratio.high == 1 else "not told apart"


def _says_nothing(one: Prediction) -> bool:
    return len(one.base) > 1 and len(dict.fromkeys((*one.base,))) == 1


def steps_text(steps: Sequence[Step], metric: str, style: Style = PLAIN) -> str:
    """The bottlenecks in their order, and which one comes next, in words."""
    rows = []
    for step, one in enumerate(steps, 1):
        found = one.prediction
        rows.append(
            (
                str(step),
                one.group.replace(" ", "-"),
                f"{one.share * 100:.1f}",
                "" if one.bound is None else number(one.bound.rate),
                "" if found is None else number(sum(found.changed) / len(found.changed)),
                "" if found is None else percent(found.gain),
                one.why or ", ".join(found.flags if found else ()) or _changes(one),
            )
        )
    table = Table(
        (
            Column("step"),
            Column("cause", "left"),
            *columns("share% bound without-it gain", left=0),
            Column("how", "left"),
        ),
        tuple(rows),
        title=f"bottlenecks, each found after those above it were taken away: {metric}",
        note="share: of the used CPUs' time, of locks with what CPUs idled while threads slept for them; "
        "bound: X <= min(N / work, locks / hold) before it goes; "
        "gain: over the configuration as it is",
    )
    names = [step.group for step in steps]
    words = f"the bottleneck is {names[0]}" if names else "no cause but the load's own takes time"
    if len(names) > 1:
        words += f"; without it {names[1]} comes next"
    return render(table, style) + style.fit(words + "\n")


def _changes(step: Step) -> str:
    return " ".join(map(str, step.removal.changes)) if step.removal else ""


def tornado_text(found: Tornado, style: Style = PLAIN, most: int = 30) -> str:
    """The elasticities with bars on both sides of zero, the largest first."""
    longest = max((abs(row.interval.mean) for row in found.rows), default=0.0)
    rows = tuple(
        (
            row.parameter.target,
            row.parameter.value.replace(" ", ""),
            row.parameter.status,
            f"{row.interval.mean:+.4f}",
            _half_width(row.interval),
            bar(row, longest, style),
        )
        for row in found.rows[:most]
    )
    table = Table(
        (
            Column("parameter", "left"),
            *columns("value status elasticity ±", left=0),
            Column("", "left"),
        ),
        rows,
        title=f"elasticities of {found.metric}: percent for one percent more of the parameter",
        note=f"step {found.step:%} up and down, pairs of runs; ±: half the 95 % interval",
    )
    lines = [render(table, style)]
    if (more := len(found.rows) - most) > 0:
        lines.append(f"{more} more, all smaller\n")
    lines.append(
        f"{len(found.unfelt)} parameters change nothing here, to the byte ({found.runs} runs to find them)\n"
    )
    assumed = [
        row.parameter.target for row in found.rows if row.parameter.status == "assumed" and row.is_clear
    ]
    if assumed:
        lines.append(f"the assumed number that matters most: {assumed[0]}\n")
    if found.total is not None:
        lines.append(
            f"the elasticities of all times add up to {found.total.mean:+.4f}{_more(found.total)}; "
            "-1 less what the load's own times have\n"
        )
    lines += [f"{target} is left out: {why}\n" for target, why in found.refused]
    if found.flag:
        lines.append(f"CONTRADICTED: {found.flag}\n")
    return style.fit("".join(lines))


def bar(row: Elasticity, longest: float, style: Style) -> str:
    """A bar to the left of the middle for what slows down, to the right for what speeds up."""
    cells = round(abs(row.interval.mean) / longest * HALF) if longest else 0
    full, middle = ("█", "│") if style.unicode else ("#", "|")
    if row.interval.mean < 0:
        return (full * cells).rjust(HALF) + middle
    return " " * HALF + middle + full * cells


def predictions_document(found: Sequence[Prediction], metric: str) -> list[dict[str, object]]:
    """Predictions as JSON."""
    return [
        {
            "change": one.what_if.table(),
            "metric": metric,
            "base": list(one.base),
            "changed": list(one.changed),
            "gain": finite(one.gain),
            "ratio": None
            if one.ratio is None
            else {"mean": one.ratio.ratio, "low": finite(one.ratio.low), "high": finite(one.ratio.high)},
            "effect": None if one.effect is None else finite(one.effect),
            "bound": None if one.bound is None else {"rate": finite(one.bound.rate), "why": one.bound.reason},
            "flags": list(one.flags),
            "notes": list(one.notes),
        }
        for one in found
    ]


def steps_document(steps: Sequence[Step], metric: str) -> list[dict[str, object]]:
    """Bottlenecks as JSON."""
    return [
        {
            "cause": step.group,
            "share": step.share,
            "why_not": step.why,
            "bound": None if step.bound is None else finite(step.bound.rate),
            "prediction": predictions_document([step.prediction], metric)[0] if step.prediction else None,
        }
        for step in steps
    ]


def tornado_document(found: Tornado) -> dict[str, object]:
    """Elasticities as JSON."""
    return {
        "metric": found.metric,
        "step": float(found.step),
        "parameters": [
            {
                "parameter": row.parameter.target,
                "value": row.parameter.value,
                "status": row.parameter.status,
                "source": row.parameter.source,
                "elasticity": row.interval.mean,
                "half_width": row.interval.half_width,
                "values": list(row.values),
            }
            for row in found.rows
        ],
        "unfelt": [one.target for one in found.unfelt],
        "refused": dict(found.refused),
        "sum_of_times": None if found.total is None else found.total.mean,
        "flag": found.flag,
    }


def number(value: float) -> str:
    """Five digits that count, without an exponent where it has no more than nine places."""
    if not isfinite(value):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.5g}"


def percent(part: float) -> str:
    """A share with its sign."""
    return f"{part * 100:+.2f}%" if isfinite(part) else f"{part:+}"


def finite(value: float) -> float | None:
    """The value, or nothing where JSON has no number for it."""
    return value if isfinite(value) else None


def _half_width(found: Interval) -> str:
    return "" if found.half_width is None else f"{found.half_width:.4f}"


def _more(found: Interval) -> str:
    return "" if found.half_width is None else f" ± {found.half_width:.4f}"
