"""Sheaves: Linux's per-CPU arrays of objects (6.18 opt-in, 7.0 for every cache).

Magazines by another name: each CPU has a `main` sheaf and perhaps a `spare` one, and a
barn per node keeps up to 10 full ones and the empty ones left by them.  What differs from magazines is
the barn's limit: a long burst of frees flushes sheaves to the slabs, a long burst of
allocations fills them from the slabs, each time a whole sheaf in one go.

    address = cpu.alloc()
    if address is None:                                # both sheaves are empty
        full = barn.replace_empty(cpu.main)            # under the barn's lock, as below
        if full:
            cpu.main = full
        else:
            sheaf = cpu.take_spare() or barn.take_empty() or barn.new_sheaf()
            ...                                        # fill it from the slabs
            cpu.install_full(sheaf)
        address = cpu.alloc()

    if not cpu.free(address):                          # both sheaves are full
        if cpu.spare is None:
            empty = barn.take_empty() or barn.new_sheaf()
        elif barn.has_room:
            empty = barn.replace_full(cpu.main)        # if it has an empty one:
            if empty:
                cpu.main = empty                       # done
            else:
                empty = barn.new_sheaf()
        else:
            empty = cpu.take_spare()
            ...                                        # flush its objects to the slabs
        left = cpu.install_empty(empty)                # left: a full one for the barn
        cpu.free(address)

An object of another node's memory does not enter a sheaf: its free goes to its slab.

Invariant: in the barn full sheaves are full and empty ones empty.  Its limit is not
strict, as in Linux: CPUs that saw room at one time all bring their sheaf.
Locking: a CPU's sheaves are private to it; the barn has a spinlock.  Nothing here waits
or charges time.
Source: Linux mm/slub.c of 6.18 (`alloc_from_pcs`, `free_to_pcs`,
`__pcs_replace_empty_main`, `__pcs_replace_full_main`, `barn_*`); the capacities from
`calculate_sheaf_capacity` (v3 of "slab: replace cpu (partial) slabs with sheaves",
linux-mm, 2026).
"""

from dataclasses import dataclass

from coalsim.mm.kmem.magazine import Magazine
from coalsim.units import PAGE_SIZE

MAX_FULL = 10


def sheaf_capacity(stride: int) -> int:
    """Objects of one sheaf: about half of what the per-CPU partial slabs held before."""
    return 4 if stride >= PAGE_SIZE else 12 if stride >= 1024 else 28 if stride >= 256 else 60


class CpuSheaves:
    """The two sheaves of one CPU for one cache."""

    __slots__ = ("main", "spare", "swaps")

    def __init__(self, capacity: int) -> None:
        self.main = Magazine(capacity)
        self.spare: Magazine | None = None
        self.swaps = 0  # times the two changed places

    def alloc(self) -> int | None:
        """Take an object; None: both sheaves are empty."""
        rounds = self.main.rounds
        if rounds:
            return rounds.pop()
        spare = self.spare
        if spare is not None and spare.rounds:
            self._swap(spare)
            return spare.rounds.pop()
        return None

    def free(self, address: int) -> bool:
        """Put an object back; False: both sheaves are full."""
        main = self.main
        if len(main.rounds) < main.capacity:
            main.rounds.append(address)
            return True
        spare = self.spare
        if spare is not None and len(spare.rounds) < spare.capacity:
            self._swap(spare)
            spare.rounds.append(address)
            return True
        return False

    def take_spare(self) -> Magazine | None:
        """Take the spare sheaf away, to fill it, or to flush it."""
        spare, self.spare = self.spare, None
        return spare

    def install_full(self, full: Magazine) -> None:
        """Make a filled sheaf the main one; it was the spare one, or there was none."""
        assert self.spare is None, "the spare sheaf is filled before another one is"
        self.main, self.spare = full, self.main

    def install_empty(self, empty: Magazine) -> Magazine | None:
        """Make an empty sheaf the main one; a full sheaf may be left over for the barn."""
        left, self.main = self.main, empty
        if self.spare is None:
            self.spare = left
            return None
        return left

    def unload(self) -> list[Magazine]:
        """Take all objects away, for a drain; the CPU keeps an empty main sheaf."""
        out = [sheaf for sheaf in (self.main, self.take_spare()) if sheaf is not None]
        self.main = Magazine(self.main.capacity)
        return out

    def _swap(self, spare: Magazine) -> None:
        self.main, self.spare = spare, self.main
        self.swaps += 1


@dataclass(frozen=True, kw_only=True)
class BarnStatistics:
    """A snapshot: sheaves waiting, and their size."""

    capacity: int
    full: int
    empty: int


class Barn:
    """The full and empty sheaves of one cache on one node."""

    __slots__ = ("capacity", "empty", "full")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.full: list[Magazine] = []  # both lists: last in, first out
        self.empty: list[Magazine] = []

    @property
    def has_room(self) -> bool:
        """Whether one more full sheaf may be kept."""
        return len(self.full) < MAX_FULL

    def replace_empty(self, empty: Magazine) -> Magazine | None:
        """A full sheaf for an empty one (which is kept past the limit); None: there is no full one."""
        if not self.full:
            return None
        self.empty.append(empty)
        return self.full.pop()

    def replace_full(self, full: Magazine) -> Magazine | None:
        """An empty sheaf for a full one; None: no empty one, or no room for the full one."""
        if not self.empty or not self.has_room:
            return None
        self.full.append(full)
        return self.empty.pop()

    def take_empty(self) -> Magazine | None:
        """An empty sheaf, if there is one."""
        return self.empty.pop() if self.empty else None

    def put_full(self, full: Magazine) -> None:
        """Keep a full sheaf, for whose room the caller has looked before."""
        self.full.append(full)

    def new_sheaf(self) -> Magazine:
        """An empty sheaf of this cache."""
        return Magazine(self.capacity)

    def unload(self) -> list[Magazine]:
        """Take all full sheaves out, for a drain; the empty ones are destroyed."""
        out, self.full = self.full, []
        self.empty = []
        return out

    def statistics(self) -> BarnStatistics:
        """A snapshot."""
        return BarnStatistics(capacity=self.capacity, full=len(self.full), empty=len(self.empty))

    def validate(self) -> None:
        """Check the invariants; tests call this after every step."""
        assert all(len(sheaf.rounds) == sheaf.capacity == self.capacity for sheaf in self.full)
        assert not any(sheaf.rounds for sheaf in self.empty)
