"""What a replay reports: equal to a plain count of the same text, and to what the machine then holds."""

from pathlib import Path

import pytest
from replaying import (
    FTRACE,
    PERF,
    Run,
    cache_alloc,
    cache_free,
    kfree,
    kmalloc,
    line,
    page_alloc,
    page_free,
    plain_count,
    written,
)

from coalsim.workloads.replay.load import ReplayPlan

KEYS = (
    *("unmatched_frees", "implied_frees", "live_objects", "live_bytes"),
    *("unmatched_page_frees", "implied_page_frees", "live_pages"),
)


@pytest.mark.parametrize("path", [PERF, FTRACE])
@pytest.mark.parametrize("mode", ["open", "closed"])
def test_a_recording_replays_as_a_plain_count_says(path: Path, mode: str) -> None:
    """Lifetimes, operations and what the simulated kernel holds at the end, in both formats."""
    run = Run(ReplayPlan(trace=str(path), mode=mode))  # type: ignore[arg-type]
    expected = plain_count(path)
    assert {key: run.trace[key] for key in KEYS} == {key: expected[key] for key in KEYS}
    allocs = expected["object_allocs"] + expected["page_allocs"]
    frees = expected["matched_frees"] + expected["matched_page_frees"]
    implied = expected["implied_frees"] + expected["implied_page_frees"]
    assert run.trace["operations"] == allocs + frees + implied == run.document["throughput"]["ops"]
    assert run.system.memory.objects.held_objects == expected["live_objects"]
    taken = run.system.memory.pages.taken_pages()
    slabs = run.document["memory"]["bytes"]["slab"] // 4096  # type: ignore[operator]
    assert taken == expected["live_pages"] + slabs
    assert run.trace["slab_overlap"] == slabs, "no slab was given back, so those that were taken are there"


def test_both_formats_of_one_run_replay_alike() -> None:
    """The two texts of one run differ in stamps only, so in a closed loop they do the same operations."""
    perf, ftrace = (Run(ReplayPlan(trace=str(path), mode="closed")) for path in (PERF, FTRACE))
    differing = {key for key in perf.trace if perf.trace[key] != ftrace.trace[key]}
    assert differing <= {"format", "span_s", "dependency_waits"}


def test_the_open_loop_lasts_as_long_as_the_recording() -> None:
    """Simulated time is the recorded span, and 1 ps so that the last event is inside."""
    run = Run(ReplayPlan(trace=str(PERF)))
    assert run.document["sim_time_ps"] == round(run.trace["span_s"] * 10**12) + 1  # type: ignore[operator]
    assert run.trace["late_max_ns"] > 0, "some operations follow each other faster than the kernel is"  # type: ignore[operator]


@pytest.mark.parametrize(("layer", "phases"), [("objects", "object"), ("pages", "page")])
def test_one_layer_leaves_the_other_out(layer: str, phases: str) -> None:
    """The trace is counted whole, but only the chosen layer is done."""
    run = Run(ReplayPlan(trace=str(PERF), layer=layer))  # type: ignore[arg-type]
    expected = plain_count(PERF)
    assert {key: run.trace[key] for key in KEYS} == {key: expected[key] for key in KEYS}
    assert {name.split()[0] for name in run.document["phases"]} == {phases}
    assert (run.trace["slab_overlap"] == 0) == (layer == "pages")


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("clones", [2, 16])
def test_clones_do_the_same_work_in_memory_of_their_own(clones: int) -> None:
    """K copies do K times the operations and hold K times the memory; the trace is counted once."""
    one, many = (Run(ReplayPlan(trace=str(PERF), clone=k), machine="clx2") for k in (1, clones))
    assert many.trace["operations"] == clones * one.trace["operations"]  # type: ignore[operator]
    assert {key: many.trace[key] for key in KEYS} == {key: one.trace[key] for key in KEYS}
    held = one.system.memory.objects.held_objects
    assert many.system.memory.objects.held_objects == clones * held
    assert (
        many.system.memory.pages.taken_pages()
        == clones * one.trace["live_pages"] + many.trace["slab_overlap"]
    )  # type: ignore[operator]


