"""Replacing single numbers of a machine: what `--set machine.KEY=VALUE` does.

A replaced number is `assumed` and its source says that the user set it.  A bare
number takes the unit of the one that it replaces.  An occupancy that was filled
in from the hand-over latency follows it.

`mmu` and `ipi_model` take names.  What is set under ``mmu.`` and ``guest.`` is put in
place together, because entries and ways fit each other only together.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING

from coalsim.errors import ConfigError, Problem
from coalsim.provenance import Sourced
from coalsim.topology.check import MAX_MEMORY
from coalsim.topology.costs import assumed_costs
from coalsim.topology.distance import Distance
from coalsim.topology.interrupts import GUEST_KEYS, IpiModel, with_costs
from coalsim.topology.mmu_file import mmu_named, with_numbers
from coalsim.units import PAGE_SIZE, parse_size

if TYPE_CHECKING:
    from coalsim.topology.machine import Machine, MemoryNode, Row

BY_THE_USER = "set by the user"
AS_TRANSFER = "as line_transfer: the transfers of a line are served one at a time"
_NUMBER = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-zµ/]*)\s*\Z")
_UNITS = {
    "GHz": ("GHz",),
    "GB/s": ("GB/s",),
    "": ("",),
    "time": ("ps", "ns", "us", "cycles"),
}


def occupancy_as_transfer(transfer: Sourced) -> Sourced:
    """What a transfer occupies where nobody measured it: its whole latency."""
    return replace(
        transfer, source=AS_TRANSFER, status="derived" if transfer.status == "measured" else transfer.status
    )


def overridden(machine: "Machine", values: Mapping[str, str]) -> "Machine":
    """The machine with `values` in place; see `Machine.with_overrides`."""
    known = tuple(override_keys(machine))
    problems: list[Problem] = []
    accepted: dict[str, str] = {}
    for key, text in values.items():
        if key in known:
            accepted[key] = str(text)
        else:
            near = get_close_matches(key, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else "`coalsim machines show` lists the keys"
            problems.append(_problem(key, str(text), "no such number of a machine", remedy))
    for (
        key
    ) in known:  # in the machine's order, whatever the order of the mapping: `memory` before `node.0.memory`
        if key in accepted and not key.startswith(("mmu.", "guest.")):
            try:
                machine = _with_one(machine, key, accepted[key])
            except ConfigError as refusal:
                problems += _blamed_on(key, accepted[key], refusal)
    for with_group in (_with_mmu, _with_guest):
        try:
            machine = with_group(machine, accepted)
        except ConfigError as refusal:
            problems += refusal.problems
    if problems:
        raise ConfigError(problems)
    return machine


def _blamed_on(key: str, text: str, refusal: ConfigError) -> list[Problem]:
    """The mistakes in a machine that was good before `key` was set, each once and told of that key."""
    told = dict.fromkeys((problem.message, problem.remedy) for problem in refusal.problems)
    return [_problem(key, text, message, remedy) for message, remedy in told]


def override_keys(machine: "Machine") -> Iterator[str]:
    """Every key that may be set: the broad ones first, so that narrow ones win."""
    yield from ("memory", "bandwidth", "dram.local", "dram.remote", "mmu", "ipi_model")
    for key, _ in machine.parameters():
        if not key.startswith(("layout.", "guest.")):
            yield key
    yield from (f"guest.{key}" for key in GUEST_KEYS)  # a machine that is no guest can become one


def _with_one(machine: "Machine", key: str, text: str) -> "Machine":
    head, *rest = key.split(".")
    match head:
        case "clock_ghz":
            return replace(machine, clock_ghz=_number(key, text, machine.clock_ghz))
        case "ipi_send":
            return replace(machine, ipi_send=_number(key, text, machine.ipi_send))
        case "ipi_model":
            return replace(machine, ipi=IpiModel(name=text, source=BY_THE_USER, status="assumed"))
        case "mmu":
            return replace(machine, mmu=mmu_named(text))
        case "link_bandwidth":
            return replace(machine, link_bandwidth=_number(key, text, machine.link_bandwidth))
        case "memory" | "bandwidth":
            return _with_nodes(machine, key, text, head, lambda _: True)
        case "node":
            return _with_nodes(machine, key, text, rest[1], lambda node: node.node == int(rest[0]))
        case "dram":
            return replace(machine, dram=_with_dram(machine, key, text, rest))
        case "line_transfer":
            return _with_transfer(machine, key, text, Distance[rest[0].upper()])
        case "line_occupancy":
            return replace(machine, line_occupancy=_with_cost(machine.line_occupancy, key, text, rest[0]))
        case _:
            return replace(machine, ipi_flight=_with_cost(machine.ipi_flight, key, text, rest[0]))


def _with_nodes(
    machine: "Machine", key: str, text: str, what: str, chosen: "Callable[[MemoryNode], bool]"
) -> "Machine":
    def changed(node: "MemoryNode") -> "MemoryNode":
        if not chosen(node):
            return node
        if what == "memory":
            size = _size(key, text)
            return replace(node, memory=size, memory_source=BY_THE_USER, memory_status="assumed")
        return replace(node, bandwidth=_number(key, text, node.bandwidth))

    return replace(machine, nodes=tuple(changed(node) for node in machine.nodes))


def _with_dram(machine: "Machine", key: str, text: str, rest: list[str]) -> "tuple[Row, ...]":
    def chosen(a: int, b: int) -> bool:
        if len(rest) == 2:
            return (a, b) == (int(rest[0]), int(rest[1]))
        return (a == b) == (rest[0] == "local")

    return tuple(
        tuple(_number(key, text, cell) if chosen(a, b) else cell for b, cell in enumerate(row))
        for a, row in enumerate(machine.dram)
    )


def _with_transfer(machine: "Machine", key: str, text: str, distance: Distance) -> "Machine":
    old = machine.line_transfer[distance]
    transfer = _with_cost(machine.line_transfer, key, text, distance.key)
    occupancy = dict(machine.line_occupancy)
    if occupancy[distance] == occupancy_as_transfer(old):
        occupancy[distance] = occupancy_as_transfer(transfer[distance])
    return replace(machine, line_transfer=transfer, line_occupancy=occupancy)


def _with_cost(
    table: Mapping[Distance, Sourced], key: str, text: str, name: str
) -> Mapping[Distance, Sourced]:
    distance = Distance[name.upper()]
    return {**table, distance: _number(key, text, table[distance])}


def _with_mmu(machine: "Machine", values: Mapping[str, str]) -> "Machine":
    changed = _numbers(values, "mmu", machine.mmu.numbers())
    if not changed:
        return machine
    with _named_as_set():
        return replace(machine, mmu=with_numbers(machine.mmu, changed))


def _with_guest(machine: "Machine", values: Mapping[str, str]) -> "Machine":
    guest = machine.guest or assumed_costs().guest
    changed = _numbers(values, "guest", guest.numbers())
    if not changed:
        return machine
    with _named_as_set():
        return replace(machine, guest=with_costs(guest, changed))


@contextmanager
def _named_as_set() -> Iterator[None]:
    """The keys of mistakes become those of ``--set``."""
    try:
        yield
    except ConfigError as refusal:
        problems = [_problem(p.key, p.value, p.message, p.remedy) for p in refusal.problems]
    else:
        return
    raise ConfigError(problems)


def _numbers(
    values: Mapping[str, str], group: str, known: Iterable[tuple[str, Sourced]]
) -> dict[str, Sourced]:
    """Those of a group that are set."""
    changed: dict[str, Sourced] = {}
    problems: list[Problem] = []
    for name, old in known:
        key = f"{group}.{name}"
        if key in values:
            try:
                changed[name] = _number(key, values[key], old)
            except ConfigError as refusal:
                problems += refusal.problems
    if problems:
        raise ConfigError(problems)
    return changed


def _number(key: str, text: str, old: Sourced) -> Sourced:
    units = _UNITS.get(old.unit, _UNITS["time"])
    found = _NUMBER.match(text)
    if not found or len(text) > 40:
        example = f"{old.value} {old.unit}".strip()
        message = "below 0" if _NUMBER.match(text.strip().removeprefix("-")) else "not a number"
        raise ConfigError([_problem(key, text, message, f"write it like {example}")])
    unit = found[2] or old.unit
    if unit not in units:
        remedy = f"use {', '.join(units)}" if old.unit else "give a plain number"
        raise ConfigError([_problem(key, text, f"the unit {unit} does not fit", remedy)])
    value = Decimal(found[1].replace("_", ""))
    return Sourced(value=value, unit=unit, source=BY_THE_USER, status="assumed")


def _size(key: str, text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as refusal:
        message, _, remedy = str(refusal).partition("; ")
        raise ConfigError([_problem(key, text, message, remedy or "write it like 2GiB")]) from None
    if size % PAGE_SIZE or size > MAX_MEMORY:
        raise ConfigError([_problem(key, text, "not whole 4 KiB pages, or too large", "write it like 2GiB")])
    return size


def _problem(key: str, value: str, message: str, remedy: str) -> Problem:
    return Problem(key=f"machine.{key}", value=value, message=message, remedy=remedy)
