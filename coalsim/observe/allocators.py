"""Tables of what the allocators did: magazines, page lists, placement, fragmentation, remote
frees; where memory is, and every block of it.

They have no counterpart in /proc, so they are plain tables of our own, one subject
each, made from the `memory` part of the result document alone.
"""

from collections.abc import Sequence
from typing import cast

from coalsim.guarded import clean
from coalsim.observe import numbers
from coalsim.observe.memory_document import (
    Fragmentation,
    Memory,
    MemoryBytes,
    NodeBytes,
    NumaRow,
    PageListRow,
    RemoteFrees,
    ZoneBytes,
)
from coalsim.observe.quantities import Count
from coalsim.observe.series_document import AllocationRow
from coalsim.observe.tables import Table, columns
from coalsim.units import format_size

_NUMA = ("numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other")

_LAYERS = {  # title and columns for each kind of per-CPU objects; "-": it has nothing of that kind
    "magazines": (
        "per-CPU magazines of each cache (a hit needs nothing shared)",
        "cache rounds allocs hit% frees hit% depot-allocs depot-frees slab-allocs slab-frees "
        "contended resizes",
    ),
    "sheaves": (
        "per-CPU sheaves of each cache (a hit needs nothing shared)",
        "cache capacity allocs hit% frees hit% barn-allocs barn-frees slab-allocs slab-frees contended -",
    ),
    "slub": (
        "per-CPU freelists of each cache (a hit needs nothing shared, slab: a slab's own list, node: a lock)",
        "cache - allocs hit% frees hit% slab-allocs slab-frees node-allocs node-frees - -",
    ),
}


def magazine_table(memory: Memory) -> Table:
    """Hit rates of the per-CPU objects of each cache, and the traffic behind; unused caches are left out."""
    title, words = _LAYERS.get(memory.get("layer", ""), _LAYERS["magazines"])
    heads = words.split()
    kept = [at for at, head in enumerate(heads) if head != "-"]
    rows = []
    for row in memory["magazines"]:
        if row["allocs"] or row["frees"]:
            behind = (row["depot_allocs"], row["depot_frees"], row["slab_allocs"], row["slab_frees"])
            cells = (
                row["cache"],
                numbers.count(row["rounds"]) if row["rounds"] else "-",
                numbers.count(row["allocs"]),
                numbers.share(row["alloc_hits"], row["allocs"]),
                numbers.count(row["frees"]),
                numbers.share(row["free_hits"], row["frees"]),
                *(numbers.count(count) for count in behind),
                numbers.count(row["contended"]),
                numbers.count(row["resizes"]),
            )
            rows.append(tuple(cells[at] for at in kept))
    return Table(columns(" ".join(heads[at] for at in kept)), tuple(rows), title=title)


def page_list_table(rows: Sequence[PageListRow]) -> Table:
    """Hit rates of the per-CPU page lists and their trips to the zone."""
    cells = [
        (
            f"{row['node']}/{row['zone']}",
            numbers.count(row["allocs"]),
            numbers.share(row["alloc_hits"], row["allocs"]),
            numbers.count(row["frees"]),
            numbers.share(row["free_hits"], row["frees"]),
            numbers.count(row["refills"]),
            _each(row["refill_pages"], row["refills"]),
            numbers.count(row["drains"]),
            _each(row["drain_pages"], row["drains"]),
        )
        for row in rows
        if row["allocs"] or row["frees"] or row["refills"] or row["drains"]
    ]
    return Table(
        columns("node/zone allocs hit% frees hit% refills pages/refill drains pages/drain"),
        tuple(cells),
        title="per-CPU page lists (a hit needs no zone lock)",
    )


def _each(pages: Count, trips: Count) -> str:
    return f"{pages / trips:.1f}" if trips else "-"


