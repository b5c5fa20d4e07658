"""[what_if]: a configuration with some of its costs made so many times as large.

    "lock:zone" = 0.5        the sections of the zones' locks take half as long
    "ipi" = 0.5              interrupts between CPUs: sending, flight, entry and exit of the handler
    "cost:pcp_*" = 0         costs of the kernel, by name or pattern
    "machine:dram.local" = 2 numbers of the machine; also dram.remote, bandwidth, and patterns

    --what-if lock:zone=0.5

The configuration keeps its own numbers beside the factors, so it says what was changed and by how
much.  Numbers that count something (entries, ways, bytes) are not scaled by patterns.

Invariant: factors are exact decimals from 0 up; a factor of 1 changes nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal, InvalidOperation
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from types import MappingProxyType

from coalsim.errors import ConfigError, Problem
from coalsim.locks.sped import names_lock
from coalsim.profiles.profile import KernelProfile
from coalsim.provenance import Sourced
from coalsim.topology.machine import Machine

LOCK, COST, MACHINE, IPI = "lock", "cost", "machine", "ipi"
SECTION = "what_if"
IPI_NUMBERS = ("ipi_flight.*", "ipi_send", "mmu.interrupt_entry", "mmu.interrupt_exit")
"""Numbers of a machine that an interrupt between CPUs is made of."""
SCALABLE = ("ps", "ns", "us", "cycles", "GHz", "GB/s")
LEAST_FLIGHT = {"ps": "1", "ns": "0.001", "us": "0.000001", "cycles": "0.01"}
"""By unit, about a ps: nothing crosses between processors in no time."""
_EXACT = Context(prec=24)
_MOST = Decimal(1000)
_CELL = re.compile(r"dram\.(\d+)\.(\d+)")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One cost, or all of one kind, made `factor` times as large."""

    target: str
    factor: Decimal

    @property
    def kind(self) -> str:
        """lock, cost, machine or ipi."""
        return self.target.partition(":")[0]

    @property
    def pattern(self) -> str:
        """What it names among those of its kind."""
        return self.target.partition(":")[2]

    def __str__(self) -> str:
        return f"{self.target}={self.factor:f}"


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """All changes of a configuration, in the order in which they were asked for."""

    changes: tuple[Change, ...] = ()

    def then(self, other: "WhatIf") -> "WhatIf":
        """These changes and then others; factors of one target multiply."""
        factors: dict[str, Decimal] = {}
        for change in (*self.changes, *other.changes):
            factors[change.target] = _EXACT.multiply(factors.get(change.target, Decimal(1)), change.factor)
        return WhatIf(changes=tuple(Change(target=name, factor=factor) for name, factor in factors.items()))

    def table(self) -> dict[str, str]:
        """As [what_if] holds them; factors as texts, so that they stay exact."""
        return {change.target: f"{change.factor:f}" for change in self.changes}

    def lock_speeds(self) -> dict[str, Fraction]:
        """Factors by pattern of lock classes."""
        return {change.pattern: Fraction(change.factor) for change in self._of(LOCK)}

    def idle_locks(self, names: list[str]) -> Iterator[str]:
        """Patterns that mean none of these locks, each with what was probably meant."""
        for change in self._of(LOCK):
            if not any(names_lock(change.pattern, name) for name in names):
                near = get_close_matches(change.pattern, names, n=1, cutoff=0.4)
                yield f"{change.pattern}{f': did you mean {near[0]}?' if near else ''}"

    def kernel(self, profile: KernelProfile) -> KernelProfile:
        """The kernel with its costs scaled.

        Raises:
            ConfigError: every change that names no cost.
        """
        table, problems = dict(profile.costs_table), []
        for change in self._of(COST):
            found = [name for name in table if fnmatchcase(name, change.pattern)]
            if not found:
                problems.append(_unknown(change, tuple(table), "a cost of the kernel"))
            for name in found:
                table[name] = scaled(table[name], change)
        if problems:
            raise ConfigError(problems)
        return replace(profile, costs_table=MappingProxyType(table)) if self._of(COST) else profile

    def machine(self, machine: Machine) -> Machine:
        """The machine with its numbers scaled.

        Raises:
            ConfigError: every change that names no number, and numbers that the machine cannot have.
        """
        numbers = dict(machine.parameters())
        changed: dict[str, Sourced] = {}
        problems = []
        for change in (*self._of(IPI), *self._of(MACHINE)):
            patterns = IPI_NUMBERS if change.kind == IPI else (change.pattern,)
            found = [
                key
                for key, number in numbers.items()
                if any(means(pattern, key) for pattern in patterns) and number.unit in SCALABLE
            ]
            if not found:
                problems.append(_unknown(change, machine_targets(machine), "a number of the machine"))
            for key in found:
                changed[key] = scaled(changed.get(key, numbers[key]), change)
        if problems:
            raise ConfigError(problems)
        texts = {key: _text(key, number) for key, number in changed.items()}
        return machine.with_overrides(texts) if texts else machine

    def _of(self, kind: str) -> list[Change]:
        return [change for change in self.changes if change.kind == kind]


