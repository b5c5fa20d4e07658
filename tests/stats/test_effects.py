"""Effect sizes and ratios."""

import math
from random import Random

import pytest

from coalsim.stats.effects import hedges_g, log_ratio_interval, paired_effect, ratio_interval

FIRST, SECOND = [1, 2, 3, 4, 5], [3, 4, 5, 6, 7]


def test_hedges_g_is_the_difference_in_spreads() -> None:
    """2 over sqrt 2.5, less what few values exaggerate: 1 - 3 / (4 * 8 - 1)."""
    assert hedges_g(FIRST, SECOND) == pytest.approx(2 / math.sqrt(2.5) * (1 - 3 / 31))
    assert hedges_g(SECOND, FIRST) == -hedges_g(FIRST, SECOND)
    assert hedges_g([1, 1], [1, 1]) == 0
    assert hedges_g([1, 1], [2, 2]) == math.inf


def test_a_paired_effect_counts_the_spread_of_the_differences() -> None:
    """Differences 1, 2, 3: mean 2, spread 1, correction 1 - 3 / 7; equal differences are all there is."""
    assert paired_effect([10, 20, 30], [11, 22, 33]) == pytest.approx(2 * (1 - 3 / 7))
    assert paired_effect(FIRST, SECOND) == math.inf


def test_a_ratio_of_pairs_that_scale_is_exact() -> None:
    """Every second value is 1.5 times the first: no width at all, by Fieller and in logs."""
    first = [100.0, 120.0, 90.0]
    for found in (
        ratio_interval(first, [1.5 * value for value in first]),
        log_ratio_interval(first, [1.5 * value for value in first]),
    ):
        assert found.ratio == pytest.approx(1.5)
        assert found.low == pytest.approx(1.5)
        assert found.high == pytest.approx(1.5)


@pytest.mark.parametrize("of", [ratio_interval, log_ratio_interval])
def test_ratio_intervals_hold_the_truth_as_often_as_they_say(of: object) -> None:
    """1,000 repetitions of eight pairs with a common part and a ratio of means of 1.1."""
    held = 0
    for seed in range(1000):
        draw = Random(seed).gauss
        common = [draw(100, 5) for _ in range(8)]
        first = [value + draw(0, 1) for value in common]
        second = [1.1 * value + draw(0, 1) for value in common]
        held += of(first, second).holds(1.1)  # type: ignore[operator]
    assert 930 <= held <= 970


def test_nothing_is_known_of_a_ratio_to_what_could_be_zero() -> None:
    """Fieller's interval has no ends there."""
    found = ratio_interval([-1.0, 1.5, 0.3], [5.0, 6.0, 5.5])
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_effects_without_an_answer_are_refused() -> None:
    """Too few values, values that do not pair up, a mean of zero, no logarithm."""
    with pytest.raises(ValueError, match="two values"):
        hedges_g([1], [1, 2])
    with pytest.raises(ValueError, match="pairs"):
        paired_effect([1, 2], [1])
    with pytest.raises(ValueError, match="zero"):
        ratio_interval([-1, 1], [1, 2])
    with pytest.raises(ValueError, match="positive"):
        log_ratio_interval([0, 1], [1, 2])
