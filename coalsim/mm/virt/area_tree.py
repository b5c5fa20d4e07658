"""The areas of one address space: sorted, disjoint, found by bisection.

Changes report what a kernel pays for: new areas cut off (splits) and areas saved by
joining neighbours (merges).  A piece that joins the neighbour on its side moves the
border between the two: a merge and no split, as in Linux.

Reserved pages belong to no area but are not given out either: their addresses wait
for a lazy flush.

Invariant: areas and reserved runs are sorted and disjoint, all other pages are free,
and `total_pages` is the number of pages in areas.  No page is both.
Locking: callers hold the space's lock, for writing where something changes.  Nothing
here waits or charges time.
Source: Linux mm/vma.c (`vma_merge_existing_range`, `__split_vma`, `expand_downwards`,
`unmapped_area_topdown`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from coalsim.errors import KernelBug
from coalsim.mm.virt.area import NONE, Area, Rights
from coalsim.mm.virt.changes import Changed, Inserted, Moved, Protected, Removed
from coalsim.mm.virt.free_ranges import FreeRanges
from coalsim.units import Vpn


class AreaTree:
    """The areas of an address space.

    Args:
        merging: neighbours that are alike become one area.
        guard_pages: pages kept between a stack and what lies below it.
    """

    def __init__(self, *, merging: bool = True, guard_pages: int = 256) -> None:
        self.merging = merging
        self.guard_pages = guard_pages
        self.total_pages = 0
        self._starts: list[int] = []  # of the areas, beside them for bisection
        self._areas: list[Area] = []
        self._free = FreeRanges()

    def __len__(self) -> int:
        return len(self._areas)

    def __iter__(self) -> Iterator[Area]:
        """The areas from low to high; do not change the tree meanwhile."""
        return iter(self._areas)

    # -- looking ----------------------------------------------------------------

    def find(self, vpn: int) -> Area | None:
        """The area of a page."""
        at = bisect_right(self._starts, vpn) - 1
        if at >= 0:
            area = self._areas[at]
            if vpn < area.last:
                return area
        return None

    def find_next(self, vpn: int) -> Area | None:
        """The first area that ends above a page: the page's own, or the next one."""
        at = self._first_ending_above(vpn)
        return self._areas[at] if at < len(self._areas) else None

    def find_below(self, vpn: int) -> Area | None:
        """The last area that begins below a page and ends there or before, if any."""
        at = bisect_left(self._starts, vpn) - 1
        while at >= 0 and self._areas[at].last > vpn:
            at -= 1
        return self._areas[at] if at >= 0 else None

    def overlapping(self, first: int, last: int) -> list[Area]:
        """The areas that have pages in [first, last)."""
        return self._areas[slice(*self._span(first, last))]

    def covers(self, first: int, last: int) -> bool:
        """Whether every page of [first, last) is in some area."""
        found = self.overlapping(first, last)
        return sum(min(area.last, last) - max(area.first, first) for area in found) == last - first

    def is_free(self, first: int, last: int) -> bool:
        """Whether no page of [first, last) is in an area or reserved."""
        return self._free.holds(first, last)

    def is_reserved(self, first: int, last: int) -> bool:
        """Whether some page of [first, last) is reserved."""
        return any(low < last and first < high for low, high in self._free.reserved)

    def gap(self, pages: int, *, low: int, high: int, align: int = 1) -> Vpn | None:
        """Where mmap puts so many pages: as high as they fit in [low, high), clear of stacks' guard gaps."""
        return self._free.highest(pages, low, high, align, self._ceiling)

    # -- changing ---------------------------------------------------------------

    def insert(self, area: Area) -> Inserted:
        """Add an area, whose pages are free.

        Raises:
            KernelBug: they are not.
        """
        self._free.take(area.first, area.last)
        self.total_pages += area.pages
        return self._place(area)

    def remove(self, first: int, last: int) -> Removed:
        """Take [first, last) out of all areas; the areas returned are the pieces taken out."""
        low, high = self._span(first, last)
        pieces = self._areas[low:high]
        rest: list[Area] = []
        for piece in pieces:  # only the first and the last one can reach beyond the range
            rest += self._cut(piece, first, last)
            piece.attached = False
            self._free.give(piece.first, piece.last)
            self.total_pages -= piece.pages
        self._areas[low:high] = rest
        self._starts[low:high] = [area.first for area in rest]
        return Removed(pieces, len(rest))

    def protect(self, first: int, last: int, rights: Rights) -> Protected:
        """Give all pages that areas have in [first, last) these rights."""
        changes: list[Changed] = []
        splits = merges = 0
        for area in self.overlapping(first, last):
            if area.rights != rights:
                low, high, was = Vpn(max(area.first, first)), Vpn(min(area.last, last)), area.rights
                holder, cut, joined = self._protect_piece(area, low, high, rights)
                changes.append(Changed(low, high, was, holder))
                splits += cut
                merges += joined
        return Protected(changes, splits, merges)

    def move(self, first: int, last: int, to: int) -> Moved:
        """Move the pages of [first, last) so that `first` comes to `to`, where there is room.

        Raises:
            KernelBug: the new place is not free.
        """
        if not self._free.holds(to, to + last - first):
            raise KernelBug(f"pages {to:#x} to {to + last - first:#x} are not free")
        pieces, splits = self.remove(first, last)
        merges = 0
        for piece in pieces:
            shift = to - first
            target = piece.part(Vpn(piece.first + shift), Vpn(piece.last + shift))
            if piece.file is not None:
                target.origin = piece.origin + shift
            merges += self.insert(target).merges
        return Moved(self.overlapping(to, to + last - first), splits, merges)

    def extend(self, area: Area, last: Vpn) -> bool:
        """Make an area larger at its upper end, if the pages there are free."""
        if not self._free.holds(area.last, last):
            return False
        self._free.take(area.last, last)
        self.total_pages += last - area.last
        area.last = last
        return True

    def grow(self, vpn: Vpn, limit: int) -> bool:
        """Grow the stack above a page down to it, because of a fault there.

        Refused if the next area is no stack, more than `limit` pages away, or would
        come within the guard gap of one below.  An area without rights is a guard
        itself: a stack may grow down to it.
        """
        at = self._first_ending_above(vpn)
        if at == len(self._areas):
            return False
        stack = self._areas[at]
        if not stack.grows_down or not 0 < stack.first - vpn <= limit:
            return False
        below = self._areas[at - 1] if at else None
        if below is not None and below.rights != NONE and vpn - below.last < self.guard_pages:
            return False
        if not self._free.holds(vpn, stack.first):
            return False  # reserved pages
        self._free.take(vpn, stack.first)
        self.total_pages += stack.first - vpn
        stack.first = self._starts[at] = vpn
        return True

    def reserve(self, first: Vpn, last: Vpn) -> None:
        """Keep free pages from being given out until `unreserve` of the same pages."""
        self._free.reserve(first, last)

    def unreserve(self, first: Vpn, last: Vpn) -> None:
        """End a reservation."""
        self._free.unreserve(first, last)

    def copy(self) -> "AreaTree":
        """The areas of a forked child: without locks, and nothing is reserved."""
        child = AreaTree(merging=self.merging, guard_pages=self.guard_pages)
        child.total_pages = self.total_pages
        child._starts = self._starts.copy()
        child._areas = [area.part(area.first, area.last) for area in self._areas]
        for area in child._areas:
            area.attached = True
        child._free = self._free.without_reservations()
        return child

    # -- for people and tests -----------------------------------------------------

    def lines(self) -> list[str]:
        """The areas as /proc/PID/maps prints them."""
        return [str(area) for area in self._areas]

    def validate(self) -> None:
        """Check the invariant the slow way."""
        self._free.validate()
        assert self._starts == [area.first for area in self._areas]
        assert all(area.attached for area in self._areas)
        assert self.total_pages == sum(area.pages for area in self._areas)
        at = 0
        areas = [(area.first, area.last) for area in self._areas]
        for first, last in sorted([*areas, *self._free, *self._free.reserved]):
            assert at == first < last, f"page {at:#x} or {first:#x} is not in exactly one run"
            at = last

    # -- inside -------------------------------------------------------------------

    def _first_ending_above(self, vpn: int) -> int:
        """Index of the first area that ends above a page."""
        at = bisect_right(self._starts, vpn)
        return at - 1 if at and self._areas[at - 1].last > vpn else at

    def _span(self, first: int, last: int) -> tuple[int, int]:
        """Indices of the areas that have pages in [first, last); no pages, no areas."""
        low = self._first_ending_above(first)
        return low, (bisect_left(self._starts, last) if first < last else low)

    def _ceiling(self, end: int) -> int:
        """Where a free run that ends at `end` may be used up to: below a stack's guard gap."""
        at = bisect_left(self._starts, end)
        if at < len(self._areas) and self._areas[at].first == end and self._areas[at].grows_down:
            return end - self.guard_pages
        return end

    def _cut(self, area: Area, first: int, last: int) -> list[Area]:
        """Narrow an area to its pages in [first, last); what else it had, as new areas."""
        rest = []
        if area.first < first:
            rest.append(area.part(area.first, Vpn(first)))
        if area.last > last:
            rest.append(area.part(Vpn(last), area.last))
        area.first, area.last = Vpn(max(area.first, first)), Vpn(min(area.last, last))
        for other in rest:
            other.attached = True
        return rest

    def _place(self, area: Area) -> Inserted:
        """Put an area into the lists, or join it to its neighbours."""
        at = bisect_left(self._starts, area.first)
        before, after = self._neighbours(at - 1, at, area, area.rights)
        if before is not None:
            before.absorb(area)
            if after is not None:
                before.absorb(after)
                del self._areas[at], self._starts[at]
            return Inserted(before, 1 if after is None else 2)
        if after is not None:
            after.absorb(area)
            self._starts[at] = after.first
            return Inserted(after, 1)
        area.attached = True
        self._areas.insert(at, area)
        self._starts.insert(at, area.first)
        return Inserted(area, 0)

    def _neighbours(
        self, below: int, above: int, area: Area, rights: Rights
    ) -> tuple[Area | None, Area | None]:
        """The areas at these indices where an area with such rights may join them, else None."""
        before = self._areas[below] if self.merging and below >= 0 else None
        after = self._areas[above] if self.merging and above < len(self._areas) else None
        return (
            before if before and before.last == area.first and before.joins(area, rights) else None,
            after if after and after.first == area.last and after.joins(area, rights) else None,
        )

    def _protect_piece(self, area: Area, first: Vpn, last: Vpn, rights: Rights) -> tuple[Area, int, int]:
        """New rights for a part of one area: who holds it now, splits, merges."""
        at = bisect_left(self._starts, area.first)
        if first == area.first and last == area.last:
            del self._areas[at], self._starts[at]
            area.rights = rights
            holder, merges = self._place(area)
            return holder, 0, merges
        before, after = self._neighbours(at - 1, at + 1, area, rights)
        if before is not None and first == area.first:
            before.last = area.first = last
            before.anon |= area.anon
            self._starts[at] = last
            return before, 0, 1
        if after is not None and last == area.last:
            after.first = area.last = first
            after.anon |= area.anon
            self._starts[at + 1] = first
            return after, 0, 1
        rest = self._cut(area, first, last)
        area.rights = rights
        parts = sorted([*rest, area], key=lambda part: part.first)
        self._areas[at : at + 1] = parts
        self._starts[at : at + 1] = [part.first for part in parts]
        return area, len(rest), 0
