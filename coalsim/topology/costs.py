"""The costs of a machine before its layout is known: one number per class.

A `CostSheet` is what an import assumes; spread over a layout it becomes the
matrices of a `Machine`.

A class that a sheet leaves out costs what the nearest class outside it costs (or
inside it, for the outermost), and says so in its source.
The assumed sheet is `assumptions.toml`; no number lives in this file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from coalsim.provenance import Sourced
from coalsim.topology.cost_reader import TIMES, Reader
from coalsim.topology.distance import Distance, of_hops
from coalsim.topology.interrupts import GuestCosts, IpiModel, read_guest, read_ipi_model
from coalsim.topology.mmu import Mmu
from coalsim.topology.mmu_file import mmu_named, with_numbers
from coalsim.topology.toml_text import key_lines, read_toml

Costs = Mapping[Distance, Sourced]


@dataclass(frozen=True, kw_only=True)
class CostSheet:
    """Costs by class; in `dram`, SELF is the own node and SOCKET another node of the socket."""

    clock_ghz: Sourced
    bandwidth: Sourced
    link_bandwidth: Sourced
    dram: Costs
    line_transfer: Costs
    ipi_flight: Costs
    ipi_send: Sourced
    ipi: IpiModel
    mmu: Mmu
    guest: GuestCosts


def filled(costs: Costs, needed: Iterable[Distance]) -> dict[Distance, Sourced]:
    """`costs` for every class that is `needed`, near to far; empty stays empty."""
    table: dict[Distance, Sourced] = {}
    for distance in sorted(needed):
        stated = costs.get(distance)
        if stated is None and costs:
            outward = [other for other in sorted(costs) if other > distance]
            other = outward[0] if outward else max(costs)
            stated = _as_for(other, costs[other])
        if stated is not None:
            table[distance] = stated
    return table


def _as_for(other: Distance, cost: Sourced) -> Sourced:
    return replace(cost, source=f"as for {other.key}: {cost.source}", status="assumed")


def dram_matrix(costs: Costs, sockets: Sequence[int], hops: Sequence[Sequence[int]]) -> list[list[Sourced]]:
    """Latencies from node to node, given the socket of each node and the links between sockets."""
    table = filled(
        costs, (Distance.SELF, *(distance for distance in Distance if distance >= Distance.SOCKET))
    )

    def latency(a: int, b: int) -> Sourced:
        return table[Distance.SELF if a == b else of_hops(hops[sockets[a]][sockets[b]])]

    everywhere = range(len(sockets))
    return [[latency(a, b) for b in everywhere] for a in everywhere]


@cache
def assumed_costs() -> CostSheet:
    """The sheet for everything that an imported file does not say; `guest` for models of guests."""
    path = Path(__file__).with_name("assumptions.toml")
    document, text = read_toml(path)
    reader = Reader(document, str(path), key_lines(text))
    clock = reader.number(document, "clock_ghz", ("GHz",))
    send = reader.number(document, "ipi_send", TIMES)
    bandwidth = reader.number(reader.table("node"), "bandwidth", ("GB/s",), "node.")
    link_bandwidth = reader.number(reader.table("links"), "bandwidth", ("GB/s",), "links.")
    tables = {key: reader.by_distance(key) for key in ("dram", "line_transfer", "ipi_flight")}
    ipi, guest = read_ipi_model(reader), read_guest(reader)
    mmu = mmu_named(reader.text(document, "mmu", ""))
    reader.finish()
    assert clock is not None
    assert send is not None
    assert bandwidth is not None
    assert link_bandwidth is not None
    assert ipi is not None
    assert guest is not None
    return CostSheet(
        clock_ghz=clock,
        ipi_send=send,
        ipi=ipi,
        mmu=_assumed(mmu),
        guest=guest,
        bandwidth=bandwidth,
        link_bandwidth=link_bandwidth,
        **tables,
    )


def _assumed(mmu: Mmu) -> Mmu:
    """What was measured on that microarchitecture is only assumed of another machine."""
    source = f"not in the machine's file; as {mmu.name}"
    numbers = {key: replace(number, source=source, status="assumed") for key, number in mmu.numbers()}
    return with_numbers(mmu, numbers)


def no_mmu_warning() -> str:
    """What a reader should know of a machine whose file names no microarchitecture."""
    name = assumed_costs().mmu.name
    return (
        f"no microarchitecture in the file, so the TLBs and flushes of {name} are assumed (machine.mmu=NAME)"
    )
