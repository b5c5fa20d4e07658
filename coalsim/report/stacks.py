"""Scalability stacks: which part of the CPUs' time goes to which cause, point by point.

Only CPUs that ran something count, over all runs of a point; causes that are small everywhere are put
together as `OTHER`.

Invariant: the shares of a point, in thousandths of a percent, add up to `WHOLE` exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from coalsim.observe.where import added, used_cpus
from coalsim.sweep.results import PointResults, StudyResults

if TYPE_CHECKING:
    from coalsim.observe.document import ResultDocument

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
    times = [_times(point) for point in results.points]
    weights: dict[str, float] = {}
    for found in times:
        whole = float(sum(found.values()))
        for cause, time in found.items():
            weights[cause] = weights.get(cause, 0.0) + float(time) / whole
    largest = sorted(weights, key=lambda cause: (-weights[cause], cause))
    shown = largest if len(largest) <= MOST_CAUSES + 1 else largest[:MOST_CAUSES]
    causes = (*shown, *([OTHER] if len(largest) > len(shown) else []))
    return Stacks(
        causes=causes,
        shares=tuple(_shares(found, shown, len(causes)) for found in times),
        per_operation=tuple(
            _per_operation(point, found) for point, found in zip(results.points, times, strict=True)
        ),
    )


def _times(point: PointResults) -> dict[str, Fraction]:
    """CPU time by cause over all runs of a point, in ps; exact, so that their order does not matter."""
    total: dict[str, Fraction] = {}
    for run in point.runs:
        for cause, time in _causes(run).items():
            if time:
                total[cause] = total.get(cause, Fraction(0)) + Fraction(time)
    return total


def _causes(run: "ResultDocument") -> Mapping[str, float]:
    return added(run["time"], used_cpus(run["time"])) if run["time"] else {}


def _shares(times: Mapping[str, Fraction], shown: Sequence[str], count: int) -> tuple[int, ...] | None:
    """Shares of the shown causes and the rest, rounded so that they add up."""
    whole = sum(times.values(), Fraction(0))
    if not whole:
        return None
    parts = [times.get(cause, Fraction(0)) for cause in shown]
    parts += [whole - sum(parts)] * (count - len(shown))
    exact = [part * WHOLE / whole for part in parts]
    rounded = [int(part) for part in exact]
    by_rest = sorted(range(count), key=lambda at: (rounded[at] - exact[at], at))
    for at in by_rest[: WHOLE - sum(rounded)]:
        rounded[at] += 1
    return tuple(rounded)


def _per_operation(point: PointResults, times: Mapping[str, Fraction]) -> float | None:
    operations = sum((Fraction(run["throughput"]["ops"]) for run in point.runs), Fraction(0))
    return float(sum(times.values(), Fraction(0)) / operations / 1000) if operations and times else None
