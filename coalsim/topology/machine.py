"""A machine: CPUs, memory nodes, and what every way between them costs.

    socket ──┬── memory node (DRAM, a bandwidth)      sockets are joined by links
             └── cluster ── core ── CPU (SMT thread)

Pure data: nothing here waits, charges or draws.  Every hardware number is a
`Sourced`; the rows and the latency matrix are the same numbers in picoseconds,
computed once and cached, because simulated hot paths index them.

Invariant (checked when built, all mistakes at once, `check.py`): ids of CPUs,
nodes, sockets, clusters and cores are dense from 0; `cpus[i].cpu == i` and
`nodes[i].node == i`; the matrices are square; every class of distance that
occurs has its hand-over, occupancy and IPI cost.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from coalsim.errors import ConfigError
from coalsim.provenance import Sourced
from coalsim.topology.check import machine_problems
from coalsim.topology.distance import Distance, of_hops, socket_hops
from coalsim.topology.interrupts import GuestCosts, IpiModel
from coalsim.topology.mmu import Mmu
from coalsim.topology.place import (
    CpuPlace,
    MemoryNode,
    Slit,
    clusters_that_fill_a_socket,
    occurring_distances,
)
from coalsim.units import CpuId, NodeId, Time

if TYPE_CHECKING:
    import networkx

__all__ = ["CpuPlace", "Distance", "Machine", "MemoryNode", "Slit"]


Row = tuple[Sourced, ...]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """All that coalsim knows about a machine.

    Args:
        layout: number of CPUs, with the provenance of the whole layout.
        dram: load latency, [from node][to node].
        line_transfer: hand-over of a dirty cache line, one way; SELF is a hit in the own cache.
        line_occupancy: how long one transfer keeps the line busy for the next one.
        ipi_flight: from sending to the first instruction of the handler.
        ipi_send: what sending costs the sender.
        ipi: how interrupts are sent, by name.
        mmu: what translating addresses costs, and the size of the TLBs.
        links: pairs of sockets that are wired to each other.
        interconnect: number of links, with the provenance of `links`.
        slit: firmware's relative distances, None if unknown.
        guest: what the hypervisor adds, None on bare metal.
        warnings: what a reader should know: figures that were filled in, rules that were guessed.
    """

    name: str
    title: str
    layout: Sourced
    clock_ghz: Sourced
    cpus: tuple[CpuPlace, ...]
    nodes: tuple[MemoryNode, ...]
    dram: tuple[Row, ...]
    line_transfer: Mapping[Distance, Sourced]
    line_occupancy: Mapping[Distance, Sourced]
    ipi_flight: Mapping[Distance, Sourced]
    ipi_send: Sourced
    ipi: IpiModel
    mmu: Mmu
    links: tuple[tuple[int, int], ...]
    interconnect: Sourced
    link_bandwidth: Sourced
    slit: Slit | None = None
    guest: GuestCosts | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if problems := machine_problems(self):
            raise ConfigError(problems)

    # -- size and place

    @property
    def num_cpus(self) -> int:
        """Logical CPUs."""
        return len(self.cpus)

    @property
    def num_nodes(self) -> int:
        """Memory nodes, those without CPUs included."""
        return len(self.nodes)

    @cached_property
    def num_sockets(self) -> int:
        """Sockets."""
        of_cpus, of_nodes = (place.socket for place in self.cpus), (node.socket for node in self.nodes)
        return 1 + max(*of_cpus, *of_nodes)

    @cached_property
    def num_cores(self) -> int:
        """Cores, whatever their number of threads."""
        return 1 + max(place.core for place in self.cpus)

    @property
    def memory(self) -> int:
        """Bytes of all nodes."""
        return sum(node.memory for node in self.nodes)

    @property
    def ipi_model(self) -> str:
        """Name of the model by which interrupts are sent (`interrupts.IPI_MODELS`)."""
        return self.ipi.name

    def cpus_of_node(self, node: NodeId) -> tuple[CpuId, ...]:
        """CPUs whose memory is local in `node`, lowest id first; empty for memory-only nodes."""
        return self._cpus_of_node[node]

    def node_of(self, cpu: CpuId) -> NodeId:
        """The node whose memory is local for `cpu`."""
        return self.cpus[cpu].node

    # -- distance

    def distance(self, a: CpuId, b: CpuId) -> Distance:
        """Class of a pair of CPUs."""
        here, there = self.cpus[a], self.cpus[b]
        if a == b:
            return Distance.SELF
        if here.core == there.core:
            return Distance.SMT
        if here.cluster == there.cluster and not self._fills_socket[here.cluster]:
            return Distance.CLUSTER
        return of_hops(self.hops[here.socket][there.socket])

    @cached_property
    def hops(self) -> tuple[tuple[int, ...], ...]:
        """Links between any two sockets on the shortest way."""
        return socket_hops(self.num_sockets, self.links)

    def distances(self) -> tuple[Distance, ...]:
        """The classes that occur on this machine, near to far."""
        return occurring_distances(self.cpus, self.hops)

    # -- costs

    def cycles(self, count: int) -> Time:
        """So many clock cycles as a time, rounded to the nearest picosecond."""
        return round(count * 1000 / self.clock_ghz.value)

    def transfer_row(self, cpu: CpuId) -> Sequence[Time]:
        """What it takes to move a dirty line from each CPU to `cpu`; cached."""
        return self._row("transfer", self.line_transfer, cpu)

    def occupancy_row(self, cpu: CpuId) -> Sequence[Time]:
        """How long the move from each CPU to `cpu` keeps the line busy for the next one; cached."""
        return self._row("occupancy", self.line_occupancy, cpu)

    def ipi_row(self, cpu: CpuId) -> Sequence[Time]:
        """Flight time of an interrupt between `cpu` and each CPU; cached."""
        return self._row("ipi", self.ipi_flight, cpu)

    def dram_latency(self, from_node: NodeId, to_node: NodeId) -> Time:
        """Idle load latency of a CPU of `from_node` to the memory of `to_node`."""
        return self._dram[from_node][to_node]

    def nodes_by_distance(self, node: NodeId) -> tuple[NodeId, ...]:
        """All nodes in the order in which `node` falls back on them: itself, then by latency, then id."""
        return self._fallback[node]

    # -- other views

    def parameters(self) -> Iterator[tuple[str, Sourced]]:
        """Every number with its key, in reading order."""
        yield "layout.cpus", self.layout
        yield "layout.links", self.interconnect
        yield "clock_ghz", self.clock_ghz
        for node in self.nodes:
            yield f"node.{node.node}.memory", node.installed
            yield f"node.{node.node}.bandwidth", node.bandwidth
        yield "link_bandwidth", self.link_bandwidth
        for i, row in enumerate(self.dram):
            for j, latency in enumerate(row):
                yield f"dram.{i}.{j}", latency
        for name, table in self.tables().items():
            for distance, cost in table.items():
                yield f"{name}.{distance.key}", cost
        yield "ipi_send", self.ipi_send
        for key, number in self.mmu.numbers():
            yield f"mmu.{key}", number
        for key, number in self.guest.numbers() if self.guest else ():
            yield f"guest.{key}", number

    def tables(self) -> dict[str, Mapping[Distance, Sourced]]:
        """The costs that go by distance, by name."""
        return {
            "line_transfer": self.line_transfer,
            "line_occupancy": self.line_occupancy,
            "ipi_flight": self.ipi_flight,
        }

    def with_overrides(self, values: Mapping[str, str]) -> "Machine":
        """A copy with some numbers replaced: ``{"clock_ghz": "2.2", "dram.0.1": "150ns"}``.

        Keys are those of `parameters` (not the layout), and ``memory``, ``bandwidth``,
        ``dram.local``, ``dram.remote`` for all nodes at once; ``mmu`` and ``ipi_model`` take names.

        Raises:
            ConfigError: unknown keys (with the nearest known one), values that cannot be.
        """
        from coalsim.topology.overrides import overridden

        return overridden(self, values)

    def with_warnings(self, *warnings: str) -> "Machine":
        """A copy that warns of more."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def graph(self) -> "networkx.Graph[str]":
        """Sockets, nodes, clusters, cores, CPUs and links as a networkx graph; see `graph.py`."""
        from coalsim.topology.graph import machine_graph

        return machine_graph(self)

    # -- caches: computed once, never changed

    @cached_property
    def _cpus_of_node(self) -> tuple[tuple[CpuId, ...], ...]:
        members: list[list[CpuId]] = [[] for _ in self.nodes]
        for place in self.cpus:
            members[place.node].append(place.cpu)
        return tuple(tuple(node) for node in members)

    @cached_property
    def _fills_socket(self) -> dict[int, bool]:
        return clusters_that_fill_a_socket(self.cpus)

    @cached_property
    def _dram(self) -> list[list[Time]]:
        known: dict[int, Time] = {}  # by identity: many cells are one object
        for row in self.dram:
            for cell in row:
                if id(cell) not in known:
                    known[id(cell)] = cell.picoseconds(self.clock_ghz.value)
        return [[known[id(cell)] for cell in row] for row in self.dram]

    @cached_property
    def _fallback(self) -> tuple[tuple[NodeId, ...], ...]:
        def order(at: int) -> tuple[NodeId, ...]:
            row = self._dram[at]
            return tuple(sorted(everywhere, key=lambda to: (to != at, row[to], to)))

        everywhere = [node.node for node in self.nodes]
        return tuple(order(at) for at in everywhere)

    @cached_property
    def _rows(self) -> dict[tuple[str, int], list[Time]]:
        return {}

    @cached_property
    def _members(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """CPUs of each cluster and of each core."""
        clusters: dict[int, list[int]] = {}
        cores: dict[int, list[int]] = {}
        for place in self.cpus:
            clusters.setdefault(place.cluster, []).append(place.cpu)
            cores.setdefault(place.core, []).append(place.cpu)
        return clusters, cores

    def _row(self, name: str, costs: Mapping[Distance, Sourced], cpu: CpuId) -> list[Time]:
        row = self._rows.get((name, cpu))
        if row is None:
            row = self._rows[name, cpu] = self._build_row(name, costs, cpu)
        return row

    def _build_row(self, name: str, costs: Mapping[Distance, Sourced], cpu: CpuId) -> list[Time]:
        """A copy of the row that all CPUs of a socket share, corrected near `cpu`."""
        place = self.cpus[cpu]
        price = {distance: cost.picoseconds(self.clock_ghz.value) for distance, cost in costs.items()}
        shared = self._rows.get((name, -1 - place.socket))
        if shared is None:
            to_socket = [price[of_hops(hops)] for hops in self.hops[place.socket]]
            shared = self._rows[name, -1 - place.socket] = [to_socket[other.socket] for other in self.cpus]
        row = shared.copy()
        clusters, cores = self._members
        if not self._fills_socket[place.cluster]:
            for other in clusters[place.cluster]:
                row[other] = price[Distance.CLUSTER]
        for other in cores[place.core]:
            row[other] = price.get(Distance.SMT, 0)
        row[cpu] = price[Distance.SELF]
        return row
