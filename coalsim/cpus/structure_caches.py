"""The paging-structure caches of one processor: pointers to tables, so that walks begin further down.

    index 0: pointers to leaf tables  |  1: to the directories above them  |  2: ...

A cached pointer is a translation like any other: it dies with its table, and the oracle
judges its uses, by walks that somebody asked for and by those that a processor begins itself.
Invariant: each cache holds no more than its size; the oldest by use goes first.
Private to the processor, as its TLB is; what reading tables costs is the walker's.
Source: Intel SDM volume 3A, "Caching Translation Information" (PDE cache, PDPTE cache).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.oracle import Use
from coalsim.cpus.translation import Translation
from coalsim.cpus.walked import Mapped, ReadStep, TableWords, WalkCosts
from coalsim.units import Pfn, Time, Vpn

FRAME_MASK = 0x000F_FFFF_FFFF_F000
"""Of an x86 entry: the address of the frame or table."""
ASID_SHIFT = 40
"""Keys are table numbers below, the ASID above every one of them."""


class Cached(NamedTuple):
    """A pointer to a table."""

    table: TableWords
    translation: Translation


class StructureCaches:
    """All levels of one processor.

    Args:
        cpu: whose they are.
        costs: of the machine; for the sizes of the caches and the tables' geometry.
        table_of: the table in a frame, if one is there.
        unchecked: where uses go that are to be judged; None: nobody judges.

    `leaf_pointers`, the lowest cache, is read by the walker directly: most walks need no other.
    """

    __slots__ = (
        "_cpu",
        "_lowest_directory",
        "_shifts",
        "_sizes",
        "_table_of",
        "_unchecked",
        "leaf_pointers",
        "levels",
        "walk_sites",
    )

    def __init__(
        self,
        cpu: Cpu,
        costs: WalkCosts,
        table_of: Callable[[Pfn], TableWords | None],
        unchecked: list[Use] | None,
    ) -> None:
        self._cpu = cpu
        self._table_of = table_of
        self._unchecked = unchecked
        self._sizes = costs.structure_entries
        self._lowest_directory = last = len(costs.index_bits) - 2  # its entries point to leaf tables
        self._shifts = [  # vpn >> this: number of the table that a pointer of that cache leads to
            costs.leaf_bits + sum(costs.index_bits[last + 1 - above : last + 1])
            for above in range(len(self._sizes))
        ]
        self.walk_sites: dict[str, str] = {}  # by site: its name where the walker is what uses a translation
        self.levels: list[dict[int, Cached]] = [{} for _ in self._sizes]
        self.leaf_pointers = self.levels[0] if self.levels else {}

    # -- walks -------------------------------------------------------------------------

    def note(self, cached: Cached, site: str) -> None:
        """A walk uses a pointer: that is judged, too."""
        if self._unchecked is not None:
            name = self.walk_sites.get(site) or self.walk_site(site)
            self._unchecked.append((self._cpu.clock, cached.translation, False, name))

    def walk_site(self, site: str) -> str:
        """The name of a site where not the program but a walk on its behalf uses a translation."""
        name = self.walk_sites[site] = f"{site} (page walk)"
        return name

    def first_read(self, asid: int, vpn: Vpn, site: str) -> int:
        """The level at which a walk starts, by what the caches above the lowest know."""
        for above in range(1, len(self.levels)):
            key = asid << ASID_SHIFT | vpn >> self._shifts[above]
            cache = self.levels[above]
            cached = cache.pop(key, None)
            if cached is None:
                continue
            self.note(cached, site)
            if cached.table.linked:
                cache[key] = cached  # the youngest again
                return self._lowest_directory + 1 - above
        return 0

    def remember(self, asid: int, space: Mapped, vpn: Vpn, step: ReadStep) -> None:
        """Put the pointer that a step has read into the cache of its level."""
        above = self._lowest_directory - step.level
        if above >= len(self.levels):
            return
        pfn = Pfn((step.entry & FRAME_MASK) >> 12)
        table = self._table_of(pfn)
        if table is None:
            return
        shift = self._shifts[above]
        number = vpn >> shift
        translation = space.tables.get(pfn)
        if translation is None:
            translation = space.tables[pfn] = Translation(
                space.number, Vpn(number << shift), pfn, writable=True, user=True
            )
        cache = self.levels[above]
        cache[asid << ASID_SHIFT | number] = Cached(table, translation)
        if len(cache) > self._sizes[above]:
            del cache[next(iter(cache))]

    # -- walks that nobody asked for ---------------------------------------------------

    def pointers(self, asid: int) -> list[Translation]:
        """The pointers to leaf tables that speculative walks under that ASID could follow."""
        held = self.leaf_pointers.items()
        return [cached.translation for key, cached in held if key >> ASID_SHIFT == asid]

    def guess(self, pointers: Sequence[Translation], at: Time, reason: str) -> None:
        """A speculative walk may have followed these, up to the end of a flush's handler."""
        if self._unchecked is not None:
            site = f"speculative page walk in the handler of the flush for {reason}"
            self._unchecked.extend((at, pointer, False, site) for pointer in pointers)

    # -- invalidation ------------------------------------------------------------------

    def forget(self, asid: int) -> None:
        """All pointers of one ASID."""
        for cache in self.levels:
            if cache:
                for key in [key for key in cache if key >> ASID_SHIFT == asid]:
                    del cache[key]

    def forget_all(self) -> None:
        """All pointers of all ASIDs."""
        for cache in self.levels:
            cache.clear()
