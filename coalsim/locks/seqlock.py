"""The sequence lock: writers take a spinlock, readers take nothing and try again.

    writer: lock, sequence += 1 (odd), body, sequence += 1 (even), unlock
    reader: read sequence (odd: wait), body, read sequence (another one: once more)

The writers' lock is a queued one.  The sequence is a line of its own: a writer's
two increments take it from the readers, and each reader fetches a copy again, so
readers cost each other nothing while nobody writes.  The increments are part of
the writer's hold; because readers touch the sequence without the lock, a writer's
section is played by events and never computed.
A reader's `body` may run several times; it must change nothing.  Its attempts in
vain count as waiting, the last one as holding, in a row of the readers' own.
Source: Linux include/linux/seqlock.h.

Invariant: the sequence is odd iff a writer is inside.
"""

from typing import ClassVar

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Body, LockSetup, Span, SpinLock, Ticket
from coalsim.locks.lockdep import LockClass
from coalsim.locks.queued import QueuedLock
from coalsim.units import Time


class SequenceLock(QueuedLock):
    """Writers first come, first served; readers never hold anybody up."""

    type: ClassVar[str] = "seqlock"
    readers: ClassVar[bool] = True

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self._sequence = 0
        self._sequence_line = CacheLine(f"{name}:sequence")
        self._watchers: list[Cpu] = []  # readers that saw an odd sequence
        self.read_cause = f"lock:{lock_class.name}:read"

    @property
    def is_being_written(self) -> bool:
        """A writer is inside."""
        return self._sequence % 2 == 1

    def acquire(self, cpu: Cpu, site: str) -> Op[None]:
        """Spin until this processor is the writer, and say so to readers."""
        yield from super().acquire(cpu, site)
        yield from self._count(cpu)

    def release(self, cpu: Cpu) -> Op[None]:
        """Let readers in, then the next writer."""
        yield from self._count(cpu)
        watchers, self._watchers = self._watchers, []
        for reader in watchers:
            reader.alarm.arm(cpu.clock + 1)  # its copy is gone; fetching the line costs the reader
        yield from super().release(cpu)

    def section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """Write: as any spinlock's section, by events."""
        return (yield from SpinLock.section(self, cpu, body, longest, site))

    def read_section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """Run `body` until no writer came between; interrupts stay as they are."""
        yield from cpu.sync()
        asked = cpu.clock
        ticket = Ticket(cpu, site)
        yield from self._fetch(cpu, self.line_cause)
        self.note_arrived(ticket)
        while not (yield from self._attempt(cpu, ticket, body)):
            ticket.contended = True
        self._note_read(ticket)
        return asked, cpu.clock

    # -- inside --------------------------------------------------------------------------

    def _count(self, cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        cpu.charge(self._sequence_line.rmw(cpu) - cpu.clock, self.hold_cause)
        yield from cpu.sync()
        self._sequence += 1

    def _fetch(self, cpu: Cpu, cause: str) -> Op[None]:
        cpu.charge(self._sequence_line.read(cpu) - cpu.clock, cause)
        yield from cpu.sync()

    def _attempt(self, cpu: Cpu, ticket: Ticket, body: Body) -> Op[bool]:
        """Read once, having just fetched the sequence; False if a writer came between."""
        while self.is_being_written:
            ticket.contended = True
            self._watchers.append(cpu)
            cpu.blocked_on = self
            yield from self.block(cpu)
            cpu.blocked_on = None
            yield from cpu.sync()  # a handler may have run past the wake-up
            yield from self._fetch(cpu, self.wait_cause)
        ticket.granted, seen, before = cpu.clock, self._sequence, cpu.account[self.read_cause]
        cpu.charge(body(cpu.clock), self.read_cause)
        yield from cpu.sync()
        yield from self._fetch(cpu, self.read_cause)
        if self._sequence == seen:
            return True
        cpu.move_time(self.read_cause, self.wait_cause, cpu.account[self.read_cause] - before)
        return False

    def _note_read(self, ticket: Ticket) -> None:
        cpu, stat = ticket.cpu, self.lock_class.read_stat
        assert stat is not None, "the class of a seqlock is made by SequenceLock.make_class"
        usage = stat.usage(ticket.site)
        if ticket.contended:
            usage.waited(cpu.lock_waits, ticket.granted - ticket.arrived, ticket.last != cpu.id, ticket.ahead)
            if self.waited.listeners:
                self.tell_waited(ticket, stat)
        usage.held(cpu.clock - ticket.granted, ticket.last != cpu.id)
        stat.stolen += cpu.time_stolen - ticket.stolen
