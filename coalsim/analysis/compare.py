"""Comparing results: what changed from one folder to another, and whether that can be told from chance.

Points are matched by their settings, runs by their seeds.  Replication r of two results that were
run with the same seeds has the same random numbers in both, so their differences are taken pair by
pair, which is much sharper than comparing two means; runs without a partner are left out, and said.

    verdict    higher / lower, told as faster / slower where it is clear which is better;
               "not told apart" where the interval of the differences holds zero

Ranking is within one study: at each place of the other axes the values of one are put in order as
far as the intervals allow, all pairs at once (`stats/ranking.py`).

Runs that differ in nothing but their seeds have intervals without width, which say nothing: their
differences are exact for this load and no more, and they are not ranked.

Invariant: nothing is said to differ whose interval holds zero, and nothing is ranked within a tier.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import cast

from coalsim.errors import InputError
from coalsim.guarded import clean, refusal
from coalsim.observe.document import ResultDocument
from coalsim.stats.effects import RatioInterval, paired_effect, ratio_interval
from coalsim.stats.ranking import Ranking, rank
from coalsim.stats.student import Interval, paired_difference
from coalsim.sweep.metrics import metric_value
from coalsim.sweep.results import PointResults, StudyResults

CONFIDENCE = 0.95
HIGHER_IS_BETTER = ("ops_per_s", "ops")
LOWER_IS_BETTER = ("mean", "min", "p50", "p90", "p99", "p999", "max", "waittime_total", "waittime_avg")
_NOT_A_DIFFERENCE = ("study",)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric at one point, in the first folder and in another.

    Args:
        metric: dotted path.
        pairs: runs with the same seed in both.
        first, second: means over these pairs.
        difference: second less first; ratio: second over first, None over one pair or at a mean of zero.
        effect: the difference in spreads of the differences; None over one pair.
        has_spread: runs of a side differ; otherwise the interval says nothing.
    """

    metric: str
    pairs: int
    first: float
    second: float
    difference: Interval
    ratio: RatioInterval | None
    effect: float | None
    has_spread: bool

    @property
    def verdict(self) -> str:
        """What can be said."""
        found = self.difference
        if found.half_width is None:
            return "the same" if not found.mean else "one pair: no interval"
        if not found.half_width and not found.mean:
            return "the same"
        if found.holds(0.0):
            return "not told apart"
        last = self.metric.rpartition(".")[2]
        if last in HIGHER_IS_BETTER:
            return "faster" if found.mean > 0 else "slower"
        if last in LOWER_IS_BETTER:
            return "faster" if found.mean < 0 else "slower"
        return "higher" if found.mean > 0 else "lower"


