"""One document out of several replications: every number becomes its mean over the runs.

Rows are matched by what they are about (name, type, site, node ...), not by their
position; what a run does not have counts as zero there.  Means are formed exactly and
become floats at the end, whole ones stay whole, so the answer does not depend on the
order in which runs came in, apart from the seed and the configuration: those are the
first run's.  An average column is again total over count; a maximum is the mean of
the runs' maxima, so the rules between the columns of one row hold in the runs alone.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import cast

from coalsim.observe.document import LockEntry, ResultDocument

_IDENTITY = ("name", "type", "site", "cache", "node", "zone", "cpu", "address", "symbol")
_OF_FIRST = ("seed", "config", "cpu_nodes")


def mean_document(runs: Sequence[ResultDocument]) -> ResultDocument:
    """The means, with the runs themselves under `runs`; intervals are the caller's to add."""
    assert runs, "a mean needs at least one run"
    means = _mean_of_objects([{**run} for run in runs])
    means.update({key: value for key, value in runs[0].items() if key in _OF_FIRST})
    means["runs"] = list(runs)
    if "warnings" in means:
        means["warnings"] = list(dict.fromkeys(text for run in runs for text in run.get("warnings", [])))
    document = cast(ResultDocument, means)
    for lock in document["locks"]:
        _divide_again(lock)
    return document


def _divide_again(lock: LockEntry) -> None:
    """The average columns of a row of means."""
    contentions, acquisitions = lock["contentions"], lock["acquisitions"]
    lock["waittime_avg"] = lock["waittime_total"] / contentions if contentions else 0
    lock["holdtime_avg"] = lock["holdtime_total"] / acquisitions if acquisitions else 0


def _mean(values: Sequence[object]) -> object:
    """The mean of values that stand at one place of the runs' documents; None: not there."""
    present = [value for value in values if value is not None]
    if all(type(value) in (int, float) for value in present):
        return _mean_of_numbers(cast(list[int | float], present), len(values))
    if all(isinstance(value, dict) for value in present):
        return _mean_of_objects([cast(dict[str, object], value or {}) for value in values])
    if all(isinstance(value, list) for value in present):
        return _mean_of_lists([cast(list[object], value or []) for value in values])
    return present[0]


def _mean_of_numbers(values: Sequence[int | float], count: int) -> int | float:
    mean = sum((Fraction(value) for value in values), Fraction(0)) / count
    return mean.numerator if mean.denominator == 1 else float(mean)


def _mean_of_objects(values: Sequence[Mapping[str, object]]) -> dict[str, object]:
    keys = dict.fromkeys(key for value in values for key in value)
    return {key: _mean([value.get(key) for value in values]) for key in keys}


def _mean_of_lists(values: Sequence[Sequence[object]]) -> list[object]:
    """Rows matched by identity; plain items by position."""
    by_row = [{_identity(item, at): item for at, item in enumerate(value)} for value in values]
    rows = dict.fromkeys(identity for value in by_row for identity in value)
    return [_mean([value.get(identity) for value in by_row]) for identity in rows]


def _identity(item: object, at: int) -> tuple[object, ...]:
    named = [(key, item[key]) for key in _IDENTITY if key in item] if isinstance(item, dict) else []
    return tuple(named) or (at,)
