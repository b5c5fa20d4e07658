"""Means over replications of what a document says about virtual memory.

    operations     number and sums by cause: means, a run without the operation counting as
                   zero; mean latency: total over number, so that the parts still add up to it;
                   percentiles and the like: means over the runs that had the operation
    shootdown_ns   number as above; all latencies: means over the runs that had any
    oracle         sums, the longest stale use, and the findings of all runs, the broken first
    vm             means; the signals of all runs

A latency of a run that did nothing is not zero, it does not exist; that is why these
columns are not left to the general rule.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import cast

from coalsim.observe.document import ResultDocument
from coalsim.observe.mean_values import as_number, mean_of_numbers, mean_of_objects
from coalsim.observe.quantities import Latency, Nanoseconds
from coalsim.observe.vm_document import FindingEntry, OperationEntry, OracleEntry

LISTED = 100
"""Findings of each kind that a document of means keeps, as one run does."""


def vm_means(runs: Sequence[ResultDocument]) -> dict[str, object]:
    """The parts of a document of means that have rules of their own, if the runs have them."""
    parts: dict[str, object] = {}
    if any("operations" in run for run in runs):
        parts["operations"] = mean_operations([run.get("operations", {}) for run in runs])
    if shootdowns := [run["shootdown_ns"] for run in runs if "shootdown_ns" in run]:
        parts["shootdown_ns"] = _mean_latency(shootdowns, len(runs))
    if oracles := {number: run["oracle"] for number, run in enumerate(runs, 1) if "oracle" in run}:
        parts["oracle"] = added_oracles(oracles)
    if counts := [run["vm"] for run in runs if "vm" in run]:
        means = mean_of_objects([{**one} for one in counts])
        if signals := [text for one in counts for text in one.get("signals", [])]:
            means["signals"] = list(dict.fromkeys(signals))
        parts["vm"] = means
    return parts


def mean_operations(runs: Sequence[dict[str, OperationEntry]]) -> dict[str, OperationEntry]:
    """Each operation that any run did."""
    return {
        name: _mean_operation([run[name] for run in runs if name in run], len(runs))
        for name in sorted({name: None for run in runs for name in run})
    }


def _mean_operation(entries: Sequence[OperationEntry], runs: int) -> OperationEntry:
    latencies = [entry["latency_ns"] for entry in entries]
    latency = _mean_latency(latencies, runs)
    number = sum((Fraction(one["count"]) for one in latencies), Fraction(0))
    if number:
        total = sum((Fraction(one["count"]) * Fraction(one["mean"]) for one in latencies), Fraction(0))
        latency["mean"] = as_number(total / number)
    causes = dict.fromkeys(cause for entry in entries for cause in entry["by_cause_ns"])
    spent: dict[str, Nanoseconds] = {
        cause: mean_of_numbers([entry["by_cause_ns"].get(cause, 0) for entry in entries], runs)
        for cause in sorted(causes)
    }
    return {"latency_ns": latency, "by_cause_ns": spent}


def _mean_latency(present: Sequence[Latency], runs: int) -> Latency:
    """Columns over the runs that have them; the number over all runs."""
    means = mean_of_objects([{**latency} for latency in present])
    means["count"] = mean_of_numbers([latency["count"] for latency in present], runs)
    return cast(Latency, means)


def added_oracles(oracles: dict[int, OracleEntry]) -> OracleEntry:
    """What the oracles of several runs found together, by the number of the run."""
    found: list[FindingEntry] = [
        {**finding, "run": number} for number, oracle in oracles.items() for finding in oracle["findings"]
    ]
    broken = [finding for finding in found if finding["kind"] != "stale"]
    stale = [finding for finding in found if finding["kind"] == "stale"]
    return {
        "checked": sum(oracle["checked"] for oracle in oracles.values()),
        "stale": sum(oracle["stale"] for oracle in oracles.values()),
        "broken": sum(oracle["broken"] for oracle in oracles.values()),
        "worst_stale_ns": max(oracle["worst_stale_ns"] for oracle in oracles.values()),
        "findings": broken[:LISTED] + stale[:LISTED],
    }
