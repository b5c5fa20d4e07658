"""mmap, munmap, mprotect, madvise and brk: the calls that change an address space.

Each is given pages and the space; it locks, changes areas and entries, flushes what has
died, and charges its steps.  Failure is a value: -1 where there is no room, -2 where
nothing is mapped.
Source: Linux mm/mmap.c, mm/vma.c, mm/mprotect.c, mm/madvise.c.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment
from coalsim.engine.clock import Op
from coalsim.mm.paging.entry import DIRTY, USER, WRITABLE, pfn_of
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.virt.area import Area, Rights
from coalsim.mm.virt.file_areas import attach, detach, files_of
from coalsim.mm.virt.kernel import TABLE_LINE
from coalsim.mm.virt.rmap import flush_pending
from coalsim.mm.virt.space import FIND, AddressSpace
from coalsim.mm.virt.unmap import Unmapping
from coalsim.units import PAGE_SHIFT, PAGE_SIZE, Vpn

AREAS = "areas"
NO_ROOM = Vpn(-1)
NOT_MAPPED = Vpn(-2)


def map_area(space: AddressSpace, cpu: Cpu, area: Area, *, fixed: bool) -> Op[Vpn]:
    """Map an area's pages at its address, or wherever there is room; returns the first page or -1."""
    kernel, costs, site = space.kernel, space.kernel.costs, "mmap"
    pages, lowest = area.pages, space.lowest
    yield from space.lock_write(
        cpu, area.first if fixed else lowest, area.last if fixed else lowest + 1, site
    )
    if fixed:
        yield from space.recall_addresses(cpu, area.first, area.last)
        if not space.areas.is_free(area.first, area.last):
            kept = yield from _unmap_locked(space, cpu, area.first, area.last, site, downgrade=False)
            if kept:
                space.areas.unreserve(area.first, area.last)
        first: Vpn | None = area.first
    else:
        first = yield from find_gap(space, cpu, pages)
    if first is None or not space.areas.is_free(first, first + pages):
        yield from space.unlock_write(cpu)
        return NO_ROOM
    area.origin += first - area.first if area.file is not None else 0
    area.first, area.last = first, Vpn(first + pages)
    if kernel.switches.merge_areas:  # only what the new area becomes a part of is written
        for near in space.areas.overlapping(first - 1, area.last + 1):
            if near.joins(area, area.rights):
                yield from space.write_areas(cpu, near.first, near.last)
    if area.file is not None:
        space.is_open = True  # before anybody can follow the file to it
    inserted = space.areas.insert(area)
    cpu.charge(costs.area_merge if inserted.merges else costs.area_new, AREAS)
    if costs.accounting:
        cpu.charge(costs.accounting, AREAS)
    if area.file is not None:
        yield from attach(space, cpu, [area.file], site)
    yield from space.unlock_write(cpu)
    return first


def find_gap(space: AddressSpace, cpu: Cpu, pages: int) -> Op[Vpn | None]:
    """Free addresses; where there are none, those that wait for a lazy flush get it first."""
    low, high = space.lowest, space.mmap_base
    cpu.charge(space.kernel.costs.gap_search, AREAS)
    first = space.areas.gap(pages, low=low, high=high)
    if first is None and (yield from space.recall_addresses(cpu, low, high)):
        first = space.areas.gap(pages, low=low, high=high)
    return first


def unmap(space: AddressSpace, cpu: Cpu, first: int, last: int) -> Op[None]:
    """munmap: take areas and pages of a range away."""
    yield from space.lock_write(cpu, first, last, "munmap")
    yield from unmap_and_unlock(space, cpu, first, last)


def unmap_and_unlock(space: AddressSpace, cpu: Cpu, first: int, last: int) -> Op[None]:
    """The same with the lock held for writing; gives it up."""
    downgrade = space.kernel.switches.munmap_downgrade and not space.is_ranged
    yield from _unmap_locked(space, cpu, first, last, "munmap", downgrade=downgrade)
    if downgrade:
        yield from space.unlock_read(cpu)
    else:
        yield from space.unlock_write(cpu)


