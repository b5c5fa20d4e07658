"""An address space: its areas, its page tables and its locks.

    mmap_lock    areas, for writing; faults and unmapping for reading       rank 2
    area locks   faults, instead of mmap_lock, where `mmap_lock` is per_vma
    range lock   instead of both, where it is range
    table locks  the entries of one leaf table                              rank 12

Locking: as above; `sync` before every look at any of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.locks.base import SpinLock
from coalsim.mm.paging import layout
from coalsim.mm.paging.context import Context
from coalsim.mm.paging.entry import pfn_of
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.paging.space_tables import SpaceTables
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.switching import Loadable
from coalsim.mm.virt.area import Area
from coalsim.mm.virt.area_tree import AreaTree
from coalsim.mm.virt.heap import Heap
from coalsim.mm.virt.kernel import RANK_MMAP, RANK_TABLE, VmKernel
from coalsim.mm.virt.rss import Resident, ResidentCount
from coalsim.mm.virt.vma_lock import AreaLock, RangeLock
from coalsim.units import PAGE_SHIFT, NodeId, Vpn

FIND = "area lookup"
GATHER = "gather"
LINE_OF_PENDING = "line:tlb_flush_pending"
HEAP_SHARE = 16
"""The heap begins this fraction (one in so many) into the user's side."""


@dataclass
class SpaceCounts:
    """Of one space, in pages."""

    resident: int = 0


