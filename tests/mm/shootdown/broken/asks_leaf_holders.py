"""Broken: where tables are freed, a processor whose walker has a pointer to a directory only is not asked."""

from coalsim.cpus.translation import Translation
from coalsim.cpus.walker import TranslationUnit
from coalsim.mm.shootdown.filtered import EVERYBODY, FilteredShootdown
from coalsim.mm.shootdown.request import Flush


class AsksLeafHolders(FilteredShootdown):
    """Knows who has the pages or a pointer to a leaf table: right where only the root is above."""

    def holders(self, request: Flush) -> int:
        """Those who have one of them."""
        if request.full or not request.freed_tables:
            return EVERYBODY
        dead = dict.fromkeys(request.dead)
        return sum(1 << cpu for cpu, unit in enumerate(self.system.units) if has_any(unit, dead))


def has_any(unit: TranslationUnit, dead: dict[Translation, None]) -> bool:
    """The TLB has one of the pages, or the lowest paging-structure cache one of the leaf tables."""
    pages = (entry.translation for _, _, entry in unit.tlb.entries())
    tables = (cached.translation for cached in unit.structure_caches.leaf_pointers.values())
    return any(one in dead for found in (pages, tables) for one in found)