def _unmap_locked(
    space: AddressSpace, cpu: Cpu, first: int, last: int, reason: str, *, downgrade: bool
) -> Op[bool]:
    """The same, and the lock stays held; `downgrade` leaves it held for reading.

    Returns:
        Whether the pages are reserved: they are for another mapping, and there is no lock of the space.
    """
    kernel, costs = space.kernel, space.kernel.costs
    cpu.charge(costs.area_find, FIND)
    yield from cpu.sync()
    yield from space.write_areas(cpu, first, last)
    yield from space.recall_flushes(cpu, first, last)
    removed = space.areas.remove(first, last)
    cpu.charge(
        len(removed.areas) * costs.area_remove + removed.splits * costs.area_split + costs.accounting, AREAS
    )
    ranges = [(area.first, area.last) for area in removed.areas]
    defers = kernel.policy.is_lazy and reason == "munmap"
    # Nobody may get the addresses before everybody has flushed them; a lock of the space sees to that too.
    holds_back = defers or (space.is_ranged and reason != "mmap")
    if holds_back:
        space.reserve(ranges)
    keeps = reason == "mmap" and space.is_ranged and space.areas.is_free(first, last)
    if keeps:
        space.areas.reserve(Vpn(first), Vpn(last))
    if downgrade:
        yield from space.downgrade(cpu)

    def give_addresses() -> None:
        space.unreserve(ranges)

    unmapping = Unmapping(
        space, cpu, reason, may_defer=defers, when_flushed=give_addresses if defers else None
    )
    if ranges:
        yield from unmapping.run(ranges, free_tables=space.frees_tables)
    yield from detach(space, cpu, files_of(removed.areas), reason)
    if holds_back and not defers:
        yield from cpu.sync()
        give_addresses()
    return keeps


def discard(space: AddressSpace, cpu: Cpu, first: int, last: int) -> Op[bool]:
    """madvise(MADV_DONTNEED): the pages go, the areas stay; False if not all of them are mapped areas."""
    kernel, costs = space.kernel, space.kernel.costs
    by_area = None
    if kernel.switches.madvise_lock == "vma" and kernel.switches.mmap_lock == "per_vma":
        cpu.charge(costs.area_find, FIND)
        yield from cpu.sync()
        area = space.areas.find(first)
        if area is not None and last <= area.last:
            lock = space.lock_of(area)
            if lock.try_read(cpu, space.sequence, costs.vma_lock):
                by_area = lock
    if by_area is None:
        yield from space.lock_read(cpu, first, last, "madvise")
        cpu.charge(costs.area_find, FIND)
        yield from cpu.sync()
    is_covered = space.areas.covers(first, last)
    ranges = [(max(area.first, first), min(area.last, last)) for area in space.areas.overlapping(first, last)]
    if ranges:
        yield from Unmapping(space, cpu, "madvise", may_defer=True).run(ranges, free_tables=False)
    if by_area is not None:
        yield from by_area.end_read(cpu, costs.vma_lock)
    else:
        yield from space.unlock_read(cpu)
    return is_covered


def protect(space: AddressSpace, cpu: Cpu, first: int, last: int, rights: Rights) -> Op[bool]:
    """mprotect: change the rights of all pages of a range; False if not all of them are mapped areas."""
    kernel, costs, context = space.kernel, space.kernel.costs, space.context
    yield from space.lock_write(cpu, first, last, "mprotect")
    cpu.charge(costs.area_find, FIND)
    yield from cpu.sync()
    if not space.areas.covers(first, last):
        yield from space.unlock_write(cpu)
        return False
    yield from space.write_areas(cpu, first - 1, last + 1)
    changed = space.areas.protect(first, last, rights)
    cpu.charge(changed.splits * costs.area_split + changed.merges * costs.area_merge, AREAS)
    if changed.splits or changed.merges:
        yield from attach(space, cpu, files_of(change.area for change in changed.changes), "mprotect")
    yield from cpu.sync()
    space.begin_gather(cpu)
    request = Flush(context=context, first=Vpn(last), last=Vpn(first), reason="mprotect", keeps_frames=True)
    request.sharers = 0 if space.tables.is_tracked else -1
    for change in changed.changes:
        at: int = change.first
        while (part := space.next_part(at, change.last)) is not None:
            yield from _protect_table(space, cpu, *part, change.area, request)
            at = part[1]
            yield from cpu.sync()
    if request.last > request.first:
        yield from kernel.policy.flush(cpu, request)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        request.promise(Moment(cpu.clock, cpu.id, "mprotect"))
    yield from cpu.sync()
    space.end_gather(cpu)
    yield from space.unlock_write(cpu)
    return True


