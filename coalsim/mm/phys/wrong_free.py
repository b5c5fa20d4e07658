"""What is wrong with a free that the page allocator refuses, by its ledger and the zones.

Nothing has changed before it is refused.  Locking: none; who gets this raises it, and the run is over.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.errors import BadFree, DoubleFree, ForeignFree, InteriorFree
from coalsim.mm.phys.page_ledger import CPU_MASK, ORDER_SHIFT, OWNED, PageLedger


def refusal(ledger: PageLedger, cpu: Cpu, pfn: int, order: int, site: str) -> BadFree:
    """Why a block of that order, which would begin there, cannot be given back."""
    who = f"freed at {site} on CPU {cpu.id}"
    taken = ledger.taken.get(pfn)
    if taken is not None:
        if taken & OWNED:
            taker = f"taken by CPU {taken & CPU_MASK}"
            return ForeignFree(pfn, f"{who}; slabs or kmalloc own the block, {taker}")
        return BadFree(pfn, f"{who} with order {order}, taken with order {taken >> ORDER_SHIFT}")
    zone = ledger.zone_of(pfn) if pfn >= 0 else None
    if zone is None or not zone.first <= pfn < zone.first + zone.frames:
        return ForeignFree(pfn, f"{who}; the machine has no such frame")
    if zone.source.is_free(pfn):
        return DoubleFree(pfn, f"{who}; the block is free in zone {zone.name}")
    for head in (pfn & -(1 << up) for up in range(ledger.max_order + 1)):
        given = zone.source.order_of(head)  # as the zone sees it: to a caller, or to a list
        if given is None or pfn >= head + (1 << given):
            continue
        if head in ledger.taken:
            return InteriorFree(pfn, f"{who}; it lies in the block of order {given} at {head:#x}")
        return DoubleFree(pfn, f"{who}; the block is on a per-CPU list")
    return ForeignFree(pfn, f"{who}; it was taken before the start and never allocated")
