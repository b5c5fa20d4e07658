"""Magazines: per-CPU stacks of objects in front of the slabs, exchanged whole at a depot.

Each CPU has two magazines of M rounds, `loaded` and `previous`; the previous one is
always full or empty.  An allocation takes a round of the loaded one; when that is
empty and the previous one is full the two change places; when both are empty a full
magazine comes from the depot.  A free is the mirror image.  So M operations at least
lie between two visits to the depot, whatever the load.

    alloc   loaded -> previous (exchange) -> depot (full) -> slabs
    free    loaded -> previous (exchange) -> depot (empty) -> a new magazine -> slabs

    address = cpu.alloc()
    if address is None and (full := depot.take_full()):  # under the depot's lock, as put
        spent = cpu.load_full(full)
        if spent and not depot.put_empty(spent):
            ...                                          # an old size: spent is destroyed
        address = cpu.alloc()

    if not cpu.free(address):
        empty = depot.take_empty() or depot.new_magazine()
        spent = cpu.load_empty(empty)
        if spent and not depot.put_full(spent):
            ...                                          # the same, its rounds go to the slabs
        cpu.free(address)

There is no remote free: an object goes into the magazine of the CPU that frees it.
Before a CPU's first exchange both its magazines are missing; missing ones are magazines
of capacity 0, so the fast paths need no test for them.

Invariants: a magazine on `full` is full, one on `empty` is empty, and both have the
depot's present size; with one size, a CPU holds 0 to 2M rounds.
Locking: a `CpuCache` is private to its CPU; the `Depot` has a lock, tried first, and a
failed try is reported to `note_failed_try`.  Nothing here waits or charges time.
Source: Bonwick and Adams, "Magazines and Vmem", USENIX ATC 2001, section 3; illumos
kmem.c (`kmem_cache_alloc`, `kmem_cpu_reload`, `kmem_depot_alloc`, `kmem_depot_ws_reap`,
`kmem_cache_magazine_resize`).  Unlike there, a resize leaves the CPUs' magazines alone:
those of an old size are recognised and destroyed when they come to the depot.
"""

from dataclasses import dataclass

from coalsim.mm.kmem.magazine_types import MagazineTypes


class Magazine:
    """A stack of at most `capacity` objects."""

    __slots__ = ("capacity", "rounds")

    def __init__(self, capacity: int, rounds: list[int] | None = None) -> None:
        self.capacity = capacity
        self.rounds = [] if rounds is None else rounds


class CpuCache:
    """The two magazines of one CPU for one cache."""

    __slots__ = ("exchanges", "loaded", "previous")

    def __init__(self) -> None:
        self.loaded = Magazine(0)
        self.previous = Magazine(0)
        self.exchanges = 0  # times the two changed places

    @property
    def rounds(self) -> int:
        """Objects in both magazines."""
        return len(self.loaded.rounds) + len(self.previous.rounds)

    def alloc(self) -> int | None:
        """Take a round; None: both magazines are empty, so the depot is asked for a full one."""
        rounds = self.loaded.rounds
        if rounds:
            return rounds.pop()
        rounds = self.previous.rounds
        if rounds:
            self.loaded, self.previous = self.previous, self.loaded
            self.exchanges += 1
            return rounds.pop()
        return None

    def free(self, address: int) -> bool:
        """Put a round back; False: there is no room, so the depot is asked for an empty one."""
        loaded = self.loaded
        if len(loaded.rounds) < loaded.capacity:
            loaded.rounds.append(address)
            return True
        previous = self.previous
        if previous.capacity and not previous.rounds:
            self.loaded, self.previous = previous, loaded
            self.exchanges += 1
            previous.rounds.append(address)
            return True
        return False

    def load_full(self, full: Magazine) -> Magazine | None:
        """Load a full magazine; the empty previous one comes back for the depot (None: missing)."""
        return self._load(full)

    def load_empty(self, empty: Magazine) -> Magazine | None:
        """Load an empty magazine; the full previous one comes back for the depot (None: missing)."""
        return self._load(empty)

    def unload(self) -> list[Magazine]:
        """Take both magazines out, for reaping or at the end; the CPU starts anew."""
        out = [magazine for magazine in (self.loaded, self.previous) if magazine.capacity]
        self.loaded, self.previous = Magazine(0), Magazine(0)
        return out

    def validate(self) -> None:
        """Check the invariants; tests call this after every step."""
        for magazine in (self.loaded, self.previous):
            assert len(magazine.rounds) <= magazine.capacity
        assert len(self.previous.rounds) in (0, self.previous.capacity), "previous is neither full nor empty"

    def _load(self, magazine: Magazine) -> Magazine | None:
        spent = self.previous
        self.previous, self.loaded = self.loaded, magazine
        return spent if spent.capacity else None


