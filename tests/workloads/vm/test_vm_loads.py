"""The loads on address spaces: what they count, and what that makes the kernel do."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from coalsim.cli import main as command_line
from coalsim.errors import ConfigError
from coalsim.units import NS

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

Runner = Callable[..., Any]

MODES = (
    {"run_ahead": False, "fast_paths": False, "tick_events": True},  # the reference
    {"run_ahead": False},
    {"fast_paths": False},
    {},
)


# -- flushes


@pytest.mark.parametrize("call", ["madvise", "munmap", "mprotect"])
def test_a_range_is_flushed_page_by_page_up_to_the_ceiling(run_load: Runner, call: str) -> None:
    """Above it everything goes, and the other pages have to be walked to again."""
    below, above = (
        run_load(
            "flush_range",
            {"pages": pages, "call": call, "rounds": 10},
            machine="ivb-laptop",
            switches={"flush_ceiling": "8", "hz": "0"},
        )
        for pages in (8, 9)
    )
    for ran in (below, above):
        assert ran.count_of("call") == ran.count_of("refill") == ran.count_of("again") == 10
        assert ran.calls(call) == (20 if call == "mprotect" else 10)
    assert below.system.vm.flush_counts.ranged == 10
    assert above.system.vm.flush_counts.ranged == 0
    assert above.document["phases"]["refill"]["latency_ns"]["min"] > (
        below.document["phases"]["refill"]["latency_ns"]["min"] + 64
    )


def test_each_page_of_a_range_costs_one_invalidation(run_load: Runner) -> None:
    """The call grows by the same amount from any number of pages to the next."""
    means = [
        run_load(
            "flush_range",
            {"pages": pages, "call": "mprotect", "rounds": 3},
            machine="ivb-laptop",
            switches={"hz": "0"},
        ).document["phases"]["call"]["latency_ns"]["min"]
        for pages in (2, 3, 4)
    ]
    assert means[2] - means[1] == pytest.approx(means[1] - means[0], abs=0.01)
    assert means[1] > means[0]


def test_a_shootdown_costs_more_with_each_target_but_the_first_costs_most(run_load: Runner) -> None:
    """One thread flushes a page; 0, 1 and 3 others spin on the same socket."""
    mean = {}
    for cpus in (1, 2, 4):
        ran = run_load("madvise_shootdown", {"cpus": cpus, "rounds": 30}, machine="hsx2")
        assert ran.ops == ran.calls("madvise") == 30
        assert ran.anonymous == 31
        mean[cpus] = ran.document["latency_ns"]["mean"]
        assert ran.system.vm.flush_counts.targets >= 30 * (cpus - 1)
    assert mean[2] - mean[1] > 300
    assert 0 < (mean[4] - mean[2]) / 2 < (mean[2] - mean[1]) / 2


def test_the_way_into_an_interrupt_counts_as_its_handler(run_load: Runner) -> None:
    """A target in user code has interrupts on, so nothing delays the one that comes."""
    ran = run_load("madvise_shootdown", {"cpus": 2, "rounds": 30}, machine="hsx2", switches={"hz": "0"})
    spent, vm = ran.system.vm.kernel.operations.kind("madvise").by_cause, ran.system.vm
    times, costs = vm.kernel.policy.system.times, vm.kernel.costs
    assert "shootdown:irq-off delay" not in spent
    assert spent["shootdown:remote handler"] / 30 == times.interrupt_entry + costs.flush_target + times.invlpg


def test_spinning_makes_no_events(run_load: Runner) -> None:
    """Events come with the flushes; the ten spinners that no flush reaches add next to none."""
    calm = {"hz": "0", "shootdown": "linux"}
    few, many = (
        run_load(
            "munmap_shared",
            {"cpus": cpus, "barrier": "spin", "rounds": 1, "pages": 500},
            machine="hsx2",
            switches=calm,
        )
        for cpus in (2, 8)
    )
    per_fault = few.document["events"] / few.counts.faults
    assert many.document["events"] / many.counts.faults < 3 * per_fault


@pytest.mark.parametrize("barrier", ["sleep", "spin"])
@pytest.mark.parametrize("call", ["munmap", "madvise"])
def test_only_the_call_that_takes_shared_pages_away_is_counted(
    run_load: Runner, call: str, barrier: str
) -> None:
    """All CPUs touch, one unmaps: each page is taken by one fault and found by the others."""
    parameters = {"cpus": 4, "pages": 3, "call": call, "barrier": barrier, "rounds": 20}
    ran = run_load("munmap_shared", parameters)
    assert ran.ops == ran.calls(call) == 20
    beside = 1 if call == "munmap" else 0  # the page that keeps the table
    assert ran.anonymous == ran.zapped == 60 + beside
    operation = ran.system.vm.kernel.operations.kind(call)
    assert ran.document["latency_ns"]["max"] * NS <= operation.latencies.total


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize("pages", [1, 64, 600])
def test_what_lies_beside_the_pages_keeps_their_table(run_load: Runner, pages: int) -> None:
    """Unless they are alone in it: then every munmap frees one more, or as many as they fill."""
    freed = {
        table: run_load(
            "munmap_shared", {"cpus": 2, "pages": pages, "rounds": rounds, "table": table}
        ).counts.tables_freed
        for table, rounds in (("shared", 10), ("own", 10))
    }
    once = run_load("munmap_shared", {"cpus": 2, "pages": pages, "rounds": 1}).counts.tables_freed
    assert freed["shared"] == once  # those that go at the exit
    assert freed["own"] >= freed["shared"] + 8


@pytest.mark.parametrize(
    "switches",
    [
        {"shootdown": "radixvm", "table_replication": "per_cpu"},
        {"shootdown": "numapte", "table_replication": "lazy"},
        {"table_replication": "eager"},
    ],
)
def test_copies_of_the_table_are_kept_like_the_table(run_load: Runner, switches: dict[str, str]) -> None:
    """Though only the task that unmaps has touched what lies beside: areas keep tables, not entries."""

    def freed(table: str, rounds: int) -> int:
        load = {"cpus": 4, "pages": 3, "rounds": rounds, "table": table}
        return int(run_load("munmap_shared", load, switches=switches).counts.tables_freed)

    assert freed("shared", 12) == freed("shared", 1)
    assert freed("own", 12) >= freed("own", 1) + 2 * 11  # two copies at least, each time


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("pages", [1, 64])
def test_lazy_messages_put_the_flush_off_where_the_table_stays(run_load: Runner, pages: int) -> None:
    """The study as it comes: nobody is interrupted, and the call is shorter than one that asks all."""
    load = {"cpus": 8, "pages": pages, "barrier": "spin", "rounds": 20}
    lazy, eager, alone = (
        run_load("munmap_shared", load | {"table": table}, machine="hsx2", switches={"shootdown": policy})
        for policy, table in (("latr", "shared"), ("concurrent", "shared"), ("latr", "own"))
    )
    assert lazy.system.vm.flush_counts.deferred >= 18
    assert alone.system.vm.flush_counts.deferred == 0
    assert lazy.document["latency_ns"]["mean"] < 0.8 * eager.document["latency_ns"]["mean"]


def test_asleep_in_the_barrier_nobody_answers_a_madvise(run_load: Runner) -> None:
    """Idle CPUs are skipped where no table is freed; spinning ones are interrupted."""
    targets = {
        barrier: run_load(
            "munmap_shared", {"cpus": 4, "call": "madvise", "barrier": barrier, "rounds": 20}
        ).system.vm.flush_counts.interrupts
        for barrier in ("sleep", "spin")
    }
    assert targets["sleep"] < targets["spin"]


# -- RadixVM's


def test_local_threads_write_what_they_map(run_load: Runner) -> None:
    """One operation for each page written."""
    ran = run_load("radixvm_local", {"cpus": 4, "pages": 2, "rounds": 10})
    assert ran.ops == ran.anonymous == 80
    assert ran.calls("mmap") == ran.calls("munmap") == 40


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_every_page_of_the_pipeline_is_written_twice(run_load: Runner, cpus: int) -> None:
    """By who maps it and by the next thread, which unmaps it."""
    ran = run_load("radixvm_pipeline", {"cpus": cpus, "rounds": 15})
    assert ran.ops == 2 * 15 * cpus
    assert ran.anonymous == ran.calls("mmap") == ran.calls("munmap") == 15 * cpus
    if cpus > 1:
        assert ran.system.vm.flush_counts.targets >= 15 * cpus


def test_global_threads_write_most_pages_of_the_table(run_load: Runner) -> None:
    """As many draws as pages: 1 - 1/e of them are first ones."""
    ran = run_load("radixvm_global", {"cpus": 4, "pages": 16, "rounds": 10})
    assert ran.ops == pytest.approx(10 * 4 * 64 * 0.6347, rel=0.03)  # 1 - (1 - 1/64) ** 64
    assert ran.calls("mmap") == 40
    assert ran.anonymous <= 10 * 64


# -- faults and forks


@pytest.mark.parametrize(("mode", "areas"), [("threads", "shared"), ("threads", "own"), ("processes", "own")])
def test_every_page_of_pft_is_faulted_once(run_load: Runner, mode: str, areas: str) -> None:
    """The rate is that of the faults alone, so it is above the run's."""
    ran = run_load("pft", {"cpus": 4, "mib": 2, "mode": mode, "areas": areas})
    result = ran.document["pft"]
    assert ran.ops == ran.anonymous == result["faults"] == 512
    assert result["faults_per_s"] > ran.document["throughput"]["ops_per_s"]
    assert ran.calls("mmap") == (1 if areas == "shared" else 4)


