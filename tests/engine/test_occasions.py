"""At which chances an injected fault happens."""

from random import Random

import pytest

from coalsim.engine.occasions import Occasions, When


def taken(when: When, chances: int, seed: int = 1) -> list[int]:
    """The chances, from 1 up, that are taken."""
    occasions = Occasions(when, Random(seed))
    return [number for number in range(1, chances + 1) if occasions.is_now()]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (When(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (When(nth=4), [4]),
        (When(every=3), [3, 6, 9]),
        (When(every=3, times=2), [3, 6]),
        (When(times=3), [1, 2, 3]),
        (When(nth=11), []),
    ],
)
def test_conditions_hold_together(when: When, expected: list[int]) -> None:
    """A chance is taken if every condition that is given allows it."""
    assert taken(when, 10) == expected


def test_a_share_is_drawn_once_for_each_chance() -> None:
    """The same stream takes the same chances, about as many as the share says, whatever `times` cuts off."""
    some = taken(When(share=0.1), 10_000)
    assert 900 < len(some) < 1100
    assert taken(When(share=0.1, times=5), 10_000) == some[:5]
    assert taken(When(share=0.1), 10_000, seed=2) != some
