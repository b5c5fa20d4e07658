"""The stopping rule."""

from itertools import count
from random import Random

import pytest

from coalsim.stats.stopping import Decision, StoppingRule


def test_it_goes_on_until_the_interval_is_narrow() -> None:
    """The last verdict's interval is within the rule's relative half width, and the one before was not."""
    rule = StoppingRule(relative=0.01, least=5, most=1000)
    draw, values = Random(3).gauss, []
    for _ in count():
        values.append(draw(100, 5))
        if (verdict := rule.verdict(values)).is_over:
            break
    assert verdict.decision is Decision.NARROW
    assert 50 < len(values) < 200  # (1.96 * 5 / 1)^2 = 96
    assert verdict.interval.half_width is not None
    assert verdict.interval.half_width <= 0.01 * verdict.interval.mean
    assert rule.verdict(values[:-1]).decision is Decision.GO_ON


def test_not_before_the_least_number_of_runs() -> None:
    """Equal values are as narrow as can be, and still there are five of them."""
    rule = StoppingRule(least=5)
    assert [rule.verdict([7.0] * runs).decision for runs in range(1, 6)] == [Decision.GO_ON] * 4 + [
        Decision.NARROW
    ]


def test_the_budget_ends_it() -> None:
    """Values that never agree."""
    rule = StoppingRule(relative=0.01, least=2, most=4)
    found = [rule.verdict([1.0, 5.0, 1.0, 5.0][:runs]).decision for runs in range(1, 5)]
    assert found == [Decision.GO_ON] * 3 + [Decision.BUDGET]


def test_few_runs_have_to_be_narrower_than_many() -> None:
    """The half width is compared with some caution, which fades as runs are added."""
    few, many = [99.0, 101.0] * 5, [99.0, 101.0] * 500

    def exactly_wide_enough(values: list[float]) -> StoppingRule:
        half = StoppingRule(least=2).verdict(values).interval.half_width
        assert half is not None
        return StoppingRule(relative=half / 100 * 1.01, least=2, most=10_000)

    assert exactly_wide_enough(few).verdict(few).decision is Decision.GO_ON
    assert exactly_wide_enough(many).verdict(many).decision is Decision.NARROW


def test_a_mean_of_zero_is_never_narrow_unless_all_are_zero() -> None:
    """There is nothing to be relative to."""
    rule = StoppingRule(least=2, most=100)
    assert rule.verdict([-1.0, 1.0] * 10).decision is Decision.GO_ON
    assert rule.verdict([0.0] * 10).decision is Decision.NARROW


@pytest.mark.parametrize(
    "wrong",
    [{"relative": 0}, {"confidence": 1}, {"least": 1}, {"least": 9, "most": 8}, {"relative": float("nan")}],
)
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    """When it is made, not when it is asked."""
    with pytest.raises(ValueError, match=r"relative|confidence|least"):
        StoppingRule(**wrong)  # type: ignore[arg-type]
