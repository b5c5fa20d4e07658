"""A histogram of non-negative integers that keeps three significant digits.

Values below 2,048 are kept exactly; above, each power of two is cut into 1,024
equal buckets, so a bucket is never wider than 1/1,024 of the values in it.  A bucket
is named by its lowest value: the value with all but its top 11 bits cleared.

Invariant: the counts, the sum, the least and the largest value are exact integers,
so merging is exact and does not depend on the order (a sketch such as a t-digest
would change its answer with it, and with that the bytes of a result).
Nothing here costs simulated time; `record` is what every operation of a run pays on
the host, so it does nothing that a table can do later.
Source: the bucket layout of HdrHistogram (hdrhistogram.org), written anew.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TypedDict

EXACT_BITS = 11  # values of up to so many bits have a bucket of their own
_LARGEST_BITS = 128
# _KEEP[n]: the mask that keeps the top 11 of n bits.
_KEEP = tuple(-1 << max(0, bits - EXACT_BITS) for bits in range(_LARGEST_BITS + 1))


class HistogramRecord(TypedDict):
    """A histogram as JSON holds it; `counts` is a list of [lowest value, count], ascending."""

    counts: list[list[int]]
    sum: int
    min: int
    max: int


class Histogram:
    """How often each value was seen, to three significant digits."""

    __slots__ = ("_counts", "_least", "_most", "total")

    def __init__(self) -> None:
        self._counts: defaultdict[int, int] = defaultdict(int)  # lowest value of a bucket -> count
        self._least = 1 << _LARGEST_BITS
        self._most = -1
        self.total = 0  # exact sum of all values

    def clear(self) -> None:
        """Forget all values; whoever holds the histogram goes on recording into it."""
        self._counts.clear()
        self._least = 1 << _LARGEST_BITS
        self._most = -1
        self.total = 0

    def record(self, value: int) -> None:
        """Count one value."""
        self._counts[value & _KEEP[value.bit_length()]] += 1
        self.total += value
        if value < self._least:
            self._lower(value)
        if value > self._most:
            self._most = value

    def _lower(self, value: int) -> None:
        """A new least value; rare, so this is where negative values are caught."""
        assert value >= 0, f"a histogram holds values from 0 up, not {value}"
        self._least = value

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return sum(self._counts.values())

    @property
    def min(self) -> int:
        """The least value, exactly; 0 when there is none."""
        return self._least if self._most >= 0 else 0

    @property
    def max(self) -> int:
        """The largest value, exactly; 0 when there is none."""
        return max(self._most, 0)

    @property
    def mean(self) -> float:
        """The mean of the values as recorded, not of the buckets; 0.0 when there is none."""
        return self.total / self.count if self._counts else 0.0

    def percentile(self, percent: int | float) -> int:
        """The nearest-rank percentile.

        That is the value of rank ceil(percent / 100 * count) in sorted order, given as
        the highest value of its bucket, but never above the largest value seen: at most
        0.1 % too large and never too small.  No value is made up between two others, so
        the 99th percentile of ten values is their largest.  Rank 0 (percent 0) is the
        least value; an empty histogram answers 0.
        """
        count = self.count
        # Through the decimal text: 99.9 means 999/1000, not the float just above it.
        rank = -(-Fraction(str(percent)) * count // 100)
        assert 0 <= rank <= count, f"a percentile lies in 0..100, not at {percent}"
        if rank == 0:
            return self.min
        return next(value for value, running in self.cumulative() if running >= rank)

    def cumulative(self) -> Iterator[tuple[int, int]]:
        """(highest value, how many values are at most that) of each bucket in use, ascending."""
        running = 0
        for lowest, count in sorted(self._counts.items()):
            running += count
            yield min(_highest(lowest), self._most), running

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """(lowest value, highest value, count) of each bucket in use, ascending."""
        for lowest, count in sorted(self._counts.items()):
            yield lowest, _highest(lowest), count

    def merge(self, other: "Histogram") -> None:
        """Add everything that the other one has seen."""
        for lowest, count in other._counts.items():
            self._counts[lowest] += count
        self.total += other.total
        self._least = min(self._least, other._least)
        self._most = max(self._most, other._most)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # it changes with every record

    def to_dict(self) -> HistogramRecord:
        """Everything, as JSON can hold it."""
        counts = [[lowest, count] for lowest, count in sorted(self._counts.items())]
        return {"counts": counts, "sum": self.total, "min": self.min, "max": self.max}

    @classmethod
    def from_dict(cls, record: Mapping[str, object]) -> "Histogram":
        """The histogram that `to_dict` wrote.

        Raises:
            ValueError: these are not the numbers of any histogram.
        """
        histogram = cls()
        try:
            counts, total = record["counts"], record["sum"]
            least, most = record["min"], record["max"]
        except KeyError as missing:
            raise ValueError(f"a histogram has {missing}") from None
        if not (isinstance(counts, list) and all(_is_bucket(pair) for pair in counts)):
            raise ValueError("the counts of a histogram are pairs of a bucket's lowest value and a count")
        if not (isinstance(total, int) and isinstance(least, int) and isinstance(most, int)):
            raise ValueError("sum, min and max of a histogram are whole numbers")
        histogram._counts.update((lowest, count) for lowest, count in counts)
        histogram.total = total
        if counts:
            histogram._least, histogram._most = least, most
        histogram.validate()
        return histogram

    def validate(self) -> None:
        """Check the exact numbers against the buckets.

        Raises:
            ValueError: they cannot belong together.
        """
        if not self._counts:
            if self.total:
                raise ValueError("a histogram without values has a sum of 0")
            return
        buckets = list(self.buckets())
        if not buckets[0][0] <= self._least <= buckets[0][1]:
            raise ValueError(f"the least value {self._least} is not in the lowest bucket")
        if not buckets[-1][0] <= self._most <= buckets[-1][1]:
            raise ValueError(f"the largest value {self._most} is not in the highest bucket")
        low = sum(lowest * count for lowest, _, count in buckets)
        high = sum(highest * count for _, highest, count in buckets)
        if not low <= self.total <= high:
            raise ValueError(f"the sum {self.total} does not fit the buckets")


def _highest(lowest: int) -> int:
    """The largest value of the bucket that begins with `lowest`."""
    return lowest + (1 << max(0, lowest.bit_length() - EXACT_BITS)) - 1


def _is_bucket(pair: object) -> bool:
    if not (isinstance(pair, list) and len(pair) == 2):
        return False
    lowest, count = pair
    if not (type(lowest) is int and type(count) is int and lowest >= 0 and count > 0):
        return False
    return lowest.bit_length() <= _LARGEST_BITS and lowest & _KEEP[lowest.bit_length()] == lowest