@dataclass(frozen=True, kw_only=True)
class DepotStatistics:
    """A snapshot: magazines waiting, their size, and how often the lock was found taken."""

    rounds: int
    full: int
    empty: int
    failed_tries: int


class Depot:
    """The full and empty magazines of one cache (or of one node of it).

    Args:
        object_size: bytes of the cache's objects; chooses the first magazine type.
        types: the sizes it may step through.
    """

    __slots__ = (
        "_counted_tries",
        "_empty_least",
        "_empty_reapable",
        "_full_least",
        "_full_reapable",
        "_kind",
        "_types",
        "empty",
        "failed_tries",
        "full",
        "object_size",
        "rounds",
    )

    def __init__(self, object_size: int, types: MagazineTypes) -> None:
        self.object_size = object_size
        self._types = types
        self._kind = types.initial(object_size)
        self.rounds = types.rows[self._kind].rounds  # size of new magazines
        self.full: list[Magazine] = []  # both lists: last in, first out
        self.empty: list[Magazine] = []
        self.failed_tries = 0  # since the start
        self._counted_tries = 0  # of them, those before the last update
        self._full_least = self._empty_least = 0  # shortest each list was since the last update
        self._full_reapable = self._empty_reapable = 0  # ... and in the interval before

    def take_full(self) -> Magazine | None:
        """A full magazine, if there is one."""
        if not self.full:
            return None
        magazine = self.full.pop()
        if len(self.full) < self._full_least:
            self._full_least = len(self.full)
        return magazine

    def take_empty(self) -> Magazine | None:
        """An empty magazine, if there is one; else the caller makes one with `new_magazine`."""
        if not self.empty:
            return None
        magazine = self.empty.pop()
        if len(self.empty) < self._empty_least:
            self._empty_least = len(self.empty)
        return magazine

    def put_full(self, magazine: Magazine) -> bool:
        """Keep a full magazine; False: it has an old size, and its rounds belong to the slabs."""
        if magazine.capacity != self.rounds:
            return False
        self.full.append(magazine)
        return True

    def put_empty(self, magazine: Magazine) -> bool:
        """Keep an empty magazine; False: it has an old size and is destroyed."""
        if magazine.capacity != self.rounds:
            return False
        self.empty.append(magazine)
        return True

    def new_magazine(self) -> Magazine:
        """An empty magazine of the present size."""
        return Magazine(self.rounds)

    def note_failed_try(self) -> None:
        """The lock was found taken: contention, which `update` judges."""
        self.failed_tries += 1

    def update(self) -> list[Magazine]:
        """The periodic step: the working set's interval ends, and the size may grow.

        It grows when more tries failed since the last update than are tolerated, while
        the cache's objects are small enough for a larger type.

        Returns:
            the magazines that have an old size now and are destroyed by the caller, full
            ones first (empty list: the size stayed).
        """
        self._full_reapable, self._empty_reapable = self._full_least, self._empty_least
        self._full_least, self._empty_least = len(self.full), len(self.empty)
        failed = self.failed_tries - self._counted_tries
        self._counted_tries = self.failed_tries
        may_grow = self.object_size < self._types.rows[self._kind].may_grow_below
        if (
            not may_grow
            or failed <= self._types.tolerated_failed_tries
            or self._kind + 1 == len(self._types.rows)
        ):
            return []
        self._kind += 1
        self.rounds = self._types.rows[self._kind].rounds
        return self.unload()

    def unload(self) -> list[Magazine]:
        """Give up all magazines, full ones first: for a drain, or because their size is old."""
        magazines = [*self.full, *self.empty]
        self.full.clear()
        self.empty.clear()
        self._full_least = self._empty_least = self._full_reapable = self._empty_reapable = 0
        return magazines

    def reap(self) -> list[Magazine]:
        """Give up the magazines that nobody needed during the whole last interval, full ones first."""
        full = min(self._full_reapable, self._full_least)
        empty = min(self._empty_reapable, self._empty_least)
        reaped = [self.full.pop() for _ in range(full)] + [self.empty.pop() for _ in range(empty)]
        self._full_reapable, self._empty_reapable = 0, 0  # once per interval
        self._full_least -= full
        self._empty_least -= empty
        return reaped

    def statistics(self) -> DepotStatistics:
        """A snapshot."""
        return DepotStatistics(
            rounds=self.rounds, full=len(self.full), empty=len(self.empty), failed_tries=self.failed_tries
        )

    def validate(self) -> None:
        """Check the invariants; tests call this after every step."""
        assert all(magazine.capacity == self.rounds for magazine in [*self.full, *self.empty])
        assert all(len(magazine.rounds) == magazine.capacity for magazine in self.full)
        assert not any(magazine.rounds for magazine in self.empty)
        assert 0 <= self._full_least <= len(self.full)
        assert 0 <= self._empty_least <= len(self.empty)
