"""Which of several variants is better, said only where the intervals allow it.

All pairs are compared at once, so a pair has to differ more clearly than it would alone: Holm's
rule takes the pairs from the clearest on and stops at the first that could be chance.  The
chance that any two variants that are equal are said to differ is then at most 1 - confidence.
Differences are shown with Bonferroni's intervals, which hold for all pairs together; Holm's
rule finds a little more than they show.

The variants are ordered by mean, highest first, and cut into tiers: between two tiers every
pair was told apart; inside a tier somebody cannot be told apart from somebody else, so there
is no order in it.

Source: Holm, Scandinavian Journal of Statistics 6, 1979; Bonferroni's inequality; Welch's
interval where the values do not pair up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from coalsim.stats.student import (
    Interval,
    interval,
    paired_chance,
    paired_difference,
    unpaired_chance,
    unpaired_difference,
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two variants.

    Args:
        first, second: their names, the one with the higher mean first.
        difference: first less second, with the interval that holds for all pairs together.
        chance: of a difference this large, or larger, between equal variants.
        differs: they can be told apart.
    """

    first: str
    second: str
    difference: Interval
    chance: float
    differs: bool


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All variants, compared.

    Args:
        means: each variant with the interval of its own mean, highest mean first.
        tiers: names that cannot be told apart, the highest tier first.
        pairs: every pair, in the order of `means`.
        confidence: that all that is said to differ does.
    """

    means: Mapping[str, Interval]
    tiers: tuple[tuple[str, ...], ...]
    pairs: tuple[Comparison, ...]
    confidence: float

    @property
    def best(self) -> tuple[str, ...]:
        """The names of the highest tier: one, if there is a best one."""
        return self.tiers[0]

    def tell_apart(self, one: str, other: str) -> bool:
        """Whether two variants can be told apart."""
        return any(pair.differs for pair in self.pairs if {pair.first, pair.second} == {one, other})


def rank(
    groups: Mapping[str, Sequence[int | float]], confidence: float = 0.95, *, paired: bool = True
) -> Ranking:
    """Compare variants by the means of their values.

    Args:
        groups: the values of each variant; with `paired`, in the order of their seeds.
        confidence: that all that is said to differ does.
        paired: values at one place share their random numbers, so their differences count.

    Raises:
        ValueError: no variants, no values, values that do not pair up, or a confidence that is
            not between 0 and 1.
    """
    if not groups:
        raise ValueError("there is nothing to rank")
    means = {name: interval(values, confidence) for name, values in groups.items()}
    order = sorted(groups, key=lambda name: (-means[name].mean, name))
    couples = list(combinations(order, 2))
    alone = 1 - (1 - confidence) / max(1, len(couples))
    difference, chance_of = (
        (paired_difference, paired_chance) if paired else (unpaired_difference, unpaired_chance)
    )
    found = [difference(groups[low], groups[high], alone) for high, low in couples]
    chances = [chance_of(groups[low], groups[high]) for high, low in couples]
    differs = _holm(chances, 1 - confidence)
    pairs = tuple(
        Comparison(first=high, second=low, difference=shown, chance=chance, differs=clear)
        for (high, low), shown, chance, clear in zip(couples, found, chances, differs, strict=True)
    )
    return Ranking(
        means={name: means[name] for name in order},
        tiers=_tiers(order, pairs),
        pairs=pairs,
        confidence=confidence,
    )


def _holm(chances: Sequence[float], allowed: float) -> list[bool]:
    """Which hypotheses fall, at a chance of `allowed` that any falls wrongly."""
    falls = [False] * len(chances)
    by_chance = sorted(range(len(chances)), key=lambda at: (chances[at], at))
    for done, at in enumerate(by_chance):
        if chances[at] > allowed / (len(chances) - done):
            break
        falls[at] = True
    return falls


def _tiers(order: Sequence[str], pairs: Sequence[Comparison]) -> tuple[tuple[str, ...], ...]:
    """Cut the order wherever everybody above differs from everybody below."""
    place = {name: at for at, name in enumerate(order)}
    blurred = [(place[pair.first], place[pair.second]) for pair in pairs if not pair.differs]
    tiers: list[list[str]] = []
    for at, name in enumerate(order):
        if not at or not any(high < at <= low for high, low in blurred):
            tiers.append([])
        tiers[-1].append(name)
    return tuple(tuple(tier) for tier in tiers)