NOTHING_CHANGED = WhatIf()


def parse_what_if(texts: Mapping[str, str], problems: list[Problem]) -> WhatIf:
    """The changes that targets and factors, as texts, ask for.

    Args:
        texts: by target; problems: gets every mistake, with the key `what_if.TARGET`.
    """
    changes = []
    for target, text in texts.items():
        key = f"{SECTION}.{target}"
        kind, colon, pattern = target.partition(":")
        if kind not in (LOCK, COST, MACHINE, IPI) or (bool(colon and pattern) == (kind == IPI)):
            remedy = "name lock:CLASS, ipi, cost:NAME or machine:KEY"
            problems.append(Problem(key=key, value=text, message="nothing that can be scaled", remedy=remedy))
            continue
        try:
            factor = Decimal(text)
        except InvalidOperation:
            factor = Decimal("NaN")
        if not (factor.is_finite() and 0 <= factor <= _MOST) or len(text) > 20:
            remedy = f"give how many times as large it becomes: 0.5, 0, 2; at most {_MOST}"
            problems.append(Problem(key=key, value=text, message="not a factor", remedy=remedy))
            continue
        changes.append(Change(target=target, factor=factor))
    return WhatIf(changes=tuple(changes))


def parse_options(texts: tuple[str, ...]) -> dict[str, object]:
    """The table that several `--what-if TARGET=FACTOR` ask for.

    Raises:
        ConfigError: all mistakes, each with its option.
    """
    table: dict[str, object] = {}
    problems: list[Problem] = []
    for text in texts:
        target, equals, factor = text.rpartition("=")
        mine: list[Problem] = []
        if not equals:
            mine.append(Problem(message="not TARGET=FACTOR", remedy="write it like --what-if lock:zone=0.5"))
        elif target.strip() in table:
            mine.append(Problem(message="given twice", remedy="keep one of them"))
        else:
            parse_what_if({target.strip(): factor.strip()}, mine)
        problems += [replace(problem, where=f"--what-if {text}", key="", value="") for problem in mine]
        table[target.strip()] = factor.strip()
    if problems:
        raise ConfigError(problems)
    return table


def machine_targets(machine: Machine) -> tuple[str, ...]:
    """Everything of a machine that can be scaled by one name, a matrix as what is local and remote in it."""
    keys: dict[str, None] = {}
    for key, number in machine.parameters():
        if number.unit not in SCALABLE:
            continue
        if cell := _CELL.fullmatch(key):
            key = "dram.local" if cell[1] == cell[2] else "dram.remote"
        keys["bandwidth" if key.startswith("node.") and key.endswith(".bandwidth") else key] = None
    return tuple(keys)


def means(pattern: str, key: str) -> bool:
    """Whether a pattern, or the name of a group, means a number of a machine."""
    if pattern == "bandwidth":
        return key.startswith("node.") and key.endswith(".bandwidth")
    if pattern in ("dram.local", "dram.remote"):
        cell = _CELL.fullmatch(key)
        return cell is not None and (cell[1] == cell[2]) == (pattern == "dram.local")
    return fnmatchcase(key, pattern)


def scaled(number: Sourced, change: Change) -> Sourced:
    """The number so many times as large, which nobody has measured."""
    value = _EXACT.multiply(number.value, change.factor)
    return Sourced(value=value, unit=number.unit, source=f"what if {change}", status="assumed")


def _text(key: str, number: Sourced) -> str:
    value = number.value
    if key.startswith("ipi_flight."):
        value = max(value, Decimal(LEAST_FLIGHT[number.unit]))
    return f"{value:f}{number.unit}"


def _unknown(change: Change, known: tuple[str, ...], what: str) -> Problem:
    near = get_close_matches(change.pattern, known, n=1)
    return Problem(
        key=f"{SECTION}.{change.target}",
        value=f"{change.factor:f}",
        message=f"not {what}",
        remedy=f"did you mean {change.kind}:{near[0]}?" if near else f"use one of {', '.join(known[:9])} ...",
    )
