"""The summary answers the question of the study: what was injected, dropped, to be had, found."""

import re

import pytest

import coalsim
from coalsim.observe.document import ResultDocument
from coalsim.observe.summary import summary

Settings = dict[str, object]
LEAKS = {"run.duration": "6ms", "kernel.kmemleak_scan": "1ms", "workload.leak": "100"}
AGED = {
    "machine.memory": "2MiB",
    "run.duration": "40s",
    "workload.fill": "60",
    "workload.huge_order": "6",
    "workload.huge_every": "50",
}
BURSTS = {
    "workload.rounds": "4",
    "machine.memory": "16MiB",
    "workload.begin": "12ms",
    "workload.fill": "90",
    "workload.burst": "256",
}
FAULTS = {
    "workload.cpus": "4",
    "workload.mode": "threads",
    "workload.mib": "1",
    "workload.rounds": "1",
    "run.duration": "0",
    "run.warmup": "0",
}


def rows(document: ResultDocument, heading: str) -> list[list[str]]:
    """The cells of the table in the summary whose heading begins so."""
    lines = summary(document).splitlines()
    at = next(number for number, line in enumerate(lines) if line.lstrip().startswith(heading)) + 1
    return [line.split() for line in lines[at : lines.index("", at)]]


def test_each_injected_rule_is_told_with_its_hits_and_chances() -> None:
    """In the study's own words, and at which call sites requests were refused."""
    rules: Settings = {
        "inject.fail": ["pages site=fault nth=5", "pages site=nowhere*"],
        "inject.delay": ["ipi by=1us every=2", "lock mmap_lock by=1us"],
        "inject.away": ["cpu 3 from=1us for=10us", "node 1 from=1s for=2ms"],
    }
    document = coalsim.run("page_fault1", {**FAULTS, **rules})
    injected = document["injected"]
    table = {" ".join(row[2:]): row[:2] for row in rows(document, "hits") if row[0].isdigit()}
    assert table["fail pages site=fault nth=5"][0] == "1"
    assert int(table["fail pages site=fault nth=5"][1]) > 5
    assert table["fail pages site=nowhere*"] == ["0", "0"]
    late = table["delay ipi by=1us every=2"]
    assert late[0] == str(injected["ipi_delays"])
    assert int(late[1]) >= 2 * int(late[0])
    assert table["delay lock mmap_lock by=1us"] == [str(injected["lock_delays"])] * 2
    assert table["cpu 3 away from 1 us for 10 us"] == ["1", "-"]
    assert table["node 1 away from 1 s for 2 ms"] == ["0", "-"]
    assert "refused at: fault 1\n" in summary(document)


def test_a_run_without_such_parts_says_nothing_of_them() -> None:
    """Neither of injected faults nor of bursts, huge blocks and leaks."""
    text = summary(coalsim.run("page_fault1", FAULTS))
    assert not re.search("injected|atomic|huge blocks|planted", text)


@pytest.mark.slow
def test_the_reserve_that_drivers_eat_is_told_by_zone() -> None:
    """By node and name, beside where requests stop; in all modes of the engine the same."""
    document = coalsim.run("atomic_bursts", BURSTS)
    atomic = document["atomic"]
    assert list(atomic["lowest_free"]) == ["0/DMA", "1/DMA32"]
    for zone, stop, floor, lowest, eaten in rows(document, "zone"):
        assert int(stop) == atomic["ordinary_stop"][zone]
        assert int(floor) == atomic["atomic_stop"][zone] < int(stop)
        assert int(lowest) == atomic["lowest_free"][zone]
        assert float(eaten) == pytest.approx(100 * (1 - int(lowest) / int(stop)), abs=0.05)
    assert f"{atomic['pages_dropped']} pages dropped" in summary(document)
    slow = {"engine.run_ahead": "off", "engine.fast_paths": "off", "engine.tick_events": "on"}
    assert coalsim.run("atomic_bursts", {**BURSTS, **slow})["atomic"] == atomic


def test_huge_blocks_and_the_warning_count_the_same_failures() -> None:
    """Every request that got nothing is in the warning and, by kind, in the answer."""
    document = coalsim.run("fragmentation_ageing", AGED)
    ageing = document["ageing"]
    failed = ageing["failed"]
    assert failed["huge"] == ageing["huge_asked"] - ageing["huge_had"] > 0
    assert failed["cache page"] > 0
    warning = next(text for text in document["warnings"] if "allocations failed" in text)
    assert warning.startswith(f"{sum(failed.values())} allocations failed")
    line = next(line for line in summary(document).splitlines() if line.startswith("huge blocks: "))
    assert f"asked for {ageing['huge_asked']}, to be had {ageing['huge_had']} " in line


@pytest.mark.parametrize("runs", [1, 2])
def test_planted_leaks_are_told_with_how_soon_they_were_found(runs: int) -> None:
    """Found ones are those that scans reported; the wait runs from the loss to the scan."""
    document = coalsim.run("leaking_driver", {**LEAKS, "run.replications": str(runs)})
    planted = {row["site"]: row["objects"] for row in document["planted_leaks"]}
    told = rows(document, "site  ")
    assert {row[0] for row in told} == set(planted)
    reports = document["leaks"]["kmemleak"]["unreferenced"]
    found = sum(int(row[3]) for row in told)
    assert abs(found - len(reports) / runs) <= len(told) / 2
    assert 0 < found <= sum(planted.values())
    for _, lost, _, count, mean, longest in told:
        assert int(count) <= int(lost)
        assert 0 < float(mean) <= float(longest) < 6000
