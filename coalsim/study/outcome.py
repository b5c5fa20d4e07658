"""The outcome of one run: the result document filled from a system.

Everything is counted from the end of the warm-up to the end of the run, and each
processor's time adds up to exactly that interval.  Identities that hold in every run
are asserted here, always: no statistics are involved, so a failure is a mistake in
coalsim and not bad luck.
"""

from collections.abc import Mapping
from typing import cast

from coalsim import __version__
from coalsim.boot import System
from coalsim.mm.kmem.base import ObjectCache, OwnCounts
from coalsim.mm.kmem.slab import SlabStatistics
from coalsim.mm.manager import MemoryManager
from coalsim.observe.document import (
    CpuWaits,
    LockEntry,
    LockInstance,
    Phase,
    ResultDocument,
    latency_entry,
    nanoseconds,
)
from coalsim.observe.histogram import Histogram
from coalsim.observe.lock_columns import lock_entry
from coalsim.observe.memory_document import (
    BuddyRow,
    Fragmentation,
    MagazineRow,
    Memory,
    MemoryBytes,
    NumaRow,
    PageListRow,
    SlabRow,
)
from coalsim.study.pressure_outcome import pressure_parts
from coalsim.study.vm_outcome import vm_parts
from coalsim.units import NS, PAGE_SIZE, SEC, Time
from coalsim.workloads.base import Recorder

LOCK_ADDRESSES = 0xFFFF_8880_0100_0000
"""Locks have no simulated address; tables that want one count from here, a cache line each."""
LOCK_SPACING = 64

TimeByCause = list[dict[str, Time]]


def document(
    system: System,
    study: str,
    headline: str,
    begin: Time,
    end: Time,
    before: TimeByCause,
    after: TimeByCause,
    extra: Mapping[str, object],
) -> ResultDocument:
    """The result document of a run.

    Args:
        system: at the end of the run.
        study: its name.
        headline: the phase whose latency stands for the load.
        begin, end: the interval that was measured, in ps.
        before, after: each processor's time by cause up to its ends.
        extra: what the load itself has to say; laid over the document.
    """
    assert end > begin, "a run measures some time"
    ops = system.meter.count
    locks = [lock_entry(row) for lock_class in system.lock_classes for row in lock_class.rows()]
    result: ResultDocument = {
        "coalsim": __version__,
        "study": study,
        "machine": system.machine.name,
        "profile": system.config.profile.name,
        "seed": system.config.seed,
        "events": system.env.events,
        "sim_time_ps": end - begin,
        "throughput": {"ops": ops, "ops_per_s": ops * SEC / (end - begin)},
        "locks": sorted(
            (row for row in locks if row["acquisitions"]), key=lambda row: (row["name"], row["type"])
        ),
        "lock_waits_by_cpu": _waits_by_cpu(system),
        "lock_instances": _instances(system),
        "time": _time(before, after, end - begin),
        "cpu_nodes": [cpu.node for cpu in system.cpus],
    }
    if was_used(system.memory):
        result["memory"] = memory(system.memory)
    phases = _phases(system, end - begin)
    if headline in phases:
        result["latency_ns"] = phases[headline]["latency_ns"]
    if any(name for name in phases):
        result["phases"] = {name: phases[name] for name in sorted(phases) if name}
    _check(system, result["locks"], end - begin)
    whole = overlaid(cast("dict[str, object]", result), vm_parts(system))
    whole = overlaid(whole, pressure_parts(system))
    return cast(ResultDocument, overlaid(whole, extra))


def overlaid(base: Mapping[str, object], extra: Mapping[str, object]) -> dict[str, object]:
    """One tree laid over another, table by table."""
    merged = dict(base)
    for key, value in extra.items():
        under = merged.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            value = overlaid(under, value)
        merged[key] = value
    return merged


def _phases(system: System, elapsed: Time) -> dict[str, Phase]:
    found: dict[str, Phase] = {}
    for name, parts in system.meter.phases.items():
        latencies = _merged(parts)
        if ops := latencies.count:
            found[name] = {
                "latency_ns": latency_entry(latencies),
                "throughput": {"ops": ops, "ops_per_s": ops * SEC / elapsed},
            }
    return found


def _merged(parts: list[Recorder]) -> Histogram:
    merged = Histogram()
    for latencies in parts:
        assert isinstance(latencies, Histogram)
        merged.merge(latencies)
    return merged


def _time(before: TimeByCause, after: TimeByCause, elapsed: Time) -> dict[str, dict[str, int | float]]:
    """Each processor's time in the interval, by cause; asserts that nothing is left over."""
    table: dict[str, dict[str, int | float]] = {}
    for cpu, (first, last) in enumerate(zip(before, after, strict=True)):
        causes = dict.fromkeys((*last, *first))
        spent = _renamed({cause: last.get(cause, 0) - first.get(cause, 0) for cause in causes})
        assert sum(spent.values()) == elapsed, f"CPU {cpu}: {spent} is not {elapsed} ps"
        table[str(cpu)] = {cause: spent[cause] for cause in sorted(spent) if spent[cause]}
    return table


