"""The `memory` part of the result document: what the allocators hold and did, at the end of a run.

Sizes are bytes; the counts of an allocator are over the whole run, all CPUs together.
Parts that a kernel does not have (magazines under SLUB, say) are left out.
"""

from typing import NotRequired, TypedDict

from coalsim.observe.quantities import Count


class BuddyRow(TypedDict):
    """Free blocks of one zone; `free_blocks[order]`, from order 0 to the maximum order."""

    node: int
    zone: str
    free_blocks: list[Count]


class SlabRow(TypedDict):
    """One cache, with the columns of slabinfo 2.1.

    `limit` and `batchcount` are rounds per magazine or sheaf and rounds moved at
    once; 0 where the cache has none, as SLUB prints.
    """

    name: str
    active_objs: Count
    num_objs: Count
    objsize: int
    objperslab: int
    pagesperslab: int
    active_slabs: Count
    num_slabs: Count
    limit: Count
    batchcount: Count


class MagazineRow(TypedDict):
    """The per-CPU objects of one cache, all CPUs together.

    A hit was served by the CPU's own two magazines.  The rest went to the depot for
    an exchange, and what the depot could not serve went on to the slabs:
    allocs = alloc_hits + depot_allocs + slab_allocs, and frees likewise.
    Sheaves have a barn for a depot.  Under SLUB a hit was served by the CPU's own
    freelist; `depot_...` took an exchange on a slab, `slab_...` a node's list or new pages.
    """

    cache: str
    rounds: Count  # of a magazine, at the end of the run
    allocs: Count
    alloc_hits: Count
    depot_allocs: Count
    slab_allocs: Count
    frees: Count
    free_hits: Count
    depot_frees: Count
    slab_frees: Count
    contended: Count  # waits for the depot's lock
    resizes: Count


class PageListRow(TypedDict):
    """The per-CPU page lists of one zone, all CPUs together.

    `allocs` and `frees` are calls that the lists may serve; a hit did not go to the
    zone.  A refill or drain is one trip to the zone, which moves `..._pages` frames.
    """

    node: int
    zone: str
    allocs: Count
    alloc_hits: Count
    frees: Count
    free_hits: Count
    refills: Count
    refill_pages: Count
    drains: Count
    drain_pages: Count


class NumaRow(TypedDict):
    """Where one node's pages went, under the names of /proc/vmstat."""

    node: int
    numa_hit: Count  # wanted here and got here
    numa_miss: Count  # wanted elsewhere and got here
    numa_foreign: Count  # wanted here and got elsewhere
    numa_interleave: Count  # interleaved and got here as wanted
    numa_local: Count  # got here by a CPU of this node
    numa_other: Count  # got here by a CPU of another node


class Rounded(TypedDict):
    """What callers asked for and what they were given, in bytes, over all allocations."""

    requested: Count
    allocated: Count


class Fragmentation(TypedDict):
    """Internal fragmentation; the external indices follow from `buddyinfo`."""

    objects: NotRequired[Rounded]
    pages: NotRequired[Rounded]


class RemoteFrees(TypedDict):
    """Frees on another CPU than the one that allocated, and all frees."""

    objects: Count
    objects_remote: Count
    pages: Count
    pages_remote: Count


class MemoryBytes(TypedDict):
    """Where all memory is at the end of a run: total = free + used + percpu + reserved.

    The others are the parts of `used`, and add up to it.
    """

    total: int
    free: Count
    used: Count
    percpu: Count  # in per-CPU page lists
    reserved: Count  # taken before the run began
    slab: NotRequired[Count]
    page_tables: NotRequired[Count]
    user: NotRequired[Count]  # pages of processes
    cache: NotRequired[Count]  # pages of files
    kernel: NotRequired[Count]  # whole pages of the kernel and of loads
    reserve: NotRequired[Count]  # in the emergency reserve
    moving: NotRequired[Count]  # on their way between a zone, a list and a caller


class NodeBytes(MemoryBytes):
    """The same of one node."""

    node: int


class ZoneBytes(NodeBytes):
    """The same of one zone."""

    zone: str


class PageSetRow(TypedDict):
    """One CPU's page list for one zone, in frames."""

    cpu: int
    count: Count
    high: Count  # its limit now
    batch: Count
    high_min: Count
    high_max: Count


class ZoneInfoRow(TypedDict):
    """One zone as /proc/zoneinfo has it, in frames; CPUs that have no list for it are left out."""

    node: int
    zone: str
    start_pfn: int
    spanned: int
    free: Count
    min: int
    low: int
    high: int
    promo: int
    protection: list[int]
    counters: dict[str, Count]  # of the zone, under the names of /proc/vmstat
    pagesets: list[PageSetRow]
    node_unreclaimable: Count  # 1: its reclaimer had given up


class NodeCounters(TypedDict):
    """Frames of one node by their use, under the names of /proc/vmstat."""

    node: int
    counters: dict[str, Count]


class Memory(TypedDict, total=False):
    """The allocators at the end of a run; a run without allocators leaves this out."""

    bytes: MemoryBytes
    node_bytes: list[NodeBytes]
    zone_bytes: list[ZoneBytes]
    zoneinfo: list[ZoneInfoRow]
    node_counters: list[NodeCounters]
    vmstat: dict[str, Count]  # since the end of the warm-up; nr_... as it is
    buddyinfo: list[BuddyRow]
    slabinfo: list[SlabRow]
    layer: str  # what `magazines` is about: magazines, slub or sheaves
    magazines: list[MagazineRow]
    pagelists: list[PageListRow]
    fragmentation: Fragmentation
    numa: list[NumaRow]
    remote_frees: RemoteFrees
