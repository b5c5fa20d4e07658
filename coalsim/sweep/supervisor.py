"""LocalPool: worker processes on this host, and what becomes of those that die or hang.

Each worker has one task at a time, so it is known which run took a worker with it:

    a worker dies           its run is begun again, on another worker; one that it had not begun is not blamed
    the same run once more  the run is marked `crashed`; the others go on
    a run takes too long    its worker is killed, the run marked `timeout`
    it writes what is none  a class has found the pipe: as if the worker had died
    workers do not begin    three in a row end the study: the host is at fault, no run is

One thread per worker reads its pipe; all else happens in the thread that calls.  Workers are
programs of their own (`worker.py`) and inherit nothing but pipes: BLAS and OpenMP use one thread
each, for the processes already keep the cores busy.

Invariant: every task that was submitted comes out of `wait` as one row.
"""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import IO, Self

from coalsim.errors import ConfigError, Problem
from coalsim.sweep.named_files import with_own_code
from coalsim.sweep.pools import WorkerState
from coalsim.sweep.rows import CRASHED, TIMEOUT, Row, Task, row_of
from coalsim.sweep.worker import begun_line, row_from, task_line

MOST_CRASHES = 2
MOST_FAILED_STARTS = 3
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_PROGRAM = "import sys; sys.path[:] = {path!r}; from coalsim.sweep.worker import main; main()"


@dataclass(eq=False)
class _Worker:
    """One process."""

    name: str
    process: "subprocess.Popen[bytes]"
    task: Task | None = None
    began: float = field(default_factory=monotonic)
    is_ready: bool = False
    has_begun: bool = False  # with the task

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None, "workers are started with pipes"
        return self.process.stdin


