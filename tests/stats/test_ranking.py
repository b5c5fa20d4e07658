"""Rankings, only where the intervals allow."""

from random import Random

import pytest

from coalsim.stats.ranking import rank
from coalsim.stats.student import paired_chance, t_within, unpaired_chance, unpaired_difference


def variants(means: dict[str, float], runs: int, seed: int = 1) -> dict[str, list[float]]:
    """Values that share a large common part and have a small one of their own."""
    draw = Random(seed).gauss
    common = [draw(0, 10) for _ in range(runs)]
    return {name: [mean + shared + draw(0, 1) for shared in common] for name, mean in means.items()}


def test_clear_differences_make_an_order_and_unclear_ones_do_not() -> None:
    """mcs and cna lie within noise of each other; tas is far below, and that is all that is said."""
    found = rank(variants({"tas": 80, "mcs": 100, "cna": 100.1}, 10))

    assert [set(tier) for tier in found.tiers] == [{"mcs", "cna"}, {"tas"}]
    assert set(found.best) == {"mcs", "cna"}
    assert found.tell_apart("tas", "mcs")
    assert not found.tell_apart("mcs", "cna")
    assert next(iter(found.means)) in ("mcs", "cna")


def test_a_chain_of_unclear_neighbours_is_one_tier() -> None:
    """a and c can be told apart, but b stands between: there is no order without leaving somebody out."""
    values = {"a": [3.0, 3.1, 2.9, 3.0], "b": [1.0, 3.9, 2.0, 2.9], "c": [2.0, 2.1, 1.9, 2.0]}
    found = rank(values, paired=False)

    assert found.tell_apart("a", "c")
    assert found.tiers == (("a", "b", "c"),)


def test_pairing_decides_what_can_be_told_apart() -> None:
    """A difference of 3 under a common spread of 10."""
    values = variants({"slow": 97, "fast": 100}, 8)
    assert rank(values).tiers == (("fast",), ("slow",))
    assert len(rank(values, paired=False).tiers) == 1


@pytest.mark.slow
def test_equal_variants_are_rarely_said_to_differ() -> None:
    """Six equal ones, fifteen pairs, 150 repetitions: somebody is told apart in at most 5 % or so."""
    names = dict.fromkeys("abcdef", 100.0)
    wrong = sum(any(pair.differs for pair in rank(variants(names, 8, seed)).pairs) for seed in range(150))
    assert 0 < wrong <= 150 * 0.08


def test_simultaneous_intervals_agree_with_the_verdicts() -> None:
    """Where Bonferroni's interval leaves out zero, Holm's rule tells the pair apart; not always back."""
    for seed in range(50):
        for pair in rank(variants({"a": 100, "b": 100.8, "c": 101.5, "d": 103}, 8, seed)).pairs:
            assert pair.difference.mean >= 0
            assert pair.differs or pair.difference.holds(0)


def test_one_run_each_ranks_nobody() -> None:
    """Nothing is known about the spread; a single variant is its own tier."""
    assert rank({"a": [1.0], "b": [2.0]}).tiers == (("b", "a"),)
    assert rank({"a": [1.0, 2.0]}).tiers == (("a",),)
    with pytest.raises(ValueError, match="nothing to rank"):
        rank({})
    with pytest.raises(ValueError, match="pairs"):
        rank({"a": [1.0], "b": [2.0, 3.0]})


def test_chances_are_those_of_the_tables() -> None:
    """t = 2.262157 leaves 5 % with 9 degrees of freedom; equal pairs leave all or nothing."""
    assert t_within(2.262157, 9) == pytest.approx(0.95, abs=1e-6)
    assert t_within(0, 3) == 0
    assert t_within(float("inf"), 3) == 1
    with pytest.raises(ValueError, match="no probability"):
        t_within(-1, 3)
    assert paired_chance([1, 2], [2, 3]) == 0
    assert paired_chance([1, 2], [1, 2]) == 1
    assert paired_chance([1], [5]) == unpaired_chance([1], [5]) == 1


def test_the_interval_of_welch() -> None:
    """Means 21 and 23 with variances 4 and 16, five values each: 5.88 degrees of freedom, rounded to 5."""
    spread = [-1.2649110640673518, -1.2649110640673518, 0, 1.2649110640673518, 1.2649110640673518]
    first = [21 + 2 * value * 0.7905694150420949 * 1.25 for value in spread]
    second = [23 + 2 * (at - 21) for at in first]
    found = unpaired_difference(first, second)
    variance = sum((value - 21) ** 2 for value in first) / 4

    assert found.mean == pytest.approx(2)
    assert found.half_width == pytest.approx(2.570582 * (variance / 5 + 4 * variance / 5) ** 0.5, rel=1e-5)
