"""Microarchitectures by name, and the tables of their numbers in files.

A file of ``mmu/`` has a `title`, `[sources]` and `[values]` with every number of an
`Mmu`.  In a machine file ``mmu = "skylake-sp"`` names one, and `[mmu_values]` replaces
single numbers of it.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from coalsim.errors import ConfigError, Problem
from coalsim.guarded import clean
from coalsim.provenance import Sourced
from coalsim.topology.cost_reader import Reader
from coalsim.topology.mmu import MMU_KEYS, Mmu, units_of
from coalsim.topology.toml_text import key_lines, read_toml

FOLDER = Path(__file__).with_name("mmu")


@cache
def mmu_names() -> tuple[str, ...]:
    """The microarchitectures that come with coalsim, in alphabetical order."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.toml")))


@cache
def mmu_named(name: str) -> Mmu:
    """A microarchitecture that comes with coalsim.

    Raises:
        ConfigError: there is none of that name; says which are near.
    """
    if name not in mmu_names():
        problem = Problem(key="mmu", value=clean(name)[:200], message=UNKNOWN, remedy=nearest(name))
        raise ConfigError([problem])
    return read_mmu_file(FOLDER / f"{name}.toml")


UNKNOWN = "no microarchitecture of that name"


def nearest(name: str) -> str:
    """What somebody who wrote `name` may have meant."""
    near = get_close_matches(name, mmu_names(), n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(mmu_names())}"


def read_mmu_file(path: Path) -> Mmu:
    """A microarchitecture in a file of its own.

    Raises:
        ConfigError: every mistake in it, with its line.
    """
    document, text = read_toml(path)
    reader = Reader(document, str(path), key_lines(text))
    reader.only(document, ("title", "sources", "values"))
    numbers = read_values(reader, "values")
    for key in MMU_KEYS:
        if key not in reader.table("values"):
            reader.refuse(f"values.{key}", "missing", "write {value=, unit=, source=, status=}")
    reader.finish()
    return Mmu(name=path.stem, **numbers)


def read_values(reader: Reader, table_key: str) -> dict[str, Sourced]:
    """The numbers that a table gives; what is not usable becomes a problem."""
    table = reader.table(table_key)
    reader.only(table, MMU_KEYS, f"{table_key}.")
    read = {
        key: reader.number(table, key, units_of(key), f"{table_key}.") for key in MMU_KEYS if key in table
    }
    return {key: number for key, number in read.items() if number}


def with_numbers(mmu: Mmu, numbers: Mapping[str, Sourced]) -> Mmu:
    """A copy with some numbers replaced."""
    return Mmu(name=mmu.name, **{**dict(mmu.numbers()), **numbers})
