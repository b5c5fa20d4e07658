"""When there are enough replications: the interval is narrow enough, or the budget ends.

A rule that looks after every run stops early just when the spread happens to look small, so
the intervals at which it stops hold the truth less often than they say.  Two things keep that
small.  No stop before `least` runs: from 3 on, 95 % intervals of normal values hold the truth in
as little as 90 %, from 5 on in 92 %, from 10 on in 93 %.  And the half width that is compared is
widened by the factor sqrt(1 + CAUTION / runs), which matters while runs are few, brings the
last figure to 94 %, and vanishes as they grow.  The interval that is reported is the plain one.

Invariant: a verdict depends on the values alone, not on their order, so it is the same however
the runs were spread over processes.
Source: sequential intervals of fixed width, Chow and Robbins, Annals of Mathematical Statistics
36, 1965; that a correction of the order 1 / runs is what small samples need, Anscombe, Biometrika
36, 1949, and Law and Kelton, Operations Research 30, 1982.  CAUTION and the default
of `least` were chosen by experiment; `tests/stats/test_coverage.py` repeats it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import sqrt

from coalsim.stats.student import Interval, interval

CAUTION = 2.0
DEFAULT_RELATIVE = 0.02
DEFAULT_CONFIDENCE = 0.95
DEFAULT_LEAST = 10
DEFAULT_MOST = 40


class Decision(Enum):
    """What to do after some runs."""

    GO_ON = "go_on"
    NARROW = "narrow"
    BUDGET = "budget"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A decision and the interval that it was made on."""

    decision: Decision
    interval: Interval

    @property
    def is_over(self) -> bool:
        """No more runs."""
        return self.decision is not Decision.GO_ON


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """Run until half the width of the interval over the mean is at most `relative`.

    Args:
        relative: above 0; 0.02 means within 2 % of the mean.
        confidence: of the interval, between 0 and 1.
        least: runs before which the rule does not stop, from 2 up.
        most: runs after which it does, from `least` up.

    Raises:
        ValueError: there is no such rule.
    """

    relative: float = DEFAULT_RELATIVE
    confidence: float = DEFAULT_CONFIDENCE
    least: int = DEFAULT_LEAST
    most: int = DEFAULT_MOST

    def __post_init__(self) -> None:
        if not self.relative > 0:
            raise ValueError(f"a relative half width is above 0, not {self.relative}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"a confidence lies between 0 and 1, not at {self.confidence}")
        if not 2 <= self.least <= self.most:
            raise ValueError(f"2 <= least <= most does not hold for {self.least} and {self.most} runs")

    def verdict(self, values: Sequence[int | float]) -> Verdict:
        """What to do after these runs.

        Raises:
            ValueError: no values.
        """
        found = interval(values, self.confidence)
        if found.count >= self.least and self._is_narrow(found):
            return Verdict(decision=Decision.NARROW, interval=found)
        over = found.count >= self.most
        return Verdict(decision=Decision.BUDGET if over else Decision.GO_ON, interval=found)

    def _is_narrow(self, found: Interval) -> bool:
        assert found.half_width is not None, "there are at least two values"
        cautious = found.half_width * sqrt(1 + CAUTION / found.count)
        return cautious <= self.relative * abs(found.mean)
