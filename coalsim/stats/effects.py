"""How large a difference is: in spreads (effect size) and as a ratio with its interval.

    Hedges' g      (mean of second - mean of first) / pooled standard deviation, times J
    paired effect  mean of the differences / their standard deviation, times J

J = 1 - 3 / (4 degrees of freedom - 1) takes off what few values exaggerate.  Pairs share their
random numbers, so the spread of their differences is small and a paired effect is much larger
than g for one and the same gain: the two are not to be compared with each other.

The ratio of two means has Fieller's interval: all ratios r for which second - r * first has a
mean that could be zero.  It needs no approximation, but has no ends where the mean of `first`
could be zero itself.  The ratio in logs is that of a typical pair; it needs positive values.

Source: Hedges, Journal of Educational Statistics 6, 1981; Fieller, Journal of the Royal
Statistical Society B 16, 1954.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp, inf, log, sqrt

from coalsim.stats.student import interval, t_quantile


@dataclass(frozen=True, kw_only=True)
class RatioInterval:
    """The ratio of two means, second over first, with its interval.

    The ends are infinite where the first mean could be zero: then nothing is known.
    """

    ratio: float
    low: float
    high: float
    count: int
    confidence: float

    def holds(self, value: float) -> bool:
        """Whether the value lies in the interval."""
        return self.low <= value <= self.high


def hedges_g(first: Sequence[int | float], second: Sequence[int | float]) -> float:
    """The effect of going from `first` to `second`, values that have nothing in common, in spreads.

    Infinite, or 0, where no value differs from its mean.

    Raises:
        ValueError: fewer than two values in a group.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("an effect size needs two values in each group")
    degrees = len(first) + len(second) - 2
    pooled = (_products(first, first) + _products(second, second)) / degrees
    return _in_spreads(_mean(second) - _mean(first), pooled, degrees)


def paired_effect(first: Sequence[int | float], second: Sequence[int | float]) -> float:
    """The effect of going from `first` to `second` in spreads of the differences, pair by pair.

    Infinite, or 0, where all differences are equal.

    Raises:
        ValueError: the values do not pair up, or there are fewer than two pairs.
    """
    _require_pairs(first, second)
    differences = [Fraction(b) - Fraction(a) for a, b in zip(first, second, strict=True)]
    degrees = len(differences) - 1
    return _in_spreads(_mean(differences), _products(differences, differences) / degrees, degrees)


def ratio_interval(
    first: Sequence[int | float], second: Sequence[int | float], confidence: float = 0.95
) -> RatioInterval:
    """Fieller's interval of mean of second / mean of first, over pairs.

    Raises:
        ValueError: the values do not pair up, fewer than two pairs, a first mean of zero, or a
            confidence that is not between 0 and 1.
    """
    _require_pairs(first, second)
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not at {confidence}")
    bottom, top, count = _mean(first), _mean(second), len(first)
    if not bottom:
        raise ValueError("no ratio to a mean of zero")
    scale = Fraction(t_quantile((1 + confidence) / 2, count - 1)) ** 2 / (count * (count - 1))
    # (top - r bottom)^2 <= t^2 variance(top - r bottom): a quadratic a r^2 - 2 b r + c <= 0
    a = bottom**2 - scale * _products(first, first)
    b = bottom * top - scale * _products(first, second)
    c = top**2 - scale * _products(second, second)
    low, high = -inf, inf
    if a > 0:
        root = sqrt(max(Fraction(0), b * b - a * c))
        low, high = (float(b) - root) / float(a), (float(b) + root) / float(a)
    return RatioInterval(ratio=float(top / bottom), low=low, high=high, count=count, confidence=confidence)


def log_ratio_interval(
    first: Sequence[int | float], second: Sequence[int | float], confidence: float = 0.95
) -> RatioInterval:
    """The interval of the geometric mean of second / first, pair by pair.

    Raises:
        ValueError: the values do not pair up, fewer than two pairs, a value that is not positive,
            or a confidence that is not between 0 and 1.
    """
    _require_pairs(first, second)
    if min(*first, *second) <= 0:
        raise ValueError("a ratio in logs needs positive values")
    found = interval([log(b / a) for a, b in zip(first, second, strict=True)], confidence)
    return RatioInterval(
        ratio=exp(found.mean),
        low=exp(found.low),
        high=exp(found.high),
        count=found.count,
        confidence=confidence,
    )


def _in_spreads(difference: Fraction, variance: Fraction, degrees: int) -> float:
    """A difference over a standard deviation, corrected for few values."""
    if not variance:
        return 0.0 if not difference else inf if difference > 0 else -inf
    correction = 1 - 3 / (4 * degrees - 1)
    return float(difference) / sqrt(variance) * correction


def _mean(values: Sequence[int | float | Fraction]) -> Fraction:
    return sum((Fraction(value) for value in values), Fraction(0)) / len(values)


def _products(first: Sequence[int | float | Fraction], second: Sequence[int | float | Fraction]) -> Fraction:
    """Sum of the products of the distances from the means."""
    one, other = _mean(first), _mean(second)
    terms = ((Fraction(a) - one) * (Fraction(b) - other) for a, b in zip(first, second, strict=True))
    return sum(terms, Fraction(0))


def _require_pairs(first: Sequence[int | float], second: Sequence[int | float]) -> None:
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values do not make pairs")
    if len(first) < 2:
        raise ValueError("a spread needs at least two pairs")
