"""Ranges: the values of an axis between two ends, evenly or by equal factors.

    from = 1, to = 128, count = 8, scale = "log"        1, 2, 4, ... 128
    from = "1us", to = "1ms", count = 4, scale = "log"  1us, 10us, 100us, 1ms

Whole ends give whole values, rounded, each once.  Times are rounded to four significant digits,
sizes to whole bytes, all other numbers to six significant digits; the ends stay as they are.

Invariant: values of one range are distinct and ascend or descend.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from coalsim.units import GIB, KIB, MIB, MS, NS, PS, SEC, TIB, US, parse_size, parse_time

Scale = Literal["linear", "log"]
_QUANTITY = re.compile(r"\s*(-?[0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-zµ%/]+)\s*\Z")
_TIMES = (("s", SEC), ("ms", MS), ("us", US), ("ns", NS), ("ps", PS))
_SIZES = (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1))


def range_values(first: object, last: object, count: int, scale: Scale) -> list[object]:
    """The values from `first` to `last`, both included.

    Args:
        first, last: numbers, or texts of one kind with units.
        count: how many; rounding may leave fewer.
        scale: steps that are equal (linear) or whose factors are (log).

    Raises:
        ValueError: ends of different kinds, or ones that the scale cannot have; "what; remedy".
    """
    low, high = _End.of(first), _End.of(last)
    if low.kind != high.kind:
        raise ValueError(f"{first} and {last} are of different kinds; give two numbers, times or sizes")
    if scale == "log" and (low.number <= 0 or high.number <= 0):
        raise ValueError('a logarithmic range has no 0; begin above it, or use scale = "linear"')
    if low.number == high.number:
        raise ValueError("both ends are the same; give a from and a to that differ")
    values: list[object] = [first]
    for step in range(1, count - 1):
        share = step / (count - 1)
        if scale == "log":
            number = low.number * (high.number / low.number) ** share
        else:
            number = low.number + (high.number - low.number) * share
        values.append(low.write(number))
    values.append(last)
    return [*dict.fromkeys(values)]


def quantity(value: object) -> float | None:
    """A value as a number on an axis: times in picoseconds, sizes in bytes; None if it is a name."""
    try:
        return _End.of(value).number
    except ValueError:
        return None


@dataclass(frozen=True)
class _End:
    """One end of a range."""

    number: float
    kind: str
    write: Callable[[float], object]

    @staticmethod
    def of(value: object) -> "_End":
        if isinstance(value, int) and not isinstance(value, bool):
            return _End(value, "number", round)
        if isinstance(value, float):
            return _End(value, "number", lambda number: float(f"{number:.6g}"))
        found = _QUANTITY.match(value) if isinstance(value, str) else None
        if found is None or not isinstance(value, str):
            raise ValueError(f"{value} is no number; give numbers, times or sizes")
        unit = found[2]
        if unit in dict(_TIMES) or unit == "µs":
            return _End(parse_time(value), "time", _time_text)
        try:
            return _End(parse_size(value), "size", _size_text)
        except ValueError:
            number = float(found[1].replace("_", ""))
            return _End(number, unit, lambda number: f"{number:.6g}{unit}")


def _time_text(picoseconds: float) -> str:
    whole = round(float(f"{picoseconds:.4g}"))
    unit, factor = next((unit, factor) for unit, factor in (*_TIMES, ("ps", 0)) if whole >= factor)
    return f"{(Decimal(whole) / (factor or 1)).normalize():f}{unit}"


def _size_text(size: float) -> str:
    whole = round(size)
    unit, factor = next((unit, factor) for unit, factor in _SIZES if whole % factor == 0)
    return f"{whole // factor}{unit}"
