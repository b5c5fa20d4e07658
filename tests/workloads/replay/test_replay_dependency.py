"""A free waits for the allocation that the trace has before it; the litmus tests of that wait."""

from pathlib import Path

import pytest
from replaying import MODES, Run, kfree, kmalloc, page_alloc, page_free, written

from coalsim.units import NS
from coalsim.workloads.replay.load import ReplayPlan

DEPENDENCY = "replay:dependency"


@pytest.mark.parametrize("mode", MODES)
def test_a_free_waits_until_the_other_cpu_has_allocated(
    tmp_path: Path, mode: tuple[bool, bool, bool]
) -> None:
    """CPU 0's first page needs a refill of microseconds; CPU 1 frees it 100 ns after it was asked for.

    The wait begins at the free's stamp and ends one line transfer after the allocation is done.
    """
    trace = written(tmp_path, page_alloc(0, 0, 0x40), page_free(100, 1, 0x40))
    run = Run(ReplayPlan(trace=trace), mode=mode)
    done = run.document["phases"]["page alloc"]["latency_ns"]["max"] * NS
    notice = run.system.machine.transfer_row(run.system.cpus[1].id)[0]
    assert done > 1000 * NS
    assert run.trace["dependency_waits"] == 1
    assert run.document["time"]["1"][DEPENDENCY] == done + notice - 100 * NS
    assert DEPENDENCY not in run.document["time"]["0"]
    assert run.system.memory.pages.taken_pages() == 0


def test_a_free_long_after_its_allocation_waits_for_nothing(tmp_path: Path) -> None:
    """The common case of frees on another CPU."""
    run = Run(ReplayPlan(trace=written(tmp_path, kmalloc(0, 0, 0x40), kfree(90_000, 1, 0x40))))
    assert run.trace["dependency_waits"] == 0
    assert run.trace["remote_frees"] == 1
    assert DEPENDENCY not in run.document["time"]["1"]


def test_a_free_on_the_cpu_that_allocates_never_waits(tmp_path: Path) -> None:
    """It is late instead, by as much as the allocation took longer than recorded."""
    run = Run(ReplayPlan(trace=written(tmp_path, page_alloc(0, 0, 0x40), page_free(100, 0, 0x40))))
    took = run.document["phases"]["page alloc"]["latency_ns"]["max"]
    assert (run.trace["dependency_waits"], run.trace["late_operations"]) == (0, 1)
    assert run.trace["late_max_ns"] == took - 100
    assert run.trace["late_mean_ns"] == (took - 100) / 2


def test_an_implied_free_waits_too(tmp_path: Path) -> None:
    """CPU 1 gets a pointer that CPU 0 still holds: it frees for CPU 0, after CPU 0 has allocated."""
    trace = written(tmp_path, kmalloc(0, 0, 0x40), kmalloc(100, 1, 0x40), kfree(90_000, 1, 0x40))
    run = Run(ReplayPlan(trace=trace))
    assert (run.trace["implied_frees"], run.trace["dependency_waits"]) == (1, 1)
    assert run.trace["operations"] == 4
    assert run.system.memory.objects.held_objects == 0


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_waits_do_not_go_round_in_circles(tmp_path: Path, loop: str) -> None:
    """Two CPUs free each other's objects over and over; the one that waits is always behind in the text."""
    lines = [kmalloc(0, 0, 0x8), kmalloc(0, 1, 0x10)]
    for turn in range(200):
        lines += [
            kmalloc(turn * 10, 0, 0x1000 + 8 * turn),
            kfree(turn * 10, 1, 0x1000 + 8 * turn),
            kmalloc(turn * 10, 1, 0x9000 + 8 * turn),
            kfree(turn * 10, 0, 0x9000 + 8 * turn),
        ]
    run = Run(ReplayPlan(trace=written(tmp_path, *lines), mode=loop))  # type: ignore[arg-type]
    assert run.trace["dependency_waits"] > 20  # type: ignore[operator]
    assert run.trace["operations"] == 802


def test_a_free_before_its_allocation_in_the_text_matches_nothing(tmp_path: Path) -> None:
    """Stamps in microseconds cannot order two CPUs; such a free waits for nothing, and it is said."""
    run = Run(ReplayPlan(trace=written(tmp_path, kfree(1000, 1, 0x40), kmalloc(1000, 0, 0x40))))
    assert (run.trace["unmatched_frees"], run.trace["reordered_frees"]) == (1, 1)
    assert (run.trace["dependency_waits"], run.trace["live_objects"]) == (0, 1)
    assert any("before their allocation" in text for text in run.document["warnings"])


def test_gaps_of_the_closed_loop_are_think_time(tmp_path: Path) -> None:
    """Recorded gaps, less the overhead, are charged once each, wherever chunks of the trace end."""
    trace = written(tmp_path, kmalloc(0, 0, 0x8), kmalloc(5000, 0, 0x10), kfree(25_000, 0, 0x8))
    plain = Run(ReplayPlan(trace=trace, mode="closed"))
    less = Run(ReplayPlan(trace=trace, mode="closed", overhead=6000 * NS))
    assert plain.document["time"]["0"]["think"] == 25_000 * NS + 1
    assert less.document["time"]["0"]["think"] == 14_000 * NS
    assert plain.trace["late_operations"] == 0
