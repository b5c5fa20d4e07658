"""Samples of memory over time: exact in a run made by hand, and no run is changed by them."""

import json
from collections.abc import Mapping

import pytest
from short_studies import SHORT

from coalsim.api import run
from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import ConfigError, DeadlockError
from coalsim.locks.nap import Bell
from coalsim.locks.queued import QueuedLock
from coalsim.observe.document import ResultDocument
from coalsim.observe.histogram import Histogram
from coalsim.observe.series import rates_of
from coalsim.profiles.profile import load_profile
from coalsim.study import series as series_module
from coalsim.study.measuring import measure
from coalsim.topology.presets import load_machine
from coalsim.units import US, CpuId, Pfn, Time
from coalsim.workloads.base import VirtualHost

PARTS = ("free", "used", "percpu", "reserved")
LAYERS = ("magazines", "slub", "sheaves")


class ByHand:
    """CPU 0 takes blocks of 8 frames at 15, 25 and 45 us and gives all back at 65 us."""

    endless = False
    headline = ""

    def __init__(self, *, waits_for_ever: bool = False) -> None:
        self._waits_for_ever = waits_for_ever

    def start(self, host: VirtualHost) -> None:
        """One thread."""
        assert isinstance(host, System)
        host.run_thread(CpuId(0), "by hand", self._body(host, host.cpus[0]))

    def _body(self, system: System, cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        for at in (15, 25, 45):
            yield from cpu.sync()
            yield from cpu.wait_until(at * US, "think")
            held.append((yield from system.memory.alloc_pages(cpu, 3, "test")))
        yield from cpu.sync()
        yield from cpu.wait_until(65 * US, "think")
        for pfn in held:
            yield from system.memory.free_pages(cpu, pfn, 3, "test")
        if self._waits_for_ever:
            yield from Bell().wait(cpu, "nobody")

    def results(self) -> Mapping[str, object]:
        """Nothing of its own."""
        return {}


def by_hand(
    samples: Time, warmup: Time = 0, duration: Time = 75 * US, mode: Mapping[str, bool] | None = None
) -> ResultDocument:
    """The run by hand on a small machine without timer ticks."""
    return measured(ByHand(), samples, warmup, duration, mode)


def measured(
    load: ByHand, samples: Time, warmup: Time, duration: Time, mode: Mapping[str, bool] | None = None
) -> ResultDocument:
    """A run of such a load."""
    system = System(
        SystemConfig(
            machine=load_machine("ivb-laptop").with_overrides({"memory": "32MiB"}),
            profile=load_profile("coal").with_overrides({"hz": "0"}),
            lock=QueuedLock,
            recorder=Histogram,
            **(mode or {}),
        )
    )
    load.start(system)
    system.boot()
    return measure(system, load, "by hand", warmup, duration, samples)


def test_samples_of_a_run_made_by_hand() -> None:
    """At the start, each period, and at the end; blocks, bytes and counters at each of them."""
    series = by_hand(10 * US)["series"]

    assert series["period_ns"] == 10_000
    assert series["time_ns"] == [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 75_000]
    assert [size // 4096 for size in map(int, series["bytes"]["kernel"])] == [0, 0, 8, 16, 16, 24, 24, 0, 0]
    allocated = [name for name in series["counters"] if name.startswith("pgalloc_")]
    totals = [sum(counts) for counts in zip(*(series["counters"][name] for name in allocated), strict=True)]
    assert totals == [0, 0, 8, 16, 16, 24, 24, 24, 24]
    assert series["counters"]["pgfree"] == [0, 0, 0, 0, 0, 0, 0, 24, 24]


def test_rates_are_counts_per_second_since_the_sample_before() -> None:
    """8 pages in 10 us are 800,000 a second; the first sample has none before it."""
    rates = rates_of(by_hand(10 * US)["series"])

    assert rates["pgfree"] == [0, 0, 0, 0, 0, 0, 0, 2_400_000, 0]
    assert sum(rates[name][2] for name in rates if name.startswith("pgalloc_")) == 800_000


def test_each_zone_has_its_free_pages_its_marks_and_its_indices() -> None:
    """All of it free at the start: nothing is unusable, and every order can be had."""
    series = by_hand(10 * US)["series"]

    for zone in series["zones"]:
        assert len(zone["free_pages"]) == len(series["time_ns"])
        assert 0 < zone["min"] < zone["low"] < zone["high"]
        assert [*zone["unusable"]] == [*zone["extfrag"]] == ["4", "9", "12"]
        assert zone["unusable"]["4"][0] == 0
        assert zone["extfrag"]["9"][0] == -1000
        assert zone["bytes"]["free"] == [pages * 4096 for pages in zone["free_pages"]]
    total = series["bytes"]["total"][0]
    for at in range(len(series["time_ns"])):
        assert sum(series["bytes"][part][at] for part in PARTS) == total
        assert sum(zone["bytes"]["total"][at] for zone in series["zones"]) == total


def test_samples_begin_when_counting_begins() -> None:
    """The end of the warm-up is the first; counters begin there."""
    series = by_hand(20 * US, warmup=30 * US, duration=40 * US)["series"]

    assert series["time_ns"] == [30_000, 50_000, 70_000]
    assert series["counters"]["pgfree"] == [0, 0, 24]
    assert [size // 4096 for size in map(int, series["bytes"]["kernel"])] == [16, 24, 0]


def test_a_run_that_ends_by_itself_ends_at_its_own_time() -> None:
    """No sample that is still to come keeps it going; the last one is taken at the end."""
    plain, sampled = by_hand(0, duration=0), by_hand(1_000 * US, duration=0)

    assert plain["sim_time_ps"] == sampled["sim_time_ps"]
    assert sampled["series"]["time_ns"] == [0, sampled["sim_time_ps"] / 1000]


def test_samples_do_not_hide_a_deadlock() -> None:
    """Who waits for ever is told, although samples would go on."""
    with pytest.raises(DeadlockError, match="sleeps until woken"):
        measured(ByHand(waits_for_ever=True), 10 * US, 0, 0)


def test_after_the_most_samples_a_run_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so."""
    monkeypatch.setattr(series_module, "MOST_SAMPLES", 4)
    document = by_hand(1 * US)

    assert document["series"]["time_ns"] == [0, 1_000, 2_000, 3_000, 75_000]
    assert document["sim_time_ps"] == 75 * US
    assert any("samples are kept" in text for text in document["warnings"])


# -- studies


def without_samples(document: ResultDocument) -> dict[str, object]:
    """What may not depend on samples."""
    kept = {**document}
    for key in ("series", "events", "host_s", "config"):
        kept.pop(key, None)
    return kept


def check_study(name: str, settings: Mapping[str, object]) -> None:
    """A study runs the same with samples, and no sample of any zone has lost a frame."""
    plain = run(name, settings)
    period = max(plain["sim_time_ps"] // 23, 1)
    sampled = run(name, {**settings, "run.samples": f"{period}ps"})

    assert without_samples(plain) == without_samples(sampled)
    series = sampled["series"]
    assert len(series["time_ns"]) >= 23
    for sizes in (series["bytes"], *(zone["bytes"] for zone in series["zones"])):
        for at, total in enumerate(sizes["total"]):
            assert sum(sizes[part][at] for part in PARTS) == total
            used = ("slab", "page_tables", "user", "cache", "kernel", "reserve", "moving")
            assert sum(sizes[part][at] for part in used) == sizes["used"][at]


QUICK = ("kmalloc_remote_free", "page_random", "munmap_shared", "fork_cow", "page_bulk")


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("name", QUICK)
def test_samples_change_nothing_else(name: str) -> None:
    """The document is the same but for the series and the number of events."""
    check_study(name, SHORT[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SHORT if name not in QUICK])
def test_samples_change_nothing_else_in_the_other_studies(name: str) -> None:
    """The rest of them."""
    check_study(name, SHORT[name])


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("frames", ["buddy", "bitmap"])
def test_samples_change_nothing_with_any_frame_source_and_slab_layer(layer: str, frames: str) -> None:
    """Objects freed by others, through each slab layer, over each frame source."""
    switches = {"kernel.slab": layer, "kernel.frames": frames}
    check_study("kmalloc_remote_free", {**SHORT["kmalloc_remote_free"], **switches})


MODES = (
    {"engine.run_ahead": "0"},
    {"engine.fast_paths": "0", "engine.tick_events": "1"},
)


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("name", ["kmalloc_remote_free", "munmap_shared"])
def test_engine_modes_give_the_same_series(name: str) -> None:
    """To the byte."""
    settings = {**SHORT[name], "run.samples": "3us"}
    expected = json.dumps(run(name, settings)["series"])

    for mode in MODES:
        assert json.dumps(run(name, {**settings, **mode})["series"]) == expected


def test_replications_keep_their_own_series() -> None:
    """The means have none: runs may have different numbers of samples."""
    settings = {**SHORT["kmalloc_remote_free"], "run.samples": "10us", "run.replications": 2}
    document = run("kmalloc_remote_free", settings)

    assert "series" not in document
    assert [len(one["series"]["time_ns"]) for one in document["runs"]] == [7, 7]


def test_a_resolved_study_names_samples_only_where_it_takes_them() -> None:
    """Studies without them are written as before."""
    plain, sampled = (
        run("kmalloc_remote_free", {**SHORT["kmalloc_remote_free"], **more})["config"]["run"]
        for more in ({}, {"run.samples": "10us", "run.allocations": "on"})
    )

    assert isinstance(plain, dict)
    assert isinstance(sampled, dict)
    assert plain.keys() == {"duration", "warmup", "replications", "seed"}
    assert (sampled["samples"], sampled["allocations"]) == ("10000000ps", True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5", "no time unit"),
        ("-1ms", "time"),
        ("1ns", "60000 samples in a run of 60 us"),
        ("often", "time"),
    ],
)
def test_bad_periods_are_refused_with_their_place(value: str, message: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError) as caught:
        run("kmalloc_pairs", {**SHORT["kmalloc_pairs"], "run.samples": value})

    (problem,) = caught.value.problems
    assert "run.samples" in f"{problem.where} {problem.key}"
    assert message in problem.message


def test_the_blocks_at_the_end_are_listed_where_the_study_asks_for_them() -> None:
    """Their pages are what the statistics say is taken."""
    document = run("munmap_shared", {**SHORT["munmap_shared"], "run.allocations": "on"})
    blocks, sizes = document["allocations"], document["memory"]["bytes"]

    pages = sum(1 << block["order"] for block in blocks if block["owner"] == "page_tables")
    assert pages * 4096 == sizes["page_tables"] > 0
    assert sum(1 << block["order"] for block in blocks) * 4096 == sizes["used"]


STORM = {
    "workload.processes": 10,
    "workload.mib": 8,
    "workload.cpus": 8,
    "kernel.reserve_pages": 64,
    "machine.name": "pack:2 numa:1 core:4 pu:1",
    "machine.memory": "8MiB",
    "run.samples": "500us",
}


@pytest.mark.slow
def test_no_frame_is_lost_where_memory_runs_out() -> None:
    """Reclaimers, the reserve and the OOM killer move frames about; the modes agree on each sample."""
    document = run("oom_storm", STORM)
    plain = run("oom_storm", {**STORM, "engine.run_ahead": "0", "engine.fast_paths": "0"})

    assert document["pressure"]["kills"]
    assert document["series"] == plain["series"]
    assert len(document["series"]["time_ns"]) > 10
    assert document["series"]["bytes"]["reserve"][0] == 64 * 4096
    assert max(document["series"]["bytes"]["user"]) > document["series"]["bytes"]["total"][0] // 2


def test_a_panic_ends_the_series_where_it_ends_the_run() -> None:
    """The last sample is of that moment."""
    document = run("oom_storm", {**STORM, "kernel.oom": "panic"})

    assert "panic" in document
    assert document["series"]["time_ns"][-1] == pytest.approx(document["sim_time_ps"] / 1000)


def _steal(system: System) -> None:
    system.memory.zones[0].source.take(0, system.cpus[0])


def test_conservation_is_asserted_at_every_barrier() -> None:
    """A frame that is lost in mid-run ends the run there and not at its end."""

    class Losing(ByHand):
        """Somebody takes a frame behind the allocator's back."""

        def start(self, host: VirtualHost) -> None:
            """As by hand."""
            super().start(host)
            assert isinstance(host, System)
            host.env.declare_barrier(20 * US, lambda: _steal(host))
            host.env.declare_barrier(40 * US, lambda: pytest.fail("the run went on"))

    with pytest.raises(AssertionError, match="frames were lost or made"):
        measured(Losing(), 0, 0, 75 * US)
