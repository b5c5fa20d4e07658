"""Threads and the queue of those that are ready on one processor.

First come, first served, with a time slice counted in timer ticks.  The queue is
shared state: others put threads into it, so its processor synchronises before it
looks.  A thread is a generator that yields the events it waits for, or `PARKED`
to leave the processor; `Cpu.main` drives it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import simpy
from simpy.events import Event

from coalsim.cpus.deadlock import Agent, Blocker
from coalsim.engine.clock import Op

if TYPE_CHECKING:
    from coalsim.cpus.operation import Running

PARKED: Final[Event] = Event(simpy.Environment())
"""What a thread yields to leave its processor; never scheduled."""


class Thread:
    """One thread of execution.

    Args:
        name: for tables.
        body: its generator.
        on_end: called when it has ended, synchronised.
    """

    __slots__ = ("asleep_on", "blocked_on", "body", "cpu", "name", "on_end", "operations", "space")

    def __init__(self, name: str, body: Op[None], on_end: Callable[[], None] | None = None) -> None:
        self.name = name
        self.body = body
        self.on_end = on_end
        self.blocked_on: Blocker | None = None  # the sleeping lock for which it is parked
        self.cpu: Agent | None = None  # the processor that runs it
        self.operations: list[Running] = []  # under way, outermost first
        self.space: object | None = None  # its address space; None: a kernel thread, which uses any
        self.asleep_on: Agent | None = None  # the processor that it left to sleep; nobody has woken it

    @property
    def label(self) -> str:
        """Its name in reports."""
        return f"thread {self.name}"

    def waits_on(self) -> Blocker | None:
        """What it, or the processor that runs it, waits for."""
        if self.blocked_on is None and self.cpu is not None:
            return self.cpu.waits_on()
        return self.blocked_on

    def end(self) -> None:
        """Tell whoever wants to know."""
        if self.on_end is not None:
            self.on_end()


def report_asleep(threads: Sequence[Thread]) -> list[str]:
    """One line for each thing that sleeping threads wait for: who sleeps, and on which processor."""
    sleepers: dict[str, list[str]] = {}
    for thread in threads:
        if thread.asleep_on is not None:
            reason = f", waiting for {thread.blocked_on.describe()}" if thread.blocked_on is not None else ""
            sleepers.setdefault(reason, []).append(f"{thread.label} on {thread.asleep_on.label}")
    return [
        f"{', '.join(names)} {'sleeps' if len(names) == 1 else 'sleep'} until woken{reason}"
        for reason, names in sleepers.items()
    ]


class RunQueue:
    """The ready threads of one processor, in order of arrival.

    Args:
        slice_ticks: timer ticks after which a thread gives the processor to the next one.
    """

    __slots__ = ("_ready", "_slice_ticks", "slice_ends")

    def __init__(self, slice_ticks: int = 1) -> None:
        self._slice_ticks = slice_ticks
        self._ready: deque[Thread] = deque()
        self.slice_ends = slice_ticks  # by the processor's count of ticks; hot paths compare by themselves

    @property
    def is_empty(self) -> bool:
        """Nobody is ready."""
        return not self._ready

    @property
    def ready(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def put(self, thread: Thread) -> None:
        """Add a ready thread at the end."""
        self._ready.append(thread)

    def take(self) -> Thread | None:
        """The thread that is ready longest, if any."""
        return self._ready.popleft() if self._ready else None

    def slice_over(self, ticks: int) -> bool:
        """The running thread has had its slice."""
        return ticks >= self.slice_ends

    def new_slice(self, ticks: int) -> None:
        """A slice begins."""
        self.slice_ends = ticks + self._slice_ticks
