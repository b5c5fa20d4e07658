"""A machine as a TOML file that reads back equal, provenance included.

Everything is listed: each core, each node, each latency (equal ones together).
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from coalsim.provenance import Sourced
from coalsim.topology.interrupts import IpiModel
from coalsim.topology.machine import Machine
from coalsim.topology.mmu_file import mmu_named

_ESCAPES = {"\\": "\\\\", '"': '\\"'}


def machine_file_text(machine: Machine) -> str:
    """The text of a machine file; `machine_file.read_machine_file` reads it."""
    return "\n".join(_lines(machine)) + "\n"


def _lines(machine: Machine) -> Iterator[str]:
    yield "# A machine for coalsim.  Each number has its unit, source and status:"
    yield "# measured, derived (the source says how) or assumed."
    yield ""
    yield f"name = {_text(machine.name)}"
    yield f"title = {_text(machine.title)}"
    if machine.warnings:
        yield "warnings = ["
        yield from (f"  {_text(warning)}," for warning in machine.warnings)
        yield "]"
    yield f"clock_ghz = {_number(machine.clock_ghz)}"
    yield f"ipi_send = {_number(machine.ipi_send)}"
    yield f"mmu = {_text(machine.mmu.name)}"
    yield f"ipi_model = {{ value = {_text(machine.ipi.name)}, {_provenance(machine.ipi)} }}"
    yield from _layout(machine)
    yield from _links(machine)
    yield from _dram(machine)
    yield from _slit(machine)
    for name, table in machine.tables().items():
        yield from _table(name, ((distance.key, cost) for distance, cost in table.items()))
    yield from _mmu(machine)
    if machine.guest:
        yield from _table("guest", machine.guest.numbers())


def _mmu(machine: Machine) -> Iterable[str]:
    """Only what differs from the microarchitecture that is named."""
    named = mmu_named(machine.mmu.name)
    own = [(key, number) for key, number in machine.mmu.numbers() if number != named[key]]
    return _table("mmu_values", own) if own else ()


def _layout(machine: Machine) -> Iterator[str]:
    yield ""
    yield "[layout]"
    yield 'unit = "count"'
    yield f"source = {_text(machine.layout.source)}"
    yield f"status = {_text(machine.layout.status)}"
    yield "cores = ["
    threads: dict[int, list[int]] = {}
    for place in machine.cpus:
        threads.setdefault(place.core, []).append(place.cpu)
    for core in range(machine.num_cores):
        cpus = sorted(threads[core], key=lambda cpu: machine.cpus[cpu].thread)
        place = machine.cpus[cpus[0]]
        yield (
            f"  {{ node = {place.node}, socket = {place.socket}, cluster = {place.cluster}, cpus = {cpus} }},"
        )
    yield "]"
    for node in machine.nodes:
        yield ""
        yield "[[node]]"
        yield f"os_index = {node.os_index}"
        yield f"socket = {node.socket}"
        yield f"memory = {_number(node.installed)}"
        yield f"bandwidth = {_number(node.bandwidth)}"


def _links(machine: Machine) -> Iterator[str]:
    yield ""
    yield "[links]"
    yield f"pairs = {[list(pair) for pair in machine.links]}"
    yield f"source = {_text(machine.interconnect.source)}"
    yield f"status = {_text(machine.interconnect.status)}"
    yield f"bandwidth = {_number(machine.link_bandwidth)}"


def _dram(machine: Machine) -> Iterator[str]:
    alike: dict[Sourced, list[list[int]]] = {}
    for a, row in enumerate(machine.dram):
        for b, cell in enumerate(row):
            alike.setdefault(cell, []).append([a, b])
    for cell, pairs in alike.items():
        yield ""
        yield "[[dram]]"
        yield f"pairs = {pairs}"
        yield f"value = {_decimal(cell.value)}"
        yield f"unit = {_text(cell.unit)}"
        yield f"source = {_text(cell.source)}"
        yield f"status = {_text(cell.status)}"


def _slit(machine: Machine) -> Iterator[str]:
    if machine.slit is None:
        return
    yield ""
    yield "[slit]"
    yield "values = ["
    yield from (f"  {list(row)}," for row in machine.slit.rows)
    yield "]"
    yield f"source = {_text(machine.slit.source)}"
    yield f"status = {_text(machine.slit.status)}"


def _table(name: str, rows: Iterable[tuple[str, Sourced]]) -> Iterable[str]:
    return ["", f"[{name}]", *(f"{key} = {_number(number)}" for key, number in rows)]


def _number(number: Sourced) -> str:
    parts = (
        f"value = {_decimal(number.value)}",
        f"unit = {_text(number.unit)}",
        _provenance(number),
    )
    return f"{{ {', '.join(parts)} }}"


def _provenance(known: Sourced | IpiModel) -> str:
    return f"source = {_text(known.source)}, status = {_text(known.status)}"


def _decimal(value: Decimal) -> str:
    """Plain digits: exponents and trailing zeros vary between equal numbers."""
    if value == value.to_integral_value():
        return str(int(value))
    return f"{value:f}".rstrip("0")


def _text(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'
