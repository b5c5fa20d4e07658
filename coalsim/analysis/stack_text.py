"""Scalability stacks as tables, JSON and folded stacks.

Invariant: the shares in a row of a table are rounded so that what is printed adds up to 100.0.
"""

from collections.abc import Sequence
from fractions import Fraction

from coalsim.analysis.stacks import Stack, StackCurve, apportioned
from coalsim.guarded import clean
from coalsim.observe.tables import PLAIN, Column, Style, Table, render
from coalsim.observe.where import stack as folded_stack

MOST_GROUPS = 9
"""Columns; the rest is added up as `other`."""
TENTHS = 1000
"""Of a percent, in the whole."""


def stacks_text(curves: Sequence[StackCurve], style: Style = PLAIN) -> str:
    """For each curve a table of shares, one of CPU time an operation, and what ate the added CPUs."""
    return "\n".join(_curve_text(curve, style) for curve in curves)


def _curve_text(curve: StackCurve, style: Style) -> str:
    shown, hidden = curve.groups[:MOST_GROUPS], curve.groups[MOST_GROUPS:]
    where = f" at {_settings(curve.fixed)}" if curve.fixed else ""
    whole = "adds up to 100 % exactly" if all(one.is_whole for one in curve.stacks) else "DOES NOT ADD UP"
    names = [_word(group) for group in (*shown, *(["other"] if hidden else []))]
    first = Column(_word(curve.axis) or "point", "left")
    shares = Table(
        (first, Column("cpus"), *(Column(f"{name}%") for name in names)),
        tuple(
            (str(one.value) or "all", _cpus(one), *map(_percent, printed_shares(one, shown, bool(hidden))))
            for one in curve.stacks
        ),
        title=f"where the CPUs' time went over {clean(curve.axis) or 'the run'}{where}: shares",
        note=f"every point's time by cause {whole}",
    )
    each = Table(
        (first, Column("ns/op"), *map(Column, names)),
        tuple((str(one.value) or "all", *map(_ns, _times(one, shown, bool(hidden)))) for one in curve.stacks),
        title=f"CPU time of an operation{where}, in ns (CPUs / throughput)",
    )
    lines = [growth.words() for growth in curve.growths()]
    told = "what eats the added CPUs:\n" + "".join(f"  {line}\n" for line in lines) if lines else ""
    return render(shares, style) + "\n" + render(each, style) + (f"\n{style.fit(told)}" if told else "")


def printed_shares(one: Stack, shown: Sequence[str], has_rest: bool) -> list[int]:
    """Tenths of a percent of the shown groups and the rest, rounded so that they add up to 1,000."""
    shares = one.shares()
    parts = [shares.get(group, Fraction(0)) for group in shown]
    if has_rest:
        parts.append(sum(shares.values(), Fraction(0)) - sum(parts, Fraction(0)))
    return apportioned(parts, TENTHS)


def stacks_document(curves: Sequence[StackCurve]) -> dict[str, object]:
    """The same as JSON: times in ps as they were added up, so whole numbers where runs are."""
    return {
        "curves": [
            {
                "axis": curve.axis,
                "fixed": dict(curve.fixed),
                "groups": list(curve.groups),
                "points": [
                    {
                        "value": one.value,
                        "cpus": _number(one.cpus),
                        "operations": _number(one.operations),
                        "spent_ps": _number(one.spent),
                        "time_ps": {
                            group: _number(one.times.get(group, Fraction(0))) for group in curve.groups
                        },
                        "ns_per_operation": {
                            group: float(time) for group, time in one.per_operation().items()
                        },
                        "adds_up": one.is_whole,
                    }
                    for one in curve.stacks
                ],
                "growth": [growth.words() for growth in curve.growths()],
            }
            for curve in curves
        ]
    }


def stacks_folded(curves: Sequence[StackCurve]) -> str:
    """Folded stacks, a root for each point, weights in ps of CPU time an operation."""
    lines = []
    for curve in curves:
        for one in curve.stacks:
            settings = [*curve.fixed, (curve.axis, one.value)] if curve.axis else []
            root = _settings(settings) or "all"
            for group, time in sorted(one.per_operation().items()):
                if weight := round(time * 1000):
                    lines.append(f"{folded_stack(root, group)} {weight}\n")
    return "".join(lines)


def _times(one: Stack, shown: Sequence[str], has_rest: bool) -> list[Fraction | None]:
    times = one.per_operation()
    if not times:
        return [None] * (1 + len(shown) + has_rest)
    whole = sum(times.values(), Fraction(0))
    parts = [times.get(group, Fraction(0)) for group in shown]
    return [whole, *parts, *([whole - sum(parts, Fraction(0))] if has_rest else [])]


def _settings(pairs: Sequence[tuple[str, object]]) -> str:
    return " ".join(f"{key}={value}" for key, value in pairs)


def _word(name: str) -> str:
    return clean(name).replace(" ", "-")


def _cpus(one: Stack) -> str:
    return f"{float(one.cpus):g}"


def _percent(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}"


def _ns(time: Fraction | None) -> str:
    return "" if time is None else f"{float(time):.1f}"


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)
