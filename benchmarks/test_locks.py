"""The contended lock loop against plain SimPy."""

from time import perf_counter

import pytest
from plain import LockCounts, lock_loop, lock_loop_on_a_heap

from coalsim.engine.laws import Sampler, parse_law
from coalsim.engine.streams import Streams
from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.units import MS

CPUS = 64
DURATION = 2 * MS
THINK, HOLD = "exp:56.3ns", "const:37.7ns"
TRANSFER = 1  # ps, on the machine `ideal`


def settings(**values: object) -> list[Setting]:
    return [Setting(key=key.replace("__", "."), value=value, option=key) for key, value in values.items()]


def ours() -> ResultDocument:
    asked = settings(
        workload__cpus=CPUS,
        workload__think=THINK,
        workload__hold=HOLD,
        run__duration=f"{DURATION}ps",
        run__warmup="0ps",
    )
    return run_study(open_study("lock_loop", asked))


def samplers(name: str, law: str) -> list[Sampler]:
    return [parse_law(law).sampler(Streams(1).stream(name, cpu)) for cpu in range(CPUS)]


def plain(program: object = lock_loop) -> LockCounts:
    assert callable(program)
    think, hold = samplers("think", THINK), samplers("hold", HOLD)
    counts = program(CPUS, DURATION, think, hold, TRANSFER, TRANSFER)
    assert isinstance(counts, LockCounts)
    return counts


def timed(program: object) -> tuple[float, int]:
    began = perf_counter()
    counts = plain(program)
    return perf_counter() - began, counts.acquisitions


def test_the_two_programs_give_the_same_answer() -> None:
    """Acquisitions, contentions, bounces and wait agree, but for what was under way at the end."""
    result, counts = ours(), plain()
    (row,) = result["locks"]

    assert abs(row["acquisitions"] - counts.acquisitions) <= CPUS
    assert abs(row["contentions"] - counts.contentions) <= CPUS
    assert row["waittime_total"] * 1000 == pytest.approx(counts.wait_total, rel=0.01)
    assert row["holdtime_total"] * 1000 == pytest.approx(counts.hold_total, rel=0.001)


def test_contended_fifo_lock_64_cpus(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """At least 2.5 times the plain program's operations per second; 4 is the goal."""

    def own() -> tuple[float, int]:
        result = ours()
        return result["host_s"], int(result["throughput"]["ops"])

    benchmark.pedantic(ours, rounds=2, warmup_rounds=1)
    found = versus.ratio(
        "contended FIFO spinlock, 64 CPUs",
        own,
        lambda: timed(lock_loop),
        ">= 2.5, goal 4",
        f"{own()[1] and ours()['events'] / ours()['throughput']['ops']:.2f} events per operation",
    )
    versus.ratio(
        "  the same against a bare heap and generators", own, lambda: timed(lock_loop_on_a_heap), "quoted"
    )
    assert found > 0
