"""Intervals hold the truth as often as they say, over a thousand repetitions of real runs.

95 % of 1,000 have a standard error of 0.7 %, so 93 to 97 % is within three of them.  Seeds are
fixed: the shares are the same every time.
"""

from itertools import islice
from pathlib import Path
from random import Random

import pytest
from known_answers import Loop, constant_hold, exponential_hold

from coalsim.stats.batches import batch_means, batch_ratio
from coalsim.stats.stopping import Decision, StoppingRule
from coalsim.stats.student import interval

REPETITIONS = 1_000
REPLICATIONS = 10
MODELS = {"exponential": ("exp:1us", exponential_hold()), "constant": ("const:1us", constant_hold())}
RULES = {"exponential": StoppingRule(relative=0.025), "constant": StoppingRule(relative=0.018)}


def test_the_answers_are_the_published_ones() -> None:
    """M/M/1//4 and M/D/1//4 with a hold of 1 and a think time of 4."""
    assert exponential_hold().throughput == pytest.approx(0.689320, rel=2e-6)
    assert exponential_hold().latency == pytest.approx(1.80282, rel=1e-5)
    assert constant_hold().throughput == pytest.approx(0.723041, rel=2e-6)
    assert constant_hold().latency == pytest.approx(1.53219, rel=1e-5)


def assert_holds_as_often_as_it_says(what: str, held: int, repetitions: int = REPETITIONS) -> None:
    """The share lies in 93 to 97 %."""
    assert 0.93 <= held / repetitions <= 0.97, f"{what}: {held} of {repetitions} intervals hold the truth"


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_replications_and_the_stopping_rule_hold_the_truth(model: str, tmp_path: Path) -> None:
    """Student's interval over ten runs, and over as many as the rule with its defaults wants."""
    hold, answer = MODELS[model]
    loop, rule = Loop(tmp_path, hold), RULES[model]
    held = stopped_held = narrow = 0
    taken: list[int] = []
    for repetition in range(REPETITIONS):
        first = repetition * 1_000
        runs = loop.throughputs(range(first, first + rule.most))
        values = list(islice(runs, REPLICATIONS))
        held += interval(values).holds(answer.throughput)
        while not (verdict := rule.verdict(values)).is_over:
            values.append(next(runs))
        stopped_held += verdict.interval.holds(answer.throughput)
        narrow += verdict.decision is Decision.NARROW
        taken.append(len(values))
    assert_holds_as_often_as_it_says("ten replications", held)
    assert_holds_as_often_as_it_says("stopping rule", stopped_held)
    assert narrow > 0.9 * REPETITIONS, "mostly the rule stops, not the budget"
    assert len(set(taken)) > 5, "the rule decides, not its least number of runs"


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_batch_means_of_one_run_hold_the_truth(model: str, tmp_path: Path) -> None:
    """Throughput and mean latency of a single run in forty batches, and the check passes mostly."""
    hold, answer = MODELS[model]
    loop = Loop(tmp_path, hold, duration="4ms", batches=40)
    held = latency_held = independent = 0
    for seed in range(REPETITIONS):
        batches = loop.run(seed)["batches"]
        per_us = batches["length_ps"] / 1e6
        ops = batch_means([ops / per_us for ops in batches["ops"]])
        latency = batch_ratio(batches["latency_total_ns"], batches["latency_count"])
        held += ops.interval.holds(answer.throughput)
        latency_held += latency.interval.holds(answer.latency * 1e3)
        independent += ops.is_independent
    assert_holds_as_often_as_it_says("throughput from batches", held)
    assert_holds_as_often_as_it_says("latency from batches", latency_held)
    assert independent > 0.9 * REPETITIONS


@pytest.mark.slow
@pytest.mark.parametrize("runs", [12, 20, 30])
def test_the_stopping_rule_holds_the_truth_wherever_it_stops(runs: int) -> None:
    """Normal values whose spread asks for so many runs: where looking again and again harms most."""
    rule = StoppingRule(relative=0.0196 / runs**0.5)
    held = 0
    for repetition in range(REPETITIONS):
        draw = Random(repetition).gauss
        values = [draw(1, 0.01) for _ in range(rule.least)]
        while not (verdict := rule.verdict(values)).is_over:
            values.append(draw(1, 0.01))
        held += verdict.interval.holds(1)
    assert_holds_as_often_as_it_says(f"stopping after some {runs} runs", held)
