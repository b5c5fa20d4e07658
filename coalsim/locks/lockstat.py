"""Lock statistics, as the kernel's own lock_stat keeps them.

One `LockStat` per lock; a class (the zone locks of all nodes, say) adds its locks up.
Times are lock time: waittime runs from the arrival (the swap of the lock word is done)
to the grant, holdtime from grant to release, with handlers that ran meanwhile;
`stolen` is their share, so that lock time minus stolen time is processor time.

Only sums, minima, maxima and counts are kept, so the order of recording, which
differs between the engine's modes, cannot show.
A bounce involved another processor than the last holder.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from coalsim.units import Time


@dataclass(frozen=True, kw_only=True)
class SiteRow:
    """One call site that waited for a lock; times in ps."""

    site: str
    contentions: int
    wait_total: Time
    wait_max: Time
    wait_min: Time


@dataclass(frozen=True, kw_only=True)
class LockRow:
    """One lock class, all its instances; times in ps of lock time.

    `type` is perf's word for it.  Minima are those of non-zero times, 0 if there are none.
    """

    name: str
    type: str
    con_bounces: int
    contentions: int
    waittime_min: Time
    waittime_max: Time
    waittime_total: Time
    acq_bounces: int
    acquisitions: int
    holdtime_min: Time
    holdtime_max: Time
    holdtime_total: Time
    stolen: Time
    waiters: tuple[SiteRow, ...]
    holders: tuple[tuple[str, int], ...]


class Usage:
    """How one lock was used from one call site.

    Written in the middle of every lock section, so it is one object and one call.  What
    each processor waited is counted beside it, in the processor's own `lock_waits`: with
    many processors one object for each lock and processor would not fit the host's cache.
    """

    __slots__ = (
        "acq_bounces",
        "acquisitions",
        "ahead",
        "con_bounces",
        "contentions",
        "hold_max",
        "hold_min",
        "hold_total",
        "wait_max",
        "wait_min",
        "wait_total",
    )

    def __init__(self) -> None:
        self.contentions = self.con_bounces = 0
        self.wait_total: Time = 0
        self.wait_max: Time = 0
        self.wait_min: Time = 0  # shortest non-zero wait, 0: none yet
        self.acquisitions = self.acq_bounces = 0
        self.hold_total: Time = 0
        self.hold_max: Time = 0
        self.hold_min: Time = 0
        self.ahead: dict[str, int] = {}  # call site right ahead in the queue -> how often

    def add(self, other: "Usage") -> None:
        """Add what was counted elsewhere."""
        self.contentions += other.contentions
        self.con_bounces += other.con_bounces
        self.wait_total += other.wait_total
        self.wait_max = max(self.wait_max, other.wait_max)
        self.wait_min = _least((self.wait_min, other.wait_min))
        self.acquisitions += other.acquisitions
        self.acq_bounces += other.acq_bounces
        self.hold_total += other.hold_total
        self.hold_max = max(self.hold_max, other.hold_max)
        self.hold_min = _least((self.hold_min, other.hold_min))
        for site, count in other.ahead.items():
            self.ahead[site] = self.ahead.get(site, 0) + count

    def waited(self, waits: "array[int]", wait: Time, bounced: bool, ahead: str) -> None:
        """A contended acquisition: `wait` ps from arrival to grant, behind the call site `ahead`."""
        count_wait(waits, wait)
        self.contentions += 1
        if bounced:
            self.con_bounces += 1
        self.wait_total += wait
        if wait > self.wait_max:
            self.wait_max = wait
        if wait and (wait < self.wait_min or not self.wait_min):
            self.wait_min = wait
        counts = self.ahead
        if ahead in counts:
            counts[ahead] += 1
        else:
            counts[ahead] = 1

    def section(
        self, waits: "array[int]", wait: Time, hold: Time, contended: bool, bounced: bool, ahead: str
    ) -> None:
        """`waited` and `held` in one, for sections whose times are known at once."""
        if contended:
            waits[0] += 1
            waits[1] += wait
            if wait > waits[2]:
                waits[2] = wait
            if wait and (wait < waits[3] or not waits[3]):
                waits[3] = wait
            self.contentions += 1
            self.wait_total += wait
            if wait > self.wait_max:
                self.wait_max = wait
            if wait and (wait < self.wait_min or not self.wait_min):
                self.wait_min = wait
            try:
                self.ahead[ahead] += 1
            except KeyError:
                self.ahead[ahead] = 1
            if bounced:
                self.con_bounces += 1
        self.acquisitions += 1
        if bounced:
            self.acq_bounces += 1
        self.hold_total += hold
        if hold > self.hold_max:
            self.hold_max = hold
        if hold and (hold < self.hold_min or not self.hold_min):
            self.hold_min = hold

    def held(self, hold: Time, bounced: bool) -> None:
        """An acquisition that is over, `hold` ps from grant to release."""
        self.acquisitions += 1
        if bounced:
            self.acq_bounces += 1
        self.hold_total += hold
        if hold > self.hold_max:
            self.hold_max = hold
        if hold and (hold < self.hold_min or not self.hold_min):
            self.hold_min = hold


def count_wait(waits: "array[int]", wait: Time) -> None:
    """Add a wait of `wait` ps to a processor's `lock_waits`: number, total, longest, shortest non-zero."""
    waits[0] += 1
    waits[1] += wait
    if wait > waits[2]:
        waits[2] = wait
    if wait and (wait < waits[3] or not waits[3]):
        waits[3] = wait


