"""The log-linear histogram: exact where it says so, within 0.1 % elsewhere."""

import json
import math
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.observe.hgrm import hgrm
from coalsim.observe.histogram import Histogram
from coalsim.units import FOREVER

values = st.integers(min_value=0, max_value=FOREVER)
samples = st.lists(st.one_of(values, st.integers(0, 5000), st.integers(50_000, 60_000)), max_size=200)
percents = st.one_of(st.integers(0, 100), st.sampled_from([0.1, 12.5, 99.9, 99.99]))


def histogram_of(sample: list[int]) -> Histogram:
    histogram = Histogram()
    for value in sample:
        histogram.record(value)
    return histogram


@given(samples)
def test_count_sum_least_largest_and_mean_are_exact(sample: list[int]) -> None:
    """Buckets lose nothing of the figures that need no buckets."""
    histogram = histogram_of(sample)

    assert histogram.count == len(sample)
    assert histogram.total == sum(sample)
    assert (histogram.min, histogram.max) == (min(sample, default=0), max(sample, default=0))
    assert histogram.mean == (sum(sample) / len(sample) if sample else 0.0)
    histogram.validate()


@given(samples.filter(len), percents)
def test_a_percentile_is_the_nearest_rank_value_within_one_thousandth(
    sample: list[int], percent: float
) -> None:
    """Against the sorted list: never below the true value, at most 0.1 % above it."""
    rank = max(1, math.ceil(Fraction(str(percent)) * len(sample) / 100))
    exact = sorted(sample)[rank - 1]

    found = histogram_of(sample).percentile(percent)

    assert exact <= found <= exact + exact / 1000


def test_percentiles_of_few_values_are_values_that_were_seen() -> None:
    """The tail of a small sample is its largest value, the middle of two is the lower one."""
    histogram = histogram_of([5_000_001, 7_000_003])

    assert histogram.percentile(0) == 5_000_001
    assert histogram.percentile(50) == pytest.approx(5_000_001, rel=1e-3)
    assert histogram.percentile(51) == histogram.percentile(99.9) == histogram.percentile(100) == 7_000_003


def test_a_rank_is_taken_from_the_decimal_number_that_was_written() -> None:
    """99.9 % of 1,000 values is rank 999, although the float 99.9 is a little more."""
    assert histogram_of([*range(1, 1001)]).percentile(99.9) == 999


def test_an_empty_histogram_answers_zero() -> None:
    """No division by nothing."""
    empty = Histogram()

    assert (empty.count, empty.min, empty.max, empty.mean, empty.percentile(99)) == (0, 0, 0, 0.0, 0)


@given(samples, samples, samples)
def test_merging_is_exact_in_any_order(a: list[int], b: list[int], c: list[int]) -> None:
    """Merged parts equal the whole, whichever way round they are merged."""
    whole = histogram_of(a + b + c)
    forward, backward = histogram_of(a), histogram_of(c)
    for part in (b, c):
        forward.merge(histogram_of(part))
    for part in (b, a):
        backward.merge(histogram_of(part))

    assert forward == backward == whole
    assert json.dumps(forward.to_dict()) == json.dumps(backward.to_dict())


@given(samples)
def test_a_histogram_survives_json(sample: list[int]) -> None:
    """What is written is read back."""
    histogram = histogram_of(sample)

    assert Histogram.from_dict(json.loads(json.dumps(histogram.to_dict()))) == histogram


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("counts", [[5, 1], [9, 0]]),
        ("counts", [[5, 1], [2049, 1]]),  # 2,049 begins no bucket
        ("counts", [[5, 1], [9]]),
        ("counts", {"5": 1}),
        ("sum", 13),
        ("sum", 14.0),
        ("min", 6),
        ("max", 8),
        ("min", None),
    ],
)
def test_numbers_of_no_histogram_are_refused(part: str, value: object) -> None:
    """Each number is checked against the others."""
    record: dict[str, object] = {"counts": [[5, 1], [9, 1]], "sum": 14, "min": 5, "max": 9}
    Histogram.from_dict(record)

    with pytest.raises(ValueError, match=r"histogram|value|sum"):
        Histogram.from_dict({**record, part: value})


def test_a_negative_value_is_our_own_mistake() -> None:
    """Latencies are never negative."""
    with pytest.raises(AssertionError, match="-1"):
        Histogram().record(-1)


def test_the_hgrm_text_has_the_columns_of_hdrhistogram() -> None:
    """Values rise, percentiles rise to 1, the footer holds mean and maximum in ns."""
    middles = (
        [56_303.5] * 90 + [1_000_191.5] * 9 + [44_154_879.5]
    )  # of the buckets, which are 32, 512 ... wide
    deviation = math.sqrt(sum((value - 582_072.5) ** 2 for value in middles) / 100) / 1000
    text = hgrm(histogram_of([56_300] * 90 + [1_000_000] * 9 + [44_140_250]))
    lines = text.splitlines()
    rows = [line.split() for line in lines[2:] if not line.startswith("#")]

    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert re.fullmatch(r" {6}56\.319 0\.900000000000 {9}90 {10}10\.00", lines[2])
    assert [row[2] for row in rows] == ["90", "99", "100"]
    assert rows[-1] == ["44140.250", "1.000000000000", "100"]
    assert lines[-3] == f"#[Mean    =      582.072, StdDeviation   =     {deviation:.3f}]"
    assert lines[-2] == "#[Max     =    44140.250, Total count    =          100]"


@given(samples.filter(len))
def test_the_hgrm_text_ends_with_all_values(sample: list[int]) -> None:
    """Counts rise strictly to the number of values."""
    rows = [line.split() for line in hgrm(histogram_of(sample)).splitlines()[2:-3]]
    counts = [int(row[2]) for row in rows]

    assert counts == sorted(set(counts))
    assert counts[-1] == len(sample)


def test_clearing_keeps_whoever_records_into_it() -> None:
    """A bound `record` goes on counting into the same, now empty, histogram."""
    histogram = Histogram()
    record = histogram.record
    record(7)
    histogram.clear()
    assert (histogram.count, histogram.total, histogram.min, histogram.max) == (0, 0, 0, 0)

    record(5)

    assert (histogram.count, histogram.total, histogram.min, histogram.max) == (1, 5, 5, 5)
