"""The heap: what brk moves the end of.

    start                 end
      |#### heap area ####|        free, then whatever was mapped
                        at: the break itself, a byte of the last page or just behind it

Invariant: `end` is the first page that begins at or behind `at`; the pages in [start, end)
are the program's, whatever it has unmapped or protected among them since.
Locking: callers hold the space's lock for writing.  Nothing here waits or charges time.
Source: Linux mm/mmap.c (`sys_brk`, `do_brk_flags`).
"""

from coalsim.mm.virt.area import READ_WRITE, Area
from coalsim.mm.virt.area_tree import AreaTree
from coalsim.mm.virt.changes import Removed
from coalsim.units import PAGE_SHIFT, Vpn


class Heap:
    """The break of one address space: `at` in bytes, `end` in pages.

    Args:
        areas: of the space.
        start: the first page that the heap may have.
    """

    def __init__(self, areas: AreaTree, start: Vpn) -> None:
        self._areas = areas
        self.start = start
        self.end = start
        self.at = start << PAGE_SHIFT

    def grow(self, end: Vpn) -> tuple[Area, bool] | None:
        """Move the break up.

        Returns:
            The area that holds the new pages and whether it was made for them; None if
            they are not free, or would touch a stack's guard gap.
        """
        if not self._areas.is_free(self.end, end) or self._meets_stack(end):
            return None
        top = self._areas.find(self.end - 1) if self.end > self.start else None
        grown = (
            top is not None
            and top.kind == "heap"
            and top.rights == READ_WRITE
            and self._areas.extend(top, end)
        )
        if top is None or not grown:
            top = self._areas.insert(Area(first=self.end, last=end, kind="heap")).area
        self.end, self.at = end, end << PAGE_SHIFT
        return top, not grown

    def shrink(self, end: Vpn) -> Removed:
        """Move the break down, not below the start; returns what was taken out of the areas."""
        removed = self._areas.remove(max(end, self.start), self.end)
        self.end = max(end, self.start)
        self.at = self.end << PAGE_SHIFT
        return removed

    def copy(self, areas: AreaTree) -> "Heap":
        """The heap of a forked child, whose areas these are."""
        child = Heap(areas, self.start)
        child.end, child.at = self.end, self.at
        return child

    def _meets_stack(self, end: Vpn) -> bool:
        above = self._areas.find_next(end)
        return above is not None and above.grows_down and above.first - end < self._areas.guard_pages
