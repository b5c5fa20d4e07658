"""The outcome of a run whose kernel tracked leaks: the `leaks` part of the result document.

Counted at the end of the run, from records whose times are those of the allocations, so nothing
here depends on how the run was played.
"""

from collections.abc import Iterable

from coalsim.boot import System
from coalsim.mm.debug.kmemleak import Kmemleak, Unreferenced
from coalsim.mm.debug.sites import Site, Sites
from coalsim.mm.debug.tracking import Tracked, Tracking
from coalsim.observe.document import nanoseconds
from coalsim.observe.leak_document import (
    KmemleakEntry,
    LeakAge,
    LeakGrowth,
    LeaksEntry,
    LeakSite,
    UnreferencedEntry,
)
from coalsim.units import NS, SEC, Time

SITES_GROWING = 100
"""Call sites whose growth a document keeps; their final bytes are kept for all."""
AGES = tuple(10**power * NS for power in range(3, 14))
"""Ages that part the rows, from 1 us to 10,000 s; the first row begins at 0."""
JIFFIES_WRAP = 1 << 32
BOOT_BEFORE_WRAP = 300
"""Seconds: a kernel's jiffies begin that much before they leave 32 bits (INITIAL_JIFFIES)."""
KERNEL_PID = 0
"""Loads allocate as threads of the kernel."""


def leak_parts(system: System) -> dict[str, object]:
    """The part of the document that only such runs have; at the end of the run."""
    tracking = system.memory.tracking
    if tracking is None:
        return {}
    end = system.env._now
    leaks = leaks_entry(tracking, end)
    if system.kmemleak is not None:
        leaks["kmemleak"] = kmemleak_entry(system.kmemleak, end, system.switches.hz)
    return {"leaks": leaks}


def leaks_entry(tracking: Tracking, end: Time) -> LeaksEntry:
    """Everything that is held, by call site and by age."""
    held = [*tracking.objects.values(), *tracking.blocks.values()]
    return {
        "end_ns": nanoseconds(end),
        "live": len(held),
        "bytes": sum(tracked.size for tracked in held),
        "allocated": sum(tracked.spent for tracked in held),
        "sites": _sites(tracking.sites, held, end),
        "ages": _ages(held, end),
        "growth": _growth(tracking.sites, end),
    }


def _sites(sites: Sites, held: Iterable[Tracked], end: Time) -> list[LeakSite]:
    oldest: dict[int, Time] = {}
    for tracked in held:
        key = id(tracked.site)
        oldest[key] = min(tracked.born, oldest.get(key, end))
    return [
        {
            "site": site.name,
            "cache": site.cache,
            "live": site.live,
            "bytes": site.bytes,
            "allocated": site.allocated,
            "allocs": site.allocs,
            "frees": site.frees,
            "oldest_ns": nanoseconds(end - oldest.get(id(site), end)),
        }
        for site in _largest_first(sites)
    ]


def _largest_first(sites: Sites) -> list[Site]:
    return sorted(sites, key=lambda site: (-site.bytes, site.name, site.cache))


def _ages(held: Iterable[Tracked], end: Time) -> list[LeakAge]:
    rows: list[LeakAge] = [{"from_ns": nanoseconds(least), "live": 0, "bytes": 0} for least in (0, *AGES)]
    for tracked in held:
        row = rows[sum(end - tracked.born >= least for least in AGES)]
        row["live"] += 1
        row["bytes"] += tracked.size
    return rows


def _growth(sites: Sites, end: Time) -> LeakGrowth:
    every = {(site.name, site.cache): sites.growth(site, end) for site in _largest_first(sites)}
    borders = sites.borders(end)
    return {
        "times_ns": [nanoseconds(border) for border in borders],
        "bytes": [sum(column) for column in zip(*every.values(), strict=True)] or [0] * len(borders),
        "sites": [
            {"site": name, "cache": cache, "bytes": [*series]}
            for (name, cache), series in [*every.items()][:SITES_GROWING]
        ],
    }


def kmemleak_entry(kmemleak: Kmemleak, end: Time, hz: int) -> KmemleakEntry:
    """What the scans did, and the objects that nothing points to and that still live."""
    counts = kmemleak.counts
    return {
        "has_roots": kmemleak.has_roots,
        "scans": counts.scans,
        "skipped": counts.skipped,
        "objects": counts.objects,
        "bytes": counts.bytes,
        "longest_ns": nanoseconds(counts.longest),
        "reported": counts.reported,
        "unreferenced": [
            _unreferenced(report, end, hz) for report in kmemleak.reports if report.tracked.is_live
        ],
    }


def _unreferenced(report: Unreferenced, end: Time, hz: int) -> UnreferencedEntry:
    tracked = report.tracked
    return {
        "address": tracked.address,
        "size": tracked.size,
        "site": tracked.site.name,
        "cache": tracked.site.cache,
        "comm": tracked.comm,
        "pid": KERNEL_PID,
        "cpu": int(tracked.cpu),
        "jiffies": JIFFIES_WRAP - BOOT_BEFORE_WRAP * hz + tracked.born * hz // SEC,
        "age_ns": nanoseconds(end - tracked.born),
        "found_ns": nanoseconds(report.found),
        "hex": report.content.hex(),
        "crc": report.checksum,
    }
