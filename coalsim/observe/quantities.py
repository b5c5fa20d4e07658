"""The numbers that a result document is made of: counts, times, and the columns of a latency."""

from typing import NotRequired, TypeAlias, TypedDict

Count: TypeAlias = int | float
"""Whole in one run; as a mean over replications it may have a fraction."""
Nanoseconds: TypeAlias = int | float


class Latency(TypedDict):
    """Latency of one operation in ns, from the histogram (percentiles: nearest rank)."""

    count: Count
    mean: Nanoseconds
    min: NotRequired[Nanoseconds]
    p50: Nanoseconds
    p90: NotRequired[Nanoseconds]
    p99: Nanoseconds
    p999: NotRequired[Nanoseconds]
    max: Nanoseconds
