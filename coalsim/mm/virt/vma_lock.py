"""The lock of one area, and the lock of a range of pages.

    area    readers (faults) count themselves in and out: two read-modify-writes of one line
            per fault; a writer, who has the space's lock, marks the area and waits for them
    range   everybody takes the pages that he works on, and waits for whoever has one of them

A reader never waits: it finds the area marked and falls back to the space's lock.  The
mark goes when the writer gives the space's lock up, or lowers it to reading.
Source: Linux include/linux/mmap_lock.h (vma_start_read, vma_start_write, mm_lock_seq);
Clements et al., "RadixVM", EuroSys 2013 (locks on ranges of the radix tree).

Invariant: readers are not negative; while a writer works there are none.
Shared state: `sync` before every use; the state changes when the line is asked for,
in the order in which it serves.
"""

from collections.abc import Sequence

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import Agent
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.locks.nap import make_ready
from coalsim.locks.sleeping import park_holding
from coalsim.units import CpuId, Time

AREA_LINE = "line:vma_lock"
AREA_WAIT = "lock:vma_lock:wait"
RANGE_WAIT = "lock:range:wait"
RANGE_HOLD = "lock:range:hold"


class AreaLock:
    """One area's lock."""

    __slots__ = ("_sleeper", "_waiting", "line", "readers", "written_at")

    def __init__(self) -> None:
        self.line = CacheLine("vma_lock")
        self.readers = 0
        self.written_at = -1  # the space's write sequence at which it was marked
        self._waiting: Cpu | None = None
        self._sleeper: tuple[Cpu, Thread] | None = None

    def try_read(self, cpu: Cpu, sequence: int, taking: Time) -> bool:
        """Count in, unless a writer has marked the area in the present write sequence; synchronised.

        The mark is read first, so who finds it takes the line from nobody.
        """
        if self.written_at == sequence:
            cpu.charge(self.line.read(cpu) - cpu.clock, AREA_LINE)
            return False
        cpu.charge(self.line.rmw(cpu) - cpu.clock + taking, AREA_LINE)
        self.readers += 1
        return True

    def end_read(self, cpu: Cpu, releasing: Time) -> Op[None]:
        """Count out; the last reader lets a waiting writer go on."""
        yield from cpu.sync()
        self.end_read_now(cpu, releasing)

    def end_read_now(self, cpu: Cpu, releasing: Time) -> None:
        """The same, synchronised."""
        done = self.line.rmw(cpu)
        self.readers -= 1
        if not self.readers and self._waiting is not None:
            writer, self._waiting = self._waiting, None
            writer.blocked_on = None
            writer.alarm.arm(max(done, cpu.clock + 1) + writer.transfer[cpu.id])
        elif not self.readers and self._sleeper is not None:
            (sleepers_cpu, thread), self._sleeper = self._sleeper, None
            make_ready(sleepers_cpu, thread, max(done, cpu.clock + 1) + sleepers_cpu.transfer[cpu.id])
        cpu.charge(done - cpu.clock + releasing, AREA_LINE)

    def start_write(self, cpu: Cpu, sequence: int, taking: Time, *, may_sleep: bool = False) -> Op[None]:
        """Mark the area and wait until its readers have left; the caller has the space's lock for writing.

        Readers leave soon unless they wait for memory (`may_sleep`): then a thread that is ready gets
        the processor.  Linux always sleeps.
        """
        yield from cpu.sync()
        self.written_at = sequence
        cpu.charge(self.line.rmw(cpu) - cpu.clock + taking, AREA_LINE)
        yield from cpu.sync()
        if self.readers and (cpu.queue.is_empty or not may_sleep):
            self._waiting = cpu
            cpu.blocked_on = self
            yield from cpu.wait(AREA_WAIT)
            yield from cpu.sync()
        if self.readers:
            assert cpu.current is not None, "only threads write"
            self._sleeper = (cpu, cpu.current)
            yield from park_holding(cpu)
            yield from cpu.sync()

    def give_way(self, cpu: Cpu, at: Time) -> None:
        """Another thread is ready on the writer's processor at `at`: the writer sleeps."""
        if self._waiting is cpu:
            self._waiting = None
            cpu.blocked_on = None
            cpu.alarm.arm(at)

    def blockers(self) -> Sequence[Agent]:
        """Readers count, but nobody knows who they are."""
        return ()

    def describe(self) -> str:
        """As reports name it."""
        return f"the lock of an area ({self.readers} readers)"


class RangeLock:
    """Who works on which pages of one space.

    The lock's words are the pages' own slots.  A range is priced by the slots at its ends:
    that of the first page is written when it is taken, that of the last when it is given
    back; each comes from whoever wrote it last.  A slot needs no queue of its own, since who
    may write it has the range.  That each page's slot lies in a line of its own is assumed.
    """

    __slots__ = ("_held", "_waiters", "_writers")

    def __init__(self) -> None:
        self._held: dict[CpuId, tuple[int, int]] = {}
        self._waiters: list[Cpu] = []
        self._writers: dict[int, CpuId] = {}  # by page: who wrote its slot last

    def acquire(self, cpu: Cpu, first: int, last: int, taking: Time) -> Op[None]:
        """Wait until nobody else has one of the pages."""
        yield from cpu.sync()
        while self._taken(cpu, first, last):
            self._waiters.append(cpu)
            cpu.blocked_on = self
            yield from cpu.wait(RANGE_WAIT)
            yield from cpu.sync()
            self._writers[first] = cpu.id  # the waiter has looked at it
        self._held[cpu.id] = (first, last)
        cpu.charge(taking + self._write_slot(cpu, first), RANGE_HOLD)

    def release(self, cpu: Cpu, releasing: Time) -> Op[None]:
        """Let others in; all who wait look again."""
        yield from cpu.sync()
        _, last = self._held.pop(cpu.id)
        waiting, self._waiters = self._waiters, []
        for waiter in waiting:
            waiter.blocked_on = None
            waiter.alarm.arm(cpu.clock + max(1, waiter.transfer[cpu.id]))
        cpu.charge(releasing + self._write_slot(cpu, last - 1), RANGE_HOLD)

    def blockers(self) -> Sequence[Agent]:
        """Who has the pages goes on by itself."""
        return ()

    def describe(self) -> str:
        """As reports name it."""
        return f"a range of pages (others held by {', '.join(f'CPU {cpu}' for cpu in self._held)})"

    def _write_slot(self, cpu: Cpu, page: int) -> Time:
        writer = self._writers.get(page, cpu.id)
        self._writers[page] = cpu.id
        return cpu.transfer[writer]

    def _taken(self, cpu: Cpu, first: int, last: int) -> bool:
        return any(
            number != cpu.id and first < held_last and held_first < last
            for number, (held_first, held_last) in self._held.items()
        )
