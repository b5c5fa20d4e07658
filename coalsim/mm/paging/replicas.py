"""Copies of a page table: each place walks its own tree, and unmapping knows who has one.

A place is a NUMA node (Mitosis, numaPTE) or a processor (RadixVM).  What is shared
is counted by leaf table: its `sharers` are the places whose trees have a copy of it.
When copies are made is the matter of `eager.py` and `lazy.py`.

                     adopt                           adopt, for another place
    nobody has it ----------> the owner has it -----------------------------> several have it
         ^------------------------ release, when it maps nothing ---------------------|

The owner is the place that had the leaf table first; its copy has every entry.  The
hardware sets A and D in the copy that it walked, so their truth is the OR over all.

Invariant: the sharers of a leaf table are exactly the places whose trees have it, and
the owner is one of them; apart from A and D, a copy says what the owner's says, or
nothing where the kind of copies allows that.
Locking: callers hold the lock of the leaf table, one for all copies.  Nothing here
waits or costs time: results say how many copies and entries were written.
Source: Achermann et al., "Mitosis: Transparently Self-Replicating Page-Tables for
Large-Memory Machines", ASPLOS 2020; Gao et al., numaPTE, arXiv 2401.15558;
Clements et al., "RadixVM: Scalable address spaces for multithreaded applications",
EuroSys 2013.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from coalsim.errors import KernelBug
from coalsim.mm.paging.entry import ACCESSED, DIRTY, PRESENT
from coalsim.mm.paging.geometry import Geometry
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.phys.ram import Ram, TableFrame
from coalsim.units import Pfn, Vpn

HARDWARE_FLAGS = ACCESSED | DIRTY


class Adopted(NamedTuple):
    """What giving a place its tables took: tables made, entries copied into them."""

    tables: int
    entries: int


class FreeableCopy(NamedTuple):
    """A table of one place's tree that maps nothing."""

    place: int
    level: int
    pfn: Pfn
    first_vpn: Vpn


class LeafCopies:
    """The copies of one leaf table."""

    __slots__ = ("mask", "owner", "tables")

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.mask = 0  # bit p: place p has a copy
        self.tables: dict[int, TableFrame] = {}  # by place


