"""The outcome of a run for memory: where it is, what the allocators did, the state of each zone."""

from typing import cast

from coalsim.boot import System
from coalsim.mm.kmem.base import ObjectCache, OwnCounts
from coalsim.mm.kmem.slab import SlabStatistics
from coalsim.mm.manager import MemoryManager
from coalsim.mm.stats import Books, MemoryStats, Statistics, dump_allocations, memory_stats
from coalsim.mm.virt.system import VirtualMemory
from coalsim.observe.memory_document import (
    BuddyRow,
    Fragmentation,
    MagazineRow,
    Memory,
    MemoryBytes,
    NodeBytes,
    NumaRow,
    PageListRow,
    SlabRow,
    ZoneBytes,
)
from coalsim.observe.quantities import Count
from coalsim.observe.series_document import AllocationRow
from coalsim.study.vmstat import numa_counters, vmstat_parts


def books_of(manager: MemoryManager, vm: VirtualMemory | None = None) -> Books:
    """Who knows which frames are whose."""
    return Books(
        pages=manager.pages,
        ram=manager.ram,
        slabs=manager.objects.slabs,
        cached={} if vm is None else vm.kernel.cache.by_frame,
    )


def statistics(system: System) -> Statistics:
    """Where all memory of a system is; at a barrier."""
    return memory_stats(books_of(system.memory, system.vm if system.has_vm else None))


def check_conservation(system: System) -> None:
    """Every frame of every zone is somebody's, and one's only; at a barrier."""
    statistics(system)


def allocations(system: System) -> list[AllocationRow]:
    """Every block in somebody's hands; at a barrier."""
    found = dump_allocations(books_of(system.memory, system.vm if system.has_vm else None))
    return [cast(AllocationRow, block._asdict()) for block in found]


def memory_parts(system: System) -> dict[str, object]:
    """The part of the document about memory, of a load that asked for any; at a barrier.

    Asserts that no frame was lost, whoever asked.
    """
    found = statistics(system)
    if not was_used(system.memory):
        return {}
    return {"memory": {**memory(system.memory, found), **vmstat_parts(system, found)}}


def was_used(manager: MemoryManager) -> bool:
    """Whether the load asked for memory at all."""
    objects = any(own.allocs or own.frees for cache in manager.objects.caches for own in cache.counts)
    return objects or any(own.allocs or own.frees for own in manager.pages.own)


def memory(manager: MemoryManager, found: Statistics | None = None) -> Memory:
    """What the memory manager has to say; at a barrier.

    Args:
        manager: whose memory it is.
        found: where it is; None: counted here, in a system without processes.
    """
    pages = manager.pages
    found = found or memory_stats(books_of(manager))
    lines = [cache.statistics() for cache in manager.objects.caches]
    counts = [(cache, own) for cache in manager.objects.caches for own in cache.counts]
    return {
        "bytes": _bytes(found.machine),
        "node_bytes": [_node_bytes(node, stats) for node, stats in found.nodes.items()],
        "zone_bytes": [_zone_bytes(*zone) for zone in found.zones],
        "buddyinfo": [_buddy_row(manager, index) for index in range(len(pages.zones))],
        "slabinfo": [_slab_row(line) for line in lines if line.num_slabs],
        "layer": manager.switches.slab,
        "magazines": _magazine_rows(manager),
        "pagelists": [
            row for index in range(len(pages.zones)) if (row := _list_row(manager, index)) is not None
        ],
        "fragmentation": _fragmentation(counts),
        "numa": _numa_rows(manager),
        "remote_frees": {
            "objects": sum(own.frees for _, own in counts),
            "objects_remote": sum(own.remote_frees for _, own in counts),
            "pages": sum(own.frees for own in pages.own),
            "pages_remote": sum(own.remote_frees for own in pages.own),
        },
    }


