"""Means over replications of what a document says about memory pressure.

pressure     counts and reclaimers: means; victims: of all runs, each with its run
kernel_log   the texts of all runs, each with its run
panic        the first one
"""

from collections.abc import Sequence

from coalsim.observe.document import ResultDocument
from coalsim.observe.mean_values import mean_of_objects
from coalsim.observe.pressure_document import KillEntry, LogEntry


def pressure_means(runs: Sequence[ResultDocument]) -> dict[str, object]:
    """The parts of a document of means that have rules of their own, if the runs have them."""
    parts: dict[str, object] = {}
    entries = [run["pressure"] for run in runs if "pressure" in run]
    if entries:
        without = [{key: value for key, value in entry.items() if key != "kills"} for entry in entries]
        means = mean_of_objects(without)
        kills: list[KillEntry] = [
            {**kill, "run": number}
            for number, run in enumerate(runs, 1)
            if "pressure" in run
            for kill in run["pressure"]["kills"]
        ]
        parts["pressure"] = {**means, "kills": kills}
    log: list[LogEntry] = [
        {**entry, "run": number} for number, run in enumerate(runs, 1) for entry in run.get("kernel_log", [])
    ]
    if log:
        parts["kernel_log"] = log
    if panics := [run["panic"] for run in runs if "panic" in run]:
        parts["panic"] = panics[0]
    return parts
