"""The LRU lists of file pages: per node an inactive and an active one, behind the node's LRU lock.

    new page -> own batch -> inactive --used again--> active
                              |  ^                      |
                  the oldest v  +------ refill --------+
                          isolated: freed, or back to either list

Pages that are being written wait beside the inactive list and come to its old end when the device
has them, so that the next scan frees them.

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


class NodeLists:
    """The lists of one node."""

    def __init__(self) -> None:
        self._inactive: Line = OrderedDict()
        self._active: Line = OrderedDict()
        self._isolated: dict[Pfn, CachedPage] = {}
        self._writing: OrderedDict[Pfn, tuple[CachedPage, Time]] = OrderedDict()
        self.inactive = GuardedCount(0)  # with those that wait
        self.active = GuardedCount(0)

    def add(self, cpu: Cpu, grant: Time, page: CachedPage) -> None:
        """A new page."""
        self._inactive[page.pfn] = page
        self.inactive.add(grant, cpu, 1)

    def isolate(self, cpu: Cpu, grant: Time, count: int, *, active: bool) -> list[CachedPage]:
        """Take so many of the oldest off a list."""
        line, number = (self._active, self.active) if active else (self._inactive, self.inactive)
        if not active:
            self._rotate(grant)
        taken = [line.popitem(last=False)[1] for _ in range(min(count, len(line)))]
        number.add(grant, cpu, -len(taken))
        for page in taken:
            self._isolated[page.pfn] = page
        return taken

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
            self.inactive.add(grant, cpu, 1)
        for page in active:
            self._active[page.pfn] = self._isolated.pop(page.pfn)
            self.active.add(grant, cpu, 1)
        for page, until in writing:
            self._writing[page.pfn] = (self._isolated.pop(page.pfn), until)
            self.inactive.add(grant, cpu, 1)

    def forget(self, page: CachedPage) -> None:
        """An isolated page is freed; who isolated it is the only one that knows it."""
        del self._isolated[page.pfn]

    def validate(self) -> None:
        """Check the invariant the slow way."""
        places = [*self._inactive, *self._active, *self._isolated, *self._writing]
        assert len(places) == len(dict.fromkeys(places)), "a page is in two places"
        assert self.inactive.latest == len(self._inactive) + len(self._writing)
        assert self.active.latest == len(self._active)


def inactive_is_low(inactive: int, active: int) -> bool:
    """There are too few inactive pages beside the active ones; the larger memory is, the fewer will do."""
    gib = (inactive + active) * PAGE_SIZE // GIB
    ratio = isqrt(10 * gib) if gib else 1
    return inactive * ratio < active
