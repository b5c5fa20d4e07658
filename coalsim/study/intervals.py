"""Means with confidence intervals over independent replications, and paired differences.

Student's t is used because replications are few.  Its distribution for a whole number
of degrees of freedom is a finite sum, so the quantile is found by bisection on exact
terms and needs no statistics package.

Invariant: means and variances are formed from exact fractions, so they depend neither
on the order of the values nor on rounding: equal values have a half width of exactly 0.
Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import cos, inf, pi, sin, sqrt, tan

from coalsim.observe.document import IntervalEntry, ResultDocument
from coalsim.observe.quantities import Latency

_NEGLIGIBLE = 1e-18  # a term of the sum that no longer changes a float between 0 and 1


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and the half width of its confidence interval.

    `half_width` is None when there is one value, which says nothing about its spread.
    """

    mean: float
    half_width: float | None
    count: int
    confidence: float

    @property
    def low(self) -> float:
        """The lower end; minus infinity when nothing is known."""
        return -inf if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end; infinity when nothing is known."""
        return inf if self.half_width is None else self.mean + self.half_width

    def holds(self, value: float) -> bool:
        """Whether the value lies in the interval."""
        return self.low <= value <= self.high


def interval(values: Sequence[int | float], confidence: float = 0.95) -> Interval:
    """Mean and t interval of independent values.

    Raises:
        ValueError: no values, or a confidence that is not between 0 and 1.
    """
    return _of_fractions([Fraction(value) for value in values], confidence)


def paired_difference(
    first: Sequence[int | float], second: Sequence[int | float], confidence: float = 0.95
) -> Interval:
    """Interval of `second - first` over runs that share their random numbers pair by pair.

    Pairing removes what both runs of a pair have in common, so the interval is narrower
    than that of two independent means.

    Raises:
        ValueError: the runs do not pair up.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} runs do not make pairs")
    differences = [Fraction(b) - Fraction(a) for a, b in zip(first, second, strict=True)]
    return _of_fractions(differences, confidence)


def _of_fractions(values: Sequence[Fraction], confidence: float) -> Interval:
    if not values:
        raise ValueError("a mean needs at least one value")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not at {confidence}")
    count = len(values)
    mean = sum(values, Fraction(0)) / count
    half_width = None
    if count > 1:
        squares = sum(((value - mean) ** 2 for value in values), Fraction(0))
        standard_error = sqrt(squares / ((count - 1) * count))
        half_width = t_quantile((1 + confidence) / 2, count - 1) * standard_error
    return Interval(mean=float(mean), half_width=half_width, count=count, confidence=confidence)


def document_intervals(runs: Sequence[ResultDocument], confidence: float = 0.95) -> dict[str, IntervalEntry]:
    """Intervals of speed and latency over replications, by dotted key, for a document's `intervals`.

    Each is over the runs' own means; a run that has no such latency is left out.
    """
    values = {"throughput.ops_per_s": [run["throughput"]["ops_per_s"] for run in runs]}
    values |= _of_latencies("latency_ns", [run["latency_ns"] for run in runs if "latency_ns" in run])
    for phase in dict.fromkeys(name for run in runs for name in run.get("phases", {})):
        held = [run["phases"][phase]["latency_ns"]["mean"] for run in runs if phase in run.get("phases", {})]
        values[f"phases.{phase}.latency_ns.mean"] = held
    values |= _of_latencies("shootdown_ns", [run["shootdown_ns"] for run in runs if "shootdown_ns" in run])
    done = [run.get("operations", {}) for run in runs]
    for name in dict.fromkeys(name for operations in done for name in operations):
        held = [operations[name]["latency_ns"]["mean"] for operations in done if name in operations]
        values[f"operations.{name}.latency_ns.mean"] = held
    return {key: _entry(interval(found, confidence)) for key, found in values.items() if found}


def _of_latencies(key: str, latencies: Sequence[Latency]) -> dict[str, list[int | float]]:
    """The columns of a latency that get intervals."""
    return {
        f"{key}.mean": [latency["mean"] for latency in latencies],
        f"{key}.p50": [latency["p50"] for latency in latencies],
        f"{key}.p99": [latency["p99"] for latency in latencies],
    }


def _entry(found: Interval) -> IntervalEntry:
    return {
        "mean": found.mean,
        "half_width": found.half_width,
        "count": found.count,
        "confidence": found.confidence,
    }


def t_quantile(probability: float, degrees: int) -> float:
    """The value that Student's t stays below with the given probability.

    Args:
        probability: between 0 and 1, both left out.
        degrees: degrees of freedom, from 1 up.

    Raises:
        ValueError: there is no such quantile.
    """
    if not 0 < probability < 1 or degrees < 1:
        raise ValueError(f"no quantile at {probability} with {degrees} degrees of freedom")
    if probability == 0.5:
        return 0.0
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    wanted = 2 * probability - 1  # of |T| staying below the quantile
    low, high = 0.0, pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _within(middle, degrees) < wanted:
            low = middle
        else:
            high = middle
    return sqrt(degrees) * tan(high)


def _within(angle: float, degrees: int) -> float:
    """P(|T| < t) where t = tan(angle) * sqrt(degrees)."""
    if degrees == 1:
        return 2 * angle / pi
    square = cos(angle) ** 2
    odd = degrees % 2
    term = cos(angle) if odd else 1.0
    total = 0.0
    for k in range(1 + odd, degrees, 2):  # the terms have cosines up to the power degrees - 2
        total += term
        term *= square * k / (k + 1)
        if term < _NEGLIGIBLE:
            break
    return 2 * (angle + sin(angle) * total) / pi if odd else sin(angle) * total
