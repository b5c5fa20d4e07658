"""Whether a series read from a file can be one: all its lists as long as its times, which ascend."""

from collections.abc import Iterator
from itertools import pairwise

from coalsim.observe.schema import Fault
from coalsim.observe.series_document import SeriesEntry


def series_faults(series: SeriesEntry) -> Iterator[Fault]:
    """What cannot be, each with its place inside the series."""
    times = series["time_ns"]
    if not times:
        yield Fault(("time_ns",), "no samples")
    if any(later <= earlier for earlier, later in pairwise(times)):
        yield Fault(("time_ns",), "the times do not ascend")
    for path, values in _lists(series):
        if len(values) != len(times):
            yield Fault(path, f"{len(values)} values for {len(times)} samples")
    for at, zone in enumerate(series["zones"]):
        for order in (*zone["unusable"], *zone["extfrag"]):
            if not (order.isascii() and order.isdecimal() and len(order) < 3):
                yield Fault(("zones", at), f"{order[:20]!r} is no order")


def _lists(series: SeriesEntry) -> Iterator[tuple[tuple[str | int, ...], list[int] | list[int | float]]]:
    for name, sizes in series["bytes"].items():
        yield ("bytes", name), sizes
    for name, counts in series["counters"].items():
        yield ("counters", name), counts
    for at, zone in enumerate(series["zones"]):
        yield ("zones", at, "free_pages"), zone["free_pages"]
        for name, sizes in zone["bytes"].items():
            yield ("zones", at, "bytes", name), sizes
        for order, unusable in zone["unusable"].items():
            yield ("zones", at, "unusable", order), unusable
        for order, extfrag in zone["extfrag"].items():
            yield ("zones", at, "extfrag", order), extfrag
