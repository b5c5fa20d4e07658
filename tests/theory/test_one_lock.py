"""One lock in a closed loop against exact queueing models.

Repairman models after Lazowska, Zahorjan, Graham, Sevcik, "Quantitative system
performance", 1984; Amdahl's bound after his AFIPS paper of 1967.
"""

from itertools import pairwise
from math import comb, exp, factorial

import pytest
from closed_loop import UNIT, closed_loop, constant, exponential, make_lock, processors, run_to, uniform

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.engine.streams import Streams
from coalsim.units import NS, Time

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

REPAIRMAN = {  # N, S, Z: throughput, response, utilisation, P(wait)
    (2, 1, 4): (0.384615, 1.20000, 0.384615, 0.200000),
    (4, 1, 4): (0.689320, 1.80282, 0.689320, 0.549296),
    (8, 1, 4): (0.969580, 4.25100, 0.969580, 0.937251),
    (16, 1, 4): (0.999996, 12.0001, 0.999996, 0.999985),
}
TAIL = {4: {1: 0.611405, 3: 0.188630, 5: 0.048969}, 8: {1: 0.913330, 4: 0.477370, 8: 0.094328}}
CONSTANT_HOLD = {  # N, S, Z: throughput, response
    (2, 1, 4): (0.390991, 1.11520),
    (4, 1, 4): (0.723041, 1.53219),
    (8, 1, 4): (0.993863, 4.04940),
    (4, 1, 10): (0.357907, 1.17610),
    (16, 1, 20): (0.728364, 1.96704),
}
OPS = 80_000


def repairman(cpus: int, hold: float, think: float) -> float:
    """Throughput of M/M/1//N."""
    weights = [
        factorial(cpus) // factorial(cpus - waiting) * (hold / think) ** waiting
        for waiting in range(cpus + 1)
    ]
    return (1 - 1 / sum(weights)) / hold


def constant_hold(cpus: int, hold: float, think: float) -> float:
    """Throughput of M/D/1//N by the chain of those left behind at a release."""
    free = exp(-hold / think)
    come = [
        [comb(out, k) * (1 - free) ** k * free ** (out - k) for k in range(out + 1)] for out in range(cpus)
    ]
    left = [1.0] + [0.0] * (cpus - 1)
    for _ in range(2000):
        after = [0.0] * cpus
        for behind, share in enumerate(left):
            first, out = (behind - 1, cpus - behind) if behind else (0, cpus - 1)
            for arrived, chance in enumerate(come[out]):
                after[first + arrived] += share * chance
        left = after
    return 1 / (hold + left[0] * think / cpus)


@pytest.mark.parametrize(("row", "expected"), REPAIRMAN.items())
def test_the_repairman_formula_gives_the_published_values(
    row: tuple[int, int, int], expected: tuple[float, float, float, float]
) -> None:
    """The check values are those of the formula."""
    assert repairman(*row) == pytest.approx(expected[0], rel=2e-6)


@pytest.mark.parametrize(("row", "expected"), CONSTANT_HOLD.items())
def test_the_constant_hold_chain_gives_the_published_values(
    row: tuple[int, int, int], expected: tuple[float, float]
) -> None:
    """The check values are those of the embedded chain."""
    assert constant_hold(*row) == pytest.approx(expected[0], rel=2e-6)


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize(("row", "expected"), REPAIRMAN.items())
def test_exponential_loop_is_the_machine_repairman(
    row: tuple[int, int, int], expected: tuple[float, float, float, float]
) -> None:
    """Throughput, response, share of contended acquisitions and tail are those of M/M/1//N."""
    cpus, hold, think = row
    throughput, response, utilisation, contended = expected
    found = closed_loop(
        "mcs", cpus, exponential(think), exponential(hold), OPS, expected_rate=throughput, seed=11
    )
    assert found.throughput == pytest.approx(throughput, rel=0.01)
    assert found.wait == pytest.approx(response - hold, rel=0.03)
    assert found.row.holdtime_total / (found.row.acquisitions / found.throughput) / UNIT == pytest.approx(
        utilisation, rel=0.01
    )
    assert found.row.contentions / found.row.acquisitions == pytest.approx(contended, rel=0.01)
    for time, share in TAIL.get(cpus, {}).items():
        assert found.slower_than(time) == pytest.approx(share, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["tas", "ttas", "ticket", "mcs", "qspinlock", "cna", "seqlock"])
