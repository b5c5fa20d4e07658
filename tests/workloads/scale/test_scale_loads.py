"""The testcases of will-it-scale: what they count, and what that makes the kernel do."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from coalsim.errors import ConfigError
from coalsim.study.loads import WORKLOADS

pytestmark = pytest.mark.fast_one_in(2, in_turn=True)

Runner = Callable[..., Any]

BOTH = pytest.mark.parametrize("mode", ["threads", "processes"])
MODES = (
    {"run_ahead": False, "fast_paths": False, "tick_events": True},  # the reference
    {"run_ahead": False},
    {"fast_paths": False},
    {},
)


@BOTH
def test_page_fault1_counts_each_write_and_each_is_one_fault(run_load: Runner, mode: str) -> None:
    """256 writes a MiB; one mmap and one munmap a round."""
    ran = run_load("page_fault1", {"cpus": 3, "mode": mode, "mib": 1, "rounds": 2})
    assert ran.ops == ran.anonymous == 3 * 2 * 256
    assert ran.calls("mmap") == ran.calls("munmap") == 6
    assert len(ran.system.vm.processes) == (1 if mode == "threads" else 3)


def test_page_fault1_maps_as_much_as_the_testcase_unless_told() -> None:
    """128 MiB, which no test waits for: the parameter's default says it."""
    for kind in ("page_fault1", "mmap1", "malloc1"):
        assert WORKLOADS[kind].model_fields["mib"].default == 128


@BOTH
def test_mmap1_never_faults_and_never_flushes(run_load: Runner, mode: str) -> None:
    """An operation is a pair; no page is there, so nothing has to be flushed until the exit."""
    ran = run_load("mmap1", {"cpus": 4, "mode": mode, "rounds": 10})
    assert ran.ops == ran.calls("mmap") == ran.calls("munmap") == 40
    assert ran.faults == 0
    assert ran.flushes == 0


@BOTH
def test_malloc1_faults_and_flushes_one_page_a_pair(run_load: Runner, mode: str) -> None:
    """The header of the chunk is written; nothing else is."""
    ran = run_load("malloc1", {"cpus": 4, "mode": mode, "rounds": 10})
    assert ran.ops == ran.anonymous == ran.zapped == 40
    assert ran.flushes == 40


@BOTH
def test_tlb_flush2_faults_twice_and_flushes_once_a_page(run_load: Runner, mode: str) -> None:
    """A frame, a flush of one page, the page of zeros; and one unmapping for 256 pages."""
    ran = run_load("tlb_flush2", {"cpus": 2, "mode": mode, "rounds": 1})
    assert ran.ops == ran.calls("madvise") == 512
    assert ran.anonymous == ran.counts.zero_page == 512
    assert ran.flushes == 512 + 2
    assert (ran.system.vm.flush_counts.interrupts > 0) == (mode == "threads")


@BOTH
def test_brk1_counts_single_calls(run_load: Runner, mode: str) -> None:
    """Up and down are two; the page is never there."""
    ran = run_load("brk1", {"cpus": 4, "mode": mode, "rounds": 10})
    assert ran.ops == ran.calls("brk") == 80
    assert ran.faults == 0


@BOTH
@pytest.mark.parametrize("partner", ["same", "sibling"])
def test_context_switch1_counts_two_for_a_round_trip(run_load: Runner, mode: str, partner: str) -> None:
    """Each side writes and reads once a trip; partners share the CPU, or the core."""
    parameters = {"cpus": 2, "mode": mode, "rounds": 20, "partner": partner}
    ran = run_load("context_switch1", parameters, machine="ivb-laptop")
    assert ran.ops == 2 * 2 * 20
    assert ran.calls("read") == ran.calls("write") == 80
    assert ran.counts.forks == (2 if mode == "processes" else 0)
    tasks = [task for process in ran.system.vm.processes for task in process.tasks]
    cores = [ran.system.machine.cpus[task.cpu.id].core for task in tasks]
    assert sorted(cores) == [0, 0, 1, 1]
    assert len({task.cpu.id for task in tasks}) == (2 if partner == "same" else 4)


