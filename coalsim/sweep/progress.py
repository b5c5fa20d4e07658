"""Progress of a sweep: how far it is, what each worker does, how long it may still take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coalsim.sweep.pools import WorkerState


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A sweep at one moment.

    Args:
        done, total: runs; with a stopping rule the total may still grow.
        failed: runs among those done that are not well.
        points_done, points: points that need no more runs, and all.
        workers: what each does.
        elapsed: seconds since this command began; left: seconds that it may still take, None if unknown.
    """

    done: int
    total: int
    failed: int
    points_done: int
    points: int
    workers: Sequence[WorkerState]
    elapsed: float
    left: float | None


Watch = Callable[[Snapshot], None]
"""Told now and then how far a sweep is."""


def time_left(done_now: int, left: int, elapsed: float) -> float | None:
    """Seconds that the runs that are left take at the pace so far; None if there is no pace yet."""
    return elapsed / done_now * left if done_now and elapsed > 0 else None