@pytest.mark.slow
def test_areas_of_their_own_fault_faster_with_a_lock_per_area(run_load: Runner) -> None:
    """And not with one lock for the address space."""
    rate = {
        (lock, areas): run_load(
            "pft",
            {"cpus": 32, "mib": 8, "areas": areas},
            machine="icx2",
            switches={"mmap_lock": lock, "lru_lock": "off"},
        ).document["pft"]["faults_per_s"]
        for lock in ("rwsem", "per_vma")
        for areas in ("shared", "own")
    }
    assert rate["per_vma", "own"] > 1.3 * rate["per_vma", "shared"]
    assert rate["rwsem", "own"] == pytest.approx(rate["rwsem", "shared"], rel=0.1)


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_a_round_of_map_touch_unmap_is_one_operation(run_load: Runner, mode: str) -> None:
    """With as many faults as pages."""
    ran = run_load("mmap_touch_munmap", {"cpus": 4, "mode": mode, "pages": 5, "rounds": 10})
    assert ran.ops == ran.calls("mmap") == ran.calls("munmap") == 40
    assert ran.anonymous == 200


@pytest.mark.parametrize("cpus", [1, 3])
def test_a_server_forks_and_both_sides_copy_what_they_write(run_load: Runner, cpus: int) -> None:
    """Each write is counted; copies and reuses together are the writes to shared pages."""
    parameters = {"cpus": cpus, "pages": 40, "parent_share": 25, "child_share": 50, "rounds": 3}
    ran = run_load("fork_cow", parameters)
    children = 3 * max(1, cpus - 1)
    assert ran.count_of("fork") == ran.counts.forks == children
    assert ran.count_of("parent") == 10 * children
    assert ran.count_of("child") == 20 * children
    assert 20 * children <= ran.counts.cow_copies + ran.counts.cow_reuses <= 30 * children
    assert ran.document["latency_ns"] == ran.document["phases"]["fork"]["latency_ns"]