@dataclass(frozen=True, kw_only=True)
class PointPair:
    """A point that both folders have.

    Args:
        settings: of its axes.
        differences: by metric, those that both have.
        unpaired: runs of either side without a partner.
    """

    settings: tuple[tuple[str, object], ...]
    differences: tuple[Difference, ...]
    unpaired: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The first folder and another.

    Args:
        first, second: the studies.
        points: that both have.
        only_first, only_second: settings of points without a partner.
        changed: configuration keys that differ, with both values; None where a side has no such key.
    """

    first: StudyResults
    second: StudyResults
    points: tuple[PointPair, ...]
    only_first: tuple[tuple[tuple[str, object], ...], ...]
    only_second: tuple[tuple[tuple[str, object], ...], ...]
    changed: tuple[tuple[str, object, object], ...]


def compare(first: StudyResults, second: StudyResults, metrics: Sequence[str] = ()) -> Comparison:
    """Compare two results.

    Args:
        first, second: the older and the newer, say.
        metrics: dotted paths; those that the first study shows if there are none.

    Raises:
        InputError: no point, or no run, has a partner.
    """
    wanted = tuple(metrics) or tuple(dict.fromkeys((*first.show.metrics, *second.show.metrics)))
    ours, theirs = _by_settings(first), _by_settings(second)
    shared = [key for key in ours if key in theirs]
    points = tuple(_pair(ours[key], theirs[key], wanted) for key in shared)
    if not points:
        message = f"no point of it is in {first.folder} too"
        raise refusal(second.folder, message, "compare studies with the same axes, or single points of them")
    if not any(point.differences for point in points):
        raise _nothing_in_common(first, second, wanted)
    return Comparison(
        first=first,
        second=second,
        points=points,
        only_first=tuple(ours[key].point.settings for key in ours if key not in theirs),
        only_second=tuple(theirs[key].point.settings for key in theirs if key not in ours),
        changed=tuple(changed_keys(_configuration(first), _configuration(second))),
    )


def _nothing_in_common(first: StudyResults, second: StudyResults, wanted: Sequence[str]) -> InputError:
    seeds = [{run["seed"] for point in study.points for run in point.runs} for study in (first, second)]
    if seeds[0] & seeds[1]:
        return refusal(second.folder, f"no run has {', '.join(wanted)}", "name another --metric")
    message = f"its runs have no seed in common with those of {first.folder}, so they make no pairs"
    return refusal(second.folder, message, "run both with the same run.seed")


def _pair(ours: PointResults, theirs: PointResults, metrics: Sequence[str]) -> PointPair:
    first = {run["seed"]: run for run in ours.runs}
    second = {run["seed"]: run for run in theirs.runs}
    seeds = [seed for seed in first if seed in second]
    found = []
    for metric in metrics:
        pairs = [(_value(first[seed], metric), _value(second[seed], metric)) for seed in seeds]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if known:
            found.append(difference([a for a, _ in known], [b for _, b in known], metric))
    return PointPair(
        settings=ours.point.settings,
        differences=tuple(found),
        unpaired=len(first) + len(second) - 2 * len(seeds),
    )


def difference(first: Sequence[float], second: Sequence[float], metric: str) -> Difference:
    """A metric in pairs of runs."""
    is_many = len(first) > 1
    return Difference(
        metric=metric,
        pairs=len(first),
        first=sum(first) / len(first),
        second=sum(second) / len(second),
        difference=paired_difference(first, second, CONFIDENCE),
        ratio=ratio_interval(first, second, CONFIDENCE) if is_many and any(first) else None,
        effect=paired_effect(first, second) if is_many else None,
        has_spread=len({*first}) > 1 or len({*second}) > 1,
    )


def _value(run: ResultDocument, metric: str) -> float | None:
    return metric_value(cast("Mapping[str, object]", run), metric)


def _by_settings(study: StudyResults) -> dict[str, PointResults]:
    """Points by what they set, whatever the order of the axes."""
    return {
        repr(sorted((key, repr(value)) for key, value in point.point.settings)): point
        for point in study.points
    }


def _configuration(study: StudyResults) -> Mapping[str, object]:
    """What was common to all points: the configuration without the keys of axes."""
    varied = [key for axis in study.axes for key in axis.keys]
    config = study.config or (study.points[0].config if study.points else {})
    return {key: value for key, value in flattened(config) if key not in varied}


def flattened(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a tree under its dotted key."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def changed_keys(
    first: Mapping[str, object], second: Mapping[str, object]
) -> Iterator[tuple[str, object, object]]:
    """Keys that differ, in the order of the first, with both values; words of the study are none."""
    for key in dict.fromkeys((*first, *second)):
        if key.partition(".")[0] not in _NOT_A_DIFFERENCE and first.get(key) != second.get(key):
            yield key, first.get(key), second.get(key)


# -- ranking ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The values of some axes, ranked at one place of the others.

    Args:
        at: the other axes with their values.
        metric: by which; lower_is_better: the last tier is the best one.
        ranking: of the settings in words.
        is_told: the intervals say something; not with one run, or where all runs of a variant are alike.
        left_out: settings in words without runs that make pairs.
    """

    at: tuple[tuple[str, object], ...]
    metric: str
    lower_is_better: bool
    ranking: Ranking
    is_told: bool
    left_out: tuple[str, ...]

    @property
    def tiers(self) -> tuple[tuple[str, ...], ...]:
        """Names that cannot be told apart, the best tier first; none where intervals say nothing."""
        if not self.is_told:
            return ()
        return tuple(reversed(self.ranking.tiers)) if self.lower_is_better else self.ranking.tiers

    @property
    def rows(self) -> tuple[tuple[int, str], ...]:
        """Each name with the number of its tier, 0 where there are none; the best first."""
        if not self.is_told:
            names = [*self.ranking.means]
            return tuple((0, name) for name in (reversed(names) if self.lower_is_better else names))
        return tuple((place, name) for place, tier in enumerate(self.tiers, 1) for name in tier)


