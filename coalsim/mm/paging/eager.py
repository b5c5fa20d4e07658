"""Eager copies of a page table: a table made at one place is made at all of them at once.

Every store goes to all copies, so every place walks its own memory and never faults
for want of a copy; mapping and unmapping pay for it.  See `replicas.py`.

Invariant: after each `adopt`, all places have the same leaf tables with the same
entries, apart from A and D.
Source: Achermann et al., "Mitosis: Transparently Self-Replicating Page-Tables for
Large-Memory Machines", ASPLOS 2020.
"""

from collections.abc import Callable

from coalsim.mm.paging.replicas import Adopted, Replicas
from coalsim.units import Pfn, Vpn


class EagerReplicas(Replicas):
    """One complete tree for each place."""

    def add_place(self, place: int, root: Pfn, alloc: Callable[[int], Pfn]) -> Adopted:
        """Give one more place a complete tree; returns what that took."""
        self._add_tree(place, root)
        made = [self.adopt(place, Vpn(key << self._bits), alloc) for key in sorted(self._copies)]
        return Adopted(sum(one.tables for one in made), sum(one.entries for one in made))

    def _followers(self, place: int) -> tuple[int, ...]:
        return place, *(other for other in self._trees if other != place)

    def _window(self, index: int) -> tuple[int, int]:
        return 0, self._mask + 1

    def _may_say(self, copied: int, owned: int) -> bool:
        return copied == owned