class Replicas(ABC):
    """The trees of one address space.

    Args:
        geometry: shape of all trees.
        ram: where they lie.
        roots: by place, the frame of its root; more may come later.
        table_flags: of the entries that point to tables.
        kernel: the tree whose kernel half all of them share.
    """

    def __init__(
        self,
        geometry: Geometry,
        ram: Ram,
        roots: Mapping[int, Pfn],
        table_flags: int,
        *,
        kernel: PageTable | None = None,
    ) -> None:
        self.geometry = geometry
        self._ram = ram
        self._table_flags = table_flags
        self._kernel = kernel
        self._bits = geometry.leaf_bits
        self._mask = geometry.masks[-1]
        self._trees: dict[int, PageTable] = {}
        self._copies: dict[int, LeafCopies] = {}  # by vpn >> bits
        for place, root in roots.items():
            self._add_tree(place, root)

    # Who has what.

    def for_node(self, place: int) -> PageTable:
        """The tree that a place walks."""
        tree = self._trees.get(place)
        if tree is None:
            raise KernelBug(f"place {place} has no page table of its own yet")
        return tree

    def has_place(self, place: int) -> bool:
        """The place has a root."""
        return place in self._trees

    def places(self) -> tuple[int, ...]:
        """The places that have a root, in the order in which they got it."""
        return tuple(self._trees)

    def sharers(self, vpn: Vpn) -> int:
        """Bitmask of the places that have the page's leaf table."""
        copies = self._copies.get(vpn >> self._bits)
        return copies.mask if copies else 0

    def lookup(self, vpn: Vpn) -> int:
        """The page's entry as the owner has it, A and D of all copies included; or 0."""
        copies = self._copies.get(vpn >> self._bits)
        if copies is None:
            return 0
        entry = copies.tables[copies.owner].slots[vpn & self._mask]
        return entry | self.accessed_dirty(vpn) if entry else 0

    def accessed_dirty(self, vpn: Vpn) -> int:
        """A and D of the page: set in any copy is set."""
        copies = self._copies.get(vpn >> self._bits)
        index = vpn & self._mask
        flags = 0
        if copies is not None:
            for table in copies.tables.values():
                flags |= table.slots[index]
        return flags & HARDWARE_FLAGS

    def entries(self, first: int, last: int) -> Iterator[tuple[Vpn, int]]:
        """Page and entry, as `lookup` gives it, of what is present in [first, last), ascending."""
        low, high = first >> self._bits, (last - 1 >> self._bits) + 1
        few = high - low <= len(self._copies)
        keys = range(low, high) if few else sorted(key for key in self._copies if low <= key < high)
        for key in keys:
            copies = self._copies.get(key)
            if copies is None:
                continue
            start = key << self._bits
            owned = copies.tables[copies.owner]
            for index, entry in owned.filled(max(first - start, 0), min(last - start, owned.size)):
                if entry & PRESENT:
                    vpn = Vpn(start + index)
                    yield vpn, entry | self.accessed_dirty(vpn)

    # Changing entries.

    def set(self, vpn: Vpn, entry: int) -> int:
        """Store a page's entry in all copies of its leaf table; returns how many that were."""
        return self.exchange(vpn, entry)[1]

    def exchange(self, vpn: Vpn, entry: int) -> tuple[int, int]:
        """As `set`; returns the old entry too, with A and D of all copies."""
        copies = self._leaf_copies(vpn)
        index = vpn & self._mask
        old = flags = 0
        for place, table in copies.tables.items():
            was = table.exchange(index, entry)
            flags |= was
            if place == copies.owner:
                old = was
        return (old | flags & HARDWARE_FLAGS if old else 0), len(copies.tables)

    # Making and freeing copies.

    def missing(self, place: int, vpn: Vpn) -> list[tuple[int, int]]:
        """Place and level of the tables that `adopt` would make, in that order."""
        found = []
        for target in self._followers(place):
            level = self.for_node(target).missing_level(vpn)
            if level >= 0:
                found += [(target, below) for below in range(level, self.geometry.levels)]
        return found

    def adopt(self, place: int, vpn: Vpn, alloc: Callable[[int], Pfn]) -> Adopted:
        """Let a place, and whoever must follow it, have the page's leaf table and entry.

        Args:
            place: who needs it; the owner if nobody has the table yet.
            vpn: the page; whether the owner maps it does not matter.
            alloc: takes a frame for a table of a place; called in the order of `missing`.
        """
        if not self.geometry.is_user(vpn):
            raise KernelBug(f"page {vpn:#x} is not on the user's side: only that is replicated")
        tables = entries = 0
        for target in self._followers(place):
            tree = self.for_node(target)
            is_new = False
            while (level := tree.missing_level(vpn)) >= 0:
                pfn = alloc(target)
                self._ram.make_table(pfn, self.geometry.slots(level), self.geometry.entry_bytes)
                tree.link(vpn, level, pfn, self._table_flags)
                tables += 1
                is_new = True
            entries += self._fill(target, vpn, is_new=is_new)
        return Adopted(tables, entries)

    def freeable(self, first: int, last: int) -> list[FreeableCopy]:
        """Tables of all trees wholly inside [first, last) that map nothing, to be released in this order."""
        return [
            FreeableCopy(place, *table)
            for place, tree in self._trees.items()
            for table in tree.tables_within(first, last)
        ]

    def release(self, place: int, vpn: Vpn, level: int) -> Pfn:
        """Take an empty table out of one place's tree and return its frame, the caller's to free.

        If the owner gives up its leaf table, which maps nothing, the next sharer owns it.
        """
        pfn = self.for_node(place).unlink(vpn, level)
        if level == self.geometry.leaf_level:
            key = vpn >> self._bits
            copies = self._copies[key]
            del copies.tables[place]
            copies.mask &= ~(1 << place)
            if not copies.tables:
                del self._copies[key]
            elif copies.owner == place:
                copies.owner = next(iter(copies.tables))
        return pfn

    def dissolve(self) -> list[Pfn]:
        """End all trees, which have only their roots left, and return those frames."""
        frames = [tree.dissolve() for tree in self._trees.values()]
        self._trees.clear()
        return frames

    def validate(self) -> None:
        """Check the invariants the slow way."""
        for tree in self._trees.values():
            tree.validate()
        for key, copies in self._copies.items():
            vpn = Vpn(key << self._bits)
            having = {place: tree.leaf_frame(vpn) for place, tree in self._trees.items()}
            found = {place: pfn for place, pfn in having.items() if pfn >= 0}
            assert found == {place: table.pfn for place, table in copies.tables.items()}, f"page {vpn:#x}"
            assert copies.mask == sum(1 << place for place in found), f"sharers of page {vpn:#x}"
            owned = copies.tables[copies.owner]
            for place, table in copies.tables.items():
                for index in range(table.size):
                    copied, own = table[index] & ~HARDWARE_FLAGS, owned[index] & ~HARDWARE_FLAGS
                    assert self._may_say(copied, own), f"place {place}, page {vpn + index:#x}"
        for tree in self._trees.values():
            for vpn, _ in tree.leaf_tables(0, self.geometry.kernel_first):
                assert vpn >> self._bits in self._copies, f"nobody counts the leaf table of page {vpn:#x}"

    # What the kinds of copies decide.

    @abstractmethod
    def _followers(self, place: int) -> tuple[int, ...]:
        """The places that get a table when one needs it, that one first."""

    @abstractmethod
    def _window(self, index: int) -> tuple[int, int]:
        """The indices [first, last) that are copied together with one."""

    @abstractmethod
    def _may_say(self, copied: int, owned: int) -> bool:
        """A copy may have this entry where the owner's is that; both without A and D."""

    # How it is done.

    def _add_tree(self, place: int, root: Pfn) -> None:
        if place in self._trees:
            raise KernelBug(f"place {place} has a page table already")
        self._trees[place] = PageTable(self.geometry, self._ram, root, kernel=self._kernel)

    def _leaf_copies(self, vpn: Vpn) -> LeafCopies:
        copies = self._copies.get(vpn >> self._bits)
        if copies is None:
            raise KernelBug(f"no place has a leaf table for page {vpn:#x}")
        return copies

    def _fill(self, place: int, vpn: Vpn, *, is_new: bool) -> int:
        """Copy from the owner what a place's leaf table lacks around a page; how many entries that was."""
        leaf = self.for_node(place).leaf(vpn)
        assert leaf is not None  # it exists or has just been linked
        table, index = leaf
        copies = self._copies.get(vpn >> self._bits)
        if copies is None:
            copies = self._copies[vpn >> self._bits] = LeafCopies(place)
        if is_new:
            copies.tables[place] = table
            copies.mask |= 1 << place
        owned = copies.tables[copies.owner]
        if not is_new and (table.slots[index] or not owned.slots[index]):
            return 0
        lacking = [word for word in owned.filled(*self._window(index)) if not table.slots[word[0]]]
        for at, entry in lacking:
            table.exchange(at, entry)
        return len(lacking)