def _renamed(spent: dict[str, Time]) -> dict[str, Time]:
    """Repair what a wait left behind that the first barrier cut and that was divided when it ended.

    Its part before the barrier was counted as `shootdown:wait`, say, and taken off at the end for
    `shootdown:flight`: the first is below zero and comes off its siblings, the largest first.
    """
    for cause in [cause for cause, time in spent.items() if time < 0]:
        family = cause.rpartition(":")[0]
        siblings = [other for other in spent if other.rpartition(":")[0] == family and spent[other] > 0]
        for other in sorted(siblings, key=lambda name: (-spent[name], name)):
            part = min(spent[other], -spent[cause])
            spent[other] -= part
            spent[cause] += part
    return spent


def _waits_by_cpu(system: System) -> list[CpuWaits]:
    """What each processor waited for locks in all."""
    return [
        {
            "cpu": int(cpu.id),
            "name": f"cpu{cpu.id}",
            "contended": cpu.lock_waits[0],
            "wait_total": nanoseconds(cpu.lock_waits[1]),
            "wait_max": nanoseconds(cpu.lock_waits[2]),
            "wait_min": nanoseconds(cpu.lock_waits[3]),
        }
        for cpu in system.cpus
        if cpu.lock_waits[0]
    ]


def _instances(system: System) -> list[LockInstance]:
    """The locks that were waited for, each by itself; its address is its place among all locks."""
    rows: list[LockInstance] = []
    address = LOCK_ADDRESSES
    for lock_class in system.lock_classes:
        for name, stat in lock_class.instances.items():
            row = stat.row()
            if row.contentions:
                rows.append(
                    {
                        "address": address,
                        "symbol": name,
                        "type": row.type,
                        "contended": row.contentions,
                        "wait_total": nanoseconds(row.waittime_total),
                        "wait_max": nanoseconds(row.waittime_max),
                        "wait_min": nanoseconds(row.waittime_min),
                    }
                )
            address += LOCK_SPACING
    return rows


def _check(system: System, locks: list[LockEntry], elapsed: Time) -> None:
    """Laws that hold in every run.

    Utilisation: the locks of a class are held for no longer than there is time, but for
    holds that began before the interval.  Conservation: every frame is free, on a list,
    taken, on its way between these, or was taken before the start.
    """
    instances = system.instances_of_class
    for row in locks:
        if not row["type"].endswith(":R"):
            most = elapsed * instances[row["name"]] / NS + row["holdtime_max"] * instances[row["name"]]
            assert row["holdtime_total"] <= most * (1 + 1e-9), (
                f"{row['name']} was held for longer than there was"
            )
    pages = system.memory.pages
    accounted = pages.taken_pages() + pages.listed_pages() + pages.moving_pages()
    accounted += sum(zone.source.free_frames + zone.source.unheld_frames() for zone in pages.zones)
    accounted += pages.reserve.held if pages.reserve is not None else 0
    assert accounted == sum(zone.frames for zone in pages.zones), "frames were lost or made"


# -- memory


def was_used(manager: MemoryManager) -> bool:
    """Whether the load asked for memory at all."""
    objects = any(own.allocs or own.frees for cache in manager.objects.caches for own in cache.counts)
    return objects or any(own.allocs or own.frees for own in manager.pages.own)


def memory(manager: MemoryManager) -> Memory:
    """The memory part of the document; at a barrier."""
    pages = manager.pages
    total = sum(zone.frames for zone in pages.zones)
    free = sum(zone.source.free_frames for zone in pages.zones)
    percpu, reserved = pages.listed_pages(), sum(zone.source.unheld_frames() for zone in pages.zones)
    lines = [cache.statistics() for cache in manager.objects.caches]
    slab = sum(line.num_slabs * line.pagesperslab for line in lines)
    sizes: MemoryBytes = {
        "total": total * PAGE_SIZE,
        "free": free * PAGE_SIZE,
        "used": (total - free - percpu - reserved) * PAGE_SIZE,
        "percpu": percpu * PAGE_SIZE,
        "reserved": reserved * PAGE_SIZE,
        "slab": slab * PAGE_SIZE,
    }
    counts = [(cache, own) for cache in manager.objects.caches for own in cache.counts]
    return {
        "bytes": sizes,
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
    rows: list[NumaRow] = []
    interleaves = manager.switches.placement == "interleave"
    every = manager.pages.own
    for node in range(len(every[0].hits)):
        hits = sum(own.hits[node] for own in every)
        misses = sum(own.misses[node] for own in every)
        local = sum(own.hits[node] + own.misses[node] for own in every if own.node == node)
        rows.append(
            {
                "node": node,
                "numa_hit": hits,
                "numa_miss": misses,
                "numa_foreign": sum(own.foreign[node] for own in every),
                "numa_interleave": hits if interleaves else 0,
                "numa_local": local,
                "numa_other": hits + misses - local,
            }
        )
    return rows
