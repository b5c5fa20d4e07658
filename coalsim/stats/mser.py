"""MSER-5: where the warm-up of a run ends.

The values, counts or means of equal stretches of time in the order of time, are averaged in
groups of five.  Cutting more of the beginning takes away bias but leaves fewer groups to
average over; the rule cuts where the squared standard error of the mean of the rest,

    sum over the kept groups of (group - mean of the kept)^2 / (number kept)^2,

is least.  A minimum in the second half says that the run is too short for its warm-up, so the
cut is not to be trusted.  The last fifth of the groups, and no fewer than five, is always kept:
over a handful of groups the statistic is small by chance.

Invariant: sums are exact fractions, so equal minima are seen to be equal and the earliest counts.
Source: White, Cobb and Spratt, "A comparison of five steady-state truncation heuristics for
simulation", Winter Simulation Conference 2000; the rule is White's, Simulation 69, 1997.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

GROUP = 5
LEAST_KEPT = 5
"""Groups that are never cut, however few there are."""
LEAST_VALUES = 2 * LEAST_KEPT * GROUP
"""Of which a cut could say something."""


@dataclass(frozen=True, kw_only=True)
class Truncation:
    """What to cut from the beginning.

    Args:
        cut: values to leave out, a multiple of five.
        kept: values that remain, with those that did not fill a last group.
        statistic: the squared standard error there, in squared units of the values.
        half_cut: the minimum lies in the second half: the cut is not to be trusted.
    """

    cut: int
    kept: int
    statistic: float
    half_cut: bool


def mser5(values: Sequence[int | float]) -> Truncation:
    """The cut that MSER-5 proposes; O(number of values).

    Raises:
        ValueError: fewer than fifty values, ten groups.
    """
    if len(values) < LEAST_VALUES:
        raise ValueError(f"{len(values)} values are too few for MSER-5; it needs {LEAST_VALUES}")
    groups = [
        sum(map(Fraction, values[at : at + GROUP]), Fraction(0)) / GROUP
        for at in range(0, len(values) - GROUP + 1, GROUP)
    ]
    least_kept = max(LEAST_KEPT, len(groups) // 5)
    total = squares = Fraction(0)
    best, cut = Fraction(-1), 0
    for at in reversed(range(len(groups))):
        total += groups[at]
        squares += groups[at] ** 2
        kept = len(groups) - at
        statistic = (squares - total**2 / kept) / kept**2
        if kept >= least_kept and (best < 0 or statistic <= best):
            best, cut = statistic, at
    return Truncation(
        cut=cut * GROUP,
        kept=len(values) - cut * GROUP,
        statistic=float(best),
        half_cut=2 * cut > len(groups),
    )
