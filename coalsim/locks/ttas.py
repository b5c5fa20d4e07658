"""Test-and-test-and-set with exponential backoff: waiters spin on their own copies.

    swap --won--> held
    swap --lost--> back off --> read: taken --> spin on the copy --invalidated--> read
                                read: free  --> swap

A waiter reads the word and, while it is taken, spins on its copy, which costs
nobody anything.  The release's store invalidates all copies; every spinner reads
the line again, sees the lock free and swaps.  All these reads and swaps are played
out on the line, which serves them one at a time: one swap wins, the others have
delayed it and back off.  After its n-th lost swap a waiter pauses for a random
number of 1 to 2^n (n up to 10) spin-wait hints, drawn from a stream of its
processor's own, before it reads again.
Which spinner's read is served first is drawn from the lock's stream: their copies
are invalidated 1 ps apart in that order.
Source: Anderson, "The performance of spin lock alternatives for shared-memory
multiprocessors", IEEE TPDS 1(1), 1990.

Invariant: `_taken` is what the lock word says; a spinner has read it as taken.
"""

from random import Random

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import LockSetup, SpinLock, Ticket
from coalsim.locks.lockdep import LockClass
from coalsim.units import CpuId, Time

MOST_DOUBLINGS = 10


class TtasLock(SpinLock):
    """Unfair; all spinners race for the line at each release."""

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self._taken = False
        self._spinners: list[Ticket] = []
        self._order = setup.streams.stream(f"ttas:{name}")
        self._pauses: dict[CpuId, Random] = {}

    def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Swap; after a lost swap watch the word before the next."""
        yield from self.swap(cpu, ticket)
        lost = 0
        while self._taken:
            ticket.contended = True
            lost += 1
            yield from self._back_off(cpu, lost)
            yield from self._watch(cpu, ticket)
            yield from self._done(cpu, self.line.rmw(cpu))
        self._taken = True
        ticket.granted = cpu.clock

    def leave(self, cpu: Cpu) -> Op[None]:
        """Store into the word, which takes every copy away."""
        stored = self.line.rmw(cpu)
        cpu.charge(stored - cpu.clock, self.line_cause)
        yield from cpu.sync()
        self._taken = False
        spinners, self._spinners = self._spinners, []
        drawn = sorted(spinners, key=lambda _: self._order.random())
        for place, spinner in enumerate(drawn, start=1):
            spinner.cpu.alarm.arm(cpu.clock + place)

    @property
    def is_passing_on(self) -> bool:
        """Taken though nobody holds it: the release's store is on its way."""
        return self._taken

    def _back_off(self, cpu: Cpu, lost: int) -> Op[None]:
        stream = self._pauses.get(cpu.id)
        if stream is None:
            stream = self._pauses[cpu.id] = self.setup.streams.stream(f"ttas:{self.name}:backoff", cpu.id)
        hints = 1 + int(stream.random() * (1 << min(lost, MOST_DOUBLINGS)))
        cpu.charge(hints * self.setup.pause, self.wait_cause)
        yield from cpu.sync()

    def _watch(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Spin on a copy of the word until it reads free."""
        yield from self._done(cpu, self.line.read(cpu))
        while self._taken:
            self._spinners.append(ticket)
            yield from self.block(cpu)
            yield from cpu.sync()  # a handler may have run past the wake-up
            yield from self._done(cpu, self.line.read(cpu))

    def _done(self, cpu: Cpu, at: Time) -> Op[None]:
        """Wait for a read or swap of the line."""
        cpu.charge(at - cpu.clock, self.wait_cause)
        yield from cpu.sync()
