"""A page table: one tree of tables in simulated frames, walked as the hardware walks it.

    root (level 0) -> ... -> leaf table (level `levels` - 1) -> frame of the page

The tree is the frames: whatever is known lies in their words.  Beside them the host
remembers where leaf tables are, so that finding an entry takes no walk; writes that
go around this class (`Ram.write`, through the recursive directory) make it forget.

The kernel half belongs to one tree, the kernel's own.  Other trees are made with
`kernel=`: their roots copy its entries there, which therefore must not change any
more, so the kernel has all its tables of level 1 before the first such tree is made.
Tables below level 1 can come and go, and do so for every tree at once.  The recursive
slot, where the geometry has one, is each tree's own.

Invariants: each table below the root is pointed to by one entry of its tree; all roots
agree on the shared slots; a remembered leaf table is the one that a walk finds.
Locking: callers hold the lock of the leaf table, or of the tree for `link` and
`unlink`.  Nothing here waits or costs time.
Source: Intel SDM volume 3A, chapter "Paging"; Linux mm/memory.c (`__pte_alloc`,
`free_pgd_range`).
"""

from collections.abc import Iterator
from typing import NamedTuple

from coalsim.errors import KernelBug
from coalsim.mm.paging.entry import LARGE, PRESENT, WRITABLE, describe, make, pfn_of
from coalsim.mm.paging.geometry import Geometry
from coalsim.mm.paging.tables import FreeableTable, Stretch, Tables
from coalsim.mm.phys.ram import Ram, TableFrame
from coalsim.units import Pfn, Vpn


class Step(NamedTuple):
    """One read of a walk: which word of which frame, and what it said."""

    level: int
    pfn: Pfn
    index: int  # type: ignore[assignment]  # the word's, not the search in a tuple, which nobody needs
    entry: int


