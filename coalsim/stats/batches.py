"""An interval from one long run: non-overlapping batch means, with a check that they are independent.

The run is divided into equal batches.  If the means of the batches are independent, Student's
interval over them holds; neighbours that are too short remember each other, and the interval
is too narrow.  So neighbours are joined in pairs until von Neumann's ratio

    sum of (x[i+1] - x[i])^2 / sum of (x[i] - mean)^2,

which is 2 on average for independent means and lower where neighbours are alike, is no lower
than it would be by chance; or until fewer than ten batches would remain, and then the means
are said to be dependent: the run is too short.  `lag1` is one minus half the ratio, which
estimates the correlation of neighbours.

A latency is the ratio of two sums, time and operations, of which both vary from batch to batch;
`batch_ratio` has the interval of the ratio of their means.

Invariant: where the number of batches is odd, joining leaves out the first one, which lies
nearest to the warm-up.
Source: von Neumann, Annals of Mathematical Statistics 12, 1941; joining until the ratio passes:
Fishman, Management Science 24, 1978; ten batches and more: Schmeiser, Operations Research 30,
1982; the ratio's interval: Cochran, "Sampling techniques", 1977, 6.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import sqrt
from statistics import NormalDist

from coalsim.stats.student import Interval, interval

LEAST_BATCHES = 10
DOUBT = 0.2
"""Chance that independent batches are joined all the same: high, because joining them costs little."""


@dataclass(frozen=True, kw_only=True)
class BatchMeans:
    """What the batches of one run say.

    Args:
        interval: of the mean, over the joined batches.
        size: how many of the given batches make one of the joined.
        lag1: estimated correlation of neighbouring joined batches.
        is_independent: the joined batches passed the check; if not, the interval is too narrow.
    """

    interval: Interval
    size: int
    lag1: float
    is_independent: bool


def batch_means(values: Sequence[int | float], confidence: float = 0.95) -> BatchMeans:
    """The interval of the mean of a run from the means of its batches, in the order of time.

    Raises:
        ValueError: fewer than two batches, or a confidence that is not between 0 and 1.
    """
    _require_two(len(values))
    exact = [Fraction(value) for value in values]
    size, lag1, is_independent = _joined_until_independent(exact)
    joined = _joined(exact, size)
    means = interval([float(value / size) for value in joined], confidence)
    return BatchMeans(interval=means, size=size, lag1=lag1, is_independent=is_independent)


def batch_ratio(
    totals: Sequence[int | float], counts: Sequence[int | float], confidence: float = 0.95
) -> BatchMeans:
    """The interval of sum of totals / sum of counts, such as of a mean latency, from batches.

    Args:
        totals, counts: of each batch, in the order of time; a batch may be empty.
        confidence: of the interval.

    Raises:
        ValueError: fewer than two batches, lists that do not match, nothing counted, or a
            confidence that is not between 0 and 1.
    """
    if len(totals) != len(counts):
        raise ValueError(f"{len(totals)} totals and {len(counts)} counts do not match")
    _require_two(len(totals))
    if not sum(counts):
        raise ValueError("the batches counted nothing")
    exact = [(Fraction(total), Fraction(count)) for total, count in zip(totals, counts, strict=True)]
    whole = sum((total for total, _ in exact), Fraction(0)) / sum((count for _, count in exact), Fraction(0))
    size, lag1, is_independent = _joined_until_independent([total - whole * count for total, count in exact])
    total_by_batch = _joined([total for total, _ in exact], size)
    count_by_batch = _joined([count for _, count in exact], size)
    mean_count = sum(count_by_batch, Fraction(0)) / len(count_by_batch)
    if not mean_count:  # the only operations were in a batch that was left out
        raise ValueError("the batches counted next to nothing")
    ratio = sum(total_by_batch, Fraction(0)) / sum(count_by_batch, Fraction(0))
    rests = [
        float((total - ratio * count) / mean_count)
        for total, count in zip(total_by_batch, count_by_batch, strict=True)
    ]
    spread = interval(rests, confidence)
    found = Interval(
        mean=float(ratio), half_width=spread.half_width, count=spread.count, confidence=confidence
    )
    return BatchMeans(interval=found, size=size, lag1=lag1, is_independent=is_independent)


def von_neumann_ratio(values: Sequence[int | float | Fraction]) -> float:
    """Mean square of successive differences over variance: 2 for independent values; 2 if all are equal."""
    exact = [Fraction(value) for value in values]
    mean = sum(exact, Fraction(0)) / len(exact)
    spread = sum(((value - mean) ** 2 for value in exact), Fraction(0))
    steps = sum(((b - a) ** 2 for a, b in pairwise(exact)), Fraction(0))
    return float(steps / spread) if spread else 2.0


def _joined_until_independent(values: Sequence[Fraction]) -> tuple[int, float, bool]:
    """Batches to join, the correlation of neighbours then, and whether they pass."""
    size = 1
    while True:
        joined = _joined(values, size)
        lag1 = 1 - von_neumann_ratio(joined) / 2
        passes = _looks_independent(lag1, len(joined))
        if passes or len(values) // (2 * size) < LEAST_BATCHES:
            return size, lag1, passes and len(joined) >= LEAST_BATCHES
        size *= 2


def _looks_independent(lag1: float, count: int) -> bool:
    """Whether neighbours are no more alike than independent values are with a chance of `DOUBT`."""
    if count < 3:
        return False
    error = sqrt((count - 2) / (count**2 - 1))
    return lag1 <= NormalDist().inv_cdf(1 - DOUBT) * error


def _joined(values: Sequence[Fraction], size: int) -> list[Fraction]:
    """Sums of `size` neighbours; what does not fill a batch is left out at the beginning."""
    first = len(values) % size
    return [sum(values[at : at + size], Fraction(0)) for at in range(first, len(values), size)]


def _require_two(count: int) -> None:
    if count < 2:
        raise ValueError(f"batch means need at least two batches, not {count}")
