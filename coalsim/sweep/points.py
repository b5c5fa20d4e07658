"""Axes and points: what a study varies, and one configuration among those that follow.

Axes combine as a grid in the order of the study file, the last one fastest.  An axis with
several keys changes them together.

Invariant: every value of an axis has as many entries as the axis has keys, and the
settings of a point name the keys of all axes, in their order.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Something that a study varies.

    Args:
        keys: the dotted keys that change together; mostly one.
        values: for each step, one value per key.
        label: what it is called in tables and figures.
        scale: "linear", "log", or "none" where the values are names.
    """

    keys: tuple[str, ...]
    values: tuple[tuple[object, ...], ...]
    label: str
    scale: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration of a study.

    Args:
        number: its place in the grid, from 0.
        key: SHA-256, in hexadecimal digits, of all that its results depend on.
        settings: each axis key with its value here, in the order of the axes.
    """

    number: int
    key: str
    settings: tuple[tuple[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When there are enough replications of a point.

    Args:
        metric: the result whose interval has to be narrow.
        relative: half the width of the interval over its mean that is narrow enough.
        confidence: of the interval, for example 0.95.
        least, most: replications that are run in any case, and at most.
    """

    metric: str
    relative: float
    confidence: float
    least: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Show:
    """What tables and figures show.

    Args:
        metrics: dotted paths into the result document.
        x: the axis key along which curves run; empty if there is no axis.
        series: the axis keys of which every combination is a curve.
        log: which directions are logarithmic: "x", "y".
    """

    metrics: tuple[str, ...]
    x: str
    series: tuple[str, ...]
    log: tuple[str, ...]