def _least(values: Iterable[Time]) -> Time:
    """The smallest non-zero value, 0 if there is none."""
    return min((value for value in values if value), default=0)


class LockStat:
    """The counters of one lock.

    Args:
        name: of the class, as in lock_stat.
        type: perf's word: spinlock, mutex, rwsem:R, rwsem:W.
    """

    def __init__(self, name: str, type: str) -> None:
        self.name = name
        self.type = type
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.stolen: Time = 0
        self.sites: dict[str, Usage] = {}

    def usage(self, site: str) -> Usage:
        """What was done from `site`, to be written to."""
        usage = self.sites.get(site)
        if usage is None:
            usage = self.sites[site] = Usage()
        return usage

    def row(self) -> LockRow:
        """A frozen snapshot."""
        every = list(self.sites.values())
        holders: dict[str, int] = {}
        for usage in every:
            for site, count in usage.ahead.items():
                holders[site] = holders.get(site, 0) + count
        waiters = [
            SiteRow(
                site=site,
                contentions=usage.contentions,
                wait_total=usage.wait_total,
                wait_max=usage.wait_max,
                wait_min=usage.wait_min,
            )
            for site, usage in self.sites.items()
        ]
        return LockRow(
            name=self.name,
            type=self.type,
            con_bounces=sum(usage.con_bounces for usage in every),
            contentions=sum(usage.contentions for usage in every),
            waittime_min=_least(usage.wait_min for usage in every),
            waittime_max=max((usage.wait_max for usage in every), default=0),
            waittime_total=sum(usage.wait_total for usage in every),
            acq_bounces=sum(usage.acq_bounces for usage in every),
            acquisitions=sum(usage.acquisitions for usage in every),
            holdtime_min=_least(usage.hold_min for usage in every),
            holdtime_max=max((usage.hold_max for usage in every), default=0),
            holdtime_total=sum(usage.hold_total for usage in every),
            stolen=self.stolen,
            waiters=tuple(
                sorted(
                    (row for row in waiters if row.contentions), key=lambda row: (-row.wait_total, row.site)
                )
            ),
            holders=tuple(sorted(holders.items(), key=lambda pair: (-pair[1], pair[0]))),
        )


def merged(name: str, type: str, stats: Iterable[LockStat]) -> LockStat:
    """One set of counters for several."""
    total = LockStat(name, type)
    for stat in stats:
        total.stolen += stat.stolen
        for site, usage in stat.sites.items():
            total.usage(site).add(usage)
    return total