class LocalPool:
    """Worker processes on this host.

    Args:
        jobs: how many.
        timeout: host seconds that one run may take; None is any time.
    """

    def __init__(self, jobs: int, timeout: float | None = None) -> None:
        self._jobs = jobs
        self._timeout = timeout
        self._workers: list[_Worker] = []
        self._waiting: deque[Task] = deque()
        self._crashes: dict[str, int] = {}  # by key of the run
        self._mail: SimpleQueue[tuple[_Worker, bytes]] = SimpleQueue()  # an empty line: the pipe has ended
        self._rows: list[Row] = []
        self._failed_starts = 0

    def room(self) -> int:
        """Workers that have nothing to do."""
        busy = sum(worker.task is not None for worker in self._workers)
        return self._jobs - busy - len(self._waiting)

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._waiting.append(task)
        self._hand_out()

    def wait(self, seconds: float) -> Sequence[Row]:
        """The rows that are there, waiting for the first one for at most so long.

        Raises:
            ConfigError: several in a row ended before they began with a run.
        """
        until = monotonic() + seconds
        while not self._rows:
            self._end_the_late()
            left = min([until, *self._deadlines()]) - monotonic()
            try:
                worker, line = self._mail.get(timeout=max(left, 0.0))
            except Empty:
                if monotonic() >= until:
                    break
                continue
            self._opened(worker, line)
            while not self._mail.empty():
                self._opened(*self._mail.get())
        self._end_the_late()
        rows, self._rows = self._rows, []
        return rows

    def states(self) -> Sequence[WorkerState]:
        """What each worker does."""
        now = monotonic()
        return [
            WorkerState(name=worker.name, task=worker.task, since=now - worker.began)
            for worker in sorted(self._workers, key=lambda worker: int(worker.name))
        ]

    def process_ids(self) -> tuple[int, ...]:
        """The processes of the workers."""
        return tuple(worker.process.pid for worker in self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, also in the middle of a run."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            _bury(worker)

    def _deadlines(self) -> list[float]:
        if self._timeout is None:
            return []
        return [worker.began + self._timeout for worker in self._workers if worker.task is not None]

    def _hand_out(self) -> None:
        """Give waiting tasks to idle workers; start one for each that nobody is there for."""
        for worker in self._workers:
            if self._waiting and worker.is_ready and worker.task is None:
                self._give(worker, self._waiting.popleft())
        starting = sum(not worker.is_ready for worker in self._workers)
        for _ in range(min(len(self._waiting) - starting, self._jobs - len(self._workers))):
            self._start()

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.task, worker.began, worker.has_begun = task, monotonic(), False
        try:
            worker.stdin.write(task_line(task))
            worker.stdin.flush()
        except OSError:  # it died while it was idle; its pipe's end tells us, and the run was never begun
            worker.task = None
            worker.is_ready = False
            self._waiting.appendleft(task)

    def _start(self) -> None:
        taken = {worker.name for worker in self._workers}
        name = next(str(number) for number in range(1, self._jobs + 1) if str(number) not in taken)
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(ONE_THREAD, "1")},
        )
        worker = _Worker(name=name, process=process)
        self._workers.append(worker)
        Thread(target=_read, args=(worker, self._mail), daemon=True).start()

    def _opened(self, worker: _Worker, line: bytes) -> None:
        """What a worker wrote; nothing from one that we have ended."""
        if worker not in self._workers:
            return
        if not line:
            self._died(worker)
        elif not worker.is_ready:
            assert "ready" in json.loads(line), "a worker says first that it is ready"
            worker.is_ready = True
        elif worker.task is not None and not worker.has_begun and line == begun_line(worker.task):
            worker.has_begun, self._failed_starts = True, 0
        else:
            self._answered(worker, line)
        self._hand_out()

    def _answered(self, worker: _Worker, line: bytes) -> None:
        """What a worker wrote is the row of its task, or else nobody knows what state it is in."""
        try:
            row = row_from(line)
            is_sound = worker.task is not None and worker.has_begun and row.key == worker.task.key
        except (ValueError, TypeError, RecursionError):
            is_sound = False
        if is_sound:
            self._rows.append(replace(row, attempts=self._crashes.pop(row.key, 0) + 1))
            worker.task, worker.began = None, monotonic()
            return
        self._workers.remove(worker)
        worker.process.kill()
        _bury(worker)
        self._lost(worker, "by us, for it wrote what is no result")

    def _died(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        _bury(worker)
        self._lost(worker, how_it_ended(worker.process.returncode))

    def _lost(self, worker: _Worker, how: str) -> None:
        """A worker is gone: its run may be to blame, or, if it had not begun with one, the host."""
        if worker.task is not None and worker.has_begun:
            self._blame(worker.task, how)
            return
        if worker.task is not None:
            self._waiting.appendleft(worker.task)
        if worker.task is not None or not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                message = f"{MOST_FAILED_STARTS} workers in a row ended before they began, at last {how}"
                remedy = "see what they wrote above, and the limits on memory and processes"
                raise ConfigError([Problem(where="--jobs", message=message, remedy=remedy)])

    def _blame(self, task: Task, how: str) -> None:
        """A run took its worker with it; the second time it is the run's own doing."""
        crashes = self._crashes[task.key] = self._crashes.get(task.key, 0) + 1
        if crashes < MOST_CRASHES:
            self._waiting.appendleft(task)
            return
        error = f"its process ended {crashes} times, at last {how}{with_own_code(task.config)}"
        self._rows.append(replace(row_of(task, CRASHED, error=error), attempts=crashes))
        del self._crashes[task.key]

    def _end_the_late(self) -> None:
        """Kill the workers whose run takes longer than it may."""
        if self._timeout is None:
            return
        now = monotonic()
        for worker in [*self._workers]:
            if worker.task is not None and now - worker.began >= self._timeout:
                self._workers.remove(worker)
                worker.process.kill()
                _bury(worker)
                own = with_own_code(worker.task.config)
                error = f"it had not ended after {self._timeout:g} s of host time{own}"
                row = row_of(worker.task, TIMEOUT, error=error, host_s=now - worker.began)
                self._rows.append(replace(row, attempts=self._crashes.pop(row.key, 0) + 1))
                self._hand_out()


def how_it_ended(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _bury(worker: _Worker) -> None:
    """Wait for a process that has ended or was killed, and close its pipes."""
    worker.process.wait()
    with suppress(OSError):  # what was still to be written has no reader any more
        worker.stdin.close()


def _read(worker: _Worker, mail: "SimpleQueue[tuple[_Worker, bytes]]") -> None:
    """Read a worker's lines until its pipe ends."""
    pipe = worker.process.stdout
    assert pipe is not None, "workers are started with pipes"
    with pipe:
        for line in pipe:
            if line.endswith(b"\n"):
                mail.put((worker, line))
    mail.put((worker, b""))