def test_what_is_easily_got_wrong_in_a_trace(tmp_path: Path) -> None:
    """Free of NULL, pointer handed out twice, frees from before, batched frees, records of refills."""
    refill = "page=0x6 pfn=0x6 order=1 migratetype=1 percpu_refill=1"
    trace = written(
        tmp_path,
        kfree(1000, 0, 0),
        kfree(2000, 0, 0xAAAA),
        cache_alloc(3000, 0, 0x1000),
        cache_alloc(4000, 0, 0x1000),
        cache_free(5000, 0, 0x1000),
        cache_free(6000, 0, 0x1000),
        page_alloc(7000, 0, 0x40),
        page_free(8000, 0, 0x40),
        line(8500, 0, "mm_page_free_batched", "page=0x40 pfn=0x40 order=0"),
        page_free(9000, 0, 0x40),
        line(9500, 0, "mm_page_alloc_zone_locked", refill),
        line(9600, 0, "mm_page_pcpu_drain", "page=0x6 pfn=0x6 order=0 migratetype=1"),
    )
    run = Run(ReplayPlan(trace=trace))
    expected = {
        "null_frees": 1,
        "unmatched_frees": 2,
        "implied_frees": 1,
        "live_objects": 0,
        "unmatched_page_frees": 1,
        "live_pages": 0,
        "operations": 6,
        "recorded_refill_pages": 2,
        "recorded_drain_pages": 1,
    }
    assert {key: run.trace[key] for key in expected} == expected
    assert run.system.memory.objects.held_objects == 0


def test_a_block_freed_in_parts_comes_back_when_its_last_part_does(tmp_path: Path) -> None:
    """Four single frees of an order-2 block are one free of the block; a larger free takes several."""
    trace = written(
        tmp_path,
        page_alloc(1000, 0, 0x40, 2),
        *(page_free(2000 + 100 * part, 0, 0x40 + part) for part in (3, 0, 2)),
        page_alloc(3000, 0, 0x80),
        page_alloc(3100, 0, 0x81),
        page_free(3200, 0, 0x80, 1),
        page_free(4000, 1, 0x41),
    )
    run = Run(ReplayPlan(trace=trace))
    assert run.trace["unmatched_page_frees"] == run.trace["live_pages"] == 0
    assert run.document["phases"]["page alloc"]["throughput"]["ops"] == 3
    assert run.document["phases"]["page free"]["throughput"]["ops"] == 3
    assert run.system.memory.pages.taken_pages() == 0


def test_sizes_that_no_slab_holds_are_whole_pages(tmp_path: Path) -> None:
    """An object larger than any slab becomes pages; one larger than all memory fails, and is no crash."""
    trace = written(
        tmp_path,
        cache_alloc(1000, 0, 0x1000, "huge", 1 << 20),
        kmalloc(2000, 0, 0x2000, 1 << 40),
        kmalloc(2500, 0, 0x3000, 0),
        cache_free(3000, 1, 0x1000, "huge"),
        kfree(4000, 0, 0x2000),
        kfree(5000, 0, 0x3000),
    )
    run = Run(ReplayPlan(trace=trace))
    assert run.trace["failed_operations"] == 1
    assert any("allocations failed" in text for text in run.document["warnings"])
    assert run.system.memory.objects.held_objects == 0


def test_an_object_freed_by_the_other_verb_goes_back_to_where_it_came_from(tmp_path: Path) -> None:
    """kfree of a cache's object is legal; a cache's free of what another allocator gave is put right."""
    trace = written(
        tmp_path,
        cache_alloc(1000, 0, 0x1000),
        kfree(2000, 0, 0x1000),
        kmalloc(3000, 0, 0x2000),
        cache_free(4000, 1, 0x2000),
        cache_alloc(5000, 0, 0x3000, "ones"),
        cache_free(6000, 0, 0x3000, "others"),
    )
    run = Run(ReplayPlan(trace=trace))
    assert run.trace["operations"] == 6
    assert run.system.memory.objects.held_objects == 0


def test_a_trace_of_one_instant_takes_time(tmp_path: Path) -> None:
    """Even a single free of what nobody knows is a run."""
    run = Run(ReplayPlan(trace=written(tmp_path, kfree(5, 0, 0x1))))
    assert (run.trace["operations"], run.document["sim_time_ps"]) == (0, 1)