def memory_bytes(stats: MemoryStats) -> dict[str, Count]:
    """Where memory is, in bytes, by the names of the document."""
    sizes: dict[str, Count] = {**stats.in_bytes()}
    sizes["reserved"] = sizes.pop("outside")
    return sizes


def _bytes(stats: MemoryStats) -> MemoryBytes:
    return cast(MemoryBytes, memory_bytes(stats))


def _node_bytes(node: int, stats: MemoryStats) -> NodeBytes:
    return {"node": int(node), **_bytes(stats)}


def _zone_bytes(node: int, zone: str, stats: MemoryStats) -> ZoneBytes:
    return {"zone": zone, **_node_bytes(node, stats)}


def _fragmentation(counts: list[tuple[ObjectCache, OwnCounts]]) -> Fragmentation:
    allocated = sum((own.allocs - own.failures) * cache.size for cache, own in counts)
    if not allocated:
        return {}
    # Objects under way at the end of the warm-up are counted as asked for and not as allocated.
    requested = min(allocated, sum(own.requested for _, own in counts))
    return {"objects": {"requested": requested, "allocated": allocated}}


def _buddy_row(manager: MemoryManager, index: int) -> BuddyRow:
    zone = manager.pages.zones[index]
    return {"node": int(zone.node), "zone": zone.name, "free_blocks": list(zone.source.free_blocks())}


def _slab_row(line: SlabStatistics) -> SlabRow:
    return {
        "name": line.name,
        "active_objs": line.active_objs,
        "num_objs": line.num_objs,
        "objsize": line.objsize,
        "objperslab": line.objperslab,
        "pagesperslab": line.pagesperslab,
        "active_slabs": line.active_slabs,
        "num_slabs": line.num_slabs,
        "limit": 0,
        "batchcount": 0,
    }


def _magazine_rows(manager: MemoryManager) -> list[MagazineRow]:
    rows: list[MagazineRow] = []
    for cache in manager.objects.caches:
        own, layer = cache.counts, cache.layer()
        if any(counts.allocs or counts.frees for counts in own):
            rows.append(
                {
                    "cache": cache.name,
                    "rounds": layer.rounds,
                    "allocs": sum(counts.allocs for counts in own),
                    "alloc_hits": sum(counts.alloc_hits for counts in own),
                    "depot_allocs": sum(counts.depot_allocs for counts in own),
                    "slab_allocs": sum(counts.slab_allocs for counts in own),
                    "frees": sum(counts.frees for counts in own),
                    "free_hits": sum(counts.free_hits for counts in own),
                    "depot_frees": sum(counts.depot_frees for counts in own),
                    "slab_frees": sum(counts.slab_frees for counts in own),
                    "contended": layer.contended,
                    "resizes": layer.resizes,
                }
            )
    return rows


def _list_row(manager: MemoryManager, index: int) -> PageListRow | None:
    zone = manager.pages.zones[index]
    lists = [own.lists[index] for own in manager.pages.own if index in own.lists]
    if not any(mine.allocs or mine.frees for mine in lists):
        return None
    allocs, frees = sum(mine.allocs for mine in lists), sum(mine.frees for mine in lists)
    return {
        "node": int(zone.node),
        "zone": zone.name,
        "allocs": allocs,
        "alloc_hits": allocs - sum(mine.alloc_misses for mine in lists),
        "frees": frees,
        "free_hits": frees - sum(mine.free_misses for mine in lists),
        "refills": sum(mine.refills for mine in lists),
        "refill_pages": sum(mine.refill_pages for mine in lists),
        "drains": sum(mine.drains for mine in lists),
        "drain_pages": sum(mine.drain_pages for mine in lists),
    }


def _numa_rows(manager: MemoryManager) -> list[NumaRow]:
    interleaves = manager.switches.placement == "interleave"
    nodes = range(len(manager.pages.own[0].hits))
    return [
        cast(NumaRow, {"node": node, **numa_counters(manager.pages, node, interleaves)}) for node in nodes
    ]