def test_throughput_of_the_repairman_does_not_depend_on_who_is_next(policy: str) -> None:
    """Every policy that keeps the lock busy while somebody waits has the throughput of M/M/1//4."""
    found = closed_loop(policy, 4, exponential(4), exponential(1), 100_000, expected_rate=0.69, seed=3)
    assert found.throughput == pytest.approx(0.689320, rel=0.01)


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("think", [constant(4), uniform(4)], ids=["constant", "uniform"])
def test_throughput_does_not_depend_on_the_law_of_thinking(think: object) -> None:
    """With exponential holds only the mean of thinking counts (product form)."""
    found = closed_loop("mcs", 8, think, exponential(1), OPS, seed=5)  # type: ignore[arg-type]
    assert found.throughput == pytest.approx(0.969580, rel=0.01)


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize(("row", "expected"), list(CONSTANT_HOLD.items())[:3])
def test_constant_holds_give_the_embedded_chain(
    row: tuple[int, int, int], expected: tuple[float, float]
) -> None:
    """Throughput and response are those of M/D/1//N."""
    cpus, hold, think = row
    throughput, response = expected
    found = closed_loop(
        "qspinlock", cpus, exponential(think), constant(hold), OPS, expected_rate=throughput, seed=2
    )
    assert found.throughput == pytest.approx(throughput, rel=0.01)
    assert found.wait == pytest.approx(response - hold, rel=0.03)


def test_less_variation_means_more_throughput() -> None:
    """For equal means X(D/D) >= X(M/D) >= X(M/M)."""
    cpus, ops = 4, 60_000
    rates = [
        closed_loop("mcs", cpus, think, hold, ops).throughput
        for think, hold in [
            (constant(4), constant(1)),
            (exponential(4), constant(1)),
            (exponential(4), exponential(1)),
        ]
    ]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("policy", ["mcs", "qspinlock", "ticket", "cna"])
@pytest.mark.parametrize(
    ("cpus", "cycle"), [(1, 94_000), (2, 94_000), (3, 113_100), (8, 301_600), (26, 980_200)]
)
@pytest.mark.parametrize("spread", [0, 7_300], ids=["together", "staggered"])
def test_deterministic_loop_has_the_exact_cycle(policy: str, cpus: int, cycle: Time, spread: Time) -> None:
    """Constant think Z and hold S: every cycle takes max(Z + S, N S), to the picosecond."""
    think, hold = 56_300, 37_700
    env, made = processors(cpus)
    lock = make_lock(policy, Streams(1))
    ends: list[list[Time]] = [[] for _ in made]

    def load(cpu: Cpu) -> Op[None]:
        cpu.charge(spread * cpu.id, "offset")
        while True:
            cpu.charge(think, "think")
            _, released = yield from lock.section(cpu, lambda _: hold - 1, hold, "loop")
            ends[cpu.id].append(released)

    for cpu in made:
        cpu.start([Thread(f"load {cpu.id}", load(cpu))])
    run_to(env, 40_000 * NS)
    settled = cpus * spread + 2 * cycle
    for times in ends:
        after = [time for time in times if time > settled]
        assert len(after) > 30
        assert {later - earlier for earlier, later in pairwise(after)} == {cycle}


@pytest.mark.parametrize(("cpus", "think"), [(2, 4), (4, 4), (8, 4), (4, 10)])
def test_random_arrivals_beat_amdahl(cpus: int, think: int) -> None:
    """Amdahl's law is the worst case, in which all processors want the lock at once."""
    found = closed_loop("mcs", cpus, exponential(think), exponential(1), 30_000, seed=4)
    serial = 1 / (1 + think)
    amdahl = 1 / (serial + (1 - serial) / cpus)
    speed_up = found.throughput * (1 + think)
    assert amdahl < speed_up <= cpus * 1.02
