"""KernelProfile: one kernel by name, and how a profile is read from its file.

A profile's TOML holds a title, [switches] and [costs], and may extend another
file of this folder: what it says replaces what the other said, key by key.  A
file whose name begins with an underscore is a part, not a profile.

Invariant: a loaded profile has every switch and every cost, each cost with its
provenance.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from coalsim.errors import ConfigError, Problem
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.reading import cost_from_text, switch_from_text, switch_from_toml, switch_to_text
from coalsim.profiles.switches import Switches
from coalsim.provenance import Sourced, sourced

DEFAULT_PROFILE = "coal"
COST_UNITS = ("cycles", "ns", "ps", "us")
COST_PREFIX = "cost."


@dataclass(frozen=True, kw_only=True)
class KernelProfile:
    """A named kernel: its switches, and its costs before they meet a machine's clock."""

    name: str
    title: str
    switches: Switches
    costs_table: Mapping[str, Sourced]

    def costs(self, clock_ghz: Decimal) -> KernelCosts:
        """The costs on a machine with this clock; only those in cycles depend on it."""
        return KernelCosts(**{key: entry.picoseconds(clock_ghz) for key, entry in self.costs_table.items()})

    def with_overrides(self, changes: Mapping[str, str]) -> "KernelProfile":
        """The profile with keys replaced: switches by name, costs as ``cost.NAME``.

        Args:
            changes: values as text: ``{"hz": "0", "pcp_orders": "0,1", "cost.pcp_pop": "12ns"}``.

        Raises:
            ConfigError: every key that does not exist, every value that does not fit.
        """
        switches: dict[str, object] = {}
        table = dict(self.costs_table)
        problems: list[Problem] = []
        for key, text in changes.items():
            try:
                if key.startswith(COST_PREFIX):
                    name = _known(key, key.removeprefix(COST_PREFIX), tuple(table), COST_PREFIX)
                    table[name] = cost_from_text(key, text)
                else:
                    switches[key] = switch_from_text(_known(key, key, switch_names()), text)
            except ConfigError as error:
                problems.extend(error.problems)
        changed = self.switches
        try:
            changed = replace(self.switches, **switches)  # type: ignore[arg-type]
        except ConfigError as error:
            problems.extend(error.problems)
        if problems:
            raise ConfigError(problems)
        return replace(self, switches=changed, costs_table=MappingProxyType(table))

    def parameters(self) -> Iterator[tuple[str, Sourced]]:
        """Every cost with its provenance, in the order of `KernelCosts`."""
        return iter(self.costs_table.items())

    def switches_as_text(self) -> dict[str, str]:
        """Every switch as `with_overrides` would read it."""
        return {
            key: switch_to_text(key, value)
            for key in switch_names()
            if (value := getattr(self.switches, key)) or key not in _optional()
        }


def switch_names() -> tuple[str, ...]:
    """Every key of a profile that is not a cost."""
    return tuple(field.name for field in fields(Switches))


@cache
def _optional() -> tuple[str, ...]:
    """Switches that name a user's own class: profiles leave them out, and so does who has none."""
    return tuple(field.name for field in fields(Switches) if field.default is not MISSING)


def cost_names() -> tuple[str, ...]:
    """Every cost, as it is named behind ``cost.``."""
    return tuple(field.name for field in fields(KernelCosts))


@cache
def profile_names() -> tuple[str, ...]:
    """The profiles that coalsim brings along, `coal` first, then Linux by version."""
    names = [
        entry.name.removesuffix(".toml")
        for entry in files(__package__).iterdir()
        if entry.name.endswith(".toml") and not entry.name.startswith("_")
    ]
    return tuple(sorted(names, key=_version_order))


@cache
def load_profile(name: str) -> KernelProfile:
    """Read a profile by its name.

    Raises:
        ConfigError: there is no such profile.
    """
    if name not in profile_names():
        near = get_close_matches(name, profile_names(), n=1)
        remedy = f"did you mean {near[0]}?" if near else f"use one of {', '.join(profile_names())}"
        raise ConfigError(
            [Problem(key="kernel.profile", value=name, message="no such profile", remedy=remedy)]
        )
    title, raw_switches, raw_costs = _read(name)
    where = f"{name}.toml"
    problems = [
        Problem(where=where, key=key, message=message, remedy=remedy)
        for given, wanted, part in (
            (raw_switches, switch_names(), "switches"),
            (raw_costs, cost_names(), "costs"),
        )
        for key, message, remedy in (
            *((f"{part}.{key}", "no such key", "remove it") for key in given if key not in wanted),
            *((f"{part}.{key}", "missing", "add it") for key in wanted if key not in (*given, *_optional())),
        )
    ]
    if problems:
        raise ConfigError(problems)
    given_switches = [key for key in switch_names() if key in raw_switches]
    switches = {key: switch_from_toml(key, raw_switches[key]) for key in given_switches}
    table = {
        key: sourced(raw_costs[key], where=where, key=f"costs.{key}", units=COST_UNITS)
        for key in cost_names()
    }
    return KernelProfile(
        name=name,
        title=title,
        switches=Switches(**switches),  # type: ignore[arg-type]
        costs_table=MappingProxyType(table),
    )


def _read(name: str) -> tuple[str, dict[str, object], dict[str, object]]:
    """Title, raw switches and raw costs of one file, laid over what it extends."""
    document = tomllib.loads((files(__package__) / f"{name}.toml").read_text(encoding="utf-8"))
    switches: dict[str, object] = {}
    costs: dict[str, object] = {}
    if "extends" in document:
        _, switches, costs = _read(document["extends"])
    return document["title"], switches | document.get("switches", {}), costs | document.get("costs", {})


def _version_order(name: str) -> tuple[str, tuple[int, ...]]:
    family, _, version = name.partition("-")
    return family, tuple(int(part) for part in version.split(".") if part.isdigit())


def _known(key: str, name: str, names: tuple[str, ...], prefix: str = "") -> str:
    """The name, if it is one of the names.

    Raises:
        ConfigError: it is not; says which one is near.
    """
    if name in names:
        return name
    near = get_close_matches(name, names, n=1)
    remedy = (
        f"did you mean kernel.{prefix}{near[0]}?"
        if near
        else "`coalsim run --help` says where the keys are listed"
    )
    raise ConfigError([Problem(key=f"kernel.{key}", message="no such key", remedy=remedy)])
