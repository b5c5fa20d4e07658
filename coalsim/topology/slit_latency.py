"""Latencies made from firmware's distances, for those who ask for it.

A SLIT says ratios, 10 being local.  They are poor predictors: a Cascade Lake that
reports 10 / 21 measures 1 : 1.8, an EPYC that reports 10 / 12 / 32 about
1 : 1.1 : 2, and an eight-socket Nehalem-EX hides its second hop.  So nothing uses
them by default, and what they yield here is `assumed`.
"""

from dataclasses import replace
from decimal import Decimal

from coalsim.errors import ConfigError, Problem
from coalsim.provenance import Sourced
from coalsim.topology.machine import Machine

LOCAL = Decimal(10)


def with_slit_latencies(machine: Machine) -> Machine:
    """The machine with DRAM latency = own node's latency x distance / 10.

    Raises:
        ConfigError: the machine does not know its distances.
    """
    if machine.slit is None:
        message, remedy = "no node distances are known", "import a file that holds them"
        raise ConfigError([Problem(where=machine.name, key="slit", message=message, remedy=remedy)])

    def scaled(local: Sourced, distance: int) -> Sourced:
        source = f"own node's latency x firmware's distance {distance} / 10, a poor guess: {local.source}"
        return Sourced(value=local.value * distance / LOCAL, unit=local.unit, source=source, status="assumed")

    dram = tuple(
        tuple(cell if a == b else scaled(row[a], distances[b]) for b, cell in enumerate(row))
        for a, (row, distances) in enumerate(zip(machine.dram, machine.slit.rows, strict=True))
    )
    return replace(machine, dram=dram).with_warnings(
        "memory latencies between nodes were made from distances"
    )
