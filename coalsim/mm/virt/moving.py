"""mremap: make a mapping smaller or larger, in place or elsewhere.

    find room -> tables there -> areas -> entries out, flushed -> entries in -> old tables freed

Source: Linux mm/mremap.c.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment
from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.paging.entry import PRESENT
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.virt.fault import TABLES
from coalsim.mm.virt.file_areas import attach
from coalsim.mm.virt.mapping import AREAS, NO_ROOM, NOT_MAPPED, find_gap, unmap_and_unlock
from coalsim.mm.virt.rmap import flush_pending
from coalsim.mm.virt.space import FIND, AddressSpace
from coalsim.mm.virt.unmap import Unmapping
from coalsim.units import Vpn


def move(space: AddressSpace, cpu: Cpu, first: int, old_pages: int, new_pages: int) -> Op[Vpn]:
    """mremap: make a mapping smaller or larger, in place or elsewhere; its first page, -1 or -2."""
    kernel, costs = space.kernel, space.kernel.costs
    if new_pages < old_pages:
        return (yield from _shrink(space, cpu, first, first + new_pages, first + old_pages))
    yield from space.lock_write(cpu, 0, kernel.geometry.user_pages, "mremap")
    cpu.charge(costs.area_find, FIND)
    yield from cpu.sync()
    area = space.areas.find(first)
    if area is None or first + old_pages > area.last:
        yield from space.unlock_write(cpu)
        return NOT_MAPPED
    yield from space.write_areas(cpu, first, first + old_pages)
    end = Vpn(first + new_pages)
    in_place = area.last == first + old_pages and end <= kernel.geometry.user_pages
    if new_pages == old_pages or (in_place and space.areas.extend(area, end)):
        yield from space.unlock_write(cpu)
        return Vpn(first)
    to = yield from find_gap(space, cpu, new_pages)
    if to is None or not (yield from _make_tables(space, cpu, first, first + old_pages, to)):
        yield from space.unlock_write(cpu)
        return NO_ROOM
    yield from space.recall_flushes(cpu, first, first + old_pages)
    space.moving = (first, first + old_pages, to)
    moved = space.areas.move(first, first + old_pages, to)
    cpu.charge(costs.area_new + costs.area_remove + moved.splits * costs.area_split, AREAS)
    holder = space.areas.find(to + old_pages - 1)
    if new_pages > old_pages and holder is not None:
        space.areas.extend(holder, Vpn(to + new_pages))
    if area.file is not None:
        yield from attach(space, cpu, [area.file], "mremap")
    yield from space.write_areas(cpu, to, to + new_pages)
    yield from _move_entries(space, cpu, first, first + old_pages, to, area.file)
    space.moving = None
    yield from Unmapping(space, cpu, "mremap").run(
        [(first, first + old_pages)], free_tables=space.frees_tables
    )
    yield from space.unlock_write(cpu)
    return to


def _shrink(space: AddressSpace, cpu: Cpu, first: int, end: int, last: int) -> Op[Vpn]:
    """The pages from `end` on go, if the first one is mapped at all."""
    yield from space.lock_write(cpu, first, last, "mremap")
    cpu.charge(space.kernel.costs.area_find, FIND)
    yield from cpu.sync()
    if space.areas.find(first) is None:
        yield from space.unlock_write(cpu)
        return NOT_MAPPED
    yield from unmap_and_unlock(space, cpu, end, last)
    return Vpn(first)


def _make_tables(space: AddressSpace, cpu: Cpu, first: int, last: int, to: int) -> Op[bool]:
    """Tables at the place that pages move to, before anything moves; False: no memory for them."""
    kernel, tables = space.kernel, space.tables
    place = tables.place_of(cpu)
    yield from cpu.sync()
    for vpn, _ in list(tables.entries(first, last)):
        target = Vpn(to + vpn - first)
        missing = tables.missing(place, target)
        if missing:
            nodes = [space.table_node(cpu, where) for where, _ in missing]
            frames = yield from kernel.new_table_frames(cpu, len(missing), "mremap", nodes)
            yield from cpu.sync()
            if len(frames) < len(missing):
                kernel.counts.out_of_memory += 1
                yield from kernel.frames.release(cpu, frames, "mremap", on_lru=False)
                yield from Unmapping(space, cpu, "mremap").run([(to, to + last - first)], free_tables=True)
                return False
            spare = iter(frames)
            made, _ = tables.adopt(place, target, lambda _, spare=spare: next(spare))  # type: ignore[misc]
            kernel.counts.tables_made += made
    yield from cpu.sync()
    return True


def _move_entries(
    space: AddressSpace, cpu: Cpu, first: int, last: int, to: int, file: File | None
) -> Op[None]:
    """Move entries to their new pages, as many at a time as have one old and one new leaf table.

    Whoever follows a file to its entries waits: between two tables they are nowhere to be found.
    """
    span = 1 << space.kernel.geometry.leaf_bits
    shift = to - first
    yield from cpu.sync()
    while (part := space.next_part(first, last)) is not None:
        low, high = part
        first = min(high, low + span - (low + shift) % span)
        if file is not None:
            yield from file.i_mmap.acquire(cpu, "mremap")
        moved = yield from _take_entries(space, cpu, low, first)
        if moved:
            yield from _put_entries(space, cpu, moved, shift)
        if file is not None:
            yield from file.i_mmap.release(cpu)
        yield from cpu.sync()


def _take_entries(space: AddressSpace, cpu: Cpu, low: int, high: int) -> Op[list[tuple[Vpn, int]]]:
    """Clear entries of one leaf table and flush them before its lock is dropped; returns what they were.

    So they are flushed before anybody can use the new ones.  Linux takes the other table's lock
    inside; here it comes after, which nobody can tell: the space's lock keeps all others out.
    """
    kernel, tables, context = space.kernel, space.tables, space.context
    lock = space.table_lock(Vpn(low))
    yield from lock.acquire(cpu, "mremap")
    yield from flush_pending(space, cpu, "mremap")
    yield from cpu.sync()
    request = Flush(context=context, first=Vpn(high), last=Vpn(low), reason="mremap", keeps_frames=True)
    request.sharers = 0 if tables.is_tracked else -1
    moment = Moment(cpu.clock, cpu.id, "mremap")
    pending = f"flush after generation {context.generation} for mremap"
    taken: list[tuple[Vpn, int]] = []
    for vpn, _ in list(tables.entries(low, high)):
        old, copies = tables.exchange(vpn, 0)
        request.dead += context.end_translation(vpn, moment, pending)
        request.vpns.append(vpn)
        request.first, request.last = Vpn(min(request.first, vpn)), Vpn(max(request.last, vpn + 1))
        if tables.is_tracked:
            request.sharers |= tables.sharers(vpn)
        taken.append((vpn, old))
        cpu.charge(copies * kernel.costs.zap_page, TABLES)
    if taken:
        yield from kernel.policy.flush(cpu, request)
        yield from cpu.sync()
        request.promise(Moment(cpu.clock, cpu.id, "mremap"))
    yield from lock.release(cpu)
    return taken


def _put_entries(space: AddressSpace, cpu: Cpu, moved: list[tuple[Vpn, int]], shift: int) -> Op[None]:
    """Store entries so many pages further on, in one leaf table."""
    kernel, tables = space.kernel, space.tables
    lock = space.table_lock(Vpn(moved[0][0] + shift))
    yield from lock.acquire(cpu, "mremap")
    yield from cpu.sync()
    place = tables.place_of(cpu)
    for vpn, entry in moved:
        copies = tables.store(place, Vpn(vpn + shift), entry & ~PRESENT | PRESENT)
        cpu.charge(copies * kernel.costs.pte_set, TABLES)
    yield from lock.release(cpu)
