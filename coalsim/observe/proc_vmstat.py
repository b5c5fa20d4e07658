"""Counters in the layouts of /proc/vmstat and /proc/meminfo.

Names and their order are the kernel's; what the model does not have is left out, because a 0
would say that it did not happen.  Slabs count as unreclaimable, like those of most caches.
Source: mm/vmstat.c (vmstat_text), fs/proc/meminfo.c and mm/show_mem.c (si_mem_available) of Linux 6.18.
"""

from collections.abc import Iterable, Sequence

from coalsim.guarded import clean
from coalsim.observe.memory_document import Memory, ZoneInfoRow
from coalsim.observe.quantities import Count
from coalsim.units import PAGE_SIZE

KIB = 1024
PAGE_KIB = PAGE_SIZE // KIB

_ZONES = ("dma", "dma32", "low", "normal", "high")
_ORDER = (
    *("nr_free_pages", "nr_free_pages_blocks"),
    *("numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other"),
    *("nr_inactive_file", "nr_active_file", "nr_slab_unreclaimable", "nr_anon_pages", "nr_mapped"),
    *("nr_file_pages", "nr_dirty", "nr_writeback", "nr_page_table_pages"),
    *("pgpgin", "pgpgout"),
    *(f"pgalloc_{zone}" for zone in _ZONES),
    *("allocstall_normal", "allocstall_movable"),
    *("pgfree", "pgactivate", "pgdeactivate", "pgfault", "pgmajfault"),
    *("pgsteal_kswapd", "pgsteal_direct", "pgscan_kswapd", "pgscan_direct", "pageoutrun", "oom_kill"),
    *("nr_tlb_remote_flush", "nr_tlb_remote_flush_received"),
)
_PLACE = {name: at for at, name in enumerate(_ORDER)}


def in_order(names: Iterable[str]) -> list[str]:
    """Names of counters in the kernel's order; others behind them, by name."""
    return sorted(names, key=lambda name: (_PLACE.get(name, len(_PLACE)), name))


def vmstat(counters: dict[str, Count]) -> str:
    """Name and value, a counter a line."""
    return "".join(f"{clean(name)} {round(counters[name])}\n" for name in in_order(counters))


def meminfo(memory: Memory) -> str:
    """Sizes in kB, those lines that the model has."""
    sizes, counters = memory["bytes"], memory["vmstat"]

    def pages(name: str) -> Count:
        return counters.get(name, 0) * PAGE_KIB

    slab = sizes.get("slab", 0) / KIB
    lines: list[tuple[str, Count]] = [
        ("MemTotal", sizes["total"] / KIB),
        ("MemFree", sizes["free"] / KIB),
        ("MemAvailable", available(memory["zoneinfo"], counters) * PAGE_KIB),
        ("Cached", pages("nr_file_pages")),
        ("Active(file)", pages("nr_active_file")),
        ("Inactive(file)", pages("nr_inactive_file")),
        ("Dirty", pages("nr_dirty")),
        ("Writeback", pages("nr_writeback")),
        ("AnonPages", pages("nr_anon_pages")),
        ("Mapped", pages("nr_mapped")),
        ("Slab", slab),
        ("SUnreclaim", slab),
        ("PageTables", pages("nr_page_table_pages")),
    ]
    return "".join(f"{name + ':':<16}{round(size):8} kB\n" for name, size in lines)


def available(zones: Sequence[ZoneInfoRow], counters: dict[str, Count]) -> Count:
    """Pages that could be had without killing anybody, as the kernel estimates it.

    Free pages beyond what the marks keep, and pages of files but for half of them or the low marks.
    """
    kept = sum(min(zone["spanned"], zone["high"] + max(zone["protection"], default=0)) for zone in zones)
    files = counters.get("nr_active_file", 0) + counters.get("nr_inactive_file", 0)
    files -= min(files / 2, sum(zone["low"] for zone in zones))
    return max(0, counters.get("nr_free_pages", 0) - kept + files)
