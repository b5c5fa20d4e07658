"""A write to a page that its entry only lets be read, because several may map its frame.

| the frame is                         | what is done                                         |
|--------------------------------------|------------------------------------------------------|
| the page of zeros, or mapped by more | a frame of its own, copied; the old entry is flushed |
| mapped by nobody else any more       | the entry becomes writable, no flush                 |

The copy is made before the page-table lock is taken, and given back if the entry has changed meanwhile.
The flush comes under that lock, synchronously, between the clearing of the old entry and the new one.
Locking: the caller holds a lock that keeps the area.
Source: Linux mm/memory.c (`do_wp_page`, `wp_page_copy`, `wp_page_reuse`).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment
from coalsim.engine.clock import Op
from coalsim.mm.paging.entry import COW as COW_BIT
from coalsim.mm.paging.entry import DIRTY, PRESENT, USER, WRITABLE, make, pfn_of
from coalsim.mm.shootdown.request import COW, Flush
from coalsim.mm.virt.entries import store_entry
from coalsim.mm.virt.fault_words import CHARGE, FAULT, NO_MEMORY
from coalsim.mm.virt.file_fault import KERNELS_BITS
from coalsim.mm.virt.rss import RSS_LINE
from coalsim.mm.virt.space import AddressSpace
from coalsim.units import Vpn


def break_cow(space: AddressSpace, cpu: Cpu, vpn: Vpn, seen: int) -> Op[str]:
    """A write to a page that may be shared: copy it, unless this mapping is the last."""
    kernel, frames, old = space.kernel, space.kernel.frames, pfn_of(seen)
    cpu.charge(kernel.costs.fault_fixed, FAULT)
    if old != frames.zero_frame and not frames.is_shared(old):
        yield from _take_over(space, cpu, vpn, seen)
        return ""
    pfn = yield from frames.take(cpu, COW)
    if pfn < 0:
        kernel.counts.out_of_memory += 1
        return NO_MEMORY
    if kernel.costs.memcg_charge:
        cpu.charge(kernel.costs.memcg_charge, CHARGE)
    if old == frames.zero_frame:
        yield from frames.zero(cpu, pfn)
    else:
        yield from frames.copy(cpu, old, pfn)
    lock = space.table_lock(vpn)
    yield from lock.acquire(cpu, COW)
    yield from cpu.sync()
    if space.tables.lookup(vpn) & KERNELS_BITS != seen & KERNELS_BITS:
        kernel.counts.lost_races += 1
        yield from lock.release(cpu)
        yield from frames.release(cpu, [pfn], COW, on_lru=False)
        return ""
    request = Flush(context=space.context, first=vpn, last=Vpn(vpn + 1), reason=COW, vpns=[vpn])
    request.sharers = space.tables.sharers(vpn)
    pending = f"flush after generation {space.context.generation} for {COW}"
    request.dead = space.context.end_translation(vpn, Moment(cpu.clock, cpu.id, COW), pending)
    space.tables.exchange(vpn, 0)
    yield from kernel.policy.flush(cpu, request)
    yield from cpu.sync()
    request.promise(Moment(cpu.clock, cpu.id, COW))
    is_shmem = _is_shared_memory(space, vpn)
    if is_shmem:
        frames.shared_memory[pfn] = None
    counting = space.rss.count(cpu, 1, shmem=is_shmem) if old == frames.zero_frame else 0
    mine = make(pfn, PRESENT | USER | WRITABLE | DIRTY)
    store_entry(space, cpu, vpn, mine, kernel.costs.rmap_add, FAULT)
    if counting:
        cpu.charge(counting, RSS_LINE)
    kernel.counts.cow_copies += 1
    last = frames.drop(old)
    yield from lock.release(cpu)
    yield from frames.lru.add(cpu, pfn, COW)
    if last:
        yield from frames.release(cpu, [old], COW)
    return ""


def _is_shared_memory(space: AddressSpace, vpn: Vpn) -> bool:
    area = space.areas.find(vpn)
    return area is not None and area.shared and area.file is None


def _take_over(space: AddressSpace, cpu: Cpu, vpn: Vpn, seen: int) -> Op[None]:
    """Nobody else maps the frame any more: the entry becomes writable, no flush is needed."""
    kernel = space.kernel
    lock = space.table_lock(vpn)
    yield from lock.acquire(cpu, COW)
    yield from cpu.sync()
    entry = space.tables.lookup(vpn)
    if entry & KERNELS_BITS == seen & KERNELS_BITS and not kernel.frames.is_shared(pfn_of(entry)):
        space.tables.exchange(vpn, (entry | WRITABLE | DIRTY) & ~COW_BIT)
        cpu.charge(kernel.costs.pte_set, FAULT)
        kernel.counts.cow_reuses += 1
    else:
        kernel.counts.lost_races += 1
    yield from lock.release(cpu)
