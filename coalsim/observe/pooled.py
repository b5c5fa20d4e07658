"""Percentiles over all replications together.

The top level of a document of several runs has the mean of the runs' percentiles.  That is not
the percentile of all operations: a 99th percentile of few operations lies too low on average.
Where the runs kept their histograms (`run.histogram = true`) they are merged, which is exact,
whatever the order, and the percentiles are those of the operations of all runs.
"""

from collections.abc import Sequence

from coalsim.observe.document import ResultDocument, latency_entry
from coalsim.observe.histogram import Histogram


def pooled_parts(runs: Sequence[ResultDocument]) -> dict[str, object]:
    """The distribution of the latencies of all runs; empty unless every run kept its own.

    Raises:
        ValueError: a run holds numbers that are not those of any histogram.
    """
    if not all("latency_histogram_ps" in run for run in runs):
        return {}
    merged = Histogram()
    for run in runs:
        merged.merge(Histogram.from_dict({**run["latency_histogram_ps"]}))
    if not merged.count:
        return {"latency_histogram_ps": merged.to_dict()}
    return {"latency_histogram_ps": merged.to_dict(), "pooled_latency_ns": latency_entry(merged)}
