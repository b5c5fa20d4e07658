"""Gates: how the tasks of a load wait for each other.

    Barrier   nobody goes on before all have come; who waits sleeps, or spins in user mode
    Bell      one task spins until somebody rings

A gate is a cache line that its users write; what it remembers is looked at
synchronised.  Spinning costs no events.  A task that sleeps leaves its CPU, which may
become idle: then shootdowns may skip it.
"""

from typing import Literal

from coalsim.cpus.coherence import CacheLine
from coalsim.engine.clock import Op
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Task

LINE = "line:gate"

Waiting = Literal["sleep", "spin"]


class Barrier:
    """A barrier that can be used again and again.

    Args:
        parties: how many tasks meet.
        waiting: what all but the last do: `sleep`, as in pthread_barrier_wait, or `spin`.
    """

    def __init__(self, parties: int, waiting: Waiting = "spin") -> None:
        self._parties = parties
        self._sleeps = waiting == "sleep"
        self._line = CacheLine("barrier")
        self._come = 0
        self._sleeping: list[Task] = []
        self._opened = SpinFlag("barrier")

    def meet(self, task: Task) -> Op[None]:
        """Wait for the others; returns synchronised."""
        yield from write(task, self._line)
        self._come += 1
        if self._come == self._parties:
            yield from self._open(task)
        elif self._sleeps:
            self._sleeping.append(task)
            running = yield from task.system_call("futex")
            yield from task.sleep_until_woken()
            yield from task.system_return(running)
        else:
            yield from task.spin(self._opened)
        yield from task.cpu.sync()

    def _open(self, task: Task) -> Op[None]:
        """The last one has come; whoever comes from now on meets in the next round."""
        self._come = 0
        opened, self._opened = self._opened, SpinFlag("barrier")
        yield from opened.set(task.cpu)
        if self._sleeping:
            sleeping, self._sleeping = self._sleeping, []
            running = yield from task.system_call("futex")
            for other in sleeping:
                yield from task.wake(other)
            yield from task.system_return(running)


class Bell:
    """One task spins until another one rings; ringing is remembered."""

    def __init__(self) -> None:
        self._rung = SpinFlag("bell")

    def listen(self, task: Task) -> Op[None]:
        """Spin until somebody rings, or has rung since the last time; returns synchronised.

        Look again at what was waited for: who rings changes that first.
        """
        yield from task.spin(self._rung)
        yield from task.cpu.sync()
        self._rung = SpinFlag("bell")

    def ring(self, task: Task) -> Op[None]:
        """Let the listener go on; the caller is synchronised.

        So it has just changed what the listener waits for, and rings the bell that is
        listened to at that moment: `listen` puts up another one each time.
        """
        yield from self._rung.set(task.cpu)


def write(task: Task, line: CacheLine) -> Op[None]:
    """Take a line for writing; returns synchronised."""
    cpu = task.cpu
    yield from cpu.sync()
    cpu.charge(line.rmw(cpu) - cpu.clock, LINE)
    yield from cpu.sync()
