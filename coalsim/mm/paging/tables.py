"""Going from table to table: what the words of a tree say, with nothing remembered.

Ranges are given as stretches (`Geometry.stretches`): without the hole between the
halves, and with the bias that leads back to page numbers.  The recursive slot, behind
which there are no further tables, is left out everywhere but in `walk_to`.

Locking: callers keep the tree from changing.  Nothing here waits or costs time.
"""

from collections.abc import Iterator
from typing import NamedTuple

from coalsim.errors import KernelBug
from coalsim.mm.paging.entry import PRESENT, pfn_of
from coalsim.mm.paging.geometry import Geometry
from coalsim.mm.phys.ram import Ram, TableFrame
from coalsim.units import Pfn, Vpn


class FreeableTable(NamedTuple):
    """A table that maps nothing; `first_vpn` is the first page behind it."""

    level: int
    pfn: Pfn
    first_vpn: Vpn


class Stretch(NamedTuple):
    """Pages [first, last), counted as if there were no hole; adding `bias` gives page numbers."""

    first: int
    last: int
    bias: int


class Tables:
    """The tables below one root.

    Args:
        geometry: their shape.
        ram: where the frames are.
        root: the root.
    """

    def __init__(self, geometry: Geometry, ram: Ram, root: TableFrame) -> None:
        self._geometry = geometry
        self._ram = ram
        self._root = root

    def below(self, entry: int) -> TableFrame:
        """The table that a present entry of a directory points to."""
        table = self._ram.table(pfn_of(entry))
        if table is None:
            raise KernelBug(
                f"directory entry {entry:#x} points to frame {pfn_of(entry):#x}, which is no table"
            )
        return table

    def walk_to(self, vpn: Vpn, level: int) -> TableFrame | None:
        """The table of a level on the way to a page, or None if it is missing."""
        table = self._root
        for above in range(level):
            entry = table.slots[self._geometry.index(vpn, above)]
            if not entry & PRESENT:
                return None
            table = self.below(entry)
        return table

    def leaf_tables(self, stretch: Stretch) -> Iterator[tuple[Vpn, TableFrame]]:
        """First page and leaf table of those that overlap a stretch."""
        return self._leaf_tables(self._root, 0, 0, stretch)

    def gather_empty(self, stretch: Stretch, root_slots: int, fixed_slot: int) -> list[FreeableTable]:
        """The tables wholly inside a stretch that map nothing, those below before those above.

        Args:
            stretch: where to look.
            root_slots: tables behind this slot of the root and later ones are not looked at.
            fixed_slot: from this slot on, the tables of level 1 have to stay.
        """
        found: list[FreeableTable] = []
        self._gather_empty(self._root, 0, 0, stretch, (root_slots, fixed_slot), found)
        return found

    def validate(self, pfn: Pfn) -> None:
        """Check one table of the tree the slow way."""
        table = self._ram.table(pfn)
        assert table is not None, f"frame {pfn:#x} is no table"
        assert table.linked, f"table {pfn:#x} is not marked as linked"
        assert table.width == self._geometry.entry_bytes, f"table {pfn:#x} is of another geometry"
        table.validate()
        present = (entry for _, entry in table.filled(0, table.size) if entry & PRESENT)
        assert all(pfn_of(entry) < self._geometry.max_frames for entry in present), f"table {pfn:#x}"

    def frames(self, root_slots: int) -> Iterator[Pfn]:
        """Frames of all tables below the root, of its first slots only."""
        return self._frames(self._root, 0, root_slots)

    def _children(
        self, table: TableFrame, level: int, start: int, stretch: Stretch
    ) -> Iterator[tuple[int, int, TableFrame]]:
        """Slot, first page and table of those below a table that overlap a stretch."""
        shift = self._geometry.shifts[level]
        first = max(stretch.first - start, 0) >> shift
        last = min((stretch.last - start - 1 >> shift) + 1, table.size)
        for index, entry in table.filled(first, last):
            if entry & PRESENT and (level or index != self._geometry.recursive_slot):
                yield index, start + (index << shift), self.below(entry)

    def _leaf_tables(
        self, table: TableFrame, level: int, start: int, stretch: Stretch
    ) -> Iterator[tuple[Vpn, TableFrame]]:
        is_last = level + 1 == self._geometry.leaf_level
        for _, below_start, below in self._children(table, level, start, stretch):
            if is_last:
                yield Vpn(below_start + stretch.bias), below
            else:
                yield from self._leaf_tables(below, level + 1, below_start, stretch)

    def _gather_empty(
        self,
        table: TableFrame,
        level: int,
        start: int,
        stretch: Stretch,
        borders: tuple[int, int],
        found: list[FreeableTable],
    ) -> int:
        """Append what can go below a table; how many of its entries go with it."""
        span = self._geometry.span(level)
        root_slots, fixed_slot = borders
        going = 0
        for index, below_start, below in self._children(table, level, start, stretch):
            if level == 0 and index >= root_slots:
                break
            emptied = 0
            if level + 1 < self._geometry.leaf_level:
                emptied = self._gather_empty(below, level + 1, below_start, stretch, borders, found)
            is_inside = stretch.first <= below_start and below_start + span <= stretch.last
            may_go = level > 0 or index < fixed_slot
            if is_inside and may_go and below.live == emptied:
                found.append(FreeableTable(level + 1, below.pfn, Vpn(below_start + stretch.bias)))
                going += 1
        return going

    def _frames(self, table: TableFrame, level: int, slots: int) -> Iterator[Pfn]:
        everything = Stretch(0, 1 << self._geometry.vpn_bits, 0)
        for index, _, below in self._children(table, level, 0, everything):
            if index >= slots:
                break
            yield below.pfn
            if level + 1 < self._geometry.leaf_level:
                yield from self._frames(below, level + 1, below.size)
