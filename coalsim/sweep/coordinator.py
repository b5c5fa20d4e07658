"""Coordinator: takes what is to do to a pool, and what comes back to the store.

Resuming, extending and repeating a study are one and the same: whatever has a settled row is not
done again.  Killed at any moment, the coordinator loses what its workers were just doing and
nothing else; a row is written before the next task is given away.

Invariant: this is the only place that writes rows.
"""

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from coalsim.sweep.agenda import Agenda
from coalsim.sweep.manifest import Manifest, plain
from coalsim.sweep.points import Point
from coalsim.sweep.pools import Pool
from coalsim.sweep.progress import Snapshot, Watch, time_left
from coalsim.sweep.rows import Row, Task

if TYPE_CHECKING:
    from coalsim.sweep.sweep_spec import SweepSpec

PATIENCE_S = 0.5
"""How long to wait for a row before telling the progress again."""


class RowKeeper(Protocol):
    """Where rows are kept: the store, or the file of a shard."""

    def rows(self) -> Iterable[Row]:
        """All that are there."""

    def put(self, row: Row) -> None:
        """Keep one for good."""


class TaskMaker:
    """Makes the tasks of a study; the configuration of a point is made once for its replications."""

    def __init__(self, spec: "SweepSpec") -> None:
        self._spec = spec
        self._last: tuple[str, dict[str, object]] = ("", {})

    def __call__(self, point: Point, key: str, replication: int, seed: int) -> Task:
        """The task of a run."""
        if self._last[0] != point.key:
            self._last = (point.key, plain(self._spec.task_config(point)))
        return Task(
            key=key,
            point=point.key,
            replication=replication,
            seed=seed,
            config=self._last[1],
            trust=self._spec.trust,
            max_input=self._spec.max_input,
        )


def agenda_of(spec: "SweepSpec", manifest: Manifest, rows: Iterable[Row], points: Sequence[Point]) -> Agenda:
    """What is to do of some points of a study, with the rows that are there."""
    return Agenda(points, manifest.demand, rows, TaskMaker(spec))


def run_agenda(agenda: Agenda, keeper: RowKeeper, pool: Pool, watch: Watch | None = None) -> None:
    """Do all that is to do.

    Args:
        agenda: what that is.
        keeper: where rows go.
        pool: who does it; the caller opens and closes it.
        watch: told the progress.

    Raises:
        KeyboardInterrupt: somebody asked to end; all rows that had come are kept.
        ConfigError: the workers cannot work.
    """
    began, under_way, done_now = monotonic(), 0, 0

    def keep(rows: Iterable[Row]) -> None:
        nonlocal under_way, done_now
        for row in rows:
            keeper.put(row)
            agenda.ended(row)
            under_way -= 1
            done_now += 1

    def tell() -> None:
        if watch is not None:
            elapsed = monotonic() - began
            done, total = agenda.done, agenda.total
            watch(
                Snapshot(
                    done=done,
                    total=total,
                    failed=agenda.failed,
                    points_done=agenda.points_done,
                    points=agenda.points,
                    workers=pool.states(),
                    elapsed=elapsed,
                    left=time_left(done_now, total - done, elapsed),
                )
            )

    told = began
    try:
        while True:
            while pool.room() > 0 and (task := agenda.next()) is not None:
                under_way += 1
                pool.submit(task)
            if not under_way:
                break
            if monotonic() - told >= PATIENCE_S:
                tell()
                told = monotonic()
            keep(pool.wait(PATIENCE_S))
        tell()
    except KeyboardInterrupt:
        keep(pool.wait(0.0))
        raise