def test_a_server_that_writes_nothing_copies_nothing(run_load: Runner) -> None:
    """The children's writes are then the only copies."""
    ran = run_load("fork_cow", {"cpus": 2, "pages": 40, "parent_share": 0, "child_share": 50, "rounds": 2})
    assert "parent" not in ran.document["phases"]
    assert ran.counts.cow_copies == 40


# -- garbage collection, page tables


def test_a_collector_protects_without_a_fault(run_load: Runner) -> None:
    """Mutators have left a region before its rights go, and no program dies of a write to it."""
    parameters = {"cpus": 4, "pages": 8, "regions": 4, "rounds": 12, "think": "exp:500ns"}
    ran = run_load("gc_mprotect", parameters)
    assert ran.count_of("protect") == ran.count_of("unprotect") == 12
    assert ran.calls("mprotect") == 24
    assert ran.count_of("write") > 3 * 12
    assert ran.counts.bad_rights == 0
    assert ran.system.vm.flush_counts.targets >= 12 * 2


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_mutators_that_were_long_away_pass_the_last_safepoint(
    capsys: pytest.CaptureFixture[str], seed: str
) -> None:
    """The host of a guest takes CPUs away: who comes back when all is over still owes a safepoint."""
    guest = ("kernel.ipi=kvm_pv", "kernel.pv_flush=on", "machine.guest.preempted_share=0.4")
    load = ("workload.cpus=12", "workload.rounds=3", "workload.pages=2", "run.warmup=0", "run.duration=80ms")
    settings = [part for setting in (*guest, *load) for part in ("--set", setting)]
    code = command_line.run(
        ["run", "gc_mprotect", "--machine", "kvm80", "--seed", seed, "--json", "-q", *settings]
    )
    assert code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["phases"]["protect"]["latency_ns"]["count"] == 3
    assert (
        result["operations"]["exit"]["latency_ns"]["count"] == 1
    )  # of the process: its last thread has ended


