"""The `batches` and `warmup` parts of the result document: what the statistics of one run need.

Lists have one item for each batch, in the order of time.  A document of several runs has the
batches in the runs only; the warm-up is the same for all and stands at the top.
"""

from typing import TypedDict

from coalsim.observe.quantities import Count, Nanoseconds


class BatchesEntry(TypedDict):
    """A run's measured time in equal parts; the latencies are those of `latency_ns`."""

    length_ps: Count  # may have a fraction: the parts end at whole picoseconds
    ops: list[Count]
    latency_count: list[Count]
    latency_total_ns: list[Nanoseconds]


class WarmupEntry(TypedDict):
    """How the warm-up of all replications was found."""

    method: str  # mser5
    cut_ps: int
    batch_ps: int  # of the pilot run
    pilot_seed: int
    half_cut: bool  # the pilot was too short for it: not to be trusted