def rankings(study: StudyResults, metric: str = "", over: Sequence[str] = ()) -> list[Ranked]:
    """Rank the curves of a study at each of its places along x.

    Args:
        study: a sweep.
        metric: the first one that it shows if it is empty.
        over: axis keys whose values are ranked; those of `show.series`, or x, if there are none.

    Raises:
        InputError: the study has nothing to rank.
    """
    metric = metric or study.show.metrics[0]
    keys = tuple(over) or study.show.series or ((study.show.x,) if study.show.x else ())
    known = [key for axis in study.axes for key in axis.keys]
    if not keys or not known:
        remedy = "compare it with another folder, or run a study with axes"
        raise refusal(study.folder, "there is nothing in it to rank", remedy)
    if strange := [key for key in keys if key not in known]:
        remedy = f"rank one of {clean(', '.join(known))}"
        raise refusal(study.folder, f"it has no axis {clean(', '.join(strange))}", remedy)
    places: dict[str, list[PointResults]] = {}
    for point in study.points:
        at = repr([pair for pair in point.point.settings if pair[0] not in keys])
        places.setdefault(at, []).append(point)
    found = [ranked for points in places.values() if (ranked := _ranked(points, keys, metric)) is not None]
    if not found and any(point.runs for point in study.points):
        raise refusal(
            study.folder, f"no two runs with one seed have {clean(metric)}", "name another --metric"
        )
    if not found:
        raise refusal(study.folder, "its points have no runs that make pairs", "finish the study first")
    return found


def _ranked(points: Sequence[PointResults], keys: Sequence[str], metric: str) -> Ranked | None:
    """The points at one place, ranked by their runs with the same seeds; None if there is nothing to rank."""
    known = {_name(point, keys): _by_seed(point, metric) for point in points}
    usable = {name: runs for name, runs in known.items() if runs}
    if not usable or len(known) < 2:
        return None
    first, *others = usable.values()
    seeds = [seed for seed in first if all(seed in runs for runs in others)]
    if not seeds:
        return None
    values = {name: [runs[seed] for seed in seeds] for name, runs in usable.items()}
    return Ranked(
        at=tuple(pair for pair in points[0].point.settings if pair[0] not in keys),
        metric=metric,
        lower_is_better=metric.rpartition(".")[2] in LOWER_IS_BETTER,
        ranking=rank(values, CONFIDENCE),
        is_told=len(seeds) > 1 and _vary(values.values()),
        left_out=tuple(name for name in known if name not in usable),
    )


def _vary(groups: Iterable[Sequence[float]]) -> bool:
    """The values of some group differ; or all of all groups are the same, and so is what they mean."""
    distinct = [{*values} for values in groups]
    return any(len(each) > 1 for each in distinct) or len(set().union(*distinct)) == 1


def _by_seed(point: PointResults, metric: str) -> dict[int, float]:
    """The metric in each run that has it."""
    found = ((run["seed"], _value(run, metric)) for run in point.runs)
    return {seed: value for seed, value in found if value is not None}


def _name(point: PointResults, keys: Sequence[str]) -> str:
    return " ".join(str(value) for key, value in point.point.settings if key in keys)


def bounded(value: float) -> float | None:
    """The value; None where it is infinite, as an end of an interval may be."""
    return value if isfinite(value) and abs(value) < inf else None
