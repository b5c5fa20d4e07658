"""The `series` part of the result document: memory over time, and `allocations`, block by block.

Lists have one item for each sample.  The first sample is taken when counting begins, the last one
when it ends, the others each period between.  A document of several runs has the series in the
runs only: means over runs of different length would say nothing.
"""

from typing import NotRequired, TypedDict

from coalsim.observe.quantities import Count, Nanoseconds


class ZoneSeries(TypedDict):
    """One zone; the indices by order, in thousandths as the kernel has them."""

    node: int
    zone: str
    min: int
    low: int
    high: int
    free_pages: list[Count]
    unusable: dict[str, list[int]]
    extfrag: dict[str, list[int]]
    bytes: dict[str, list[Count]]


class SeriesEntry(TypedDict):
    """All samples of a run."""

    period_ns: Nanoseconds
    time_ns: list[Nanoseconds]
    zones: list[ZoneSeries]
    bytes: dict[str, list[Count]]  # of the machine
    counters: dict[str, list[Count]]  # since counting began, under the names of /proc/vmstat
    rates: NotRequired[dict[str, list[float]]]  # per second since the sample before; the first is 0


class AllocationRow(TypedDict):
    """A block in somebody's hands at the end of a run."""

    pfn: int
    order: int
    owner: str  # slab, page_tables, cache, user, kernel
    what: str  # the cache of a slab
    cpu: int  # who took it
    node: int
    zone: str
