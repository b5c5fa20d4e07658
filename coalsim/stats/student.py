"""Means with confidence intervals over independent values, and differences of means.

Student's t is used because replications are few.  Its distribution for a whole number
of degrees of freedom is a finite sum, so the quantile is found by bisection on exact
terms and needs no statistics package.

Invariant: means and variances are formed from exact fractions, so they depend neither
on the order of the values nor on rounding: equal values have a half width of exactly 0.
Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4; for
unequal variances Welch, Biometrika 34, 1947.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import atan, cos, floor, inf, isnan, pi, sin, sqrt, tan

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


def unpaired_difference(
    first: Sequence[int | float], second: Sequence[int | float], confidence: float = 0.95
) -> Interval:
    """Interval of the mean of `second` less that of `first`, where the values have nothing in common.

    Welch's interval: the two spreads may differ.  Its degrees of freedom are rounded down, which
    makes it a little wider.  `count` is the number of values of the smaller group.

    Raises:
        ValueError: no values, or a confidence that is not between 0 and 1.
    """
    one, other = interval(first, confidence), interval(second, confidence)
    half_width = None
    if min(one.count, other.count) > 1:
        error, degrees = _welch(first, second)
        half_width = t_quantile((1 + confidence) / 2, degrees) * error if error else 0.0
    return Interval(
        mean=float(_mean(second) - _mean(first)),
        half_width=half_width,
        count=min(one.count, other.count),
        confidence=confidence,
    )


def paired_chance(first: Sequence[int | float], second: Sequence[int | float]) -> float:
    """The chance of pairs that differ so clearly, or more, if they differ by nothing on average.

    Two-sided; 1 where a single pair says nothing about spread.

    Raises:
        ValueError: the runs do not pair up, or there are none.
    """
    differences = paired_difference(first, second, 0.5)
    degrees = differences.count - 1
    if differences.half_width is None:
        return 1.0
    return _chance(differences.mean, differences.half_width / t_quantile(0.75, degrees), degrees)


def unpaired_chance(first: Sequence[int | float], second: Sequence[int | float]) -> float:
    """As `paired_chance`, by Welch's test, where the values have nothing in common.

    Raises:
        ValueError: no values.
    """
    found = unpaired_difference(first, second)
    return 1.0 if found.half_width is None else _chance(found.mean, *_welch(first, second))


def _welch(first: Sequence[int | float], second: Sequence[int | float]) -> tuple[float, int]:
    """Standard error of the difference of the means, and its degrees of freedom, rounded down."""
    groups = (first, second)
    parts = [_squares(values) / (len(values) * (len(values) - 1)) for values in groups]
    weights = [part**2 / (len(values) - 1) for part, values in zip(parts, groups, strict=True)]
    variance = sum(parts, Fraction(0))
    return sqrt(variance), floor(variance**2 / sum(weights)) if variance else 1


def _chance(difference: float, error: float, degrees: int) -> float:
    """Of a difference so many standard errors from 0, or further."""
    if not error:
        return 0.0 if difference else 1.0
    return 1 - t_within(abs(difference) / error, degrees)


def _mean(values: Sequence[int | float]) -> Fraction:
    return sum((Fraction(value) for value in values), Fraction(0)) / len(values)


def _squares(values: Sequence[int | float]) -> Fraction:
    """Sum of squared distances from the mean."""
    mean = _mean(values)
    return sum(((Fraction(value) - mean) ** 2 for value in values), Fraction(0))


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


def t_within(value: float, degrees: int) -> float:
    """The probability that Student's t lies between `-value` and `value`.

    Args:
        value: from 0 up; infinity is allowed.
        degrees: degrees of freedom, from 1 up.

    Raises:
        ValueError: the value is negative or no number, or there are no degrees of freedom.
    """
    if isnan(value) or value < 0 or degrees < 1:
        raise ValueError(f"no probability within {value} with {degrees} degrees of freedom")
    return 1.0 if value == inf else min(1.0, _within(atan(value / sqrt(degrees)), degrees))


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
