"""Random numbers: named streams, and the laws drawn from them."""

from math import exp, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.engine.laws import Law, parse_law
from coalsim.engine.streams import Streams
from coalsim.units import FOREVER, NS, SEC, US


def test_a_stream_depends_on_seed_name_and_index_only() -> None:
    """The same three give the same numbers, whatever else was asked for before."""
    first, second = Streams(7), Streams(7)
    second.stream("other").random()
    second.stream("think", 3).random()
    expected = [first.stream("think", 2).random() for _ in range(2)]
    assert expected[0] == expected[1] == second.stream("think", 2).random()


def test_different_streams_differ() -> None:
    """Another seed, name or index gives other numbers."""
    drawn = [
        Streams(seed).stream(name, index).getrandbits(64)
        for seed in (1, 2, 11)
        for name in ("think", "hold", "1/think")
        for index in (0, 1, 11)
    ]
    assert len(set(drawn)) == len(drawn)


def test_the_numbers_of_a_stream_never_change() -> None:
    """Results are reproducible across versions only if these stay as they are."""
    stream = Streams(1).stream("think", 0)
    assert [stream.getrandbits(32) for _ in range(3)] == PINNED


PINNED = [1209498840, 457132410, 3120364427]


@pytest.mark.parametrize(
    ("text", "mean", "variation"),
    [
        ("const:37.7ns", 37_700, 0.0),
        ("exp:56.3ns", 56_300, 1.0),
        ("uniform:10ns:20ns", 15_000, 10 / sqrt(12) / 15),
        ("erlang:4:1us", 1_000_000, 0.5),
        ("hyper:4:1us", 1_000_000, 2.0),
    ],
)
def test_samples_have_the_mean_and_spread_of_their_law(text: str, mean: int, variation: float) -> None:
    """Mean within 2 % and coefficient of variation within 4 % over 40,000 draws."""
    law = parse_law(text)
    assert law.mean == mean
    draw = law.sampler(Streams(3).stream(text))
    samples = [draw() for _ in range(40_000)]
    average = sum(samples) / len(samples)
    spread = sqrt(sum((sample - average) ** 2 for sample in samples) / len(samples)) / average
    assert average == pytest.approx(mean, rel=0.02)
    assert spread == pytest.approx(variation, rel=0.04, abs=1e-9)
    assert all(isinstance(sample, int) and sample >= 0 for sample in samples)


def test_an_exponential_law_has_an_exponential_tail() -> None:
    """P(X > 2 mean) is e^-2."""
    draw = parse_law("exp:1us").sampler(Streams(5).stream("tail"))
    beyond = sum(draw() > 2 * US for _ in range(40_000)) / 40_000
    assert beyond == pytest.approx(exp(-2), rel=0.05)


def test_a_uniform_law_keeps_to_its_bounds() -> None:
    """Both ends can come up, nothing beyond does."""
    draw = parse_law("uniform:3ps:5ps").sampler(Streams(5).stream("bounds"))
    assert {draw() for _ in range(1000)} == {3, 4, 5}


times = st.integers(0, 100 * SEC)


@given(
    st.one_of(
        st.builds(lambda mean: Law(kind="const", mean=mean), times),
        st.builds(lambda mean: Law(kind="exp", mean=mean), times),
        st.tuples(times, times).map(
            lambda ends: Law(kind="uniform", mean=sum(ends) // 2, low=min(ends), high=max(ends))
        ),
        st.builds(
            lambda shape, mean: Law(kind="erlang", shape=shape, mean=mean), st.integers(1, 1000), times
        ),
        st.builds(
            lambda shape, mean: Law(kind="hyper", shape=shape, mean=mean), st.floats(1.0001, 99999), times
        ),
    )
)
def test_a_law_reads_back_as_it_was_printed(law: Law) -> None:
    """Resolved configurations are run again, so the text must be exact."""
    assert parse_law(str(law)) == law


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("const:37.7ns", "const:37.7ns"),
        (" exp:56300ps ", "exp:56.3ns"),
        ("uniform:0ns:20ns", "uniform:0ps:20ns"),
        ("erlang:4:1us", "erlang:4:1us"),
        ("hyper:2.5:1ms", "hyper:2.5:1ms"),
        ("exp:1234567ps", "exp:1.234567us"),
    ],
)
def test_a_law_prints_in_one_way(text: str, printed: str) -> None:
    """The largest unit that fits, without rounding."""
    assert str(parse_law(text)) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normal:1us", "is not a law"),
        ("exp", "is not a law"),
        ("exp:1us:2us", "is not a law"),
        ("exp:1", "no time unit"),
        ("exp:-1us", "is not a time"),
        ("const:0.5ps", "finer than a picosecond"),
        ("uniform:20ns:10ns", "swap them"),
        ("uniform:20ns", "is not a law"),
        ("erlang:0:1us", "1 to 1000 whole phases"),
        ("erlang:2.5:1us", "1 to 1000 whole phases"),
        ("erlang:inf:1us", "1 to 1000 whole phases"),
        ("erlang:nan:1us", "1 to 1000 whole phases"),
        ("erlang:two:1us", "is not a number"),
        ("hyper:1:1us", "above 1"),
        ("hyper:nan:1us", "above 1"),
        ("hyper:inf:1us", "above 1"),
        ("", "is not a law"),
    ],
)
def test_a_law_that_cannot_be_is_refused(text: str, message: str) -> None:
    """The text says what is wrong with it."""
    with pytest.raises(ValueError, match=message):
        parse_law(text)


def test_a_long_time_is_no_law() -> None:
    """Nothing may last longer than the clock."""
    with pytest.raises(ValueError, match="longer than"):
        parse_law(f"const:{FOREVER}ps")
    assert parse_law("const:1ns").mean == NS
