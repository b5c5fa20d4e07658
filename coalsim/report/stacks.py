"""Scalability stacks: which part of the CPUs' time goes to which cause, point by point.

Only CPUs that ran something count, over all runs of a point; causes that are small everywhere are put
together as `OTHER`.

Invariant: the shares of a point, in thousandths of a percent, add up to `WHOLE` exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from coalsim.analysis.stacks import Stack, apportioned, stack_of
from coalsim.sweep.results import StudyResults

WHOLE = 100_000
MOST_CAUSES = 9
OTHER = "other"
"""What is left; no cause has this name, they begin with a word of the kernel's."""


@dataclass(frozen=True, kw_only=True)
class Stacks:
    """The stacks of a study.

    Args:
        causes: what is stacked, from the bottom up: the largest first, the rest at the end.
        shares: for each point its causes' shares in thousandths of a percent; None if no run is done.
        per_operation: for each point the CPU time that an operation takes, in ns; None if there are none.
    """

    causes: tuple[str, ...]
    shares: tuple[tuple[int, ...] | None, ...]
    per_operation: tuple[float | None, ...]


def stacks_of(results: StudyResults) -> Stacks:
    """The stacks of all points."""
    stacks = [stack_of(point.runs, group_by=str) for point in results.points]
    weights: dict[str, float] = {}
    for stack in stacks:
        for cause, share in stack.shares().items():
            if share:
                weights[cause] = weights.get(cause, 0.0) + float(share)
    largest = sorted(weights, key=lambda cause: (-weights[cause], cause))
    shown = largest if len(largest) <= MOST_CAUSES + 1 else largest[:MOST_CAUSES]
    causes = (*shown, *([OTHER] if len(largest) > len(shown) else []))
    return Stacks(
        causes=causes,
        shares=tuple(_shares(stack, shown, len(causes)) for stack in stacks),
        per_operation=tuple(_per_operation(stack) for stack in stacks),
    )


def _shares(stack: Stack, shown: Sequence[str], count: int) -> tuple[int, ...] | None:
    """Shares of the shown causes and the rest, rounded so that they add up."""
    shares = stack.shares()
    if not shares:
        return None
    parts = [shares.get(cause, Fraction(0)) for cause in shown]
    parts += [1 - sum(parts, Fraction(0))] * (count - len(shown))
    return tuple(apportioned(parts, WHOLE))


def _per_operation(stack: Stack) -> float | None:
    times = stack.per_operation()
    return float(sum(times.values(), Fraction(0))) if times else None
