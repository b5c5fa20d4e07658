"""kmalloc and kfree that hit the magazines, against plain SimPy."""

from collections.abc import Callable
from decimal import Decimal
from time import perf_counter

import pytest
from plain import PairCounts, pairs_with_lists, pairs_with_stores

from coalsim.observe.document import ResultDocument
from coalsim.profiles import load_profile
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.units import US

CPUS = 64
DURATION = 500 * US
SIZE = 64
CLOCK = Decimal("2.5")


def ours() -> ResultDocument:
    values = {
        "machine.name": "clx2",
        "machine.clock_ghz": str(CLOCK),
        "kernel.profile": "coal",
        "kernel.hz": 0,
        "workload.cpus": CPUS,
        "workload.size": SIZE,
        "run.duration": f"{DURATION}ps",
        "run.warmup": "50us",
    }
    return run_study(
        open_study("kmalloc_pairs", [Setting(key=k, value=v, option=k) for k, v in values.items()])
    )


def costs() -> tuple[int, int]:
    known = load_profile("coal").costs(CLOCK)
    return (
        known.kmalloc_hit + known.magazine_lock + known.magazine_pop,
        known.kfree_hit + known.magazine_lock + known.magazine_push,
    )


def timed(program: Callable[..., PairCounts]) -> tuple[float, int]:
    began = perf_counter()
    counts = program(CPUS, DURATION, SIZE, *costs(), 15)
    return perf_counter() - began, counts.pairs


def test_the_programs_give_the_same_answer() -> None:
    """As many pairs, each as long."""
    result = ours()
    stores, lists = (
        program(CPUS, DURATION, SIZE, *costs(), 15) for program in (pairs_with_stores, pairs_with_lists)
    )

    assert result["throughput"]["ops"] == pytest.approx(stores.pairs, rel=0.01)
    assert stores.pairs == lists.pairs
    assert result["latency_ns"]["mean"] * 1000 == pytest.approx(sum(costs()), rel=0.01)


def test_kmalloc_pairs_64_cpus(benchmark, versus) -> None:  # type: ignore[no-untyped-def]
    """At least 3 times a Store per magazine and 1.6 times a list with timeouts; the goal is twice that."""

    def own() -> tuple[float, int]:
        result = ours()
        return result["host_s"], int(result["throughput"]["ops"])

    benchmark.pedantic(ours, rounds=2, warmup_rounds=1)
    versus.ratio(
        "kmalloc pairs, 64 CPUs, against Stores", own, lambda: timed(pairs_with_stores), ">= 3, goal 6"
    )
    versus.ratio(
        "  against a list and a timeout per call", own, lambda: timed(pairs_with_lists), ">= 1.6, goal 3.2"
    )
