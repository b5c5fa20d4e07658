"""A system's counters under the names of /proc/vmstat, and its zones as /proc/zoneinfo has them.

Only what the model has is there.  `nr_...` are frames as they are at a barrier; all others count
from the end of the warm-up.

    nr_anon_pages    all frames of processes that hold no page of a file
    pgfree           pages, however many a block had
    allocstall_...   by the highest zone that the requests could use: Normal for the kernel's, Movable
                     (which is behind all others, and empty here) for pages of processes
    pgsteal_...      pages of files, as in Linux; what came back from slabs is in the `pressure` part
    nr_tlb_remote_flush_received    processors that were asked, over all shootdowns

Source: mm/vmstat.c, mm/page_alloc.c and mm/vmscan.c (do_try_to_free_pages) of Linux 6.18,
arch/x86/mm/tlb.c for nr_tlb_....
"""

from coalsim.boot import System
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.zone import Zone
from coalsim.mm.stats import MemoryStats, Statistics, ZoneStats
from coalsim.observe.memory_document import NodeCounters, PageSetRow, ZoneInfoRow
from coalsim.observe.quantities import Count
from coalsim.units import NodeId

BLOCK_ORDER = 9
"""Pages of a page block, 2 MiB, as a power of two."""

_FILE_COUNTERS = (
    *("pgpgin", "pgpgout", "pgactivate", "pgdeactivate", "pgmajfault"),
    *("pgscan_kswapd", "pgscan_direct", "pgsteal_kswapd", "pgsteal_direct"),
)


def vmstat_parts(system: System, found: Statistics) -> dict[str, object]:
    """The parts of the document's `memory` that say this; at a barrier."""
    nodes = {node: node_counters(system, node, stats) for node, stats in found.nodes.items()}
    zones = [_zone_info(system, zone, found) for zone in system.memory.pages.zones]
    vmstat: dict[str, Count] = {}
    for row in zones:
        for name in ("nr_free_pages", "nr_free_pages_blocks"):
            vmstat[name] = vmstat.get(name, 0) + row["counters"][name]
    for counters in nodes.values():
        for name, count in counters.items():
            vmstat[name] = vmstat.get(name, 0) + count
    rows: list[NodeCounters] = [{"node": int(node), "counters": row} for node, row in nodes.items()]
    return {"zoneinfo": zones, "node_counters": rows, "vmstat": {**vmstat, **event_counters(system)}}


def event_counters(system: System) -> dict[str, Count]:
    """What happened since the end of the warm-up; at a barrier."""
    pages = system.memory.pages
    counters: dict[str, Count] = {}
    for node in range(len(pages.own[0].hits)):
        for name, count in numa_counters(pages, node, system.switches.placement == "interleave").items():
            counters[name] = counters.get(name, 0) + count
    for zone in pages.zones:
        name = f"pgalloc_{zone.name.lower()}"
        counters[name] = counters.get(name, 0) + allocated(pages, zone)
    counters["pgfree"] = sum(own.frees + own.more_freed for own in pages.own)
    if system.has_vm:
        counters |= _of_processes(system)
    if (pressure := system.pressure) is not None:
        stalls = pressure.counts
        counters["allocstall_normal"] = stalls.allocstall - stalls.allocstall_movable
        counters["allocstall_movable"] = stalls.allocstall_movable
        counters["pageoutrun"] = sum(kswapd.runs for kswapd in pressure.kswapds.values())
        counters["oom_kill"] = len(pressure.oom.kills)
    return counters


def _of_processes(system: System) -> dict[str, Count]:
    vm = system.vm
    files, flushes = vm.kernel.cache.counts, vm.flush_counts
    return {
        "pgfault": vm.kernel.counts.faults,
        **{name: getattr(files, name) for name in _FILE_COUNTERS},
        "nr_tlb_remote_flush": flushes.remote,
        "nr_tlb_remote_flush_received": flushes.targets,
    }


def numa_counters(pages: PageAllocator, node: int, interleaves: bool) -> dict[str, int]:
    """Where pages of a node went; at a barrier."""
    every = pages.own
    hits, misses = sum(own.hits[node] for own in every), sum(own.misses[node] for own in every)
    local = sum(own.hits[node] + own.misses[node] for own in every if own.node == node)
    return {
        "numa_hit": hits,
        "numa_miss": misses,
        "numa_foreign": sum(own.foreign[node] for own in every),
        "numa_interleave": hits if interleaves else 0,
        "numa_local": local,
        "numa_other": hits + misses - local,
    }


def allocated(pages: PageAllocator, zone: Zone) -> int:
    """Pages that requests got of a zone; at a barrier."""
    lists = [own.lists[zone.index] for own in pages.own if zone.index in own.lists]
    single = sum(own.single_pages.get(zone.index, 0) for own in pages.own)
    return single + sum(mine.allocs + mine.more_allocated for mine in lists)


def node_counters(system: System, node: NodeId, stats: MemoryStats) -> dict[str, Count]:
    """Frames of a node by their use."""
    counters: dict[str, Count] = {
        "nr_slab_unreclaimable": stats.slab,
        "nr_anon_pages": stats.user,
        "nr_page_table_pages": stats.page_tables,
    }
    if system.has_vm:
        counters |= system.vm.kernel.cache.vmstat(node, system.env._now)
    return counters


def _zone_info(system: System, zone: Zone, found: Statistics) -> ZoneInfoRow:
    pages, marks = system.memory.pages, zone.marks
    free_blocks = zone.source.free_blocks()
    counters: dict[str, Count] = {
        "nr_free_pages": zone.source.free_frames,
        "nr_free_pages_blocks": sum(
            blocks << order for order, blocks in enumerate(free_blocks) if order >= BLOCK_ORDER
        ),
    }
    if _is_alone(zone, found.zones):
        counters |= numa_counters(pages, zone.node, system.switches.placement == "interleave")
    return {
        "node": int(zone.node),
        "zone": zone.name,
        "start_pfn": int(zone.first),
        "spanned": zone.frames,
        "free": zone.source.free_frames,
        "min": marks.min,
        "low": marks.low,
        "high": marks.high,
        "promo": marks.promo,
        "protection": list(zone.protection),
        "counters": counters,
        "pagesets": [_page_set(system, cpu, zone) for cpu in _with_lists(pages, zone)],
        "node_unreclaimable": _has_given_up(system, zone.node),
    }


def _is_alone(zone: Zone, zones: tuple[ZoneStats, ...]) -> bool:
    """The node has no other zone, so that what is counted by node is the zone's."""
    return sum(other.node == zone.node for other in zones) == 1


def _with_lists(pages: PageAllocator, zone: Zone) -> list[int]:
    return [cpu for cpu, own in enumerate(pages.own) if zone.index in own.lists]


def _page_set(system: System, cpu: int, zone: Zone) -> PageSetRow:
    pages = system.memory.pages.own[cpu].lists[zone.index].pages
    return {
        "cpu": cpu,
        "count": pages.count,
        "high": pages.high,
        "batch": pages.batch,
        "high_min": pages.rules.high_min,
        "high_max": pages.rules.high_max,
    }


def _has_given_up(system: System, node: NodeId) -> int:
    pressure = system.pressure
    return int(pressure is not None and node in pressure.kswapds and pressure.kswapds[node].is_hopeless)
