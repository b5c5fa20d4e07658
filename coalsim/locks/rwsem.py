"""The reader-writer semaphore: readers together, writers alone, waiters sleep.

    count: writer bit, readers, waiters, hand-off     one read-modify-write to get in or out

A reader gets in unless a writer has it, or readers have it and somebody waits (so a
stream of readers does not starve a writer), or a hand-off is due.  Readers do not
spin (since 5.11).  A writer gets in when it is free; it spins while another writer
has it and runs, or while readers have it.  After 25 us of that
readers wait behind it, as they do behind sleepers; in the kernel it goes to sleep then.
A release that leaves it free hands it to a spinning writer if there is one, else
looks at the first sleeper: a writer is woken and tries by itself; a reader is let in
together with all the readers that sleep (256 at most), already holding it.
A sleeper that has waited for more than 4 ms is handed the lock.
Readers and writers have rows of their own in the statistics.
Source: Linux kernel/locking/rwsem.c.

Invariant: `_admitted` readers are in or on their way in; if there are any, there is
no owner.
"""

from collections.abc import Sequence
from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import Agent
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.errors import LockMisuse
from coalsim.locks.base import Body, LockSetup, Span
from coalsim.locks.lockdep import LockClass
from coalsim.locks.lockstat import LockStat
from coalsim.locks.sleeping import Sleeper, SleepingLock
from coalsim.units import MS, US, Time

HANDOFF_AFTER: Time = 4 * MS  # RWSEM_WAIT_TIMEOUT
SPIN_FOR_READERS: Time = 25 * US  # the most that rwsem_rspin_threshold allows
LARGEST_GROUP = 256  # MAX_READERS_WAKEUP


class RwSemaphore(SleepingLock):
    """Many readers or one writer."""

    type: ClassVar[str] = "rwsem"
    readers: ClassVar[bool] = True

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self._admitted = 0  # readers that are in, or were let in while they slept
        self._reading: dict[Thread, Sleeper] = {}

    @property
    def is_free(self) -> bool:
        """Neither a writer nor readers have it."""
        return self._owner is None and not self._admitted

    def wants_handoff(self, sleeper: Sleeper) -> bool:
        """A sleeper is patient for 4 ms."""
        return sleeper.cpu.env._now - sleeper.arrived > HANDOFF_AFTER

    def _may_spin(self, me: Sleeper) -> bool:
        """As in the base class; readers are taken to run, for nobody sleeps with a read lock."""
        if self._owner is None and self._admitted:
            return not me.is_reader and me.cpu.queue.is_empty
        return super()._may_spin(me)

    def acquire_read(self, cpu: Cpu, site: str) -> Op[None]:
        """Wait until the running thread may read."""
        me = yield from self.arrive(cpu, site, is_reader=True)
        if self._lets_readers_in(cpu):
            self._admitted += 1
        else:
            me.contended = True
            self._sleepers.append(me)
            yield from self.sleep(me)
            me.granted = cpu.clock
        self._reading[me.thread] = me
        self.note_granted(me)
        cpu.charge(self.setup.taking, self.hold_cause)

    def try_read(self, cpu: Cpu, site: str) -> Op[bool]:
        """Read if that is possible at once; whether it was."""
        me = yield from self.arrive(cpu, site, is_reader=True)
        if not self._lets_readers_in(cpu):
            return False
        self._admitted += 1
        self._reading[me.thread] = me
        self.note_granted(me)
        cpu.charge(self.setup.taking, self.hold_cause)
        return True

    def _lets_readers_in(self, cpu: Cpu) -> bool:
        """No writer has the lock or is to have it before new readers."""
        return (
            self._owner is None and not self._handoff and not (self._admitted and self._somebody_waits(cpu))
        )

    def _somebody_waits(self, cpu: Cpu) -> bool:
        """New readers have to queue: somebody sleeps, or a writer has spun for long."""
        if self._sleepers:
            return True
        return bool(self._spinners) and cpu.env._now - self._spinners[0].arrived > SPIN_FOR_READERS

    def release_read(self, cpu: Cpu) -> Op[None]:
        """Stop reading; the last reader passes the lock on."""
        thread = cpu.current
        if thread is None or thread not in self._reading:
            raise LockMisuse(f"CPU {cpu.id} ends a read of {self.lock_class.name} that it has not begun")
        yield from self.write_word(cpu)
        self.note_released(self._reading.pop(thread), self._read_stat)
        self._admitted -= 1
        if self.is_free:
            yield from self._wake(cpu, self.pass_on(cpu))

    def downgrade(self, cpu: Cpu) -> Op[None]:
        """The writer goes on as a reader: readers that sleep get in, writers wait on.

        Raises:
            LockMisuse: the running thread does not have it for writing.
        """
        writer, thread = self.holder, cpu.current
        if writer is None or thread is None or writer.cpu is not cpu:
            raise LockMisuse(f"CPU {cpu.id} downgrades {self.lock_class.name}, which it does not write")
        yield from self.write_word(cpu)
        self.note_left(cpu)
        self._owner = None
        self._admitted += 1
        me = self._reading[thread] = Sleeper(cpu, writer.site, is_reader=True)
        self.note_arrived(me)
        self.note_granted(me)
        if self._sleepers and self._sleepers[0].is_reader:
            yield from self._wake(cpu, self._admit_readers())

    def read_section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """Run `body` beside other readers, with interrupts on."""
        yield from cpu.sync()
        asked = cpu.clock
        yield from self.acquire_read(cpu, site)
        yield from cpu.sync()
        cpu.charge(body(cpu.clock), self.hold_cause)
        yield from self.release_read(cpu)
        yield from cpu.sync()
        return asked, cpu.clock

    def pass_on(self, cpu: Cpu) -> list[Sleeper]:
        """As in the base class, but readers are let in as a group."""
        first = self._sleepers[0] if self._sleepers else None
        if first is None or not first.is_reader:
            return super().pass_on(cpu)
        if self._spinners and not self._handoff:
            self._owner = self._spinners.popleft()
            self.grant(self._owner, self._owner.cpu.transfer[cpu.id])
            self._handoff = self.wants_handoff(first)
            return []
        self._handoff = False
        self.send_spinners_to_sleep(cpu)
        return self._admit_readers()

    def _admit_readers(self) -> list[Sleeper]:
        group = [sleeper for sleeper in self._sleepers if sleeper.is_reader][:LARGEST_GROUP]
        for reader in group:
            self._sleepers.remove(reader)
            reader.asleep = False
        self._admitted += len(group)
        return group

    @property
    def is_passing_on(self) -> bool:
        """Its next owner, or a reader that was let in while it slept, is on the way."""
        return super().is_passing_on or self._admitted > len(self._reading)

    @property
    def _read_stat(self) -> LockStat:
        stat = self.lock_class.read_stat
        assert stat is not None, "the class of an rwsem is made by RwSemaphore.make_class"
        return stat

    def blockers(self) -> Sequence[Agent]:
        """The writer, or all readers."""
        return super().blockers() or list(self._reading)

    def describe(self) -> str:
        """Which lock, and who has it."""
        if self.holder is None and self._reading:
            names = ", ".join(f"{thread.label} since {me.site}" for thread, me in self._reading.items())
            return f"rwsem {self.name} (read by {names})"
        return super().describe()
