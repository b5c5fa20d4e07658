"""The result document: what `--json` prints, what DIR/result.json holds, what every table is made from.

The parts about the allocators and about virtual memory are in `memory_document.py` and `vm_document.py`.
Units: times end in `_ps` or stand in `time` when they are whole picoseconds; all other
times are nanoseconds as numbers (whole where they are whole); sizes are bytes.
A `Count` is whole in one run; at the top level of a document with `runs` it is the mean
over the replications and may have a fraction.  Keys that a run has no use for are left
out, never null, but for the half width of an interval over one run.

Invariant: `dump` gives one text for one document: keys sorted, floats in their shortest
form, no NaN, one newline at the end.
"""

import json
from collections.abc import Mapping
from typing import NotRequired, TypedDict

from coalsim.observe.batches_document import BatchesEntry, WarmupEntry
from coalsim.observe.histogram import Histogram, HistogramRecord
from coalsim.observe.leak_document import LeaksEntry, PlantedLeak, PlantedObject
from coalsim.observe.load_document import AgeingEntry, AtomicEntry, InjectedEntry
from coalsim.observe.memory_document import Memory
from coalsim.observe.pressure_document import LogEntry, PressureEntry
from coalsim.observe.quantities import Count, Latency, Nanoseconds
from coalsim.observe.safety_document import DebugModesEntry, SafetyEntry
from coalsim.observe.series_document import AllocationRow, SeriesEntry
from coalsim.observe.vm_document import OperationEntry, OracleEntry, VirtualMemoryEntry
from coalsim.units import NS, Time


class Waiter(TypedDict):
    """One call site that waited for a lock."""

    site: str
    contentions: Count
    wait_total: Nanoseconds
    wait_max: Nanoseconds
    wait_min: Nanoseconds


class Holder(TypedDict):
    """One call site that others waited for."""

    site: str
    count: Count


class LockEntry(TypedDict):
    """One lock class, with the columns of /proc/lock_stat; a lock that is read and written has two."""

    name: str
    type: str  # perf's words: spinlock, mutex, rwsem:R, rwsem:W, rwlock:R ...
    con_bounces: Count  # contentions whose lock was last taken on another CPU
    contentions: Count
    waittime_min: Nanoseconds  # the shortest that is not zero
    waittime_max: Nanoseconds
    waittime_total: Nanoseconds
    waittime_avg: Nanoseconds  # total / contentions
    acq_bounces: Count
    acquisitions: Count
    holdtime_min: Nanoseconds
    holdtime_max: Nanoseconds
    holdtime_total: Nanoseconds
    holdtime_avg: Nanoseconds  # total / acquisitions
    stolen: Nanoseconds  # interrupt handlers inside waits and holds
    waiters: list[Waiter]
    holders: list[Holder]


class CpuWaits(TypedDict):
    """What one CPU's thread waited for locks in all."""

    cpu: int
    name: str
    contended: Count
    wait_total: Nanoseconds
    wait_max: Nanoseconds
    wait_min: Nanoseconds


class LockInstance(TypedDict):
    """One lock, where the lock table adds up all locks of a class."""

    address: int
    symbol: str
    type: str
    contended: Count
    wait_total: Nanoseconds
    wait_max: Nanoseconds
    wait_min: Nanoseconds


class Throughput(TypedDict):
    """Operations of all CPUs, and per simulated second."""

    ops: Count
    ops_per_s: Count


class Phase(TypedDict):
    """One part of a load, such as `alloc` and `free`."""

    latency_ns: Latency
    throughput: NotRequired[Throughput]


class Trace(TypedDict, total=False):
    """What a replayed trace held; objects are slab objects, pages are frames."""

    format: str
    events: dict[str, Count]
    span_s: Count
    unmatched_frees: Count
    implied_frees: Count
    live_objects: Count
    live_bytes: Count
    unmatched_page_frees: Count
    implied_page_frees: Count
    live_pages: Count
    lost: Count
    slab_overlap: Count
    clones: Count
    operations: Count
    late_operations: Count
    late_mean_ns: Nanoseconds
    late_max_ns: Nanoseconds
    dependency_waits: Count
    recorded_refill_pages: Count
    recorded_drain_pages: Count
    simulated_refill_pages: Count
    simulated_drain_pages: Count


