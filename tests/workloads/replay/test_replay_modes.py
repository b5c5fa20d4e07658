"""Replays are the same to the byte in every mode of the engine."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replaying import (
    FASTEST,
    FTRACE,
    MODES,
    PERF,
    Run,
    cache_alloc,
    cache_free,
    kfree,
    kmalloc,
    page_alloc,
    page_free,
    written,
)

from coalsim.units import MS, US
from coalsim.workloads.replay.load import ReplayPlan

CASES = {
    "as recorded": (ReplayPlan(trace=str(PERF)), "coal", "linux-6.18"),
    "stamps in microseconds": (ReplayPlan(trace=str(FTRACE), clone=2), "coal", "linux-6.0"),
    "as fast as it goes": (
        ReplayPlan(trace=str(PERF), mode="closed", overhead=MS, clone=2),
        "coal",
        "linux-6.18",
    ),
    "many copies, all nodes": (
        ReplayPlan(trace=str(PERF), mode="closed", overhead=20 * US, clone=8, placing="scatter"),
        "clx2-snc",
        "linux-6.7",
    ),
    "magazines": (ReplayPlan(trace=str(PERF), mode="closed", overhead=20 * US, clone=2), "coal", "coal"),
}


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("case", CASES)
def test_a_recording_replays_to_the_same_bytes_in_the_quick_mode(case: str) -> None:
    """The reference and what runs ahead, takes short cuts and has no tick events give one document."""
    plan, machine, profile = CASES[case]
    reference, quick = (Run(plan, machine, profile, mode).comparable() for mode in (MODES[0], FASTEST))
    assert quick == reference


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_recording_replays_to_the_same_bytes_in_every_mode(case: str) -> None:
    """All six combinations of running ahead, short cuts and tick events give one document."""
    plan, machine, profile = CASES[case]
    reference, *others = (Run(plan, machine, profile, mode).comparable() for mode in MODES)
    assert all(other == reference for other in others)


@st.composite
def traces(draw: st.DrawFn) -> list[str]:
    """Few pointers and four CPUs that hand them to each other, at stamps that tie all the time."""
    time, lines = 0, []
    for _ in range(draw(st.integers(1, 60))):
        time += draw(st.sampled_from([0, 0, 10, 20, 1000, 30_000]))
        cpu, key = draw(st.integers(0, 3)), draw(st.integers(1, 4))
        make = draw(st.sampled_from([kmalloc, kfree, cache_alloc, cache_free, page_alloc, page_free]))
        order = draw(st.integers(0, 2))
        if make in (page_alloc, page_free):
            lines.append(make(time, cpu, key * 4, order))
        else:
            lines.append(make(time, cpu, 64 * key + 8192 * (make in (cache_alloc, cache_free))))
    return lines


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(lines=traces(), mode=st.sampled_from(["open", "closed"]), overhead=st.sampled_from([0, US]))
def test_random_traces_end_and_are_the_same_in_every_mode(lines: list[str], mode: str, overhead: int) -> None:
    """No circle of waits, whatever the order of allocations and frees; one document in all modes."""
    with TemporaryDirectory() as folder:
        plan = ReplayPlan(trace=written(Path(folder), *lines), mode=mode, overhead=overhead, clone=1)  # type: ignore[arg-type]
        runs = [Run(plan, mode=engine) for engine in MODES]
    assert all(run.comparable() == runs[0].comparable() for run in runs)
    held = runs[0].system.memory.objects.held_objects
    assert held == runs[0].trace["live_objects"]
