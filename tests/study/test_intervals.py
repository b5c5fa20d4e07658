"""Student's t, means with intervals, paired differences."""

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.study.intervals import document_intervals, interval, paired_difference, t_quantile

RESULT = Path(__file__).parent.parent / "data" / "result" / "result.json"


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.975, 3, 3.182446),
        (0.975, 4, 2.776445),
        (0.975, 5, 2.570582),
        (0.975, 9, 2.262157),
        (0.975, 10, 2.228139),
        (0.975, 29, 2.045230),
        (0.975, 30, 2.042272),
        (0.975, 120, 1.979930),
        (0.95, 1, 6.313752),
        (0.95, 7, 1.894579),
        (0.995, 5, 4.032143),
        (0.995, 19, 2.860935),
        (0.9995, 3, 12.923979),
        (0.75, 4, 0.740697),
    ],
)
def test_quantiles_are_those_of_the_tables(probability: float, degrees: int, expected: float) -> None:
    """To six decimals, as published in tables of Student's t."""
    assert t_quantile(probability, degrees) == pytest.approx(expected, abs=6e-7)


@given(st.floats(0.001, 0.999), st.integers(1, 200))
def test_quantiles_are_symmetric_and_rise(probability: float, degrees: int) -> None:
    """The median is 0 and the lower half mirrors the upper one."""
    assert t_quantile(0.5, degrees) == 0
    assert t_quantile(1 - probability, degrees) == pytest.approx(
        -t_quantile(probability, degrees), rel=1e-9, abs=1e-9
    )
    assert t_quantile(probability, degrees) < t_quantile(probability + 0.0005, degrees)


def test_with_many_degrees_the_quantile_is_the_normal_one() -> None:
    """The limit is 1.959964, approached from above."""
    assert 1.959964 < t_quantile(0.975, 100_000) < 1.959990


@pytest.mark.parametrize(("probability", "degrees"), [(0, 5), (1, 5), (1.5, 5), (math.nan, 5), (0.9, 0)])
def test_there_is_no_quantile_outside(probability: float, degrees: int) -> None:
    """A wrong question is refused."""
    with pytest.raises(ValueError, match="no quantile"):
        t_quantile(probability, degrees)


def test_a_mean_has_the_half_width_of_the_textbook() -> None:
    """Mean 5, standard deviation 2.138, eight values: 5 +/- 2.364624 * 2.138 / sqrt 8."""
    found = interval([2, 4, 4, 4, 5, 5, 7, 9])

    assert found.mean == 5
    assert found.half_width == pytest.approx(2.364624 * math.sqrt(32 / 7 / 8), rel=1e-6)
    assert (found.count, found.confidence) == (8, 0.95)
    assert found.holds(5)
    assert not found.holds(found.high + 1)


def test_integers_beyond_floats_lose_nothing() -> None:
    """Values of 2**60 that differ by 2 have a half width, equal ones have none."""
    big = 1 << 60

    assert interval([big, big + 2], 0.5).half_width == pytest.approx(1.0)
    assert interval([big + 1] * 5).half_width == 0.0


def test_one_run_says_nothing_about_spread() -> None:
    """No half width, and the interval holds everything."""
    alone = interval([3.5])

    assert (alone.mean, alone.half_width, alone.low, alone.high) == (3.5, None, -math.inf, math.inf)


@given(st.lists(st.one_of(st.integers(-(10**18), 10**18), st.floats(-1e9, 1e9)), min_size=1, max_size=6))
def test_the_order_of_the_runs_does_not_matter(values: list[float]) -> None:
    """Not even in the last bit."""
    assert len({interval(list(order)) for order in itertools.permutations(values[:4])}) == 1


def test_pairs_remove_what_both_runs_have_in_common() -> None:
    """A constant gain under a wildly varying load has an interval of no width."""
    found = paired_difference([100, 2000, 30_000], [107, 2007, 30_007])

    assert (found.mean, found.half_width) == (7.0, 0.0)
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([1, 2], [1])


@pytest.mark.parametrize(("values", "confidence"), [([], 0.95), ([1], 0), ([1], 1.0)])
def test_a_question_without_an_answer_is_refused(values: list[int], confidence: float) -> None:
    """No values, or no confidence."""
    with pytest.raises(ValueError, match=r"at least one|confidence"):
        interval(values, confidence)


def test_documents_get_intervals_of_speed_latency_and_phases() -> None:
    """By dotted key, as the result document holds them."""
    first, second = (json.loads(RESULT.read_text(encoding="utf-8")) for _ in range(2))
    second["throughput"]["ops_per_s"] += 10

    found = document_intervals([first, second])

    assert list(found) == [
        "throughput.ops_per_s",
        "latency_ns.mean",
        "latency_ns.p50",
        "latency_ns.p99",
        "phases.alloc.latency_ns.mean",
        "phases.free.latency_ns.mean",
    ]
    assert found["throughput.ops_per_s"]["half_width"] == pytest.approx(12.706205 * 5, rel=1e-6)
    assert found["latency_ns.p50"] == {"mean": 71.5, "half_width": 0.0, "count": 2, "confidence": 0.95}
