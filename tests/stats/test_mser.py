"""The warm-up cut."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.stats.mser import mser5


def noise(count: int, seed: int = 1) -> list[float]:
    """Independent values around 100."""
    draw = Random(seed).gauss
    return [draw(100, 5) for _ in range(count)]


def by_the_book(values: list[float]) -> int:
    """Groups to cut by the formula as it is published, one sum for each candidate."""
    groups = [sum(values[at : at + 5]) / 5 for at in range(0, len(values) - 4, 5)]

    def statistic(cut: int) -> float:
        kept = groups[cut:]
        mean = sum(kept) / len(kept)
        return sum((group - mean) ** 2 for group in kept) / len(kept) ** 2

    last = len(groups) - max(5, len(groups) // 5)
    return min(range(last + 1), key=statistic)


def test_a_beginning_that_differs_is_cut_and_little_more() -> None:
    """A hundred values that start at 0 and rise, then nine hundred of the steady state."""
    rise = [float(at) for at in range(100)]
    found = mser5(rise + noise(900))

    assert 80 <= found.cut <= 150
    assert (found.cut + found.kept, found.half_cut) == (1000, False)
    assert found.cut == 5 * by_the_book(rise + noise(900))


@pytest.mark.parametrize("seed", range(20))
def test_the_cut_is_the_minimum_of_the_published_statistic(seed: int) -> None:
    """Against the plain formula."""
    values = noise(203, seed)
    assert mser5(values).cut == 5 * by_the_book(values)


def test_equal_values_need_no_cut() -> None:
    """All cuts are as good, so the least one is made."""
    found = mser5([7] * 100)
    assert (found.cut, found.kept, found.statistic, found.half_cut) == (0, 100, 0.0, False)


def test_a_run_that_settles_late_is_not_to_be_trusted() -> None:
    """The steady state begins after two thirds: the minimum lies in the second half, and it is said."""
    found = mser5(noise(400) + [50 + value for value in noise(200, seed=2)])

    assert found.half_cut
    assert 395 <= found.cut <= 430


@given(st.lists(st.integers(0, 10**6), min_size=50, max_size=120))
def test_a_cut_is_whole_groups_and_leaves_something(values: list[int]) -> None:
    """At least five groups and a fifth of all remain; adding a constant changes nothing."""
    found = mser5(values)
    assert found.cut % 5 == 0
    assert found.kept == len(values) - found.cut
    assert found.kept // 5 >= max(5, len(values) // 5 // 5)
    assert mser5([value + 10**9 for value in values]) == found


def test_too_few_values_are_refused() -> None:
    """Ten groups of five are the least."""
    with pytest.raises(ValueError, match="49 values are too few"):
        mser5([1] * 49)
    assert mser5([1] * 50).cut == 0
