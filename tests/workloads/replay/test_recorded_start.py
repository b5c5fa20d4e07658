"""Starting from the fill of the recorded machine."""

import gzip
import re
from pathlib import Path

import pytest
from replaying import FASTEST, MODES, PERF, SNAPSHOTS, Run, plain_count

from coalsim.errors import ConfigError, InputError
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine
from coalsim.workloads.replay.load import ReplayPlan
from coalsim.workloads.replay.recorded_start import memory_needed, recorded_zones
from coalsim.workloads.trace.snapshot import read_snapshot


def recorded_buddyinfo() -> dict[str, list[int]]:
    """The lines of /proc/buddyinfo before the recording, by plain search."""
    with gzip.open(SNAPSHOTS, "rt", encoding="utf-8") as text:
        section = text.read().split("==== /proc/buddyinfo (before)\n")[1].split("====")[0]
    return {
        found[1]: [int(count) for count in found[2].split()]
        for found in re.finditer(r"Node 0, zone +(\w+)([ \d]+)\n", section)
    }


def one_node() -> Machine:
    """A machine like the recorded one, with the memory that its zones need."""
    zones = recorded_zones(read_snapshot(SNAPSHOTS), str(SNAPSHOTS))
    machine = load_machine("pack:1 numa:1 core:4 pu:1")
    return machine.with_overrides({"memory": str(memory_needed(zones, 10))})


def test_the_simulated_machine_begins_with_the_recorded_free_blocks_and_lists(tmp_path: Path) -> None:
    """A trace that does nothing leaves buddyinfo as it was recorded, and the lists with their pages."""
    trace = tmp_path / "trace.txt"
    trace.write_text("t 1 [001] 1.000000000: kmem:kfree: call_site=f ptr=(nil)\n", encoding="utf-8")
    run = Run(ReplayPlan(trace=str(trace), snapshots=str(SNAPSHOTS)), one_node())
    zones = run.system.memory.pages.zones
    assert {zone.name: list(zone.source.free_blocks()) for zone in zones} == recorded_buddyinfo()
    normal = recorded_zones(read_snapshot(SNAPSHOTS), str(SNAPSHOTS))[-1]
    recorded = next(pageset for pageset in normal.pagesets if pageset.cpu == 1)
    pages = run.system.memory.pages.own[0].lists[2].pages  # CPU 1 is the trace's only one
    assert (pages.count, pages.high, pages.batch) == (recorded.count, recorded.high, recorded.batch)
    assert (pages.rules.high_min, pages.rules.high_max) == (recorded.high_min, recorded.high_max)
    assert recorded.count > 1000, "the recorded lists were well filled"


def test_pages_from_before_the_recording_can_be_freed() -> None:
    """Every free that no allocation in the trace explains is one of memory taken earlier."""
    run = Run(ReplayPlan(trace=str(PERF), snapshots=str(SNAPSHOTS)), one_node())
    expected = plain_count(PERF)
    frees = expected["matched_page_frees"] + expected["unmatched_page_frees"]
    assert run.document["phases"]["page free"]["throughput"]["ops"] == frees
    assert run.trace["earlier_blocks_missing"] == 0
    assert run.trace["earlier_pages_freed"] >= expected["unmatched_page_frees"] > 500  # type: ignore[operator]


def test_full_lists_spare_the_zone_as_they_did_in_the_recording() -> None:
    """The recording held no refill of single pages; started from its lists, the simulation hardly any."""
    cold = Run(ReplayPlan(trace=str(PERF), layer="pages"))
    warm = Run(ReplayPlan(trace=str(PERF), layer="pages", snapshots=str(SNAPSHOTS)), one_node())
    assert cold.trace["simulated_refill_pages"] > 1000  # type: ignore[operator]
    assert warm.trace["simulated_refill_pages"] == warm.trace["recorded_refill_pages"] == 0


@pytest.mark.parametrize(
    "modes",
    [
        pytest.param((MODES[0], FASTEST), id="the reference and the quick one"),
        pytest.param(MODES, id="all", marks=pytest.mark.slow),
    ],
)
def test_the_start_is_the_same_in_every_mode(modes: list[tuple[bool, bool, bool]]) -> None:
    """Which earlier block is freed when does not depend on who ran ahead."""
    plan = ReplayPlan(trace=str(PERF), snapshots=str(SNAPSHOTS), clone=2, mode="closed", overhead=10**9)
    reference, *others = (Run(plan, one_node(), mode=mode).comparable() for mode in modes)
    assert all(other == reference for other in others)


@pytest.mark.parametrize(
    ("machine", "profile", "message"),
    [
        ("coal", "linux-6.18", "one memory node; this machine has 2; use a machine with one node"),
        ("pack:1 numa:1 core:4 pu:1", "coal", "no zones like those of Linux"),
        ("pack:1 numa:1(memory=2147483648) core:4 pu:1", "linux-6.18", "does not reach as far"),
    ],
)
def test_other_machines_and_kernels_are_refused(machine: str, profile: str, message: str) -> None:
    """With what to do about it."""
    with pytest.raises(ConfigError, match=message):
        Run(ReplayPlan(trace=str(PERF), snapshots=str(SNAPSHOTS)), machine, profile)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("==== /proc/vmstat (before)\nnr_free_pages 1\n", "no /proc/buddyinfo"),
        (
            "==== /proc/buddyinfo (before)\nNode 0, zone   Normal  1 1\nNode 1, zone   Normal  1 1\n",
            "zone Normal of node 1 cannot be the start",
        ),
        ("==== /proc/buddyinfo (before)\nNode 0, zone  HighMem  1 1\n", "zone HighMem of node 0 cannot"),
    ],
)
def test_a_snapshot_that_cannot_be_a_start_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """No free blocks in it, or zones that the simulated kernel does not have."""
    path = tmp_path / "snapshot.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Run(ReplayPlan(trace=str(PERF), snapshots=str(path)), one_node())
