"""Means of JSON values that stand at one place of several documents, form kept.

Rows are matched by what they are about (name, type, site, node ...), not by their
position; what a run does not have counts as zero there.  Means are formed exactly and
become floats at the end, whole ones stay whole, so the answer does not depend on the
order in which runs came in.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import cast

Identity = tuple[tuple[str, object], ...]
_IDENTITY = ("name", "type", "site", "cache", "node", "zone", "cpu", "address", "symbol")


def mean_of_objects(values: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The mean of records, key by key."""
    keys = dict.fromkeys(key for value in values for key in value)
    return {key: _mean([value.get(key) for value in values]) for key in keys}


def mean_of_numbers(values: Sequence[int | float], count: int) -> int | float:
    """The mean of so many numbers, of which those that are not given are zero."""
    return as_number(sum((Fraction(value) for value in values), Fraction(0)) / count)


def as_number(exact: Fraction) -> int | float:
    """A whole number where it is one, else the nearest float."""
    return exact.numerator if exact.denominator == 1 else float(exact)


def _mean(values: Sequence[object]) -> object:
    """The mean of values that stand at one place of the runs' documents; None: not there."""
    present = [value for value in values if value is not None]
    if all(type(value) in (int, float) for value in present):
        return mean_of_numbers(cast(list[int | float], present), len(values))
    if all(isinstance(value, dict) for value in present):
        return mean_of_objects([cast(dict[str, object], value or {}) for value in values])
    if all(isinstance(value, list) for value in present):
        return _mean_of_lists([cast(list[object], value or []) for value in values])
    return present[0]


def _mean_of_lists(values: Sequence[Sequence[object]]) -> list[object]:
    """Rows matched by identity; plain items by position."""
    by_row = [{_identity(item, at): item for at, item in enumerate(value)} for value in values]
    rows = dict.fromkeys(identity for value in by_row for identity in value)
    return [_mean_row(identity, [value.get(identity) for value in by_row]) for identity in rows]


def _mean_row(identity: Identity | int, values: Sequence[object]) -> object:
    """The mean of a row, which stays about what it is about where some runs do not have it."""
    mean = _mean(values)
    return {**mean, **dict(identity)} if isinstance(mean, dict) and isinstance(identity, tuple) else mean


def _identity(item: object, at: int) -> Identity | int:
    """What a row is about; its position where it does not say."""
    named = [(key, item[key]) for key in _IDENTITY if key in item] if isinstance(item, dict) else []
    return tuple(named) or at
