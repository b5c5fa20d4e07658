"""Published measurements, retyped into the package's data folder.

A file of `coalsim/data` holds curves of one kind: title, axis, unit, status, source,
machine and points [x, value].  One curve stands at the top of its file; several are
[[series]] with a name each, which take from the top what they do not say themselves.
Measured values are never changed to suit a prediction; how a curve is predicted, and
which of its points fixed a number, is what `predictions.py` reads from the same file.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import cast

from coalsim.provenance import STATUSES


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A measured curve with its provenance; `points` maps x to the value in `unit`.

    `name` tells it from others of its file and is empty where it is the only one.
    """

    name: str
    unit: str
    status: str
    source: str
    machine: str
    points: dict[int, float]


def read_data(name: str) -> Mapping[str, object]:
    """A data file that coalsim brings along."""
    return tomllib.loads((files("coalsim") / "data" / f"{name}.toml").read_text(encoding="utf-8"))


def tables(raw: Mapping[str, object]) -> tuple[Mapping[str, object], ...]:
    """The file's curves as they stand in it: its series, or itself where it is one curve."""
    return tuple(cast("list[Mapping[str, object]]", raw.get("series", [raw])))


def curve(table: Mapping[str, object], top: Mapping[str, object]) -> Curve:
    """The curve of a table; what it leaves out is what the top of its file says."""
    said = {**top, **table}
    assert said["status"] in STATUSES, f"{said['status']} is no status"
    points = cast("list[tuple[int, float]]", table["points"])
    return Curve(
        name=str(table.get("name", "")),
        unit=str(said["unit"]),
        status=str(said["status"]),
        source=str(said["source"]),
        machine=str(said["machine"]),
        points={int(x): float(value) for x, value in points},
    )
