"""Means over replications."""

import copy
import json

from coalsim.observe.document import ResultDocument, dump
from coalsim.observe.means import mean_document
from coalsim.observe.summary import summary
from coalsim.observe.where import verdict


def test_the_mean_of_equal_runs_is_the_run(document: ResultDocument) -> None:
    """Whole numbers stay whole; the runs are kept beside the means."""
    means = mean_document([document, copy.deepcopy(document), copy.deepcopy(document)])
    runs = means.pop("runs")

    assert runs == [document] * 3
    assert json.loads(dump(means)) == document


def test_numbers_are_averaged_and_rows_matched_by_what_they_are_about(document: ResultDocument) -> None:
    """A lock that one run never saw counts as zero there; its average is total over count again."""
    other = copy.deepcopy(document)
    other["seed"] = 2
    other["throughput"]["ops_per_s"] += 10
    other["memory"]["buddyinfo"][0]["free_blocks"][8] = 2
    other["time"]["0"]["line:new"] = 3
    other["time"]["0"]["idle"] -= 3
    lost = other["locks"].pop(1)
    other["locks"].reverse()

    means = mean_document([document, other])
    lock = next(row for row in means["locks"] if row["name"] == lost["name"])

    assert means["seed"] == 1
    assert means["throughput"]["ops_per_s"] == document["throughput"]["ops_per_s"] + 5
    assert means["memory"]["buddyinfo"][0]["free_blocks"][8:] == [1.5, 1, 3]
    assert means["time"]["0"]["line:new"] == 1.5
    assert (lock["contentions"], lock["waittime_avg"]) == (205, lost["waittime_avg"])
    assert len(means["locks"]) == len(document["locks"])
    assert means["locks"][0] == document["locks"][0]


def test_a_row_that_one_run_lacks_stays_about_the_same_cpu(document: ResultDocument) -> None:
    """The mean of CPU 3 and of nothing is half of what it counted, not CPU 1.5."""
    row = {"cpu": 3, "name": "cpu3", "contended": 4, "wait_total": 8, "wait_max": 8, "wait_min": 2}
    document["lock_waits_by_cpu"] = [row]
    other = copy.deepcopy(document)
    other["lock_waits_by_cpu"] = []

    assert mean_document([document, other])["lock_waits_by_cpu"] == [
        {"cpu": 3, "name": "cpu3", "contended": 2, "wait_total": 4, "wait_max": 4, "wait_min": 1}
    ]


def test_the_order_of_the_runs_changes_no_mean(document: ResultDocument) -> None:
    """But for the seed, which is the first run's."""
    other = copy.deepcopy(document)
    other["throughput"]["ops_per_s"] *= 1.1
    other["latency_ns"]["mean"] = 0.1

    there, back = mean_document([document, other, other]), mean_document([other, other, document])
    del there["runs"], back["runs"]

    assert dump(there) == dump(back)


def test_the_times_of_a_mean_are_still_accounted_for(document: ResultDocument) -> None:
    """The summary of means says how many runs it stands for."""
    other = copy.deepcopy(document)
    other["sim_time_ps"] += 1
    for causes in other["time"].values():
        causes["idle"] += 1

    means = mean_document([document, other])

    assert verdict(means) == "each of the 8 CPUs adds up to the mean of 2300123456790 simulated ps"
    assert "mean of 2 runs from seed 1" in summary(means).splitlines()[0]
