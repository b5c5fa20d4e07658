"""Units and identifiers: the floor that everything else stands on.

Time is an `int` of picoseconds everywhere; sizes are `int` bytes.  Text is read
exactly (no floats of seconds): ``parse_time("56.3ns") == 56_300``.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import NewType, TypeAlias

Time: TypeAlias = int
"""A point in, or a length of, simulated time in picoseconds."""

PS: Time = 1
NS: Time = 1_000
US: Time = 1_000_000
MS: Time = 1_000_000_000
SEC: Time = 1_000_000_000_000
FOREVER: Time = 1 << 62
"""Later than anything that happens."""

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
PAGE_SIZE = 4 * KIB
PAGE_SHIFT = 12

CpuId = NewType("CpuId", int)
NodeId = NewType("NodeId", int)
Pfn = NewType("Pfn", int)
"""Physical frame number: physical address / 4 KiB."""
Vpn = NewType("Vpn", int)
"""Virtual page number: virtual address / 4 KiB."""

_TIME_UNITS = {"ps": PS, "ns": NS, "us": US, "µs": US, "ms": MS, "s": SEC}
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kb": KIB,
    "kib": KIB,
    "m": MIB,
    "mb": MIB,
    "mib": MIB,
    "g": GIB,
    "gb": GIB,
    "gib": GIB,
    "t": TIB,
    "tb": TIB,
    "tib": TIB,
}
_QUANTITY = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([a-zA-Zµ]*)\s*\Z")


def _split(text: str, kind: str, example: str) -> tuple[Decimal, str]:
    found = _QUANTITY.match(text)
    if not found:
        raise ValueError(f"{text!r} is not a {kind}; write it like {example}")
    try:
        return Decimal(found[1].replace("_", "")), found[2]
    except InvalidOperation:  # pragma: no cover - the pattern admits only decimals
        raise ValueError(f"{text!r} is not a {kind}; write it like {example}") from None


def parse_time(text: str) -> Time:
    """Picoseconds of a text such as ``56.3ns`` or ``2 ms``.

    Raises:
        ValueError: no number, no unit, negative, or finer than a picosecond.
    """
    number, unit = _split(text, "time", "56.3ns, 4us or 2ms")
    if unit not in _TIME_UNITS:
        raise ValueError(f"{text!r} has no time unit; write ps, ns, us, ms or s behind the number")
    exact = number * _TIME_UNITS[unit]
    if exact != exact.to_integral_value():
        raise ValueError(f"{text!r} is finer than a picosecond; round it to whole ps")
    if exact >= FOREVER:
        raise ValueError(f"{text!r} is longer than coalsim's clock; give less than 53 days")
    return int(exact)


def parse_size(text: str) -> int:
    """Bytes of a text such as ``4KiB``, ``2G`` or ``512`` (K, M, G, T are powers of 1,024).

    Raises:
        ValueError: no number, an unknown unit, negative, or not whole bytes.
    """
    number, unit = _split(text, "size", "4KiB, 2GiB or 4096")
    factor = _SIZE_UNITS.get(unit.lower())
    if factor is None:
        raise ValueError(f"{text!r} has no size unit that is known; use B, KiB, MiB, GiB or TiB")
    exact = number * factor
    if exact != exact.to_integral_value():
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(exact)


def format_time(ps: Time) -> str:
    """A time for people: three to four significant digits and a unit.

    >>> format_time(56_300)
    '56.3 ns'
    """
    for unit, size in (("s", SEC), ("ms", MS), ("us", US), ("ns", NS)):
        if abs(ps) >= size:
            return f"{ps / size:.4g} {unit}"
    return f"{ps} ps"


def format_size(size: int) -> str:
    """A size for people.

    >>> format_size(65536)
    '64 KiB'
    """
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} B"
