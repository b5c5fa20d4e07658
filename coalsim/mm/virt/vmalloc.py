"""vmalloc: pages of the kernel's with addresses of their own, and an unmapped page behind each allocation.

    vmalloc   range of addresses -> frames, one by one -> tables that are missing -> entries
    vfree     entries cleared -> frames freed; the range waits, for processors may still know its translations
    purge     all processors drop kernel translations -> the ranges that wait may be used again

    | pages of one | guard | pages of the next | guard | ...        the first page of a region is a guard too

Ranges that wait are purged when there are more than `lazy_most` pages of them, or when addresses run out, by
whoever frees or asks then (as Linux did up to 5.12; a worker does it since).  The tables that this makes are
never freed.

Invariant: the pages of an area are mapped; nothing else in the regions is.
Left out: translations of kernel addresses are not kept in the TLBs of this model, so an access after vfree
stops the kernel at once, while a real one may go through until the purge.
Locking: ranges under `vmap_area_lock`; one purge at a time under the mutex `vmap_purge_lock`, on which
whoever finds no addresses waits for another's purge; the entries of an area belong to whoever has it.
Costs: `vmap_fixed` for a range, `vmap_page` for an entry, `table_new` for a table, the interrupts of a purge.
Source: Linux mm/vmalloc.c (`__get_vm_area_node`, `alloc_vmap_area`, `lazy_max_pages`,
`__purge_vmap_area_lazy`), arch/x86/mm/tlb.c (`flush_tlb_kernel_range`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.errors import ForeignFree
from coalsim.locks.base import Lock, SpinLock
from coalsim.mm.paging.entry import KERNEL_TABLE, make, pfn_of
from coalsim.mm.paging.kernel_space import KERNEL_PAGE, KernelSpace
from coalsim.mm.paging.layout import Region
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.layout import pages_for
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.ram import Ram
from coalsim.mm.virt.free_ranges import FreeRanges
from coalsim.profiles.costs import KernelCosts
from coalsim.units import MIB, PAGE_SHIFT, PAGE_SIZE, CpuId, Pfn, Time, Vpn

VMALLOC = "vmalloc"
PURGE = "vmalloc:purge"
RANK_VMAP = 40
RANK_PURGE = 39
LAZY_UNIT = 32 * MIB // PAGE_SIZE
"""Pages that wait for a purge, for each doubling of the processors: 32 MiB."""


def lazy_max_pages(num_cpus: int) -> int:
    """How many freed pages may wait for a purge."""
    return num_cpus.bit_length() * LAZY_UNIT


@dataclass(frozen=True, slots=True)
class KernelArea:
    """One allocation: its pages, and who has it."""

    first: Vpn
    frames: tuple[Pfn, ...]
    size: int
    site: str
    cpu: CpuId
    at: Time

    @property
    def start(self) -> int:
        """Its address."""
        return self.first << PAGE_SHIFT

    @property
    def end(self) -> int:
        """The address of the guard page behind it."""
        return self.start + len(self.frames) * PAGE_SIZE


@dataclass(frozen=True, kw_only=True)
class VmallocParts:
    """What the rest of the system gives to vmalloc."""

    space: KernelSpace
    ram: Ram
    pages: PageAllocator
    cpus: Sequence[Cpu]
    costs: KernelCosts
    lock: SpinLock
    purge_lock: Lock
    flights: Callable[[CpuId], Sequence[Time]]
    send_cost: Time


class Vmalloc:
    """The kernel's mapped pages.

    Args:
        parts: what it works with.
        heap: where allocations lie.
        lazy_most: freed pages that may wait for a purge; None: as Linux.
    """

    def __init__(self, parts: VmallocParts, heap: Region, lazy_most: int | None = None) -> None:
        self._parts = parts
        self._heap = heap
        self._lazy_most = lazy_max_pages(len(parts.cpus)) if lazy_most is None else lazy_most
        # under vmap_area_lock
        self._free = FreeRanges()
        self._lazy: list[tuple[int, int]] = []  # first page and the one behind the last, guard included
        self._lazy_pages = 0
        self.areas: dict[int, KernelArea] = {}  # by first page
        # under vmap_purge_lock
        self.purges = 0  # that have ended

    @property
    def count(self) -> int:
        """How many areas there are."""
        return len(self.areas)

    # -- allocations

    def vmalloc(self, cpu: Cpu, size: int, site: str, context: AllocContext) -> Op[int]:
        """The address of `size` bytes in whole pages, or 0."""
        area = yield from self.map_pages(cpu, pages_for(size), size, self._heap, site, context)
        return 0 if area is None else area.start

    def vfree(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Give an allocation back.

        Raises:
            ForeignFree: no area begins there.
        """
        yield from cpu.sync()
        area = self.areas.get(address >> PAGE_SHIFT)
        if area is None or address != area.start:
            raise ForeignFree(address, f"vfree of a nonexistent vm area at {site} on CPU {cpu.id}")
        yield from self.unmap_pages(cpu, area, site)

    def covers(self, address: int) -> bool:
        """The address is one of the heap's."""
        return self._heap.start <= address < self._heap.end

    def size_of(self, address: int) -> int:
        """Bytes usable at an address that a caller holds."""
        area = self.areas.get(address >> PAGE_SHIFT)
        if area is None or address != area.start:
            raise ForeignFree(address, "the size of memory that nobody holds")
        return area.end - area.start

    # -- areas of any region

    def map_pages(
        self, cpu: Cpu, count: int, size: int, region: Region, site: str, context: AllocContext
    ) -> Op[KernelArea | None]:
        """Frames and addresses for so many pages; None: there are not enough."""
        parts = self._parts
        first = yield from self._take_range(cpu, count + 1, region, site)
        if first is None:
            return None
        frames: list[Pfn] = []
        for page in range(count):
            pfn = yield from parts.pages.alloc_owned(cpu, 0, site, context=context)
            if pfn < 0 or not (yield from self._complete(cpu, Vpn(first + page), site, context)):
                yield from self._free_frames(cpu, [*frames, *([pfn] if pfn >= 0 else [])], site)
                yield from self._give_ranges(cpu, [(first, first + count + 1)], site)
                return None
            frames.append(pfn)
        yield from cpu.sync()
        for page, pfn in enumerate(frames):
            parts.space.table.set(Vpn(first + page), make(pfn, KERNEL_PAGE))
        area = KernelArea(Vpn(first), tuple(frames), size, site, cpu.id, cpu.clock)
        self.areas[first] = area
        cpu.charge(count * parts.costs.vmap_page, VMALLOC)
        return area

    def unmap_pages(self, cpu: Cpu, area: KernelArea, site: str) -> Op[None]:
        """Clear an area's entries and free its frames; its addresses wait for a purge."""
        parts = self._parts
        yield from cpu.sync()
        del self.areas[area.first]
        for page in range(len(area.frames)):
            parts.space.table.set(Vpn(area.first + page), 0)
        cpu.charge(len(area.frames) * parts.costs.vmap_page, VMALLOC)
        yield from self._free_frames(cpu, area.frames, site)
        is_due = False

        def body(_: Time) -> Time:
            nonlocal is_due
            self._lazy.append((area.first, area.first + len(area.frames) + 1))
            self._lazy_pages += len(area.frames) + 1
            is_due = self._lazy_pages > self._lazy_most
            return parts.costs.vmap_fixed

        yield from parts.lock.section(cpu, body, parts.costs.vmap_fixed, site)
        if is_due:
            yield from self._purge(cpu, site)

    def _free_frames(self, cpu: Cpu, frames: Sequence[Pfn], site: str) -> Op[None]:
        for pfn in frames:
            yield from self._parts.pages.free_owned(cpu, pfn, 0, site)

    # -- ranges of addresses

    def _take_range(self, cpu: Cpu, pages: int, region: Region, site: str) -> Op[int | None]:
        """The lowest free run of so many pages, behind the region's first page; None: no purge makes one."""
        low, high = (region.start >> PAGE_SHIFT) + 1, region.end >> PAGE_SHIFT
        found: list[int] = []
        purges = 0
        cost = self._parts.costs.vmap_fixed

        def body(_: Time) -> Time:
            nonlocal purges
            purges = self.purges
            for start, end in self._free:
                first = max(start, low)
                if first + pages <= min(end, high):
                    self._free.take(first, first + pages)
                    found.append(first)
                    break
            return cost

        while True:
            yield from self._parts.lock.section(cpu, body, cost, site)
            if found:
                return found[0]
            yield from self._purge(cpu, site)
            if self.purges == purges:  # nothing has come free since it looked
                return None

    def _give_ranges(self, cpu: Cpu, ranges: Sequence[tuple[int, int]], site: str) -> Op[None]:
        cost = len(ranges) * self._parts.costs.vmap_fixed

        def body(_: Time) -> Time:
            for first, end in ranges:
                self._free.give(first, end)
            return cost

        yield from self._parts.lock.section(cpu, body, cost, site)

    def _purge(self, cpu: Cpu, site: str) -> Op[None]:
        """Purge the ranges that wait, if there are any, when all purges that are under way have ended."""
        parts, due = self._parts, list[tuple[int, int]]()
        yield from parts.purge_lock.acquire(cpu, site)

        def body(_: Time) -> Time:
            due.extend(self._lazy)
            self._lazy, self._lazy_pages = [], 0
            return parts.costs.vmap_fixed

        yield from parts.lock.section(cpu, body, parts.costs.vmap_fixed, site)
        if due:
            yield from self._flush(cpu)
            yield from self._give_ranges(cpu, due, site)
            yield from cpu.sync()
            self.purges += 1
        yield from cpu.sync()
        yield from parts.purge_lock.release(cpu)

    def _flush(self, cpu: Cpu) -> Op[None]:
        """Make everybody drop kernel translations."""
        parts = self._parts
        yield from cpu.sync()
        cpu.charge(parts.costs.vmap_flush, PURGE)
        others = [other for other in parts.cpus if other is not cpu]
        if others:
            cpu.charge(parts.send_cost, PURGE)
            yield from cpu.sync()
            flights, way_back, now = parts.flights(cpu.id), cpu.transfer, cpu.clock
            shot: Shot[Cpu] = Shot(
                cpu,
                now,
                len(others),
                parts.costs.vmap_flush,
                lambda _: None,
                lambda target: max(1, way_back[target]),
            )
            cpu.send([(now + max(1, flights[other.id]), other) for other in others], shot)
            yield from cpu.wait_for_answers(shot, PURGE)

    # -- page tables

    def _complete(self, cpu: Cpu, vpn: Vpn, site: str, context: AllocContext) -> Op[bool]:
        """Make the tables that are missing on the way to a page; False: there is no memory."""
        parts = self._parts
        yield from cpu.sync()
        while parts.space.table.missing_level(vpn) >= 0:
            pfn = yield from parts.pages.alloc_owned(cpu, 0, site, context=context)
            if pfn < 0:
                return False
            cpu.charge(parts.costs.table_new, VMALLOC)
            yield from cpu.sync()
            level = parts.space.table.missing_level(vpn)
            if level < 0:  # somebody else was quicker
                yield from parts.pages.free_owned(cpu, pfn, 0, site)
                return True
            geometry = parts.space.geometry
            parts.ram.make_table(pfn, geometry.slots(level), geometry.entry_bytes)
            parts.space.table.link(vpn, level, pfn, KERNEL_TABLE)
        return True

    # -- for accesses

    def frame_at(self, address: int) -> Pfn:
        """The frame that shows at a kernel address, or -1."""
        vpn, geometry = Vpn(address >> PAGE_SHIFT), self._parts.space.geometry
        if address < 0 or not geometry.is_canonical(vpn) or not geometry.is_kernel(vpn):
            return Pfn(-1)
        entry = self._parts.space.table.lookup(vpn)
        return pfn_of(entry) if entry & 1 else Pfn(-1)

    def describe(self, address: int) -> list[str]:
        """Which allocation lies right before an address, or behind it."""
        page = address >> PAGE_SHIFT
        for area in self.areas.values():
            if area.start <= address <= area.end + PAGE_SIZE - 1:
                where = f"{address - area.start} bytes from the start of"
            elif area.first == page + 1:
                where = f"{area.start - address} bytes before"
            else:
                continue
            return [
                f"Guard page: the address is {where} a {area.size}-byte area "
                f"{area.start:#018x}-{area.end:#018x}",
                f"Allocated in {area.site} cpu={area.cpu}",
            ]
        return []
