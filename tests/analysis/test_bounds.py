"""Operational laws hold in runs, and predictions beyond the bounds are marked."""

import pytest

from coalsim.analysis.bounds import (
    Demands,
    Station,
    bound_of,
    contradiction,
    demands_of,
    law_faults,
    little,
    mean_demands,
)
from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import parse_settings
from coalsim.study.planning import open_study
from coalsim.study.run import run_study


def lock_loop(cpus: int, *more: str) -> ResultDocument:
    """The machine repairman: think 4 us, hold 1 us."""
    texts = [f"workload.cpus={cpus}", "run.warmup=100us", "run.duration=2ms", *more]
    return run_study(open_study("lock_loop", parse_settings(texts)))


def test_bounds_of_the_machine_repairman_are_those_of_the_book() -> None:
    """X <= min(N / (Z + D), 1 / D): 2 CPUs are bound by themselves, 16 by the lock."""
    constant = ("workload.think=const:4us", "workload.hold=const:1us")
    few, many = (demands_of(lock_loop(cpus, *constant)) for cpus in (2, 16))
    assert few is not None
    assert many is not None
    assert bound_of(few).rate == pytest.approx(2 / 5e-6, rel=0.02)
    assert "CPUs" in bound_of(few).reason
    assert bound_of(many).rate == pytest.approx(1 / 1e-6, rel=0.02)
    assert "lock_loop: 1 / " in bound_of(many).reason
    assert many.rate == pytest.approx(bound_of(many).rate, rel=0.02), "deterministic: the bound is reached"
    assert bound_of(many, {"lock_loop": 0.5}).rate == pytest.approx(2e6, rel=0.02)


def test_runs_contradict_no_law() -> None:
    """Response time, utilisation and Little, at low and high load."""
    for cpus in (1, 4, 16):
        assert not [*law_faults(lock_loop(cpus))]


def test_a_run_with_wrong_numbers_contradicts_them() -> None:
    """CPU time that does not make up the cycle, and more waiters than CPUs."""
    run = lock_loop(16)
    run["sim_time_ps"] *= 2
    assert any("N/X is" in fault for fault in law_faults(run))
    run = lock_loop(4)
    run["locks"][0]["waittime_total"] *= 40
    assert any("Little" in fault for fault in law_faults(run))


def test_littles_law_agrees_with_the_cpus_time() -> None:
    """Waits per second times their length is the number of CPUs that wait."""
    by_table, by_time = little(lock_loop(16, "run.duration=20ms"))["lock_loop"]
    assert by_table == pytest.approx(by_time, rel=0.01)
    assert by_table > 8


def test_a_prediction_beyond_the_bound_is_marked() -> None:
    """And one below it is not; the margin is that of operations cut by the interval."""
    demands = Demands(
        cpus=8, rate=1e6, work=2000.0, waiting=6000.0, stations=(Station(name="a", demand=900.0, servers=1),)
    )
    bound = bound_of(demands)
    assert bound.rate == pytest.approx(1e9 / 900)
    assert not contradiction(1.1e6, bound)
    assert contradiction(1.2e6, bound).startswith("breaks the bound of 1.1111e+06 ops/s (a: 1 / 900 ns held)")
    free = bound_of(demands, {"a": 0.0})
    assert free.rate == pytest.approx(8e9 / 1100)


def test_a_class_whose_locks_are_not_waited_for_bounds_nothing() -> None:
    """Nobody knows how many of them there are."""
    demands = demands_of(lock_loop(1))
    assert demands is not None
    assert [station.servers for station in demands.stations] == [0]
    assert "CPUs" in bound_of(demands).reason
    assert mean_demands([]) is None