class IntervalEntry(TypedDict):
    """A mean over replications and the half width of its interval; none over one run."""

    mean: float
    half_width: float | None
    count: int
    confidence: float


class ResultDocument(TypedDict):
    """One run, or the means over `runs`."""

    coalsim: str  # the version that made it
    study: str
    machine: str
    profile: str
    seed: int
    events: Count
    sim_time_ps: Count
    host_s: NotRequired[float]  # time in the simulation loop
    throughput: Throughput
    latency_ns: NotRequired[Latency]
    phases: NotRequired[dict[str, Phase]]
    locks: list[LockEntry]
    lock_waits_by_cpu: NotRequired[list[CpuWaits]]
    lock_instances: NotRequired[list[LockInstance]]
    time: dict[str, dict[str, Count]]  # CPU -> cause -> ps; each CPU's sum is sim_time_ps
    cpu_nodes: NotRequired[list[int]]  # [cpu] -> node
    memory: NotRequired[Memory]
    trace: NotRequired[Trace]
    shootdown_ns: NotRequired[Latency]  # increment of the generation to the last answer seen
    operations: NotRequired[dict[str, OperationEntry]]  # by name
    oracle: NotRequired[OracleEntry]
    vm: NotRequired[VirtualMemoryEntry]
    pressure: NotRequired[PressureEntry]
    kernel_log: NotRequired[list[LogEntry]]
    debug_modes: NotRequired[DebugModesEntry]
    safety: NotRequired[list[SafetyEntry]]  # what the debug modes found, by time
    panic: NotRequired[str]  # the report; the run ended there
    leaks: NotRequired[LeaksEntry]
    planted_leaks: NotRequired[list[PlantedLeak]]
    planted_objects: NotRequired[list[PlantedObject]]
    injected: NotRequired[InjectedEntry]
    atomic: NotRequired[AtomicEntry]
    ageing: NotRequired[AgeingEntry]
    series: NotRequired[SeriesEntry]  # memory over time
    allocations: NotRequired[list[AllocationRow]]
    warnings: NotRequired[list[str]]
    config: NotRequired[dict[str, object]]
    batches: NotRequired[BatchesEntry]  # in runs, never in a mean of several
    warmup: NotRequired[WarmupEntry]  # where a pilot run found it
    latency_histogram_ps: NotRequired[HistogramRecord]  # behind latency_ns; of all runs at the top
    pooled_latency_ns: NotRequired[Latency]  # of all runs taken as one; latency_ns has means over runs
    runs: NotRequired[list["ResultDocument"]]
    intervals: NotRequired[dict[str, IntervalEntry]]  # by dotted key, such as throughput.ops_per_s


def dump(document: Mapping[str, object]) -> str:
    """The document as JSON text.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n"


def excerpt(document: ResultDocument, **parts: object) -> dict[str, object]:
    """A document of some parts, with what says which run they belong to."""
    return {
        "coalsim": document["coalsim"],
        "study": document["study"],
        "machine": document["machine"],
        "profile": document["profile"],
        "seed": document["seed"],
        "sim_time_ps": document["sim_time_ps"],
        **parts,
    }


def nanoseconds(ps: Time) -> Nanoseconds:
    """Picoseconds as a JSON number of ns: an int where it is whole, else the nearest float."""
    whole, rest = divmod(ps, NS)
    return ps / NS if rest else whole


def latency_entry(histogram: Histogram) -> Latency:
    """The latency columns of a histogram of picoseconds."""
    return {
        "count": histogram.count,
        "mean": histogram.mean / NS,
        "min": nanoseconds(histogram.min),
        "p50": nanoseconds(histogram.percentile(50)),
        "p90": nanoseconds(histogram.percentile(90)),
        "p99": nanoseconds(histogram.percentile(99)),
        "p999": nanoseconds(histogram.percentile(99.9)),
        "max": nanoseconds(histogram.max),
    }
