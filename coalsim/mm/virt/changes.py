"""What a change of an address space's areas reports: what it touched, and what a kernel pays for.

`splits` counts areas that were made by cutting, `merges` areas that joining saved or
borders between two areas that moved.
"""

from typing import NamedTuple

from coalsim.mm.virt.area import Area, Rights
from coalsim.units import Vpn


class Inserted(NamedTuple):
    """The area that holds the pages now, and how many areas joining saved."""

    area: Area
    merges: int


class Removed(NamedTuple):
    """What was cut out, from low to high, and how many new areas that made."""

    areas: list[Area]
    splits: int


class Changed(NamedTuple):
    """Pages whose rights changed, what they were, and the area that holds them now."""

    first: Vpn
    last: Vpn
    was: Rights
    area: Area


class Protected(NamedTuple):
    """What changed, from low to high; runs that had these rights already are left out."""

    changes: list[Changed]
    splits: int
    merges: int


class Moved(NamedTuple):
    """The areas that hold the pages at their new place."""

    areas: list[Area]
    splits: int
    merges: int