def test_a_partner_needs_a_hardware_thread_of_its_own(run_load: Runner) -> None:
    """Where cores have one, or their second one is taken, the load is refused."""
    for machine, cpus in (("coal", 1), ("ivb-laptop", 3)):
        with pytest.raises(ConfigError, match="free hardware thread; use same, or fewer CPUs"):
            run_load("context_switch1", {"cpus": cpus, "partner": "sibling", "rounds": 1}, machine=machine)


def test_every_free_hardware_thread_of_a_core_takes_one_partner(run_load: Runner) -> None:
    """Cores of four: two tasks and two partners fit, each on a CPU of its own; a ninth task does not."""
    machine = "pack:1 numa:1 core:4 pu:4"
    ran = run_load("context_switch1", {"cpus": 8, "partner": "sibling", "rounds": 2}, machine=machine)
    tasks = [task for process in ran.system.vm.processes for task in process.tasks]
    assert sorted(task.cpu.id for task in tasks) == list(range(16))
    with pytest.raises(ConfigError, match="free hardware thread; use same, or fewer CPUs"):
        run_load("context_switch1", {"cpus": 9, "partner": "sibling", "rounds": 2}, machine=machine)


def test_processes_switch_address_spaces_and_threads_do_not(run_load: Runner) -> None:
    """On one CPU: a trip between processes takes longer."""
    trips = {
        mode: run_load("context_switch1", {"cpus": 1, "mode": mode, "rounds": 30}).document["latency_ns"]
        for mode in ("threads", "processes")
    }
    assert trips["processes"]["p50"] > trips["threads"]["p50"]


def test_tasks_are_pinned_to_cores_in_the_machine_s_order(run_load: Runner) -> None:
    """The first socket's cores first, then the second's, then second hardware threads."""
    ran = run_load("mmap1", {"cpus": 20, "rounds": 1}, machine="hsx2")
    places = [ran.system.machine.cpus[task.cpu.id] for p in ran.system.vm.processes for task in p.tasks]
    assert [place.socket for place in places] == [0] * 8 + [1] * 8 + [0] * 4
    assert [place.thread for place in places] == [0] * 16 + [1] * 4


def test_threads_of_one_process_wait_where_processes_do_not(run_load: Runner) -> None:
    """Pairs of mmap and munmap: the address space's lock is what threads share."""
    rates = {
        (mode, cpus): run_load("mmap1", {"cpus": cpus, "mode": mode, "rounds": 30}).document["latency_ns"]
        for mode in ("threads", "processes")
        for cpus in (1, 4)
    }
    assert rates["processes", 4]["mean"] == pytest.approx(rates["processes", 1]["mean"], rel=0.02)
    assert rates["threads", 4]["mean"] > 2 * rates["threads", 1]["mean"]


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("page_fault1", {"cpus": 4, "mode": "threads", "mib": 1, "rounds": 1}),
        ("page_fault1", {"cpus": 4, "mib": 1, "rounds": 1}),
        ("malloc1", {"cpus": 4, "mode": "threads", "rounds": 10}),
        ("tlb_flush2", {"cpus": 3, "mode": "threads", "rounds": 1}),
        ("brk1", {"cpus": 4, "mode": "threads", "rounds": 10}),
        ("context_switch1", {"cpus": 2, "rounds": 10}),
        ("context_switch1", {"cpus": 2, "rounds": 10, "mode": "threads", "partner": "sibling"}),
    ],
)
@pytest.mark.parametrize(
    "modes",
    [
        pytest.param((MODES[0], MODES[-1]), id="the reference and the quick one"),
        pytest.param(MODES, id="all", marks=pytest.mark.slow),
    ],
)
def test_all_modes_give_the_same_bytes(
    run_load: Runner, kind: str, parameters: dict[str, object], modes: tuple[dict[str, bool], ...]
) -> None:
    """Counts, latencies, locks, accounts, memory, shootdowns and the oracle's findings."""
    machine = "ivb-laptop" if "partner" in parameters else "coal"
    texts = [run_load(kind, parameters, machine=machine, mode=mode).text for mode in modes]
    assert json.loads(texts[0])["throughput"]["ops"]
    assert all(text == texts[0] for text in texts)
