"""The LRU lists of file pages: per node an inactive and an active one, behind the node's LRU lock.

    new page -> own batch -> inactive --used again--> active
                              |  ^                      |
                  the oldest v  +------ refill --------+
                          isolated: freed, or back to either list

Pages that are being written wait beside the inactive list and come to its old end when the device
has them, so that the next scan frees them.
Who reclaims for a request that cannot use High zones looks past the pages there: they go to the
young end, or the next scan would meet them again.

Invariant: a page is on one list, or waits, or is isolated, or has not been on any yet.
Locking: the node's LRU lock, in whose sections all of this is called; counts may be read without.
Nothing here waits or charges time.
Source: Linux mm/swap.c, mm/vmscan.c (`isolate_lru_folios`, `inactive_is_low`).
"""

from collections import OrderedDict
from collections.abc import Iterable
from math import isqrt

from coalsim.cpus.cpu import Cpu
from coalsim.locks.view import GuardedCount
from coalsim.mm.cache.page import CachedPage
from coalsim.units import GIB, PAGE_SIZE, Pfn, Time

Line = OrderedDict[Pfn, CachedPage]
"""The oldest page first."""
MOST_SKIPPED = 32 << 10
"""After so many pages in one go the next is taken wherever it lies (SWAP_CLUSTER_MAX_SKIPPED)."""


class Numbers:
    """How many pages a list has, and how many of them lie in a High zone."""

    def __init__(self) -> None:
        self._all = GuardedCount(0)
        self._high = GuardedCount(0)

    @property
    def latest(self) -> int:
        """All, computed changes included: for the lock's own holder."""
        return self._all.latest

    def add(self, grant: Time, cpu: Cpu, pages: int, high: int) -> None:
        """So many more."""
        self._all.add(grant, cpu, pages)
        if high:
            self._high.add(grant, cpu, high)

    def read(self, cpu: Cpu, *, with_high: bool = True) -> int:
        """All, or those outside High zones; without the lock, synchronised."""
        return self._all.read(cpu) - (0 if with_high else self._high.read(cpu))

    def at_barrier(self, now: Time) -> int:
        """All, at a barrier."""
        return self._all.at_barrier(now)

    def validate(self, pages: int, high: int) -> None:
        """It is so many."""
        assert self._all.latest == pages
        assert self._high.latest == high


class NodeLists:
    """The lists of one node.

    Args:
        high: the frames of its High zone.
    """

    def __init__(self, high: range = range(0)) -> None:
        self.high = high
        self._inactive: Line = OrderedDict()
        self._active: Line = OrderedDict()
        self._isolated: dict[Pfn, CachedPage] = {}
        self._writing: OrderedDict[Pfn, tuple[CachedPage, Time]] = OrderedDict()
        self.inactive = Numbers()  # with those that wait
        self.active = Numbers()

    def add(self, cpu: Cpu, grant: Time, page: CachedPage) -> None:
        """A new page."""
        self._inactive[page.pfn] = page
        self.inactive.add(grant, cpu, 1, page.pfn in self.high)

    def isolate(
        self, cpu: Cpu, grant: Time, count: int, *, active: bool, with_high: bool = True
    ) -> tuple[list[CachedPage], int]:
        """Take so many of the oldest off a list; with how many others have been looked past."""
        line, number = (self._active, self.active) if active else (self._inactive, self.inactive)
        if not active:
            self._rotate(grant)
        taken: list[CachedPage] = []
        skipped: list[CachedPage] = []
        while len(taken) < count and line:
            _, page = line.popitem(last=False)
            is_wrong = not with_high and page.pfn in self.high and len(skipped) < MOST_SKIPPED
            (skipped if is_wrong else taken).append(page)
        line.update((page.pfn, page) for page in skipped)
        number.add(grant, cpu, -len(taken), -sum(page.pfn in self.high for page in taken))
        for page in taken:
            self._isolated[page.pfn] = page
        return taken, len(skipped)

    def _rotate(self, grant: Time) -> None:
        """What has been written comes first."""
        done = [pfn for pfn, (_, written) in self._writing.items() if written <= grant]
        for pfn in reversed(done):
            self._inactive[pfn] = self._writing.pop(pfn)[0]
            self._inactive.move_to_end(pfn, last=False)

    def put_back(
        self,
        cpu: Cpu,
        grant: Time,
        inactive: Iterable[CachedPage],
        active: Iterable[CachedPage],
        writing: Iterable[tuple[CachedPage, Time]] = (),
    ) -> None:
        """Isolated pages become the youngest of a list, or wait until they are written."""
        for page in inactive:
            self._inactive[page.pfn] = self._isolated.pop(page.pfn)
            self.inactive.add(grant, cpu, 1, page.pfn in self.high)
        for page in active:
            self._active[page.pfn] = self._isolated.pop(page.pfn)
            self.active.add(grant, cpu, 1, page.pfn in self.high)
        for page, until in writing:
            self._writing[page.pfn] = (self._isolated.pop(page.pfn), until)
            self.inactive.add(grant, cpu, 1, page.pfn in self.high)

    def forget(self, page: CachedPage) -> None:
        """An isolated page is freed; who isolated it is the only one that knows it."""
        del self._isolated[page.pfn]

    def validate(self) -> None:
        """Check the invariant the slow way."""
        places = [*self._inactive, *self._active, *self._isolated, *self._writing]
        assert len(places) == len(dict.fromkeys(places)), "a page is in two places"
        for number, line in ((self.inactive, (*self._inactive, *self._writing)), (self.active, self._active)):
            number.validate(len(line), sum(pfn in self.high for pfn in line))


def inactive_is_low(inactive: int, active: int) -> bool:
    """There are too few inactive pages beside the active ones; the larger memory is, the fewer will do."""
    gib = (inactive + active) * PAGE_SIZE // GIB
    ratio = isqrt(10 * gib) if gib else 1
    return inactive * ratio < active
