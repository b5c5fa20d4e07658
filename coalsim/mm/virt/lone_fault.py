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
No lock is held at all, so charges that no lock's speed can change are written in line.
A fault that would take a further lock meanwhile (a full LRU batch) is not simple: the rules
of locks must see which one it holds.
"""

from typing import TypeAlias

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.tablelines import LINE_SHIFT
from coalsim.engine.clock import Op
from coalsim.locks.base import SpinLock
from coalsim.mm.paging.entry import DIRTY, PRESENT, USER, WRITABLE
from coalsim.mm.phys.ram import TableFrame
from coalsim.mm.virt.area import Area
from coalsim.mm.virt.fault_words import CHARGE, FAULT, NO_MEMORY
from coalsim.mm.virt.space import FIND, AddressSpace
from coalsim.mm.virt.vma_lock import AREA_LINE, AreaLock
from coalsim.units import PAGE_SHIFT, Time, Vpn

ENTRY = PRESENT | USER | WRITABLE | DIRTY
"""What a store's new page has in its entry, beside the frame."""

Place: TypeAlias = tuple[SpinLock, TableFrame, int, bool]
"""Where an entry goes, by table and index, the lock over it, and whether its area is shared."""


class LoneFaults:
    """One task's faults in a space that it has to itself.

    What is the same in all of them is looked up once: faults are what loads do most.

    Args:
        space: of the task.
        cpu: where it runs.
    """

    __slots__ = (
        "_area",
        "_area_line",
        "_costs",
        "_cpu",
        "_entry_bytes",
        "_frames",
        "_hit",
        "_kernel",
        "_leaf_bits",
        "_lines",
        "_may_be",
        "_near",
        "_space",
        "_storing",
        "_way_in",
        "_way_in_takes",
    )

    def __init__(self, space: AddressSpace, cpu: Cpu) -> None:
        kernel = space.kernel
        self._space = space
        self._cpu = cpu
        self._kernel = kernel
        self._costs = costs = kernel.costs
        self._frames = kernel.frames
        self._lines, self._near = kernel.lines, kernel.lines.own[cpu.id]
        self._leaf_bits = kernel.geometry.leaf_bits
        self._entry_bytes = kernel.geometry.entry_bytes
        self._may_be = kernel.switches.mmap_lock == "per_vma"
        self._area: Area | None = None  # of the last fault: the next one is mostly there, too
        self._hit: Time = cpu.transfer[cpu.id]
        self._area_line: Time = self._hit + costs.vma_lock  # counting in, or out
        self._storing: Time = costs.pte_set + costs.rmap_add
        self._way_in = ((FIND, costs.area_find), (AREA_LINE, self._area_line), (FAULT, costs.fault_fixed))
        self._way_in_takes: Time = sum(cost for _, cost in self._way_in)

    def place(self, vpn: Vpn) -> Place | None:
        """Where a store's new page goes, if the way there needs nobody else; after a look.

        The space has one task, which runs here.
        """
        space, cpu, tree = self._space, self._cpu, self._space.tables.single
        area = self._area
        if area is None or not area.attached or not area.first <= vpn < area.last:
            self._area = area = space.areas.find(vpn)
        if tree is None or area is None or not area.anon or not self._may_be:
            return None
        leaf = tree.leaf(vpn)
        if leaf is None or not area.attached or not area.rights.write:
            return None
        table, index = leaf
        lock = space.table_locks.get(vpn >> self._leaf_bits)
        if lock is None:
            lock = space.table_lock(vpn)
        lines, line = self._lines, table.pfn << LINE_SHIFT | index * self._entry_bytes >> LINE_SHIFT
        area_lock = area.lock
        if (
            table.slots[index]
            or cpu.locks_held
            or not lock.is_near(cpu)
            or not isinstance(area_lock, AreaLock)  # one that is not there yet is near nobody
            or area_lock.written_at == space.sequence
            or not area_lock.line.is_near(cpu)
            or lines.dirty.get(line) is not cpu  # the line is not near
            or self._near.get(line) != lines.version[line]
            or not space.rss.has_room(cpu)
            or not self._frames.lru.has_room(cpu)
        ):
            return None
        return lock, table, index, area.shared

    def map(self, place: Place) -> Op[str]:
        """Map a new frame there; returns the signal that the access deserves instead, or nothing."""
        cpu, costs, frames, counts = self._cpu, self._costs, self._frames, self._kernel.counts
        lock, table, index, is_shared = place
        counts.faults += 1
        account = cpu.account
        account[FIND] += costs.area_find  # `Cpu.charge` in line, for the way in
        account[AREA_LINE] += self._area_line
        account[FAULT] += costs.fault_fixed
        cpu.clock = clock = cpu.clock + self._way_in_takes
        if clock > cpu.limit:
            cpu.tail.extend(self._way_in)
        if clock >= cpu.limit:
            yield from cpu.look()
        pfn = frames.take_now(cpu, FAULT)
        if pfn < 0:
            pfn = yield from frames.take(cpu, FAULT)
        if pfn >= 0:
            if costs.memcg_charge:
                cpu.charge(costs.memcg_charge, CHARGE)
            if frames.temporary is not None:
                yield from frames.zero(cpu, pfn)
            elif not frames.zero_warm(cpu, pfn):
                env = cpu.env
                while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
                    yield alarm
                    cpu.resume()
                frames.zero_cold(cpu, pfn)
            cpu.account[lock.line_cause] += self._hit
            cpu.clock = clock = cpu.clock + self._hit
            if clock > cpu.limit:
                cpu.tail.append((lock.line_cause, self._hit))
            while cpu.clock >= cpu.limit and (alarm := cpu.until_look()):  # look, in line
                yield alarm
                cpu.resume()
            granted, stolen = cpu.clock, cpu.time_stolen
            if is_shared:
                frames.shared_memory[pfn] = None
            self._space.rss.count_one(cpu, shmem=is_shared)
            table.enter(index, pfn << PAGE_SHIFT | ENTRY)
            self._space.counts.resident += 1
            cpu.account[FAULT] += self._storing
            cpu.clock = clock = cpu.clock + self._storing
            if clock > cpu.limit:
                cpu.tail.append((FAULT, self._storing))
            if not frames.lru.add_now(cpu, pfn):
                yield from frames.lru.add(cpu, pfn, FAULT)
            cpu.charge(lock.overhead, lock.hold_cause)
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            lock.note_passed(cpu, FAULT, granted, stolen)
            counts.anonymous += 1
        else:
            counts.out_of_memory += 1
        cpu.account[AREA_LINE] += self._area_line
        cpu.clock = clock = cpu.clock + self._area_line
        if clock > cpu.limit:
            cpu.tail.append((AREA_LINE, self._area_line))
        return NO_MEMORY if pfn < 0 else ""