def test_taking_rights_away_costs_more_than_giving_them_back(run_load: Runner) -> None:
    """Only the first needs a flush on the mutators' CPUs."""
    phases = run_load("gc_mprotect", {"cpus": 4, "pages": 8, "rounds": 12}).document["phases"]
    assert phases["protect"]["latency_ns"]["p50"] > 1.5 * phases["unprotect"]["latency_ns"]["p50"]


SPREAD = {"cpus": 2, "spread": "scatter", "working_set": "4MiB", "stride": 16, "rounds": 30}
FAR = {"table_placement": "node:1"}


def test_a_walk_is_longer_where_the_table_is_remote(run_load: Runner) -> None:
    """One reader on the first node, its table there or on the other node, too large for the caches."""
    parameters = {**SPREAD, "cpus": 1, "working_set": "24MiB"}
    mean = {
        place: run_load(
            "page_table_placement", parameters, switches={"table_placement": place}, machine="coal"
        ).document["latency_ns"]["p50"]
        for place in ("node:0", "node:1")
    }
    assert mean["node:1"] > mean["node:0"]


def test_pages_are_loaded_on_the_node_that_was_asked_for(run_load: Runner) -> None:
    """The loader runs there; readers run where they were put."""
    ran = run_load("page_table_placement", {**SPREAD, "data_node": 1})
    assert ran.ops == 60
    loader, *readers = ran.system.vm.processes[0].tasks
    assert loader.cpu.node == 1
    assert [task.cpu.node for task in readers] == [0, 1]


