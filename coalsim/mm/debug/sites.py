"""What each call site holds: live objects and bytes, and how that grew over time.

Growth is counted in time slots: an allocation adds the bytes asked for to the slot in which it happened,
a free takes them off in its own.  The sum of the slots up to a border is what the site held at
that moment, exactly.  Sums do not depend on the order in which processors are played, so this
needs no sample in the middle of a run, which would hold processors back.  A run does not say
beforehand how long it will be: when it outgrows the last slot, two slots become one.

Invariant: a site's slots add up to the bytes that it holds.
Nothing here waits or costs time.  Locking: changed by processors, each at its own time; sums only.
"""

from collections.abc import Iterator
from itertools import accumulate

from coalsim.units import US, Time

FIRST_WIDTH: Time = 1 * US
MOST_SLOTS = 64
MOST_SITES = 1 << 16
"""Call sites that are told apart; a recorded trace may name any number."""
OTHER_SITES = "(other call sites)"


class Site:
    """One call site, with one kind of memory.

    Args:
        name: of the call site.
        cache: where the memory came from: a cache's name, `kmalloc` or `pages`.
    """

    __slots__ = ("allocated", "allocs", "bytes", "cache", "frees", "live", "name", "slots")

    def __init__(self, name: str, cache: str) -> None:
        self.name = name
        self.cache = cache
        self.live = 0  # objects, or blocks of pages
        self.bytes = 0  # asked for
        self.allocated = 0  # that they take
        self.allocs = 0  # since the end of the warm-up, as the next
        self.frees = 0
        self.slots: dict[int, int] = {}  # time slot to change of bytes


class Sites:
    """All call sites that ever held memory."""

    def __init__(self) -> None:
        self.width = FIRST_WIDTH  # of a time slot
        self._sites: dict[tuple[str, str], Site] = {}

    def __iter__(self) -> Iterator[Site]:
        """By name and kind, whoever came first."""
        return iter(self._sites[key] for key in sorted(self._sites))

    def site(self, name: str, cache: str) -> Site:
        """A call site, made at its first allocation."""
        found = self._sites.get((name, cache))
        if found is None:
            if len(self._sites) >= MOST_SITES:
                name = OTHER_SITES
                if (name, cache) in self._sites:
                    return self._sites[name, cache]
            found = self._sites[name, cache] = Site(name, cache)
        return found

    def allocated(self, site: Site, at: Time, size: int, spent: int) -> None:
        """A site got memory."""
        site.live += 1
        site.bytes += size
        site.allocated += spent
        site.allocs += 1
        self._change(site, at, size)

    def freed(self, site: Site, at: Time, size: int, spent: int) -> None:
        """Memory that a site got has been given back, by whomever."""
        site.live -= 1
        site.bytes -= size
        site.allocated -= spent
        site.frees += 1
        self._change(site, at, -size)

    def _change(self, site: Site, at: Time, change: int) -> None:
        while at >= self.width * MOST_SLOTS:
            self._widen()
        slot = at // self.width
        site.slots[slot] = site.slots.get(slot, 0) + change

    def _widen(self) -> None:
        """Two slots become one."""
        self.width *= 2
        for site in self._sites.values():
            wider: dict[int, int] = {}
            for slot, change in site.slots.items():
                wider[slot // 2] = wider.get(slot // 2, 0) + change
            site.slots = wider

    def borders(self, end: Time) -> list[Time]:
        """The ends of the slots up to `end`, which is the last one."""
        whole = range(self.width, end, self.width)
        return [*whole, end]

    def growth(self, site: Site, end: Time) -> list[int]:
        """Bytes that a site held at each of the borders."""
        slots = len(self.borders(end))
        return list(accumulate(site.slots.get(slot, 0) for slot in range(slots)))

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up; what is held is still held."""
        for site in self._sites.values():
            site.allocs = site.frees = 0
