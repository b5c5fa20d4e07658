"""Curves: which points lie on which curve, and where along it.

Curves run along `show.x`.  Every combination of the series' keys is one curve; an axis that [show] names
nowhere tells curves apart too, so that every point of a study is on a curve.

Invariant: a point is on exactly one curve, and no curve has two points at one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coalsim.sweep.loading import shown
from coalsim.sweep.points import Axis
from coalsim.sweep.ranges import quantity
from coalsim.sweep.results import StudyResults
from coalsim.units import parse_size, parse_time

NOWHERE = -1
"""Stands for the point where a curve has none."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where along a curve points lie.

    Args:
        label: of the axis.
        texts: each place in words.
        numbers: each place as a number; empty where places are names.
        unit: "ps", "B", or nothing.
    """

    label: str
    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    unit: str


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One curve: what tells it from the others, and its point at each place, or `NOWHERE`."""

    label: str
    points: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """All curves of a study; `is_empty` where there is nothing to vary."""

    places: Places
    curves: tuple[Curve, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is but one point."""
        return not self.places.texts


def curves_of(results: StudyResults) -> Curves:
    """The curves that a study's figures show."""
    x = _axis_of(results.axes, results.show.x)
    if x is None:
        return Curves(places=Places(label="", texts=(), numbers=(), unit=""), curves=())
    places = _places(x, results.show.x)
    keys = _series_keys(results, x)
    at = {text: place for place, text in enumerate(_texts(x))}
    found: dict[tuple[str, ...], list[int]] = {}
    for point in results.points:
        settings = dict(point.point.settings)
        series = tuple(_told(key, settings[key], len(keys)) for key in keys)
        curve = found.setdefault(series, [NOWHERE] * len(places.texts))
        curve[at[_joined([settings[key] for key in x.keys])]] = point.point.number
    curves = tuple(Curve(label=", ".join(series), points=tuple(points)) for series, points in found.items())
    return Curves(places=places, curves=curves)


def _axis_of(axes: Sequence[Axis], key: str) -> Axis | None:
    return next((axis for axis in axes if key in axis.keys), None)


def _series_keys(results: StudyResults, x: Axis) -> list[str]:
    """The keys that tell curves apart: those asked for, and those of axes that nothing else shows."""
    keys = [key for key in results.show.series if key not in x.keys]
    named = set(keys)
    for axis in results.axes:
        if axis is not x and not named.intersection(axis.keys):
            keys += axis.keys
    # An axis of several keys of which only some are named: the others follow from the step.
    partly = [axis for axis in results.axes if len(axis.keys) > 1 and named.intersection(axis.keys)]
    for axis in partly:
        at = [number for number, key in enumerate(axis.keys) if key in named]
        steps = {_joined([row[number] for number in at]) for row in axis.values}
        if len(steps) < len(axis.values):
            keys += [key for key in axis.keys if key not in named]
    return keys


def _places(x: Axis, key: str) -> Places:
    column = [row[x.keys.index(key)] for row in x.values]
    numbers = [quantity(value) for value in column]
    known = [number for number in numbers if number is not None]
    if len(known) == len(column) == len(set(known)):
        label = x.label if len(x.keys) == 1 else key
        texts = tuple(shown(value) for value in column)
        return Places(label=label, texts=texts, numbers=tuple(known), unit=_unit(column[0]))
    return Places(label=x.label, texts=tuple(_texts(x)), numbers=(), unit="")


def _unit(value: object) -> str:
    if not isinstance(value, str):
        return ""
    for unit, parse in (("ps", parse_time), ("B", parse_size)):
        try:
            parse(value)
        except ValueError:
            continue
        return unit
    return ""


def _texts(axis: Axis) -> list[str]:
    return [_joined(row) for row in axis.values]


def _joined(values: Sequence[object]) -> str:
    return ", ".join(shown(value) for value in values)


def _told(key: str, value: object, keys: int) -> str:
    """A setting in a legend: the value alone where it is clear of what."""
    return shown(value) if keys == 1 or isinstance(value, str) else f"{key.rpartition('.')[2]}={shown(value)}"
