"""The magazine types: how many rounds a magazine holds, by size of the objects.

They are data (`magazine_types.toml`, from illumos): small objects begin with larger
magazines, and a cache whose depot is contended steps to the next type.

Nothing here waits or costs time; the file is read once, when the kernel is built.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class MagazineType:
    """One row: `rounds` objects fit; see the data file for the two bounds in bytes."""

    rounds: int
    initial_above: int
    may_grow_below: int


@dataclass(frozen=True, kw_only=True)
class MagazineTypes:
    """All rows, smallest first, and the failed tries that a depot tolerates per interval."""

    rows: tuple[MagazineType, ...]
    tolerated_failed_tries: int

    def initial(self, object_size: int) -> int:
        """Row with which a cache of such objects begins."""
        for index, row in enumerate(self.rows):
            if object_size > row.initial_above:
                return index
        return len(self.rows) - 1


def fixed_type(rounds: int) -> MagazineTypes:
    """A single type that never changes, for a cache whose magazines do not resize."""
    row = MagazineType(rounds=rounds, initial_above=0, may_grow_below=0)
    return MagazineTypes(rows=(row,), tolerated_failed_tries=0)


def illumos_types() -> MagazineTypes:
    """The published table."""
    data = tomllib.loads(files("coalsim.mm.kmem").joinpath("magazine_types.toml").read_text("utf-8"))
    rows = tuple(MagazineType(**row) for row in data["type"])
    return MagazineTypes(rows=rows, tolerated_failed_tries=data["contention"]["tolerated_failed_tries"])
