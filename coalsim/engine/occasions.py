"""Occasions: at which of many chances an injected fault happens.

    nth=5      at the fifth chance, once            every=100   at each hundredth
    share=1%   at each chance with this probability  times=3     three times at the most

Without nth, every and share it happens at every chance.  Probabilities are drawn from a stream
of the rule's own, one draw for each chance, so the same chances have the same faults whatever
else a study changes.

Who asks has to ask in an order that all modes share: synchronised, or under a lock.
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, kw_only=True)
class When:
    """Which chances are taken; 0: no such condition."""

    nth: int = 0
    every: int = 0
    share: float = 0.0  # of 1
    times: int = 0


class Occasions:
    """Counts the chances of one rule.

    Args:
        when: which are taken.
        stream: of the rule.
    """

    __slots__ = ("_stream", "_when", "chances", "taken")

    def __init__(self, when: When, stream: Random) -> None:
        self._when = when
        self._stream = stream
        self.chances = 0
        self.taken = 0

    def is_now(self) -> bool:
        """One more chance: whether it is taken."""
        when = self._when
        self.chances += 1
        takes = (
            (not when.nth or self.chances == when.nth)
            and (not when.every or self.chances % when.every == 0)
            and (not when.share or self._stream.random() < when.share)
            and (not when.times or self.taken < when.times)
        )
        self.taken += takes
        return takes