class PageTable:
    """One address space's tables.

    Args:
        geometry: their shape.
        ram: where the frames are.
        root: frame of the root, all zero; it becomes a table if it is none yet.
        kernel: the tree whose kernel half is shared; without it the tree has its own.
    """

    def __init__(self, geometry: Geometry, ram: Ram, root: Pfn, *, kernel: "PageTable | None" = None) -> None:
        self.geometry = geometry
        self.root = root
        self._ram = ram
        self._kernel = kernel
        self._sharers = 0  # other trees that copied the kernel half of this one
        self._leaf_level = geometry.leaf_level
        self._bits = geometry.leaf_bits
        self._mask = geometry.masks[-1]
        self._steps = tuple(enumerate(zip(geometry.shifts, geometry.masks, strict=True)))
        self._leaves: dict[int, TableFrame] = {}  # vpn >> bits: the leaf table, found before
        self._root_table = ram.table(root) or ram.make_table(root, geometry.slots(0), geometry.entry_bytes)
        self._tables = Tables(geometry, ram, self._root_table)
        self._check_fresh(self._root_table, 0)
        self._root_table.linked = True
        self._root_table.watch = self._leaves
        if kernel is not None:
            self._copy_kernel_half(kernel)
        if geometry.recursive_slot >= 0:
            self._root_table.exchange(geometry.recursive_slot, make(root, PRESENT | WRITABLE))

    # Finding entries.

    def leaf(self, vpn: Vpn) -> tuple[TableFrame, int] | None:
        """The leaf table of a page and its index there, or None where that table is missing."""
        table = self._leaves.get(vpn >> self._bits) or self._find_leaf(vpn)
        return None if table is None else (table, vpn & self._mask)

    def leaf_frame(self, vpn: Vpn) -> Pfn:
        """Frame of the page's leaf table, or -1."""
        table = self._leaves.get(vpn >> self._bits) or self._find_leaf(vpn)
        return Pfn(-1) if table is None else table.pfn

    def lookup(self, vpn: Vpn) -> int:
        """The page's leaf entry, or 0."""
        table = self._leaves.get(vpn >> self._bits) or self._find_leaf(vpn)
        return 0 if table is None else table.slots[vpn & self._mask]

    def path(self, vpn: Vpn) -> list[Step]:
        """What the hardware reads: down to the leaf entry or the first that is not present."""
        self._check_canonical(vpn)
        table = self._root_table
        below = self._tables.below
        steps: list[Step] = []
        for level, (shift, mask) in self._steps:
            index = vpn >> shift & mask
            entry = table.slots[index]
            steps.append(Step(level, table.pfn, index, entry))
            if level == self._leaf_level or not entry & PRESENT or entry & LARGE:
                break
            table = below(entry)
        return steps

    def missing_level(self, vpn: Vpn) -> int:
        """Level of the first table that is missing on the way to a page; -1 if the leaf table exists."""
        if vpn >> self._bits in self._leaves:
            return -1
        last = self.path(vpn)[-1]
        return -1 if last.level == self._leaf_level else last.level + 1

    # Changing them.

    def set(self, vpn: Vpn, entry: int) -> int:
        """Store a page's leaf entry and return the old one.

        Raises:
            KernelBug: there is no leaf table for it, or the page shows a page table.
        """
        table = self._leaves.get(vpn >> self._bits) or self._find_leaf(vpn)
        if table is None:
            raise KernelBug(f"no leaf table for page {vpn:#x}: level {self.missing_level(vpn)} is missing")
        if table is self._root_table:
            raise KernelBug(f"page {vpn:#x} shows a page table: link and unlink those")
        return table.exchange(vpn & self._mask, entry)

    def link(self, vpn: Vpn, level: int, pfn: Pfn, flags: int) -> None:
        """Put an empty table in its place, so that the page's table of a level exists.

        Args:
            vpn: a page behind the new table.
            level: level of the new table; the one above it must exist.
            pfn: its frame, a table already (`Ram.make_table`).
            flags: of the entry that points to it; those that the level cannot have are left out.
        """
        owner = self._owner(vpn)
        owner._check_gap(vpn, level)
        table = self._check_fresh(self._ram.table(pfn), level)
        if not flags & PRESENT or flags & LARGE:
            raise KernelBug(f"flags {describe(flags)} do not point to a table")
        if level == 1:
            flags &= self.geometry.root_flags
        above = owner._table_above(vpn, level)
        above.exchange(self.geometry.index(vpn, level - 1), make(pfn, flags))
        table.linked = True
        if level == self._leaf_level:
            owner._leaves[vpn >> self._bits] = table
        else:
            table.watch = owner._leaves

    def unlink(self, vpn: Vpn, level: int) -> Pfn:
        """Take an empty table out of the tree and return its frame, which is the caller's to free."""
        owner = self._owner(vpn)
        owner._check_own(vpn, level)
        table = owner._tables.walk_to(vpn, level)
        if table is None:
            raise KernelBug(f"no table of level {level} for page {vpn:#x}: nothing to unlink")
        if table.live:
            raise KernelBug(f"table {table.pfn:#x} of page {vpn:#x} still has {table.live} entries")
        owner._table_above(vpn, level).exchange(self.geometry.index(vpn, level - 1), 0)
        table.linked = False
        table.watch = None
        if level == self._leaf_level:
            owner._leaves.pop(vpn >> self._bits, None)
        return table.pfn

    def dissolve(self) -> Pfn:
        """End the tree, which has only its root left, and return that frame; it is the caller's to free."""
        if self._sharers:
            raise KernelBug(f"{self._sharers} directories share the kernel half of root {self.root:#x}")
        if (tables := sum(1 for _ in self.all_frames()) - 1) > 0:
            raise KernelBug(f"root {self.root:#x} still leads to {tables} tables")
        for index, _ in self._root_table.filled(0, self._root_table.size):
            self._root_table[index] = 0
        self._root_table.linked = False
        self._root_table.watch = None
        if self._kernel is not None:
            self._kernel._sharers -= 1
        return self.root

    # Going over ranges.

    def entries(self, first: int, last: int) -> Iterator[tuple[Vpn, int]]:
        """Page and entry of what is present in [first, last), ascending.

        A table is read when the iteration reaches it, so entries of the pages seen so
        far may be changed on the way.  The recursive slot is left out.
        """
        size = self._mask + 1
        for start, table in self.leaf_tables(first, last):
            for index, entry in table.filled(max(first - start, 0), min(last - start, size)):
                if entry & PRESENT:
                    yield start + index, entry  # type: ignore[misc]  # `Vpn` would be one more call

    def leaf_tables(self, first: int, last: int) -> Iterator[tuple[Vpn, TableFrame]]:
        """First page and leaf table of those that overlap [first, last), ascending."""
        if first >= last:
            return
        key = first >> self._bits
        if key == last - 1 >> self._bits:  # the common case: a range within one table
            table = self._leaves.get(key)
            if table is None and self.geometry.is_canonical(first):
                table = self._find_leaf(Vpn(first))
            if table is not None and table is not self._root_table:
                yield Vpn(key << self._bits), table
            return
        for stretch in self.geometry.stretches(first, last):
            yield from self._tables.leaf_tables(Stretch(*stretch))

    def tables_within(self, first: int, last: int) -> list[FreeableTable]:
        """The tree's own tables wholly inside [first, last) that map nothing, to be unlinked in this order.

        A table that has nothing left but such tables comes after them.
        """
        span = self._mask + 1
        if -(-first // span) >= last // span:
            return []
        fixed = self.geometry.kernel_slot if self._sharers else self._root_table.size
        return [
            table
            for stretch in self.geometry.stretches(first, last)
            for table in self._tables.gather_empty(Stretch(*stretch), self._own_slots, fixed)
        ]

    def all_frames(self) -> Iterator[Pfn]:
        """Frames of the tree's own tables, the root first; those shared with the kernel's tree left out."""
        yield self.root
        yield from self._tables.frames(self._own_slots)

    def validate(self) -> None:
        """Check the invariants the slow way."""
        geometry = self.geometry
        frames = list(self.all_frames())
        assert len(set(frames)) == len(frames), "a table hangs in the tree twice"
        for pfn in frames:
            self._tables.validate(pfn)
        for key, table in self._leaves.items():
            found = self._tables.walk_to(Vpn(key << self._bits), self._leaf_level)
            assert table is found, f"the leaf table of page {key << self._bits:#x} is another one"
        if geometry.recursive_slot >= 0:
            assert pfn_of(self._root_table[geometry.recursive_slot]) == self.root, "recursive slot"
        if self._kernel is not None:
            for index in range(geometry.kernel_slot, geometry.slots(0)):
                same = self._root_table[index] == self._kernel._root_table[index]
                assert same or index == geometry.recursive_slot, f"kernel slot {index} differs"

    # How it is done.

    @property
    def _own_slots(self) -> int:
        """Slots of the root, from 0 on, behind which the tables are this tree's own."""
        return self._root_table.size if self._kernel is None else self.geometry.kernel_slot

    def _copy_kernel_half(self, kernel: "PageTable") -> None:
        if kernel.geometry is not self.geometry or kernel._kernel is not None:
            raise KernelBug(f"root {kernel.root:#x} is not the kernel's own {self.geometry.name} directory")
        kernel._sharers += 1
        for index, entry in kernel._root_table.filled(self.geometry.kernel_slot, self._root_table.size):
            self._root_table.exchange(index, entry)

    def _find_leaf(self, vpn: Vpn) -> TableFrame | None:
        """The leaf table by a walk, which is remembered by the tree that it belongs to."""
        self._check_canonical(vpn)
        if (owner := self._owner(vpn)) is not self:
            return owner._leaves.get(vpn >> self._bits) or owner._find_leaf(vpn)
        table = self._tables.walk_to(vpn, self._leaf_level)
        if table is not None:
            self._leaves[vpn >> self._bits] = table
        return table

    def _table_above(self, vpn: Vpn, level: int) -> TableFrame:
        """The table that points, or will point, to the page's table of a level."""
        table = self._tables.walk_to(vpn, level - 1)
        assert table is not None  # the callers have been there
        return table

    def _owner(self, vpn: Vpn) -> "PageTable":
        """The tree that the tables of a page belong to: this one, or the kernel's."""
        if self._kernel is None or vpn < self.geometry.kernel_first or self._is_recursive(vpn):
            return self
        return self._kernel

    def _is_recursive(self, vpn: Vpn) -> bool:
        return self.geometry.index(vpn, 0) == self.geometry.recursive_slot

    def _check_canonical(self, vpn: Vpn) -> None:
        if not self.geometry.is_canonical(vpn):
            raise KernelBug(f"page {vpn:#x} is not canonical: {self.geometry.name} cannot translate it")

    def _check_fresh(self, table: TableFrame | None, level: int) -> TableFrame:
        """A frame that can become a table of a level."""
        if table is None or table.live or table.linked:
            raise KernelBug("the frame of a new page table is not an empty table outside all trees")
        geometry = self.geometry
        if table.size != geometry.slots(level) or table.width != geometry.entry_bytes:
            raise KernelBug(f"frame {table.pfn:#x} is no table of level {level} of {geometry.name}")
        return table

    def _check_own(self, vpn: Vpn, level: int) -> None:
        """The table of a level is one that this tree may gain and lose."""
        self._check_canonical(vpn)
        if not 0 < level <= self._leaf_level:
            raise KernelBug(f"{self.geometry.name} has no tables of level {level} below its root")
        if self._is_recursive(vpn):
            raise KernelBug(f"page {vpn:#x} lies in the recursive slot, which is fixed")
        if level == 1 and self._sharers and vpn >= self.geometry.kernel_first:
            raise KernelBug(f"the root entry of page {vpn:#x} is shared by all directories and fixed")

    def _check_gap(self, vpn: Vpn, level: int) -> None:
        """The table of a level is the next one that is missing."""
        self._check_own(vpn, level)
        missing = self.missing_level(vpn)
        if missing != level:
            what = "nothing" if missing < 0 else f"level {missing}"
            raise KernelBug(f"a table of level {level} linked for page {vpn:#x}, where {what} is missing")
