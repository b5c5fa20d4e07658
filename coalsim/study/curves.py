"""Published measurements, retyped into the package's data folder.

A curve is a TOML file of `coalsim/data`: title, unit, axis, status, source, machine
and points [x, value].  Nothing here is ever fitted to; which points fixed a number is
said by whoever uses the curve.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from coalsim.provenance import STATUSES


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A measured curve with its provenance; `points` maps x to the value in `unit`."""

    name: str
    title: str
    unit: str
    axis: str
    status: str
    source: str
    machine: str
    points: dict[int, float]


def load_curve(name: str) -> Curve:
    """The curve of that name; one that coalsim brings along."""
    text = (files("coalsim") / "data" / f"{name}.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    assert raw["status"] in STATUSES, f"{name}: {raw['status']} is no status"
    return Curve(
        name=name,
        title=raw["title"],
        unit=raw["unit"],
        axis=raw["axis"],
        status=raw["status"],
        source=raw["source"],
        machine=raw["machine"],
        points={int(x): float(value) for x, value in raw["points"]},
    )
