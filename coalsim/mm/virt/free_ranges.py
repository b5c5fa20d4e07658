"""Free runs of virtual pages, and the highest one that is large enough.

Runs are kept in classes by the bit length of their size, each sorted by address, so
a search looks at the top of a few lists instead of at every hole of the space.  Only
in the lowest class can a run be too small; a search there may pass several.

Reserved pages are not free, but nobody has them either.

Invariant: runs are disjoint and do not touch; each is in the class of its size.
Locking: callers hold the space's lock for writing.  Nothing here waits or charges time.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from itertools import pairwise

from coalsim.errors import KernelBug
from coalsim.units import Vpn

END = 1 << 52
"""No 64-bit address space has more pages."""


class FreeRanges:
    """Which pages are free; at first, all."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._last: dict[int, int] = {}  # of the run that starts there
        self._classes: list[list[int]] = [[] for _ in range(END.bit_length() + 1)]  # starts, by size class
        self._reserved: dict[int, int] = {}  # first: last
        self._add(0, END)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The runs from low to high, each (first, last)."""
        return ((start, self._last[start]) for start in self._starts)

    def holds(self, first: int, last: int) -> bool:
        """Whether all these pages are free."""
        at = bisect_right(self._starts, first) - 1
        return at >= 0 and last <= self._last[self._starts[at]]

    def take(self, first: int, last: int) -> None:
        """These pages are free no more.

        Raises:
            KernelBug: they are not all free, or there are none.
        """
        if not (first < last and self.holds(first, last)):
            raise KernelBug(f"pages {first:#x} to {last:#x} are not free")
        start = self._starts[bisect_right(self._starts, first) - 1]
        end = self._discard(start)
        if start < first:
            self._add(start, first)
        if last < end:
            self._add(last, end)

    def give(self, first: int, last: int) -> None:
        """These pages, none of them free, are free."""
        at = bisect_left(self._starts, first)
        below = self._starts[at - 1] if at else -1
        assert below < 0 or self._last[below] <= first, "free pages are freed"
        assert at == len(self._starts) or last <= self._starts[at], "free pages are freed"
        if last in self._last:
            last = self._discard(last)
        if below >= 0 and self._last[below] == first:
            self._discard(below)
            first = below
        self._add(first, last)

    def highest(
        self, pages: int, low: int, high: int, align: int, ceiling: Callable[[int], int]
    ) -> Vpn | None:
        """The start of the highest free run of so many pages within [low, high).

        Args:
            pages: how many, at least 1.
            low: the first page that may be used.
            high: the page behind the last one that may be used.
            align: the start is a multiple of it.
            ceiling: of a run that ends at a page, where its usable part ends.
        """
        best, run_of_best = -1, -1
        for starts in self._classes[pages.bit_length() :]:
            for at in range(bisect_left(starts, high) - 1, -1, -1):
                run = starts[at]
                if run <= run_of_best:
                    break  # every page of it is lower than what we have
                end = min(high, ceiling(self._last[run]))
                start = (end - pages) // align * align
                if start >= max(run, low):
                    best, run_of_best = start, run
                    break
                if run < low:
                    break
        return Vpn(best) if best >= 0 else None

    def reserve(self, first: int, last: int) -> None:
        """Take these free pages for nobody, until they are unreserved."""
        self.take(first, last)
        self._reserved[first] = last

    def unreserve(self, first: int, last: int) -> None:
        """They are free again.

        Raises:
            KernelBug: nobody reserved these pages, no more and no fewer.
        """
        if self._reserved.get(first) != last:
            raise KernelBug(f"pages {first:#x} to {last:#x} are not reserved")
        del self._reserved[first]
        self.give(first, last)

    @property
    def reserved(self) -> list[tuple[int, int]]:
        """The reservations, each (first, last), in the order in which they were made."""
        return list(self._reserved.items())

    def without_reservations(self) -> "FreeRanges":
        """An independent copy in which reserved pages are free."""
        twin = FreeRanges.__new__(FreeRanges)
        twin._starts = self._starts.copy()
        twin._last = self._last.copy()
        twin._classes = [starts.copy() for starts in self._classes]
        twin._reserved = {}
        for first, last in self.reserved:
            twin.give(first, last)
        return twin

    def _add(self, first: int, last: int) -> None:
        insort(self._starts, first)
        self._last[first] = last
        insort(self._classes[(last - first).bit_length()], first)

    def _discard(self, first: int) -> int:
        """Forget a run; returns where it ended."""
        last = self._last.pop(first)
        del self._starts[bisect_left(self._starts, first)]
        starts = self._classes[(last - first).bit_length()]
        del starts[bisect_left(starts, first)]
        return last

    def validate(self) -> None:
        """Check the invariant the slow way."""
        runs = list(self)
        assert all(start < last for start, last in runs)
        assert all(last < start for (_, last), (start, _) in pairwise(runs))
        assert len(self._last) == len(self._starts) == sum(map(len, self._classes))
        for size_class, starts in enumerate(self._classes):
            assert starts == [start for start, last in runs if (last - start).bit_length() == size_class]
