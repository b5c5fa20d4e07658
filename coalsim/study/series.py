"""Memory over time: samples of a run at barriers, each declared by the one before.

    counting begins -> sample --period--> sample --period--> ... -> counting ends: last sample

A sample changes nothing that is simulated: barriers only bound how far processors run ahead, so a
run with samples has the results of one without, but for the number of events.  Each sample asserts
that no frame of any zone was lost.

A chain of barriers would go on where nothing else does: every sample asks whether the system is
stuck.  A run that ends by itself ends at its own time, whatever samples are still to come.
"""

from coalsim.boot import System
from coalsim.errors import DeadlockError
from coalsim.mm.phys.fragmentation import extfrag_index, unusable_index
from coalsim.mm.phys.zone import Zone
from coalsim.mm.stats import Statistics
from coalsim.observe.document import nanoseconds
from coalsim.observe.quantities import Count
from coalsim.observe.series_document import SeriesEntry, ZoneSeries
from coalsim.study.memory_outcome import memory_bytes, statistics
from coalsim.study.vmstat import event_counters
from coalsim.units import Time

MOST_SAMPLES = 10_000
"""After so many a run goes on without."""
ORDERS = (4, 9)
"""Orders whose fragmentation is told, beside the largest: what large slabs need, and a huge page."""


class Sampler:
    """Takes the samples of one run.

    Args:
        system: booted.
        period: between two samples.
    """

    def __init__(self, system: System, period: Time) -> None:
        self._system = system
        self._period = period
        self._times: list[Time] = []
        self._bytes: dict[str, list[Count]] = {}
        self._counters: dict[str, list[Count]] = {}
        self._zones: list[ZoneSeries] = [self._zone_series(zone) for zone in system.memory.pages.zones]

    def start(self) -> None:
        """Counting begins: the first sample; before the run or at a barrier."""
        self._sample()
        self._declare_next()

    def end(self) -> None:
        """Counting ends: the last sample."""
        if not self._times or self._system.env._now > self._times[-1]:
            self._sample()

    def entry(self) -> SeriesEntry:
        """All samples."""
        return {
            "period_ns": nanoseconds(self._period),
            "time_ns": [nanoseconds(at) for at in self._times],
            "zones": self._zones,
            "bytes": self._bytes,
            "counters": self._counters,
        }

    @property
    def is_full(self) -> bool:
        """There were more samples to take than are kept."""
        return len(self._times) >= MOST_SAMPLES

    def _declare_next(self) -> None:
        if not self.is_full:
            self._system.env.declare_barrier(self._system.env._now + self._period, self._due)

    def _due(self) -> None:
        self._sample()
        if stuck := self._system.env.stuck():
            raise DeadlockError(stuck)
        self._declare_next()

    def _sample(self) -> None:
        found = statistics(self._system)
        self._times.append(self._system.env._now)
        _extend(self._bytes, memory_bytes(found.machine))
        _extend(self._counters, event_counters(self._system))
        for zone, series in zip(self._system.memory.pages.zones, self._zones, strict=True):
            self._sample_zone(zone, series, found)

    def _sample_zone(self, zone: Zone, series: ZoneSeries, found: Statistics) -> None:
        blocks = zone.source.free_blocks()
        series["free_pages"].append(zone.source.free_frames)
        for order, unusable in series["unusable"].items():
            unusable.append(unusable_index(blocks, int(order)))
        for order, extfrag in series["extfrag"].items():
            extfrag.append(extfrag_index(blocks, int(order)))
        _extend(series["bytes"], memory_bytes(found.zones[zone.index].stats))

    def _zone_series(self, zone: Zone) -> ZoneSeries:
        largest = self._system.memory.max_order
        orders = [str(order) for order in dict.fromkeys((*ORDERS, largest)) if order <= largest]
        return {
            "node": int(zone.node),
            "zone": zone.name,
            "min": zone.marks.min,
            "low": zone.marks.low,
            "high": zone.marks.high,
            "free_pages": [],
            "unusable": {order: [] for order in orders},
            "extfrag": {order: [] for order in orders},
            "bytes": {},
        }


def _extend(lists: dict[str, list[Count]], values: dict[str, Count]) -> None:
    for name, value in values.items():
        lists.setdefault(name, []).append(value)
