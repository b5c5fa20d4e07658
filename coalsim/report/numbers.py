"""Numbers for people: four digits, a prefix, a unit.

The script of the page writes numbers by the same rules (`script/numbers.js`); a test compares them.
"""

from collections.abc import Sequence
from math import floor, isfinite, log10

MINUS = "\N{MINUS SIGN}"
_TIMES = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"), (1e-3, "ps"))
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SIZES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_NANOSECONDS = {"ps": 1e-3, "ns": 1.0, "us": 1e3}


def digits_text(value: float, digits: int = 4) -> str:
    """So many digits that count, no exponent, no zeros at the end.

    >>> digits_text(0.123456), digits_text(1234567.0), digits_text(2.5)
    ('0.1235', '1234567', '2.5')
    """
    if not isfinite(value) or value == 0:
        return "0" if value == 0 else str(value)
    decimals = min(18, max(0, digits - 1 - floor(log10(abs(value)))))
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS)


def quantity_text(value: float, unit: str, digits: int = 4) -> str:
    """A number with its unit and the prefix that suits it.

    >>> quantity_text(3003333.3, "1/s"), quantity_text(130234.0, "ns"), quantity_text(110.0, "")
    ('3.003 M/s', '130.2 µs', '110')
    """
    if value == 0:
        return "0"
    if unit in _NANOSECONDS:
        return _scaled(value * _NANOSECONDS[unit], _TIMES, "", digits)
    if unit in ("B", "KiB"):
        return _scaled(value * (1024 if unit == "KiB" else 1), _SIZES, "", digits)
    if unit == "1/s":
        return _scaled(value, _PREFIXES, "/s", digits)
    if unit == "":
        return _scaled(value, _PREFIXES, "", digits) if abs(value) >= 1e6 else digits_text(value, digits)
    return f"{digits_text(value, digits)} {unit}"


def _scaled(value: float, steps: Sequence[tuple[float, str]], after: str, digits: int) -> str:
    size, name = next((step for step in steps if abs(value) >= step[0]), (0.0, ""))
    if not size:  # below the smallest
        size, name = steps[-1] if steps[-1][0] <= 1 else (1.0, "")
    number = digits_text(value / size, digits)
    return f"{number} {name}{after}" if name or after else number


def short(value: float) -> float:
    """A number as pages hold it: six digits, which is more than anybody sees.

    Its JSON text is the shortest that gives it back.
    """
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
