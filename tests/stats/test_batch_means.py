"""Batch means and the check of their independence."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.stats.batches import batch_means, batch_ratio, von_neumann_ratio
from coalsim.stats.student import interval


def independent(count: int, seed: int = 1) -> list[float]:
    """Values that do not remember each other."""
    draw = Random(seed).gauss
    return [draw(100, 5) for _ in range(count)]


def remembering(count: int, memory: float, seed: int = 1) -> list[float]:
    """Each value is `memory` times its neighbour plus something new."""
    draw, last, values = Random(seed).gauss, 0.0, []
    for _ in range(count):
        last = memory * last + draw(0, 1)
        values.append(100 + last)
    return values


def test_independent_batches_give_the_interval_of_student() -> None:
    """Nothing is joined."""
    values = independent(30, seed=2)
    found = batch_means(values)

    assert found.is_independent
    assert found.size == 1
    assert found.interval == interval(values)


def test_neighbours_that_remember_are_joined_and_the_interval_grows() -> None:
    """Joined batches pass the check; the naive interval is much too narrow."""
    values = remembering(1024, 0.9)
    found = batch_means(values)

    assert found.is_independent
    assert found.size >= 8
    assert found.interval.count == 1024 // found.size
    assert found.interval.half_width is not None
    assert found.interval.half_width > 2.5 * (interval(values).half_width or 0)
    assert found.interval.mean == pytest.approx(interval(values).mean)


def test_a_run_too_short_for_its_memory_is_not_called_independent() -> None:
    """Forty values of one long wave: joined as far as allowed, and it is said that it was not enough."""
    found = batch_means([float(at) for at in range(40)])

    assert not found.is_independent
    assert found.size == 4
    assert found.lag1 > 0.5


def test_fewer_than_ten_batches_are_never_enough() -> None:
    """They may look independent; nobody can tell."""
    assert not batch_means(independent(9)).is_independent
    assert batch_means([3] * 10).is_independent


def test_the_ratio_of_von_neumann() -> None:
    """By hand: steps 1, 1, 1 over spreads 2.25, 0.25, 0.25, 2.25; alternating values exceed 2."""
    assert von_neumann_ratio([1, 2, 3, 4]) == pytest.approx(3 / 5)
    assert von_neumann_ratio([0, 1] * 10) > 3.5
    assert von_neumann_ratio([5, 5, 5]) == 2


def test_the_check_lets_most_independent_runs_pass_and_few_that_remember() -> None:
    """Over 200 runs of 20 batches: neighbours with a correlation of 0.8 hardly ever pass unjoined."""
    passed = sum(batch_means(independent(20, seed)).size == 1 for seed in range(200))
    remembered = sum(batch_means(remembering(20, 0.8, seed)).size == 1 for seed in range(200))
    assert passed > 145  # of 80 %, 160 are expected
    assert remembered < 30


def test_a_mean_latency_is_the_ratio_of_the_sums() -> None:
    """Not the mean of the batches' means: batches with many operations count more."""
    totals, counts = [10, 90, 10, 90] * 5, [1, 3, 1, 3] * 5
    found = batch_ratio(totals, counts)

    assert found.interval.mean == 1000 / 40
    assert found.interval.holds(25)
    assert batch_ratio([4, 8, 0, 12] * 5, [1, 2, 0, 3] * 5).interval.half_width == 0.0


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=60))
def test_equal_counts_make_a_ratio_a_mean(values: list[int]) -> None:
    """With one operation in each batch both intervals are the same."""
    ratio, means = batch_ratio(values, [1] * len(values)), batch_means(values)
    assert ratio.size == means.size
    assert ratio.interval.mean == pytest.approx(means.interval.mean)
    assert ratio.interval.half_width == pytest.approx(means.interval.half_width, abs=1e-6)


def test_questions_without_an_answer_are_refused() -> None:
    """One batch, lists that do not match, nothing counted."""
    with pytest.raises(ValueError, match="two batches, not 1"):
        batch_means([1])
    with pytest.raises(ValueError, match="do not match"):
        batch_ratio([1, 2], [1])
    with pytest.raises(ValueError, match="counted nothing"):
        batch_ratio([0, 0], [0, 0])
