"""Means over replications of what a document says about leaks.

Counts, bytes and ages of call sites are means.  Objects that scans reported, and those that a load
has lost on purpose, are listed, of all runs, each with its run.  Growth is a mean where all runs have
the same times, and left out where not.
"""

from collections.abc import Sequence
from typing import cast

from coalsim.observe.document import ResultDocument
from coalsim.observe.leak_document import LeaksEntry, PlantedObject, UnreferencedEntry
from coalsim.observe.mean_values import mean_of_objects


def leak_means(runs: Sequence[ResultDocument]) -> dict[str, object]:
    """The parts of a document of means, if the runs have them."""
    planted: list[PlantedObject] = [
        {**lost, "run": number}
        for number, run in enumerate(runs, 1)
        for lost in run.get("planted_objects", [])
    ]
    parts: dict[str, object] = {"planted_objects": planted} if planted else {}
    entries = [run["leaks"] for run in runs if "leaks" in run]
    if not entries:
        return parts
    means = mean_of_objects([_without_lists(entry) for entry in entries])
    cast(LeaksEntry, means)["sites"].sort(key=lambda row: (-row["bytes"], row["site"], row["cache"]))
    grown = [entry["growth"] for entry in entries if "growth" in entry]
    if len(grown) == len(entries) and all(one["times_ns"] == grown[0]["times_ns"] for one in grown):
        means["growth"] = mean_of_objects([{**one} for one in grown])
    if "kmemleak" in means:
        found: list[UnreferencedEntry] = [
            {**row, "run": number}
            for number, run in enumerate(runs, 1)
            if "leaks" in run and "kmemleak" in run["leaks"]
            for row in run["leaks"]["kmemleak"]["unreferenced"]
        ]
        cast("dict[str, object]", means["kmemleak"])["unreferenced"] = found
    return {**parts, "leaks": means}


def _without_lists(entry: LeaksEntry) -> dict[str, object]:
    """An entry of one run without what has no mean."""
    kept = {key: value for key, value in entry.items() if key != "growth"}
    if "kmemleak" in entry:
        kept["kmemleak"] = {key: value for key, value in entry["kmemleak"].items() if key != "unreferenced"}
    return kept
