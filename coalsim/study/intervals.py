"""Confidence intervals of a result document over its replications.

The statistics themselves are in `coalsim.stats.student`.
"""

from collections.abc import Sequence

from coalsim.observe.document import IntervalEntry, ResultDocument
from coalsim.observe.quantities import Latency
from coalsim.stats.student import Interval, interval, paired_difference, t_quantile

__all__ = ["Interval", "document_intervals", "interval", "paired_difference", "t_quantile"]


def document_intervals(runs: Sequence[ResultDocument], confidence: float = 0.95) -> dict[str, IntervalEntry]:
    """Intervals of speed and latency over replications, by dotted key, for a document's `intervals`.

    Each is over the runs' own means; a run that has no such latency is left out.
    """
    values = {"throughput.ops_per_s": [run["throughput"]["ops_per_s"] for run in runs]}
    values |= _of_latencies("latency_ns", [run["latency_ns"] for run in runs if "latency_ns" in run])
    for phase in dict.fromkeys(name for run in runs for name in run.get("phases", {})):
        held = [run["phases"][phase]["latency_ns"]["mean"] for run in runs if phase in run.get("phases", {})]
        values[f"phases.{phase}.latency_ns.mean"] = held
    values |= _of_latencies("shootdown_ns", [run["shootdown_ns"] for run in runs if "shootdown_ns" in run])
    done = [run.get("operations", {}) for run in runs]
    for name in dict.fromkeys(name for operations in done for name in operations):
        held = [operations[name]["latency_ns"]["mean"] for operations in done if name in operations]
        values[f"operations.{name}.latency_ns.mean"] = held
    return {key: _entry(interval(found, confidence)) for key, found in values.items() if found}


def _of_latencies(key: str, latencies: Sequence[Latency]) -> dict[str, list[int | float]]:
    """The columns of a latency that get intervals."""
    return {
        f"{key}.mean": [latency["mean"] for latency in latencies],
        f"{key}.p50": [latency["p50"] for latency in latencies],
        f"{key}.p99": [latency["p99"] for latency in latencies],
    }


def _entry(found: Interval) -> IntervalEntry:
    return {
        "mean": found.mean,
        "half_width": found.half_width,
        "count": found.count,
        "confidence": found.confidence,
    }
