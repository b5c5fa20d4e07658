"""Numbers that know where they come from.

Every hardware or kernel cost in coalsim is a `Sourced` number read from a data
file: value, unit, source and status.  `measured` was read in the named source,
`derived` follows from such numbers by arithmetic that the source states, and
`assumed` is a starting point that nobody measured.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, get_args

from coalsim.errors import ConfigError, Problem
from coalsim.units import NS, PS, US, Time

Status = Literal["measured", "derived", "assumed"]
STATUSES: tuple[str, ...] = get_args(Status)
_TIME_UNITS = {"ps": PS, "ns": NS, "us": US}


@dataclass(frozen=True, kw_only=True)
class Sourced:
    """A number with its unit, source and status."""

    value: Decimal
    unit: str
    source: str
    status: Status

    def picoseconds(self, clock_ghz: Decimal) -> Time:
        """The value as a time; cycles are cycles of the given clock, rounded to the nearest ps."""
        if self.unit == "cycles":
            return round(self.value * 1000 / clock_ghz)
        return round(self.value * _TIME_UNITS[self.unit])

    def __str__(self) -> str:
        return f"{self.value} {self.unit} [{self.status}: {self.source}]"


def sourced(entry: object, *, where: str, key: str, units: tuple[str, ...]) -> Sourced:
    """Read one entry ``{value, unit, source, status}`` of a data file.

    Raises:
        ConfigError: a part is missing or of another kind.
    """

    def refuse(message: str, remedy: str) -> ConfigError:
        return ConfigError([Problem(where=where, key=key, message=message, remedy=remedy)])

    if not isinstance(entry, dict):
        raise refuse("a number needs its provenance", "write {value=, unit=, source=, status=}")
    missing = [part for part in ("value", "unit", "source", "status") if part not in entry]
    if missing:
        raise refuse(f"{', '.join(missing)} missing", "write {value=, unit=, source=, status=}")
    value = entry["value"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(f"{value!r} is not a number", "give a whole or decimal number")
    if value < 0:
        raise refuse(f"{value} is negative", "give a number from 0 up")
    unit, status = str(entry["unit"]), str(entry["status"])
    if unit not in units:
        raise refuse(f"unit {unit!r} does not fit", f"use one of {', '.join(units)}")
    if status not in STATUSES or not str(entry["source"]).strip():
        raise refuse(
            "status or source is not usable", f"status is one of {', '.join(STATUSES)}; name the source"
        )
    return Sourced(value=Decimal(str(value)), unit=unit, source=str(entry["source"]), status=status)  # type: ignore[arg-type]
