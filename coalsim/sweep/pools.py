"""Pool: who does the runs; and the plainest one, which does them here.

The coordinator hands tasks to a pool as long as it has room and takes rows as they come.  What
becomes of a worker that dies is the pool's business: each task that was handed in comes out as
exactly one row.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from coalsim.sweep.rows import Pilots, Row, Task, run_task


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """What a worker does.

    Args:
        name: of the worker.
        task: what it runs; None while it starts or waits.
        since: seconds that it has done so.
    """

    name: str
    task: Task | None
    since: float


class Pool(Protocol):
    """Who does the runs; a context manager that leaves no process behind."""

    def room(self) -> int:
        """How many more tasks it takes without letting them wait."""

    def submit(self, task: Task) -> None:
        """Take a task."""

    def wait(self, seconds: float) -> Sequence[Row]:
        """The rows that are there, waiting for the first one for at most so long."""

    def states(self) -> Sequence[WorkerState]:
        """What its workers do."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Serial:
    """Runs in this process, one after the other: for debuggers and profilers.

    Nothing protects the study from a run that hangs or that takes the process with it.
    """

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._pilots: Pilots = {}

    def room(self) -> int:
        """One at a time."""
        return 1 - len(self._tasks)

    def submit(self, task: Task) -> None:
        """Take a task; `wait` does it."""
        self._tasks.append(task)

    def wait(self, seconds: float) -> Sequence[Row]:
        """Do one run, however long it takes."""
        return [run_task(self._tasks.popleft(), self._pilots)] if self._tasks else []

    def states(self) -> Sequence[WorkerState]:
        """Asked between two runs: there is nothing to tell."""
        return [WorkerState(name="1", task=task, since=0.0) for task in self._tasks]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.clear()


def seconds_since(began: float) -> float:
    """Host seconds since a moment of `time.monotonic`."""
    return monotonic() - began
