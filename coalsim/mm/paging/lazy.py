"""Lazy copies of a page table: a place gets a table, and entries, when it faults for them.

    fault at a place -> adopt: makes the tables that it lacks, copies the entry and its
                        neighbours from the owner -> set_at, if the owner has no entry

Unmapping and taking rights away (`set`) write the copies that exist, and only the
places that have one (`sharers`) can have cached the translation: those are the flush's
targets.  New entries go to the owner and to the place that faulted, not to the others.

Invariant: an entry that the owner lacks is in no copy.
Source: Gao et al., numaPTE, arXiv 2401.15558 (owner, lazy copies, prefetching of
neighbouring entries); with a place for each processor: Clements et al., "RadixVM:
Scalable address spaces for multithreaded applications", EuroSys 2013.
"""

from collections.abc import Mapping

from coalsim.errors import KernelBug
from coalsim.mm.paging.geometry import Geometry
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.paging.replicas import Replicas
from coalsim.mm.phys.ram import Ram
from coalsim.units import Pfn, Vpn


class LazyReplicas(Replicas):
    """A tree for each place that needed one, with what that place needed.

    Args:
        prefetch: entries copied at a time, an aligned group; a power of two, at most a table.
    """

    def __init__(
        self,
        geometry: Geometry,
        ram: Ram,
        roots: Mapping[int, Pfn],
        table_flags: int,
        *,
        kernel: PageTable | None = None,
        prefetch: int = 1,
    ) -> None:
        if not 0 < prefetch <= geometry.slots(geometry.leaf_level) or prefetch & (prefetch - 1):
            raise KernelBug(f"a prefetch of {prefetch} entries is no power of two within a table")
        super().__init__(geometry, ram, roots, table_flags, kernel=kernel)
        self._prefetch = prefetch

    def add_place(self, place: int, root: Pfn) -> None:
        """Give one more place an empty tree."""
        self._add_tree(place, root)

    def set_at(self, place: int, vpn: Vpn, entry: int) -> int:
        """Store an entry that nobody has yet, at the owner and at one place; returns the copies written.

        Raises:
            KernelBug: the place lacks the table, or the page has an entry, which `set` must change.
        """
        copies = self._leaf_copies(vpn)
        index = vpn & self._mask
        table, owned = copies.tables.get(place), copies.tables[copies.owner]
        if table is None:
            raise KernelBug(f"place {place} has no leaf table for page {vpn:#x}: adopt it first")
        if owned.slots[index]:
            raise KernelBug(f"page {vpn:#x} has an entry that other places may have copied: use set")
        owned.exchange(index, entry)
        if table is owned:
            return 1
        table.exchange(index, entry)
        return 2

    def _followers(self, place: int) -> tuple[int, ...]:
        return (place,)

    def _window(self, index: int) -> tuple[int, int]:
        first = index & -self._prefetch
        return first, first + self._prefetch

    def _may_say(self, copied: int, owned: int) -> bool:
        return copied in (0, owned)
