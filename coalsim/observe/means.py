"""One document out of several replications: every number becomes its mean over the runs.

The general rule is that of `mean_values.py`; virtual memory has its own (`vm_means.py`).
The seed and the configuration are the first run's.  An average column is again total over
count; a maximum is the mean of the runs' maxima, so the rules between the columns of one
row hold in the runs alone.
"""

from collections.abc import Sequence
from typing import cast

from coalsim.observe.document import LockEntry, ResultDocument
from coalsim.observe.leak_means import leak_means
from coalsim.observe.mean_values import mean_of_objects
from coalsim.observe.pooled import pooled_parts
from coalsim.observe.pressure_means import pressure_means
from coalsim.observe.vm_means import vm_means

_OF_FIRST = ("seed", "config", "cpu_nodes")
_LISTS = (
    *("safety", "pressure", "kernel_log", "panic", "leaks", "planted_objects", "series", "allocations"),
    *("batches", "latency_histogram_ps"),
)


def mean_document(runs: Sequence[ResultDocument]) -> ResultDocument:
    """The means, with the runs themselves under `runs`; intervals are the caller's to add."""
    assert runs, "a mean needs at least one run"
    means = mean_of_objects([{key: value for key, value in run.items() if key not in _LISTS} for run in runs])
    means.update({key: value for key, value in runs[0].items() if key in _OF_FIRST})
    means.update(vm_means(runs))
    means.update(pressure_means(runs))
    means.update(leak_means(runs))
    means.update(pooled_parts(runs))
    if any("safety" in run for run in runs):
        found = [{**entry, "run": n} for n, run in enumerate(runs, 1) for entry in run.get("safety", [])]
        means["safety"] = found
    means["runs"] = list(runs)
    if "warnings" in means:
        means["warnings"] = list(dict.fromkeys(text for run in runs for text in run.get("warnings", [])))
    document = cast(ResultDocument, means)
    for lock in document["locks"]:
        _divide_again(lock)
    return document


def _divide_again(lock: LockEntry) -> None:
    """The average columns of a row of means."""
    contentions, acquisitions = lock["contentions"], lock["acquisitions"]
    lock["waittime_avg"] = lock["waittime_total"] / contentions if contentions else 0
    lock["holdtime_avg"] = lock["holdtime_total"] / acquisitions if acquisitions else 0
