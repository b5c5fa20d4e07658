"""The page tables of one address space, whether there is one tree or a copy at each place.

| `kernel.table_replication` | a place is | a place gets entries                           |
|----------------------------|------------|------------------------------------------------|
| `none`                     | the space  | all of them: there is one tree                 |
| `eager`                    | a node     | with every change, wherever it was made        |
| `lazy`                     | a node     | when a processor of it faults for them         |
| `per_cpu`                  | a CPU      | when it faults for them                        |

Paths of the kernel work with this face, so that none of them asks how many trees there are.

Locking: callers hold the lock of the leaf table that they change, or the space's for
writing where tables come and go.  Nothing here waits or charges time.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from coalsim.cpus.cpu import Cpu
from coalsim.mm.paging.eager import EagerReplicas
from coalsim.mm.paging.entry import USER_TABLE
from coalsim.mm.paging.geometry import Geometry
from coalsim.mm.paging.lazy import LazyReplicas
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.phys.ram import Ram
from coalsim.units import Pfn, Vpn

UNTRACKED = -1
"""Instead of a mask of sharers: anybody may have read the table."""


class Freeable(NamedTuple):
    """A table that maps nothing any more."""

    place: int
    level: int
    pfn: Pfn
    first_vpn: Vpn


class SpaceTables:
    """All trees of one space.

    Args:
        geometry: their shape.
        ram: where they lie.
        kernel: whose kernel half they share.
        replication: as in the table above.
        nodes: how many the machine has, for `eager`.
    """

    def __init__(self, geometry: Geometry, ram: Ram, kernel: PageTable, replication: str, nodes: int) -> None:
        self.geometry = geometry
        self.replication = replication
        self._ram = ram
        self._kernel = kernel
        self._nodes = nodes
        self.single: PageTable | None = None  # the tree, where there is only one
        self._copies: EagerReplicas | LazyReplicas | None = None

    @property
    def is_tracked(self) -> bool:
        """Who may have an entry is known."""
        return self.replication != "none"

    @property
    def is_started(self) -> bool:
        """There is a root."""
        return self.single is not None or self._copies is not None

    def place_of(self, cpu: Cpu) -> int:
        """The place that a processor walks."""
        if self.replication == "none":
            return 0
        return cpu.id if self.replication == "per_cpu" else cpu.node

    def first_places(self, cpu: Cpu) -> list[int]:
        """The places that need a root from the start."""
        return list(range(self._nodes)) if self.replication == "eager" else [self.place_of(cpu)]

    def start(self, roots: dict[int, Pfn]) -> None:
        """Make the trees of the first places."""
        if self.replication == "none":
            self.single = PageTable(self.geometry, self._ram, roots[0], kernel=self._kernel)
            return
        kind = EagerReplicas if self.replication == "eager" else LazyReplicas
        self._copies = kind(self.geometry, self._ram, roots, USER_TABLE, kernel=self._kernel)

    def has_place(self, place: int) -> bool:
        """The place has a root."""
        return self._copies is None or self._copies.has_place(place)

    def add_place(self, place: int, root: Pfn) -> None:
        """Give a place an empty tree."""
        assert isinstance(self._copies, LazyReplicas), "others have all their places from the start"
        self._copies.add_place(place, root)

    def tree(self, place: int) -> PageTable:
        """The tree that a place walks."""
        if self.single is not None:
            return self.single
        assert self._copies is not None, "the tables have been started"
        return self._copies.for_node(place)

    def tree_near(self, cpu: Cpu) -> PageTable:
        """The tree of the processor's place, or the first one: for whoever works on others' entries."""
        place = self.place_of(cpu)
        if self._copies is not None and not self._copies.has_place(place):
            place = self._copies.places()[0]
        return self.tree(place)

    def lookup(self, vpn: Vpn) -> int:
        """The page's entry, or 0."""
        if self.single is not None:
            return self.single.lookup(vpn)
        assert self._copies is not None
        return self._copies.lookup(vpn)

    def has_entry(self, place: int, vpn: Vpn) -> bool:
        """The place's own tree has the page's entry."""
        return bool(self.tree(place).lookup(vpn))

    def lacks(self, place: int, vpn: Vpn) -> bool:
        """Whether tables are missing before the page can be mapped at a place."""
        if self.single is not None:
            return self.single.leaf(vpn) is None
        return bool(self.missing(place, vpn))

    def missing(self, place: int, vpn: Vpn) -> list[tuple[int, int]]:
        """Place and level of the tables that are missing before the page can be mapped there."""
        if self.single is not None:
            level = self.single.missing_level(vpn)
            return [] if level < 0 else [(0, below) for below in range(level, self.geometry.levels)]
        assert self._copies is not None
        return self._copies.missing(place, vpn)

    def adopt(self, place: int, vpn: Vpn, alloc: Callable[[int], Pfn]) -> tuple[int, int]:
        """Make the missing tables, and copy the entry if there is one; tables made, entries copied."""
        if self.single is None:
            assert self._copies is not None
            adopted = self._copies.adopt(place, vpn, alloc)
            return adopted.tables, adopted.entries
        made = 0
        while (level := self.single.missing_level(vpn)) >= 0:
            pfn = alloc(0)
            self._ram.make_table(pfn, self.geometry.slots(level), self.geometry.entry_bytes)
            self.single.link(vpn, level, pfn, USER_TABLE)
            made += 1
        return made, 0

    def store(self, place: int, vpn: Vpn, entry: int) -> int:
        """Store a page's entry; returns how many copies were written."""
        if self.single is not None:
            self.single.set(vpn, entry)
            return 1
        assert self._copies is not None
        if isinstance(self._copies, LazyReplicas) and not self._copies.lookup(vpn):
            return self._copies.set_at(place, vpn, entry)
        return self._copies.set(vpn, entry)

    def exchange(self, vpn: Vpn, entry: int) -> tuple[int, int]:
        """Store an entry in every copy; the old one, with all A and D, and how many were written."""
        if self.single is not None:
            return self.single.set(vpn, entry), 1
        assert self._copies is not None
        return self._copies.exchange(vpn, entry)

    def sharers(self, vpn: Vpn) -> int:
        """Bitmask of the places that have the page's leaf table, or `UNTRACKED`."""
        return UNTRACKED if self._copies is None else self._copies.sharers(vpn)

    def entries(self, first: int, last: int) -> Iterator[tuple[Vpn, int]]:
        """Pages of a range that are mapped, and their entries."""
        if self.single is not None:
            return self.single.entries(first, last)
        assert self._copies is not None
        return self._copies.entries(first, last)

    def freeable(self, first: int, last: int) -> list[Freeable]:
        """Tables wholly inside a range that map nothing, in the order in which to release them."""
        if self.single is not None:
            return [
                Freeable(0, table.level, table.pfn, table.first_vpn)
                for table in self.single.tables_within(first, last)
            ]
        assert self._copies is not None
        return [Freeable(*copy) for copy in self._copies.freeable(first, last)]

    def release(self, place: int, vpn: Vpn, level: int) -> Pfn:
        """Take an empty table out; its frame is the caller's to free."""
        if self.single is not None:
            return self.single.unlink(vpn, level)
        assert self._copies is not None
        return self._copies.release(place, vpn, level)

    def dissolve(self) -> list[Pfn]:
        """End all trees; the frames of their roots are the caller's to free."""
        if self.single is not None:
            return [self.single.dissolve()]
        assert self._copies is not None
        return self._copies.dissolve()

    def frames(self) -> Iterator[Pfn]:
        """Frames of all tables."""
        trees = [self.single] if self.single is not None else []
        if self._copies is not None:
            trees = [self._copies.for_node(place) for place in self._copies.places()]
        for tree in trees:
            yield from tree.all_frames()

    @property
    def num_tables(self) -> int:
        """How many tables there are, all places together; synchronised."""
        return sum(1 for _ in self.frames())

    def validate(self) -> None:
        """Recount the slow way."""
        if self.single is not None:
            self.single.validate()
        if self._copies is not None:
            self._copies.validate()
