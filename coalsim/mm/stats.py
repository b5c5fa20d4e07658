"""Where all memory is: every frame by who has it, of each zone, each node and the machine.

    free          in the zone's free lists
    percpu        on per-CPU page lists
    moving        on its way between a zone, a list and a caller
    outside       taken before the run began, by a recorded system: nobody ever asked for it
    reserve       in the emergency reserve
    slab          in slabs of object caches, whether their objects are out or not
    page_tables   page tables, the kernel's own ones too
    cache         pages of files
    user          all else that was taken for processes: their pages, also those that are about
                  to be mapped or freed
    kernel        all else that was taken: whole pages of the kernel and of loads

Each part is counted at its source, none as what the others leave.
Invariant: they add up to the frames of the zone, at every moment that a barrier can see.

Call at a barrier or at rest; nothing here waits or costs simulated time.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coalsim.mm.kmem.slab import ObjectRun
from coalsim.mm.phys.page_ledger import CPU_MASK, ORDER_SHIFT, USER
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.ram import Ram
from coalsim.mm.phys.zone import Zone
from coalsim.units import PAGE_SIZE, CpuId, NodeId, Pfn

IN_HANDS = ("slab", "page_tables", "cache", "user", "kernel")
"""Parts that somebody has asked for."""
PARTS = ("free", "percpu", "moving", "outside", "reserve", *IN_HANDS)


@dataclass(frozen=True, kw_only=True)
class Books:
    """Who knows which frames are whose.

    `slabs` has the slab of every frame that belongs to one, `cached` every frame that holds a
    page of a file.
    """

    pages: PageAllocator
    ram: Ram
    slabs: Mapping[int, ObjectRun]
    cached: Mapping[Pfn, object]

    def owner(self, head: int, taken: int) -> str:
        """Which of the parts a block in somebody's hands belongs to."""
        if head in self.slabs:
            return "slab"
        if self.ram.table(Pfn(head)) is not None:
            return "page_tables"
        if taken & USER:
            return "cache" if head in self.cached else "user"
        return "kernel"


class MemoryStats(NamedTuple):
    """Frames by who has them."""

    total: int
    free: int = 0
    percpu: int = 0
    moving: int = 0
    outside: int = 0
    reserve: int = 0
    slab: int = 0
    page_tables: int = 0
    cache: int = 0
    user: int = 0
    kernel: int = 0

    @property
    def used(self) -> int:
        """What the system has in use: neither free, nor on lists, nor taken before the run."""
        return self.total - self.free - self.percpu - self.outside

    def in_bytes(self) -> dict[str, int]:
        """All of it, `used` too, in bytes."""
        return {"total": self.total * PAGE_SIZE, "used": self.used * PAGE_SIZE} | {
            part: getattr(self, part) * PAGE_SIZE for part in PARTS
        }

    def check(self, where: str) -> None:
        """Nothing was lost or made."""
        parts = {part: getattr(self, part) for part in PARTS}
        assert sum(parts.values()) == self.total, (
            f"{where}: frames were lost or made: {parts} are {sum(parts.values())} and not {self.total}"
        )


class ZoneStats(NamedTuple):
    """Of one zone."""

    node: NodeId
    zone: str
    stats: MemoryStats


class Statistics(NamedTuple):
    """Of all zones, all nodes that have memory, and the machine."""

    zones: tuple[ZoneStats, ...]
    nodes: dict[NodeId, MemoryStats]
    machine: MemoryStats


def memory_stats(books: Books) -> Statistics:
    """Where all memory is; asserts that nothing was lost or made in any zone, so in any node."""
    pages = books.pages
    in_hands = _in_hands(books)
    reserved = _by_zone(pages, () if pages.reserve is None else pages.reserve.frames())
    zones = []
    for zone, parts in zip(pages.zones, in_hands, strict=True):
        stats = MemoryStats(
            total=zone.frames,
            free=zone.source.free_frames,
            percpu=_listed(pages, zone),
            moving=zone.moving,
            outside=zone.source.unheld_frames(),
            reserve=reserved[zone.index],
            **parts,
        )
        stats.check(f"node {zone.node}, zone {zone.name}")
        zones.append(ZoneStats(zone.node, zone.name, stats))
    nodes = dict.fromkeys(zone.node for zone in zones)
    return Statistics(
        tuple(zones),
        {node: _sum(zone.stats for zone in zones if zone.node == node) for node in nodes},
        _sum(zone.stats for zone in zones),
    )


def _sum(several: Iterable[MemoryStats]) -> MemoryStats:
    return MemoryStats(*map(sum, zip(*several, strict=True)))


def _listed(pages: PageAllocator, zone: Zone) -> int:
    lists = (own.lists.get(zone.index) for own in pages.own)
    return sum(mine.pages.count for mine in lists if mine is not None)


def _by_zone(pages: PageAllocator, frames: Iterable[Pfn]) -> list[int]:
    counts = [0] * len(pages.zones)
    for pfn in frames:
        counts[pages.zone_of(pfn).index] += 1
    return counts


def _in_hands(books: Books) -> list[dict[str, int]]:
    """For each zone, the frames in somebody's hands."""
    zones = books.pages.zones
    starts = [zone.first for zone in zones]
    counts = [dict.fromkeys(IN_HANDS, 0) for _ in zones]
    owner = books.owner
    for head, taken in books.pages.taken.items():
        counts[bisect_right(starts, head) - 1][owner(head, taken)] += 1 << (taken >> ORDER_SHIFT)
    slabs = sum(parts["slab"] for parts in counts)
    assert slabs == len(books.slabs), f"{len(books.slabs)} frames of slabs, of which {slabs} were taken"
    return counts


# -- block by block


class Allocation(NamedTuple):
    """A block in somebody's hands."""

    pfn: Pfn
    order: int
    owner: str  # one of IN_HANDS
    what: str  # the cache of a slab; else empty
    cpu: CpuId  # who took it
    node: NodeId
    zone: str


def dump_allocations(books: Books) -> Iterator[Allocation]:
    """Every block in somebody's hands, in ascending order of frames."""
    for head, taken in sorted(books.pages.taken.items()):
        zone, slab = books.pages.zone_of(head), books.slabs.get(head)
        yield Allocation(
            pfn=Pfn(head),
            order=taken >> ORDER_SHIFT,
            owner=books.owner(head, taken),
            what="" if slab is None else slab.cache,
            cpu=CpuId(taken & CPU_MASK),
            node=zone.node,
            zone=zone.name,
        )
