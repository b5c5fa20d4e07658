"""The first touch of a page in a space that one task has to itself, on its processor's own time.

    find the place -> take a frame -> zero it -> [page-table lock: store the entry] -> done

Nobody else can look at such a space: only its task could start another, and reclaim follows files
only, which no space maps that is not open (`AddressSpace.is_open`).  So its areas, its tables and
its locks are private as long as their lines are in the processor's cache, and a look takes the
place of each `sync`: one event is left, in which a frame that is not warm asks for memory bandwidth.
Whatever is less simple goes through `fault.py`, and so does every fault where computed
sections are switched off; costs and results are the same.

Invariant: what is found stays so up to the end of the fault.
Locking: both locks are passed through without being held; who could come is not there.
A fault that would take a further lock meanwhile (a full LRU batch) is not simple: the rules
of locks must see which one it holds.
"""

from typing import NamedTuple

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.tablelines import line_of
from coalsim.engine.clock import Op
from coalsim.locks.base import SpinLock
from coalsim.mm.paging.entry import DIRTY, PRESENT, USER, WRITABLE
from coalsim.mm.phys.ram import TableFrame
from coalsim.mm.virt.fault_words import CHARGE, FAULT, NO_MEMORY
from coalsim.mm.virt.space import FIND, AddressSpace
from coalsim.mm.virt.vma_lock import AREA_LINE
from coalsim.units import PAGE_SHIFT, Vpn


class Place(NamedTuple):
    """Where the entry goes, by table and index, the lock over it, and whether its area is shared."""

    lock: SpinLock
    table: TableFrame
    at: int
    is_shared: bool


def find_place(space: AddressSpace, cpu: Cpu, vpn: Vpn) -> Place | None:
    """Where a store's new page goes, if the way there needs nobody else; after a look.

    The space has one task, which runs here.
    """
    kernel, area, tree = space.kernel, space.areas.find(vpn), space.tables.single
    if tree is None or area is None or not area.anon or kernel.switches.mmap_lock != "per_vma":
        return None
    leaf = tree.leaf(vpn)
    if leaf is None or not area.attached or not area.rights.write:
        return None
    table, index = leaf
    lock = space.table_lock(vpn)
    if (
        table.slots[index]
        or cpu.locks_held
        or not lock.is_near(cpu)
        or not space.lock_of(area).is_near(cpu, space.sequence)
        or not kernel.lines.is_near(cpu, line_of(table.pfn, index, kernel.geometry.entry_bytes))
        or not space.rss.has_room(cpu)
        or not kernel.frames.lru.has_room(cpu)
    ):
        return None
    return Place(lock, table, index, area.shared)


def map_alone(space: AddressSpace, cpu: Cpu, place: Place) -> Op[str]:
    """Map a new frame there; returns the signal that the access deserves instead, or nothing."""
    kernel, costs, frames = space.kernel, space.kernel.costs, space.kernel.frames
    lock, table, index, is_shared = place
    hit = cpu.transfer[cpu.id]
    kernel.counts.faults += 1
    cpu.charge(costs.area_find, FIND)
    cpu.charge(hit + costs.vma_lock, AREA_LINE)
    cpu.charge(costs.fault_fixed, FAULT)
    if cpu.clock >= cpu.limit:
        yield from cpu.look()
    pfn = frames.take_now(cpu, FAULT)
    if pfn < 0:
        pfn = yield from frames.take(cpu, FAULT)
    if pfn >= 0:
        if costs.memcg_charge:
            cpu.charge(costs.memcg_charge, CHARGE)
        yield from frames.zero(cpu, pfn)
        cpu.charge(hit, lock.line_cause)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        granted, stolen = cpu.clock, cpu.time_stolen
        if is_shared:
            frames.shared_memory[pfn] = None
        space.rss.count(cpu, 1, shmem=is_shared)
        table.exchange(index, pfn << PAGE_SHIFT | PRESENT | USER | WRITABLE | DIRTY)
        space.counts.resident += 1
        cpu.charge(costs.pte_set + costs.rmap_add, FAULT)
        if not frames.lru.add_now(cpu, pfn):
            yield from frames.lru.add(cpu, pfn, FAULT)
        cpu.charge(lock.overhead, lock.hold_cause)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        lock.note_passed(cpu, FAULT, granted, stolen)
        kernel.counts.anonymous += 1
    else:
        kernel.counts.out_of_memory += 1
    cpu.charge(hit + costs.vma_lock, AREA_LINE)
    return NO_MEMORY if pfn < 0 else ""