def _protect_table(
    space: AddressSpace, cpu: Cpu, low: int, high: int, area: Area, request: Flush
) -> Op[None]:
    """Change the entries of one leaf table, under its lock."""
    kernel, tables, context = space.kernel, space.tables, space.context
    lock = space.table_lock(Vpn(low))
    yield from lock.acquire(cpu, "mprotect")
    yield from flush_pending(space, cpu, "mprotect")
    yield from cpu.sync()
    moment = Moment(cpu.clock, cpu.id, "mprotect")
    pending = f"flush after generation {context.generation} for mprotect"
    written = lines = 0
    last_line = -1
    tree = space.tree_of(cpu)
    for vpn, entry in list(tables.entries(low, high)):
        new = _with_rights(space, entry, area)
        if vpn >> 3 != last_line:
            last_line = vpn >> 3
            lines += kernel.line_cost(cpu, tree, vpn)
        _, copies = tables.exchange(vpn, new)
        written += copies
        lost = entry & ~new
        if lost & (WRITABLE | USER):
            request.dead += context.end_translation(vpn, moment, pending, lost_frame=bool(lost & USER))
        if lost & (WRITABLE | USER) or kernel.switches.mprotect_upgrade_flushes:
            request.first, request.last = min(request.first, vpn), Vpn(max(request.last, vpn + 1))
            request.vpns.append(vpn)
            if tables.is_tracked:
                request.sharers |= tables.sharers(vpn)
    cpu.charge(written * kernel.costs.pte_protect, "change rights")
    if lines:
        cpu.charge(lines, TABLE_LINE)
    yield from lock.release(cpu)


def _with_rights(space: AddressSpace, entry: int, area: Area) -> int:
    """The entry of a page as its area has it now: one that is yet to be copied on write stays read-only.

    So does, in kernels that leave it to the next write, every page of a private mapping.
    """
    frames, rights, at_once = space.kernel.frames, area.rights, space.kernel.switches.mprotect_makes_writable
    new = entry | USER if rights.read or rights.write else entry & ~USER
    pfn = pfn_of(entry)
    if area.file is not None and pfn in space.kernel.cache.by_frame:  # a page that is yet to be made dirty
        return new if rights.write and area.shared and entry & DIRTY else new & ~WRITABLE
    if not rights.write or not (area.shared or at_once):
        return new & ~WRITABLE
    if pfn != frames.zero_frame and (area.shared or not frames.is_shared(pfn)):
        return new | WRITABLE
    return new


def set_break(space: AddressSpace, cpu: Cpu, delta: int) -> Op[int]:
    """brk: move the end of the heap by so many bytes; returns where it is then.

    Whole pages come and go: the page that the break lies in is the program's.
    """
    costs, heap = space.kernel.costs, space.heap
    yield from space.lock_write(cpu, heap.start, space.kernel.geometry.user_pages, "brk")
    cpu.charge(costs.area_find, FIND)
    yield from cpu.sync()
    wanted = max(heap.start << PAGE_SHIFT, heap.at + delta)
    end = Vpn(-(-wanted // PAGE_SIZE))
    if end >= heap.end:
        if end > heap.end:
            yield from space.recall_addresses(cpu, heap.end, end)
            yield from space.write_areas(cpu, heap.end - 1, end + 1)
            grown = heap.grow(end)
            if grown is not None:
                cpu.charge((costs.area_new if grown[1] else 0) + costs.accounting, AREAS)
        if end == heap.end:
            heap.at = wanted
        yield from space.unlock_write(cpu)
        return heap.at
    yield from space.write_areas(cpu, end, heap.end)
    yield from space.recall_flushes(cpu, end, heap.end)
    removed = heap.shrink(end)
    heap.at = wanted
    cpu.charge(costs.accounting, AREAS)
    ranges = [(area.first, area.last) for area in removed.areas]
    downgrade = space.kernel.switches.munmap_downgrade and not space.is_ranged
    if downgrade:
        yield from space.downgrade(cpu)
    if space.is_ranged:
        space.reserve(ranges)
    if ranges:
        yield from Unmapping(space, cpu, "brk").run(ranges, free_tables=space.frees_tables)
    if space.is_ranged:
        yield from cpu.sync()
        space.unreserve(ranges)
    if downgrade:
        yield from space.unlock_read(cpu)
    else:
        yield from space.unlock_write(cpu)
    return wanted
