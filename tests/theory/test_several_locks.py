"""Several locks in a closed loop against exact mean value analysis.

Recursion of Reiser and Lavenberg, "Mean-value analysis of closed multichain queuing
networks", JACM 27(2), 1980.
"""

import pytest
from closed_loop import UNIT, exponential, make_lock, processors, run_to

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.engine.streams import Streams
from coalsim.units import Time


def mean_values(demands: list[float], think: float, cpus: int) -> tuple[float, float, list[float]]:
    """Throughput, response and mean number at each lock."""
    queues = [0.0] * len(demands)
    throughput, total = 0.0, 0.0
    for population in range(1, cpus + 1):
        responses = [demand * (1 + queue) for demand, queue in zip(demands, queues, strict=True)]
        total = sum(responses)
        throughput = population / (think + total)
        queues = [throughput * response for response in responses]
    return throughput, total, queues


ROWS = [  # demands, think, N, share of operations that visit each lock, X, R, Q
    ([1.0, 1.0], 0.0, 2, [1.0, 1.0], 0.666667, 3.0, [1.0, 1.0]),
    ([0.7, 0.3], 4.0, 8, [0.7, 0.3], 1.22398, 2.53607, [2.56101, 0.543082]),
    ([2.0, 1.0, 0.5], 10.0, 10, [1.0, 1.0, 1.0], 0.472638, 11.1578, [4.12909, 0.839684, 0.304845]),
]


@pytest.mark.parametrize(("demands", "think", "cpus", "visits", "rate", "response", "queues"), ROWS)
def test_mean_value_analysis_gives_the_published_values(
    demands: list[float],
    think: float,
    cpus: int,
    visits: list[float],
    rate: float,
    response: float,
    queues: list[float],
) -> None:
    """The check values are those of the recursion."""
    found = mean_values(demands, think, cpus)
    assert found[0] == pytest.approx(rate, rel=5e-6)
    assert found[1] == pytest.approx(response, rel=5e-5)
    assert found[2] == pytest.approx(queues, rel=5e-5)


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize(("demands", "think", "cpus", "visits", "rate", "response", "queues"), ROWS)
def test_loops_over_several_locks_have_the_product_form(
    demands: list[float],
    think: float,
    cpus: int,
    visits: list[float],
    rate: float,
    response: float,
    queues: list[float],
) -> None:
    """Throughput within 1 %, the mean number at each lock within 4 %."""
    env, made = processors(cpus)
    streams = Streams(9)
    locks = [make_lock("mcs", streams, f"lock{number}") for number in range(len(demands))]
    span = round(60_000 / rate) * UNIT
    done: list[Time] = []
    at_lock: list[list[Time]] = [[] for _ in locks]
    one_of_them = sum(visits) == pytest.approx(1.0)

    def load(cpu: Cpu) -> Op[None]:
        draw_think = exponential(think).sampler(streams.stream("think", cpu.id))
        choose = streams.stream("choose", cpu.id)
        holds = [
            exponential(demand / visit).sampler(streams.stream(f"hold{number}", cpu.id))
            for number, (demand, visit) in enumerate(zip(demands, visits, strict=True))
        ]
        while True:
            cpu.charge(draw_think() if think else 0, "think")
            chosen = [int(choose.random() >= visits[0])] if one_of_them else range(len(locks))
            for number in chosen:
                hold = max(0, holds[number]() - 1)
                asked, released = yield from locks[number].section(cpu, lambda _, h=hold: h, hold, "loop")
                at_lock[number].append(released - asked)
            done.append(released)

    for cpu in made:
        cpu.start([Thread(f"load {cpu.id}", load(cpu))])
    run_to(env, span)
    assert len(done) / (span / UNIT) == pytest.approx(rate, rel=0.01)
    # Little's law: the mean number at a lock is its throughput times its response.
    numbers = [sum(times) / span for times in at_lock]
    assert numbers == pytest.approx(queues, rel=0.04)
    assert sum(map(sum, at_lock)) / len(done) / UNIT == pytest.approx(response, rel=0.02)
