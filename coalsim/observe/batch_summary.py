"""What the summary says about warm-up, batches and pooled percentiles; nothing where there are none.

The interval of a single run is that of its batch means, with the verdict on their correlation.
Over several runs the intervals over the runs hold, and the batches are only judged.
"""

from collections.abc import Iterator

from coalsim.guarded import clean
from coalsim.observe import numbers
from coalsim.observe.batches_document import BatchesEntry, WarmupEntry
from coalsim.observe.document import ResultDocument
from coalsim.stats.batches import LEAST_BATCHES, BatchMeans, batch_means, batch_ratio
from coalsim.stats.student import Interval
from coalsim.units import NS, SEC

METHODS = {"mser5": "MSER-5"}


def batch_lines(document: ResultDocument) -> Iterator[str]:
    """One line each."""
    if "warmup" in document:
        yield _warmup(document["warmup"])
    if "pooled_latency_ns" in document:
        latency = document["pooled_latency_ns"]
        spans = ", ".join(f"{name} {numbers.span(latency[name])}" for name in ("p50", "p99", "max"))
        yield f"all runs as one: {numbers.count(latency['count'])} latencies, {spans}"
    if "batches" in document:
        yield from _of_one_run(document["batches"])
    runs = [run["batches"] for run in document.get("runs", []) if "batches" in run]
    if runs:
        independent = sum(_throughput(batches).is_independent for batches in runs)
        yield (
            f"batches: {len(runs[0]['ops'])} in each run; their means pass the check for independence, "
            f"joined where needed, in {independent} of {len(runs)} runs"
        )


def _of_one_run(batches: BatchesEntry) -> Iterator[str]:
    found = _throughput(batches)
    rate = numbers.rate(found.interval.mean * SEC / batches["length_ps"], "ops")
    yield f"batches: {rate} {_width(found.interval)}, {_verdict(found, len(batches['ops']))}"
    if sum(batches["latency_count"]):
        found = batch_ratio(batches["latency_total_ns"], batches["latency_count"])
        mean = numbers.span(found.interval.mean)
        yield f"batches: mean latency {mean} {_width(found.interval)}, {_verdict(found, len(batches['ops']))}"


def _throughput(batches: BatchesEntry) -> BatchMeans:
    return batch_means(batches["ops"])


def _width(found: Interval) -> str:
    half = "?" if found.half_width is None else numbers.share(found.half_width, abs(found.mean))
    return f"+/- {half} % ({100 * found.confidence:g} % confidence)"


def _verdict(found: BatchMeans, given: int) -> str:
    joined = f", {found.size} joined to one" if found.size > 1 else ""
    if found.is_independent:
        verdict = "independent"
    elif given < LEAST_BATCHES:
        verdict = f"too few to tell whether they are independent, {LEAST_BATCHES} are the least"
    else:
        verdict = "NOT independent: the interval is too narrow, the run too short"
    return f"{given} batches{joined}: {verdict} (lag-1 correlation {found.lag1:z.2f})"


def _warmup(warmup: WarmupEntry) -> str:
    method = METHODS.get(warmup["method"], clean(warmup["method"]))
    doubt = ", NOT to be trusted" if warmup["half_cut"] else ""
    return (
        f"warm-up: {numbers.span(warmup['cut_ps'] / NS)}{doubt}, found by {method} in a pilot run "
        f"with seed {warmup['pilot_seed']}, by batches of {numbers.span(warmup['batch_ps'] / NS)}"
    )
