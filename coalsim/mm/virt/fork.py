"""fork and exit: a second address space with the same pages, and the end of one.

    fork   lock the parent for writing -> copy areas -> per leaf table: share every page,
           take the right to write away on both sides -> one full flush of the parent
    exit   unmap everything with its tables -> flush -> the roots go back

Pages of shared areas stay writable and common; all others are copied by whoever writes
first (`fault.py`).  An area of a file without pages of its own is not copied: the child finds the
file's pages by its own faults.  The flush is needed because other threads of the parent could go on
writing through entries that still allow it.
Source: Linux kernel/fork.c (dup_mmap), mm/memory.c (copy_page_range), mm/mmap.c (exit_mmap).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment
from coalsim.engine.clock import Op
from coalsim.mm.cache.page import FOLIO_LINE
from coalsim.mm.paging.entry import COW, WRITABLE, pfn_of
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.virt.area import Area
from coalsim.mm.virt.file_areas import attach, detach, files_of
from coalsim.mm.virt.kernel import TABLE_LINE
from coalsim.mm.virt.rmap import flush_pending
from coalsim.mm.virt.rss import RSS_LINE
from coalsim.mm.virt.space import AddressSpace
from coalsim.mm.virt.unmap import Unmapping
from coalsim.units import Vpn

FORK = "fork"


def fork(parent: AddressSpace, cpu: Cpu) -> Op[AddressSpace | None]:
    """A copy of an address space; None: no memory."""
    kernel, costs = parent.kernel, parent.kernel.costs
    cpu.charge(costs.fork_fixed, FORK)
    cpu.charge(costs.mm_create, FORK)
    yield from cpu.sync()
    child = AddressSpace(kernel)
    if not (yield from child.start_tables(cpu, FORK)):
        return None
    yield from parent.lock_write(cpu, 0, kernel.geometry.user_pages, FORK)
    yield from parent.write_areas(cpu, 0, kernel.geometry.user_pages)
    child.areas = parent.areas.copy()
    child.mmap_base = parent.mmap_base
    child.heap = parent.heap.copy(child.areas)
    for area in child.areas:
        area.lock = None
    files = files_of(child.areas)
    child.is_open = bool(files)
    yield from attach(child, cpu, files, FORK)
    request = Flush(
        context=parent.context,
        first=Vpn(0),
        last=Vpn(kernel.geometry.user_pages),
        reason=FORK,
        keeps_frames=True,
        full=True,
    )
    request.sharers = 0 if parent.tables.is_tracked else -1
    is_whole = True
    for area in list(parent.areas):
        if area.file is not None and (area.shared or not area.anon):
            continue
        at: int = area.first
        while is_whole and (part := parent.next_part(at, area.last)) is not None:
            is_whole = yield from _copy_table(parent, child, cpu, *part, area, request)
            at = part[1]
            yield from cpu.sync()
    yield from kernel.policy.flush(cpu, request)  # whether or not an entry has lost a right
    yield from cpu.sync()
    request.promise(Moment(cpu.clock, cpu.id, FORK))
    yield from parent.unlock_write(cpu)
    if not is_whole:
        kernel.counts.out_of_memory += 1
        yield from tear_down(child, cpu)
        return None
    kernel.counts.forks += 1
    return child


def _copy_table(
    parent: AddressSpace, child: AddressSpace, cpu: Cpu, low: int, high: int, area: Area, request: Flush
) -> Op[bool]:
    """Copy the entries of one leaf table; False: no memory for the child's table."""
    kernel, frames, context = parent.kernel, parent.kernel.frames, parent.context
    place = child.tables.place_of(cpu)
    missing = child.tables.missing(place, Vpn(low))
    nodes = [child.table_node(cpu, where) for where, _ in missing]
    made = yield from kernel.new_table_frames(cpu, len(missing), FORK, nodes)
    yield from cpu.sync()
    if len(made) < len(missing):
        yield from frames.release(cpu, made, FORK, on_lru=False)
        return False
    spare = iter(made)
    count, _ = child.tables.adopt(place, Vpn(low), lambda _: next(spare))
    kernel.counts.tables_made += count
    lock = parent.table_lock(Vpn(low))
    yield from lock.acquire(cpu, FORK)
    yield from flush_pending(parent, cpu, FORK)
    yield from cpu.sync()
    moment = Moment(cpu.clock, cpu.id, FORK)
    pending = f"flush after generation {context.generation} for {FORK}"
    lines, last_line, copied, with_frames, references = 0, -1, 0, 0, 0
    file = shmem = 0  # of those with frames
    tree, child_tree = parent.tree_of(cpu), child.tables.tree(place)
    for vpn, entry in list(parent.tables.entries(low, high)):
        pfn = pfn_of(entry)
        if vpn >> 3 != last_line:
            last_line = vpn >> 3
            lines += kernel.line_cost(cpu, tree, vpn) + kernel.line_cost(cpu, child_tree, vpn)
        page = kernel.cache.by_frame.get(pfn) if area.file is not None else None
        if page is not None:
            kernel.cache.map(page)
            references += page.count(cpu)
            with_frames += 1
            file += 1
        elif pfn != frames.zero_frame:
            frames.share(pfn)
            with_frames += 1
            shmem += pfn in frames.shared_memory
        both = entry if area.shared or page is not None else (entry & ~WRITABLE) | COW
        if both != entry:
            parent.tables.exchange(vpn, both)
            if entry & WRITABLE:
                request.dead += context.end_translation(vpn, moment, pending, lost_frame=False)
                request.vpns.append(vpn)
                if parent.tables.is_tracked:
                    request.sharers |= parent.tables.sharers(vpn)
        child.tables.store(place, vpn, both & ~0x60)
        copied += 1
    child.counts.resident += copied
    counting = child.rss.settle(cpu, with_frames, file=file, shmem=shmem)
    cpu.charge(copied * kernel.costs.copy_pte, FORK)
    if counting:
        cpu.charge(counting, RSS_LINE)
    if lines:
        cpu.charge(lines, TABLE_LINE)
    if references:
        cpu.charge(references, FOLIO_LINE)
    yield from lock.release(cpu)
    return True


def tear_down(space: AddressSpace, cpu: Cpu) -> Op[None]:
    """The last thread has gone: give everything back."""
    kernel, end = space.kernel, space.kernel.geometry.user_pages
    yield from space.recall_flushes(cpu, 0, end)  # nothing of the space may still wait for its flush
    yield from space.lock_write(cpu, 0, end, "exit_mmap")
    removed = space.areas.remove(0, end)
    cpu.charge(len(removed.areas) * kernel.costs.area_remove, "areas")
    ranges: list[tuple[int, int]] = [(area.first, area.last) for area in removed.areas]
    ranges = ranges or [(0, 1)]  # tables may be left anyhow
    yield from Unmapping(space, cpu, "exit_mmap").run(ranges, free_tables=True)
    yield from detach(space, cpu, files_of(removed.areas), "exit_mmap")
    yield from space.unlock_write(cpu)
    yield from cpu.sync()
    kernel.switching.forget(cpu, space.context)
    roots = space.tables.dissolve()
    kernel.counts.tables_freed += len(roots)
    yield from kernel.frames.release(cpu, roots, "exit_mmap", on_lru=False)
    space.is_dead = True