def test_a_node_that_is_not_there_is_refused(run_load: Runner) -> None:
    """With the nodes that are."""
    with pytest.raises(ConfigError, match=r"data_node = 2: machine coal has no such node .*use 0 to 1"):
        run_load("page_table_placement", {**SPREAD, "data_node": 2})


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("munmap_shared", {"pages": 40_000, "rounds": 1}),
        ("pft", {"mib": 150}),
        ("gc_mprotect", {"pages": 4000, "regions": 10, "rounds": 1}),
        ("radixvm_global", {"pages": 10_000, "cpus": 4, "rounds": 1}),
        ("page_table_placement", {"working_set": "129MiB", "rounds": 1}),
        ("fork_cow", {"pages": 40_000, "rounds": 1}),
        ("page_fault1", {"mib": 40, "cpus": 4, "rounds": 1}),
        ("flush_range", {"pages": 40_000, "rounds": 1}),
        ("mmap_touch_munmap", {"pages": 9000, "cpus": 4, "rounds": 1}),
        ("radixvm_local", {"pages": 9000, "cpus": 4, "rounds": 1}),
        ("radixvm_pipeline", {"pages": 9000, "cpus": 4, "rounds": 1}),
    ],
)
def test_more_pages_than_memory_are_refused(
    run_load: Runner, kind: str, parameters: dict[str, object]
) -> None:
    """Tasks that were killed would be missed by those that wait for them."""
    with pytest.raises(ConfigError, match=r"of pages are more than machine .* use less, or a larger machine"):
        run_load(kind, parameters, machine_changes={"memory": "64MiB"})  # of each of two nodes


def test_threads_that_unmap_their_ranges_never_take_anothers(run_load: Runner) -> None:
    """Each call unmaps a page of its own, though addresses that are free may be another's at once."""
    parameters = {"pages": 1, "others": 0, "rounds": 30, "cpus": 4, "mode": "threads", "call": "munmap"}
    run = run_load("flush_range", parameters)
    assert run.zapped == run.faults == 4 * (1 + 30)


# -- the same in all modes


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("flush_range", {"pages": 5, "rounds": 10, "cpus": 2}),
        ("madvise_shootdown", {"cpus": 4, "rounds": 20}),
        ("munmap_shared", {"cpus": 4, "pages": 3, "rounds": 15}),
        ("munmap_shared", {"cpus": 4, "pages": 3, "rounds": 15, "barrier": "spin", "call": "madvise"}),
        ("radixvm_local", {"cpus": 4, "rounds": 15}),
        ("radixvm_pipeline", {"cpus": 4, "rounds": 15}),
        ("radixvm_global", {"cpus": 4, "rounds": 4}),
        ("pft", {"cpus": 4, "mib": 1}),
        ("mmap_touch_munmap", {"cpus": 4, "rounds": 15, "mode": "threads"}),
        ("mmap_touch_munmap", {"cpus": 4, "rounds": 15, "mode": "threads", "start": "spread"}),
        ("fork_cow", {"cpus": 3, "pages": 40, "rounds": 2}),
        ("gc_mprotect", {"cpus": 4, "pages": 8, "rounds": 10, "think": "exp:1us"}),
        ("page_table_placement", {**SPREAD, "cpus": 3}),
    ],
)
def test_all_modes_give_the_same_bytes(run_load: Runner, kind: str, parameters: dict[str, object]) -> None:
    """Counts, latencies, locks, accounts, memory, shootdowns and the oracle's findings."""
    texts = [run_load(kind, parameters, mode=mode, switches={"hz": "1000"}).text for mode in MODES]
    assert json.loads(texts[0])["throughput"]["ops"]
    assert all(text == texts[0] for text in texts)


@pytest.mark.parametrize("policy", ["concurrent", "latr"])
def test_the_pipeline_goes_on_under_policies_that_flush_spans(run_load: Runner, policy: str) -> None:
    """Regions lie 256 MiB apart: no flush of several of them may go through all pages between them."""
    load = {"cpus": 10, "rounds": 6}
    ran = run_load("radixvm_pipeline", load, machine="wex8", profile="sv6", switches={"shootdown": policy})
    assert ran.document["sim_time_ps"] < 1_000_000_000  # a millisecond