def numa_table(rows: Sequence[NumaRow]) -> Table:
    """The NUMA counters of /proc/vmstat, in all and for each node."""
    by_name = {
        "numa_hit": [row["numa_hit"] for row in rows],
        "numa_miss": [row["numa_miss"] for row in rows],
        "numa_foreign": [row["numa_foreign"] for row in rows],
        "numa_interleave": [row["numa_interleave"] for row in rows],
        "numa_local": [row["numa_local"] for row in rows],
        "numa_other": [row["numa_other"] for row in rows],
    }
    heads = "counter total " + " ".join(f"node{row['node']}" for row in rows)
    cells = [
        (name, numbers.count(sum(counts)), *(numbers.count(count) for count in counts))
        for name, counts in by_name.items()
    ]
    return Table(columns(heads), tuple(cells), title="pages by placement (names of /proc/vmstat)")


def fragmentation_table(waste: Fragmentation) -> Table:
    """What rounding up to a size class or to a power of two of pages costs."""
    cells = []
    for what, rounded in (("objects", waste.get("objects")), ("pages", waste.get("pages"))):
        if rounded is not None:
            lost = rounded["allocated"] - rounded["requested"]
            cells.append(
                (
                    what,
                    numbers.count(rounded["requested"]),
                    numbers.count(rounded["allocated"]),
                    numbers.count(lost),
                    numbers.share(lost, rounded["allocated"]),
                )
            )
    return Table(
        columns("of requested-bytes allocated-bytes lost-bytes lost%"),
        tuple(cells),
        title="internal fragmentation (all allocations)",
    )


def remote_free_table(frees: RemoteFrees) -> Table:
    """Frees on another CPU than the one that allocated."""
    cells = tuple(
        (what, numbers.count(total), numbers.count(remote), numbers.share(remote, total))
        for what, total, remote in (
            ("objects", frees["objects"], frees["objects_remote"]),
            ("pages", frees["pages"], frees["pages_remote"]),
        )
    )
    return Table(columns("of frees remote remote%"), cells, title="remote frees (allocated on another CPU)")


_USED = ("user", "cache", "page_tables", "slab", "kernel", "reserve", "moving")
_WHERE = ("free", *_USED, "percpu", "reserved")


def bytes_table(memory: MemoryBytes) -> Table:
    """Where all memory is; parts of `used` are marked by the slash."""
    sizes = cast("dict[str, Count]", memory)
    parts = [("free", memory["free"]), ("used", memory["used"])]
    parts += [(f"used/{name.replace('_', '-')}", sizes[name]) for name in _USED if sizes.get(name)]
    parts += [("per-CPU-lists", memory["percpu"]), ("reserved", memory["reserved"])]
    total = memory["total"]
    cells = [(what, numbers.count(size), numbers.share(size, total)) for what, size in parts]
    cells.append(("total", numbers.count(total), numbers.share(total, total)))
    return Table(
        columns("where bytes share%"), tuple(cells), title=f"memory, {format_size(total)} in all", totals=1
    )


def places_table(zones: Sequence[ZoneBytes], nodes: Sequence[NodeBytes]) -> Table:
    """The same of each zone, and of each node that has several; parts that are nowhere are left out."""
    rows = [(f"{zone['node']}/{clean(zone['zone'])}", cast("dict[str, Count]", zone)) for zone in zones]
    several = [node for node in nodes if sum(zone["node"] == node["node"] for zone in zones) > 1]
    rows += [(f"{node['node']}", cast("dict[str, Count]", node)) for node in several]
    heads = [name for name in _WHERE if any(sizes.get(name) for _, sizes in rows)]
    cells = [
        (place, *(numbers.count(sizes.get(name, 0)) for name in [*heads, "total"])) for place, sizes in rows
    ]
    titles = " ".join(["node/zone", *(name.replace("_", "-") for name in heads), "total"])
    return Table(columns(titles), tuple(cells), title="memory by zone and node, bytes")


def allocations_table(rows: Sequence[AllocationRow]) -> Table:
    """Every block in somebody's hands."""
    cells = [
        (
            f"{row['pfn']:#x}",
            row["owner"].replace("_", "-"),
            clean(row["what"]) or "-",
            str(row["order"]),
            str(row["cpu"]),
            f"{row['node']}/{clean(row['zone'])}",
        )
        for row in rows
    ]
    return Table(
        columns("frame owner cache order cpu node/zone", left=3),
        tuple(cells),
        title=f"blocks in somebody's hands: {len(rows):,}",
    )
