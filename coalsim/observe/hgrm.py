"""The .hgrm text of a histogram: a percentile distribution that HdrHistogram's plotters read.

The percentiles come closer together towards 100 %: five steps in each half of the
distance that is left, as HdrHistogram's own writer has them by default.
Source: the output of HdrHistogram's outputPercentileDistribution (hdrhistogram.org).
"""

from collections.abc import Iterator
from fractions import Fraction
from math import sqrt

from coalsim.observe.histogram import EXACT_BITS, Histogram
from coalsim.units import NS

STEPS_PER_HALF = 5


def hgrm(histogram: Histogram, scale: int = NS) -> str:
    """The whole .hgrm text; values are divided by `scale` (the default turns ps into ns)."""
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    count = histogram.count
    for value, running in _ticks(histogram):
        share = running / count
        line = f"{value / scale:12.3f} {share:2.12f} {running:10d}"
        lines.append(line if running == count else f"{line} {count / (count - running):14.2f}")
    mean, deviation, most = histogram.mean / scale, _deviation(histogram) / scale, histogram.max / scale
    buckets = max(1, histogram.max.bit_length() - EXACT_BITS + 1)
    lines += [
        f"#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]",
        f"#[Max     = {most:12.3f}, Total count    = {count:12d}]",
        f"#[Buckets = {buckets:12d}, SubBuckets     = {1 << EXACT_BITS:12d}]",
    ]
    return "\n".join(lines) + "\n"


def _ticks(histogram: Histogram) -> Iterator[tuple[int, int]]:
    """(highest value, cumulative count) where the next percentile step is reached, and the last."""
    count = histogram.count
    target = Fraction(0)  # share that has to be reached for the next line
    for value, running in histogram.cumulative():
        share = Fraction(running, count)
        if share < target:
            continue
        yield value, running
        while target <= share < 1:
            halvings = (1 / (1 - target)).__floor__().bit_length()  # 1 below one half, 2 below 3/4 ...
            target += Fraction(1, STEPS_PER_HALF << halvings)


def _deviation(histogram: Histogram) -> float:
    """Standard deviation, each value taken as the middle of its bucket."""
    count = histogram.count
    if not count:
        return 0.0
    mean = Fraction(histogram.total, count)
    squares = sum((Fraction(low + high, 2) - mean) ** 2 * n for low, high, n in histogram.buckets())
    return sqrt(squares / count)
