"""The thread that does again what one CPU of the trace did.

    open loop     an operation begins at its recorded time, or late if the CPU is not done with
                  the one before
    closed loop   an operation begins when the one before is done and the recorded gap between
                  their stamps, less `overhead`, has passed as think time

What the traced CPU did between its memory operations (user code, the rest of the kernel, nothing)
is the cause `think`; in the open loop it is a wait, so an interrupt handler in it delays nothing.

A free whose allocation, on another CPU, has not happened yet waits for it, with the cause
`replay:dependency`.  That never ends in a circle: a thread keeps the order of the text, and a
free waits only for an allocation before it in the text; so of all operations not done yet, the
first one of the text can go on.  (Stamps in microseconds leave the order of two CPUs within one
unknown; a free that stands before its allocation is then unmatched, and waits for nothing.)

Exact when running ahead: an allocation is done at the clock of the look behind it, and that pair
(done, CPU) is written into the block, perhaps ahead of global time.  A free at (clock, CPU) goes
on if the pair is earlier, whenever it was written.  Else it synchronises: by then everything
earlier has been written, so the allocation lies in its future.  It waits until `done` if that is
known, or is woken for the same time by the thread that writes it.
Locking: a player's counts are private to its processor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import Agent
from coalsim.engine.clock import Op
from coalsim.mm.manager import MemoryManager
from coalsim.units import Pfn, Time
from coalsim.workloads.base import CpuMeter
from coalsim.workloads.replay.feed import Chunk
from coalsim.workloads.replay.operations import (
    CACHE_ALLOC,
    CACHE_FREE,
    EARLIER_PAGE_FREE,
    KFREE,
    KMALLOC,
    LAST_ALLOC,
    NEVER,
    NOWHERE,
    PAGE_ALLOC,
    PAGE_FREE,
    SAME_CPU,
    Block,
)

THINK: Final = "think"
DEPENDENCY: Final = "replay:dependency"
OBJECT_ALLOC, OBJECT_FREE = "object alloc", "object free"
PAGE_ALLOC_PHASE, PAGE_FREE_PHASE = "page alloc", "page free"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """When operations begin; `overhead` is taken off every gap of the closed loop."""

    is_open: bool
    overhead: Time = 0


@dataclass(slots=True)
class PlayerCounts:
    """What one player did, beside what the meters count."""

    pages_taken: int = 0  # frames, by page operations
    earlier_pages: int = 0  # frames from before the recording that were freed
    earlier_missing: int = 0  # such blocks for which the recorded fill had no room
    dependency_waits: int = 0
    late: int = 0  # operations that began after their recorded time
    late_total: Time = 0
    late_max: Time = 0
    failed: int = 0  # allocations for which the simulated machine had no memory


@dataclass(frozen=True, kw_only=True)
class Meters:
    """Where a player counts its operations."""

    object_alloc: CpuMeter
    object_free: CpuMeter
    page_alloc: CpuMeter
    page_free: CpuMeter


class Player:
    """One CPU of one copy of the recording.

    Args:
        memory: the memory manager.
        cpu: the processor it runs on.
        seat: the CPU of the trace.
        copy: which copy of the recording.
        peers: the processors of all seats of this copy.
        pace: when operations begin.
        meters: of this processor.
    """

    def __init__(
        self,
        memory: MemoryManager,
        cpu: Cpu,
        seat: int,
        copy: int,
        peers: Sequence[Cpu],
        pace: Pace,
        meters: Meters,
    ) -> None:
        self.counts = PlayerCounts()
        self._memory = memory
        self._cpu = cpu
        self._seat = seat
        self._copy = copy
        self._peers = peers
        self._pace = pace
        self._meters = meters
        self._last: Time = 0  # stamp up to which gaps are paid
        self._paid: Time = 0  # of the gap that began there

    def main(self, chunk: Chunk | None) -> Op[None]:
        """All operations of the seat, in order, from the first chunk on.

        No other name may hold a chunk: the first would keep all that follow it.
        """
        while chunk is not None:
            yield from self._play(chunk)
            yield from self._pass_until(chunk.end)
            # A CPU without operations goes on at the chunk's end, not at once: it would read the whole trace.
            chunk = chunk.following()

    def _play(self, chunk: Chunk) -> Op[None]:
        """The chunk's operations of this seat."""
        cpu, copy = self._cpu, self._copy
        for time, code, blocks, what, owner, site in chunk.operations[self._seat]:
            if self._pace.is_open:
                if cpu.clock >= cpu.limit:
                    yield from cpu.look()
                if cpu.clock < time:
                    yield from self._wait_until(time)
                elif cpu.clock > time:
                    self._note_late(cpu.clock - time)
            else:
                yield from self._think_until(time)
            if code <= LAST_ALLOC:
                yield from self._allocate(blocks[copy], code, what, site)
            elif code == EARLIER_PAGE_FREE:
                yield from self._free_earlier(what, owner, site)
            else:
                block = blocks[copy]
                if owner != SAME_CPU and not NEVER < block.done < cpu.clock:
                    yield from self._await(block, self._peers[owner])
                if block.address != NOWHERE:
                    yield from self._free(block.address, code, what, site)

    def _allocate(self, block: Block, code: int, what: int, site: str) -> Op[None]:
        """Allocate, and say in the block what and when; behind a look, as `_free` is."""
        cpu, memory, began = self._cpu, self._memory, self._cpu.clock
        if code == PAGE_ALLOC:
            meter = self._meters.page_alloc
            found = memory.alloc_pages_now(cpu, what)
            if found < 0:
                found = yield from memory.alloc_pages(cpu, what, site)
            if found >= 0:
                self.counts.pages_taken += 1 << what
        else:
            meter = self._meters.object_alloc
            if code == CACHE_ALLOC:
                found = memory.cache_alloc_now(cpu, what) or (yield from memory.cache_alloc(cpu, what, site))
            else:
                assert code == KMALLOC
                found = memory.kmalloc_now(cpu, what) or (yield from memory.kmalloc(cpu, what, site))
            found = found or NOWHERE
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if found != NOWHERE:
            meter.done(cpu.clock - began)
        else:
            meter.failed += 1
            self.counts.failed += 1
        block.address, block.done = found, cpu.clock
        if block.waiter is not None:
            block.waiter.alarm.arm(cpu.clock + _notice(cpu, block.waiter))

    def _free(self, address: int, code: int, what: int, site: str) -> Op[None]:
        cpu, memory, began = self._cpu, self._memory, self._cpu.clock
        if code == PAGE_FREE:
            meter = self._meters.page_free
            if not memory.free_pages_now(cpu, address, what):
                yield from memory.free_pages(cpu, Pfn(address), what, site)
        else:
            meter = self._meters.object_free
            if code == CACHE_FREE:
                if not memory.cache_free_now(cpu, what, address):
                    yield from memory.cache_free(cpu, what, address, site)
            else:
                assert code == KFREE
                if not memory.kfree_now(cpu, address):
                    yield from memory.kfree(cpu, address, site)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        meter.done(cpu.clock - began)

    # -- pace

    def _wait_until(self, time: Time) -> Op[None]:
        """Open loop: wait for the recorded time."""
        cpu = self._cpu
        yield from cpu.sync()
        yield from cpu.wait_until(time, THINK)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if cpu.clock > time:
            self._note_late(cpu.clock - time)

    def _note_late(self, late: Time) -> None:
        counts = self.counts
        counts.late += 1
        counts.late_total += late
        if late > counts.late_max:
            counts.late_max = late

    def _think_until(self, time: Time) -> Op[None]:
        """Closed loop: pay what is left of the gap."""
        self._pay(time)
        self._last, self._paid = time, 0
        if self._cpu.clock >= self._cpu.limit:
            yield from self._cpu.look()

    def _pay(self, time: Time) -> None:
        due = time - self._last - self._pace.overhead - self._paid
        if due > 0:
            self._paid += due
            self._cpu.charge(due, THINK)

    def _pass_until(self, end: Time) -> Op[None]:
        """The chunk has nothing more for this CPU."""
        cpu = self._cpu
        if not self._pace.is_open:
            self._pay(end)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if self._pace.is_open and cpu.clock < end:
            yield from cpu.sync()
            yield from cpu.wait_until(end, THINK)
            if cpu.clock >= cpu.limit:
                yield from cpu.look()

    # -- what is rare

    def _await(self, block: Block, owner: Cpu) -> Op[None]:
        """Wait for the allocation of a block on another processor, if it is not done yet."""
        cpu = self._cpu
        yield from cpu.sync()
        if block.done > NEVER and (block.done, owner.id) < (cpu.clock, cpu.id):
            return
        self.counts.dependency_waits += 1
        cpu.blocked_on = Dependency(owner)
        if block.done == NEVER:
            block.waiter = cpu
            yield from cpu.wait(DEPENDENCY)
        else:
            yield from cpu.wait_until(block.done + _notice(owner, cpu), DEPENDENCY)
        cpu.blocked_on = None
        if cpu.clock >= cpu.limit:
            yield from cpu.look()

    def _free_earlier(self, order: int, zone: int, site: str) -> Op[None]:
        """Free a block that was taken before the recording began: any one of that size and zone."""
        cpu, pages = self._cpu, self._memory.pages
        yield from cpu.sync()  # which block it is depends on who came before
        pfn = pages.adopt(cpu, pages.zones[zone], order)
        if pfn < 0:
            self.counts.earlier_missing += 1
            return
        began = cpu.clock
        yield from self._memory.free_pages(cpu, Pfn(pfn), order, site)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        self.counts.earlier_pages += 1 << order
        self._meters.page_free.done(cpu.clock - began)


class Dependency:
    """A free waits for its allocation."""

    def __init__(self, owner: Cpu) -> None:
        self._owner = owner

    def blockers(self) -> Sequence[Agent]:
        """The processor that will allocate."""
        return [self._owner]

    def describe(self) -> str:
        """For reports of who waits for what."""
        return f"an allocation on {self._owner.label}, which the trace has before this free"


def _notice(writer: Cpu, reader: Cpu) -> Time:
    """How long after an allocation is done the one who waits for it knows: a line's transfer."""
    return max(1, reader.transfer[writer.id])
