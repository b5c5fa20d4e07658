"""Means over replications of operations, shootdowns, counts, and what the oracle found."""

import copy
import json

import pytest

from coalsim.observe.document import ResultDocument, dump
from coalsim.observe.means import mean_document
from coalsim.observe.operations import operation_table
from coalsim.observe.vm_document import FindingEntry
from coalsim.observe.vm_means import LISTED

FINDING: FindingEntry = {
    "time_ns": 1,
    "cpu": 0,
    "kind": "stale",
    "space": 1,
    "page": 4096,
    "frame": 7,
    "write": False,
    "text": "CPU 0 used a dead translation",
}


def test_equal_runs_have_themselves_as_their_mean(vm_document: ResultDocument) -> None:
    """All but the oracle's counts, which are sums."""
    means = mean_document([vm_document, copy.deepcopy(vm_document), copy.deepcopy(vm_document)])

    for part in ("operations", "shootdown_ns", "vm"):
        assert json.loads(dump({part: means[part]})) == {part: vm_document[part]}
    assert means["oracle"]["checked"] == 3 * vm_document["oracle"]["checked"] > 0


def test_an_operation_that_one_run_never_did_keeps_its_latency(vm_document: ResultDocument) -> None:
    """Its number and the sums of its causes are halved; a latency that does not exist is not zero."""
    other = copy.deepcopy(vm_document)
    alone = other["operations"].pop("munmap")
    del other["shootdown_ns"]

    means = mean_document([other, vm_document])
    found = means["operations"]["munmap"]

    assert found["latency_ns"] == {**alone["latency_ns"], "count": alone["latency_ns"]["count"] / 2}
    assert found["by_cause_ns"] == {cause: time / 2 for cause, time in alone["by_cause_ns"].items()}
    assert means["shootdown_ns"]["p99"] == vm_document["shootdown_ns"]["p99"]
    assert means["shootdown_ns"]["count"] == vm_document["shootdown_ns"]["count"] / 2


def test_the_causes_of_a_mean_add_up_to_its_latency(vm_document: ResultDocument) -> None:
    """Its mean is total over number, however unequal the runs are; a percentile is the runs' mean."""
    other = copy.deepcopy(vm_document)
    slow = other["operations"]["munmap"]
    slow["latency_ns"] = {"count": 1, "mean": 9e5, "p50": 9e5, "p99": 9e5, "max": 9e5}
    slow["by_cause_ns"] = {"syscall": 5e5, "lock:only here:wait": 4e5}
    first = vm_document["operations"]["munmap"]["latency_ns"]

    found = mean_document([vm_document, other])["operations"]["munmap"]

    assert found["latency_ns"]["mean"] == pytest.approx(
        (first["count"] * first["mean"] + 9e5) / (first["count"] + 1)
    )
    assert found["latency_ns"]["p99"] == pytest.approx((first["p99"] + 9e5) / 2)
    assert found["by_cause_ns"]["lock:only here:wait"] == 2e5
    assert operation_table("munmap", found).note == "the causes add up to the latencies of all operations"


def test_findings_are_gathered_and_not_averaged(vm_document: ResultDocument) -> None:
    """Sums of counts, the longest stale use, findings with the number of their run, the broken first."""
    other = copy.deepcopy(vm_document)
    vm_document["oracle"] |= {"stale": 3, "worst_stale_ns": 40, "findings": [copy.copy(FINDING)]}
    other["oracle"] |= {"broken": 1, "worst_stale_ns": 7, "findings": [{**FINDING, "kind": "reuse"}]}

    oracle = mean_document([vm_document, other])["oracle"]

    assert (oracle["stale"], oracle["broken"], oracle["worst_stale_ns"]) == (3, 1, 40)
    assert [(finding["kind"], finding["run"]) for finding in oracle["findings"]] == [
        ("reuse", 2),
        ("stale", 1),
    ]


def test_only_so_many_findings_are_kept(vm_document: ResultDocument) -> None:
    """As many of each kind as one run keeps."""
    kinds = ["promise"] * LISTED + ["stale"] * LISTED
    vm_document["oracle"]["findings"] = [{**FINDING, "kind": kind} for kind in kinds]

    found = mean_document([vm_document, copy.deepcopy(vm_document)])["oracle"]["findings"]

    assert [finding["kind"] for finding in found] == kinds


def test_counts_are_averaged_and_signals_are_those_of_all_runs(vm_document: ResultDocument) -> None:
    """The policy is a name; a signal that two runs share is told once."""
    other = copy.deepcopy(vm_document)
    vm_document["vm"]["signals"] = ["a: SIGSEGV"]
    other["vm"]["signals"] = ["b: SIGSEGV", "a: SIGSEGV"]
    other["vm"]["walks"] += 1
    other["vm"]["shootdowns"]["flushes"] += 4

    counts = mean_document([vm_document, other])["vm"]

    assert counts["policy"] == vm_document["vm"]["policy"]
    assert counts["walks"] == vm_document["vm"]["walks"] + 0.5
    assert counts["shootdowns"]["flushes"] == vm_document["vm"]["shootdowns"]["flushes"] + 2
    assert counts["signals"] == ["a: SIGSEGV", "b: SIGSEGV"]