class AddressSpace(Loadable):
    """One process's memory.

    Args:
        kernel: everything below.
    """

    def __init__(self, kernel: VmKernel) -> None:
        self.kernel = kernel
        self.number = kernel.next_number()
        tells = type(kernel.policy).filled is not Shootdown.filled  # it keeps books on translations
        self.context = Context(self.number, kernel.oracle, forgets=not tells)
        geometry, switches = kernel.geometry, kernel.switches
        self.areas = AreaTree(merging=switches.merge_areas, guard_pages=switches.stack_guard_pages)
        self.lowest = Vpn(layout.region(geometry, "user").start >> PAGE_SHIFT)  # so that null pointers fault
        self.mmap_base = Vpn(geometry.user_pages)  # mmap puts what it finds room for below
        self.heap = Heap(self.areas, Vpn(geometry.user_pages // HEAP_SHARE))
        self.tables = SpaceTables(
            geometry, kernel.ram, kernel.kernel_space.table, switches.table_replication, kernel.num_nodes
        )
        self.mmap_lock = kernel.make_rwsem("mmap_lock", RANK_MMAP, f"mmap_lock/{self.number}")
        self.range_lock = RangeLock()
        self.sequence = 0  # mm_lock_seq: counts the times that mmap_lock was written
        self.table_locks: dict[int, SpinLock] = {}  # by leaf table; `table_lock` makes them
        self.counts = SpaceCounts()
        self.rss = ResidentCount(switches.rss_batch, len(kernel.cpus))
        self.tasks = 0
        self.is_dead = False
        self.moving: tuple[int, int, int] | None = None  # by mremap: pages from, to, and where they go
        self.is_open = False  # others may change it: the OOM killer's reaper comes, or a file is mapped
        self.is_victim = False  # of the OOM killer
        self.faults_to_end = 0  # that began before it was opened: the reaper waits for them

    # -- for switching ------------------------------------------------------------------

    def lacks_tree(self, cpu: Cpu) -> bool:
        """The processor's place has no root yet."""
        return not self.tables.is_started or not self.tables.has_place(self.tables.place_of(cpu))

    def make_tree(self, cpu: Cpu) -> Op[None]:
        """Give the processor's place a root; the first one of all makes those that are needed from the start.

        A switch cannot wait for memory: no mark holds it up.

        Raises:
            KernelPanic: there is no memory for it.
        """
        if not (yield from self.start_tables(cpu, "new_root", AllocContext.RESERVE)):
            raise KernelPanic(
                f"Kernel panic - not syncing: no memory for the page tables of space {self.number}"
            )
        yield from cpu.sync()
        if not self.tables.has_place(self.tables.place_of(cpu)):
            yield from self._add_place(cpu)

    def start_tables(self, cpu: Cpu, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[bool]:
        """The roots that a space needs from the start; False: no memory."""
        kernel = self.kernel
        if self.tables.is_started:
            return True
        places = self.tables.first_places(cpu)
        nodes = [self.table_node(cpu, place) for place in places]
        frames = yield from kernel.new_table_frames(cpu, len(places), site, nodes, context)
        yield from cpu.sync()
        if len(frames) < len(places) or self.tables.is_started:  # another task may have been faster
            yield from kernel.frames.release(cpu, frames, site, on_lru=False)
            return self.tables.is_started
        self.tables.start(dict(zip(places, frames, strict=True)))
        kernel.counts.tables_made += len(places)
        return True

    def table_node(self, cpu: Cpu, place: int) -> NodeId | None:
        """Where a table of a place goes: copies for nodes to their node, others as `table_placement` says."""
        if self.tables.replication in ("eager", "lazy"):
            return NodeId(place)
        return self.kernel.table_node(cpu)

    def _add_place(self, cpu: Cpu) -> Op[None]:
        kernel = self.kernel
        place = self.tables.place_of(cpu)
        nodes = [self.table_node(cpu, place)]
        frames = yield from kernel.new_table_frames(cpu, 1, "new_root", nodes, AllocContext.RESERVE)
        yield from cpu.sync()
        if frames and not self.tables.has_place(place):
            self.tables.add_place(place, frames[0])
            kernel.counts.tables_made += 1
        else:
            yield from kernel.frames.release(cpu, frames, "new_root", on_lru=False)

    def tree_of(self, cpu: Cpu) -> PageTable:
        """The tables that this processor walks."""
        return self.tables.tree(self.tables.place_of(cpu))

    # -- locks ------------------------------------------------------------------------------

    def table_lock(self, vpn: Vpn) -> SpinLock:
        """The lock of the leaf table of a page."""
        number = vpn >> self.kernel.geometry.leaf_bits
        lock = self.table_locks.get(number)
        if lock is None:
            lock = self.table_locks[number] = self.kernel.make_spinlock("ptlock", RANK_TABLE, "ptlock")
        return lock

    def next_part(self, first: int, last: int) -> tuple[int, int] | None:
        """The next pages of a range that have one leaf table, and that with entries; synchronised.

        A table that somebody is changing counts: an entry may be on its way back.
        """
        bits = self.kernel.geometry.leaf_bits
        entry = next(iter(self.tables.entries(first, last)), None)
        at = last if entry is None else entry[0]
        low, high, locks = first >> bits, (at - 1 >> bits) + 1, self.table_locks
        before = range(low, high) if high - low <= len(locks) else sorted(n for n in locks if low <= n < high)
        for number in before:
            lock = locks.get(number)
            if lock is not None and lock.holder is not None:
                at = max(first, number << bits)
                break
        return (at, min(last, (at >> bits) + 1 << bits)) if at < last else None

    def forget_table_lock(self, vpn: Vpn) -> None:
        """The leaf table is gone."""
        self.table_locks.pop(vpn >> self.kernel.geometry.leaf_bits, None)

    @property
    def is_ranged(self) -> bool:
        """There is no lock of the space: operations lock ranges of pages."""
        return self.kernel.switches.mmap_lock == "range"

    @property
    def frees_tables(self) -> bool:
        """Unmapping frees tables that it empties.

        Who locks ranges keeps them until the end: a fault beside the range may be about to use one.
        """
        return self.kernel.switches.munmap_frees_tables and not self.is_ranged

    def reserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Keep free pages from being given out until `unreserve`."""
        for first, last in ranges:
            self.areas.reserve(Vpn(first), Vpn(last))

    def unreserve(self, ranges: Sequence[tuple[int, int]]) -> None:
        """They may be given out."""
        for first, last in ranges:
            self.areas.unreserve(Vpn(first), Vpn(last))

    def lock_write(self, cpu: Cpu, first: int, last: int, site: str) -> Op[None]:
        """Keep everybody else out, or out of a range."""
        costs = self.kernel.costs
        if self.is_ranged:
            yield from self.range_lock.acquire(cpu, first, last, costs.lock_uncontended)
        else:
            yield from self.mmap_lock.acquire(cpu, site)
        yield from cpu.sync()

    def unlock_write(self, cpu: Cpu) -> Op[None]:
        """Let others in; areas that were marked are free again."""
        if self.is_ranged:
            yield from self.range_lock.release(cpu, self.kernel.costs.lock_release)
            return
        yield from cpu.sync()
        self.sequence += 1
        yield from self.mmap_lock.release(cpu)

    def downgrade(self, cpu: Cpu) -> Op[None]:
        """Go on reading: faults and others that only read get in again."""
        if not self.is_ranged:
            yield from cpu.sync()
            self.sequence += 1
            yield from self.mmap_lock.downgrade(cpu)
            yield from cpu.sync()

    def lock_read(self, cpu: Cpu, first: int, last: int, site: str) -> Op[None]:
        """Keep writers out, or everybody out of a range."""
        if self.is_ranged:
            yield from self.range_lock.acquire(cpu, first, last, self.kernel.costs.lock_uncontended)
        else:
            yield from self.mmap_lock.acquire_read(cpu, site)
        yield from cpu.sync()

    def unlock_read(self, cpu: Cpu) -> Op[None]:
        """The end of `lock_read` or of a downgrade."""
        if self.is_ranged:
            yield from self.range_lock.release(cpu, self.kernel.costs.lock_release)
        else:
            yield from self.mmap_lock.release_read(cpu)

    def write_areas(self, cpu: Cpu, first: int, last: int) -> Op[None]:
        """Keep faults out of the areas of a range; mmap_lock is held for writing.

        All are marked at the instant of the call, so that nobody gets into one that is new.
        """
        if self.kernel.switches.mmap_lock == "per_vma":
            areas = self.areas.overlapping(first, last)
            for area in areas:
                self.lock_of(area).written_at = self.sequence
            for area in areas:
                yield from self.lock_of(area).start_write(
                    cpu, self.sequence, self.kernel.costs.vma_lock, may_sleep=self.kernel.switches.reclaim
                )

    # -- gathers ------------------------------------------------------------------------------

    def begin_gather(self, cpu: Cpu) -> None:
        """Entries are about to be taken away, and their flush is pending; synchronised."""
        self._count_gather(cpu, 1)
        cpu.charge(self.kernel.costs.gather_begin, GATHER)

    def end_gather(self, cpu: Cpu) -> None:
        """They have been flushed; synchronised."""
        self._count_gather(cpu, -1)
        cpu.charge(self.kernel.costs.gather_end, GATHER)

    def _count_gather(self, cpu: Cpu, change: int) -> None:
        """A kernel that locks ranges has no such counter: its operations share no line of the space."""
        self.context.gathers += change
        if not self.is_ranged:
            cpu.charge(self.context.pending_line.rmw(cpu) - cpu.clock, LINE_OF_PENDING)

    def recall_addresses(self, cpu: Cpu, first: int, last: int) -> Op[bool]:
        """Addresses of a range that wait for a lazy flush get it now; whether there were any.

        The space's lock is held for writing, so no others come in addition.
        """
        if not self.kernel.policy.is_lazy or not self.areas.is_reserved(first, last):
            return False
        yield from self.recall_flushes(cpu, 0, self.kernel.geometry.user_pages)
        return True

    def recall_flushes(self, cpu: Cpu, first: int, last: int) -> Op[None]:
        """Flush what was unmapped in a range and still waits for it: the range is about to have no area.

        Nobody can put off more of it: its areas are locked for writing.
        """
        if self.kernel.policy.is_lazy:
            yield from self.kernel.policy.recall(cpu, self.context, first, last)
            yield from cpu.sync()

    def lock_of(self, area: Area) -> AreaLock:
        """An area's own lock."""
        if area.lock is None:
            area.lock = AreaLock()
        assert isinstance(area.lock, AreaLock)
        return area.lock

    # -- looking --------------------------------------------------------------------------

    def floor_and_ceiling(self, first: int, last: int) -> tuple[int, int]:
        """How far tables may be freed around a range that is mapped no more: up to the next areas."""
        below = self.areas.find_below(first)
        above = self.areas.find_next(last)
        floor = below.last if below is not None else 0
        ceiling = above.first if above is not None else self.kernel.geometry.kernel_first
        return floor, ceiling

    def validate(self) -> None:
        """Recount the slow way; at rest."""
        self.areas.validate()
        self.tables.validate()
        resident = frames = file = shmem = 0
        for vpn, entry in self.tables.entries(0, self.kernel.geometry.user_pages):
            assert self.areas.find(vpn) is not None, f"page {vpn:#x} is mapped in no area"
            resident += 1
            frames += pfn_of(entry) != self.kernel.frames.zero_frame
            file += pfn_of(entry) in self.kernel.cache.by_frame
            shmem += pfn_of(entry) in self.kernel.frames.shared_memory
        assert resident == self.counts.resident, f"{resident} pages mapped, {self.counts.resident} counted"
        assert frames == self.rss.total, f"{frames} pages with frames, {self.rss.total} counted by threads"
        kinds = Resident(frames - file - shmem, file, shmem)
        assert kinds == self.rss.total_by_kind, f"{kinds} mapped, {self.rss.total_by_kind} counted"
