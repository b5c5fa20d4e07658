"""From what an importer found to a `Machine`: renumbering, and filling the gaps.

Files tell the shape and the sizes.  Clock, latencies, bandwidths and IPI costs come
from `costs.assumed_costs`; each class that is filled in is named in the machine's
warnings, so that nobody takes an assumption for a measurement.

Invariant: firmware's relative distances (SLIT) are kept and shown, but no latency
is made from them.  `slit_latency.py` does that for those who ask.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations

from coalsim.errors import InputError, Problem
from coalsim.guarded import clean
from coalsim.provenance import Sourced, Status
from coalsim.topology.check import MAX_MEMORY, size_problem
from coalsim.topology.costs import assumed_costs, dram_matrix, filled, no_mmu_warning
from coalsim.topology.distance import Distance, socket_hops
from coalsim.topology.machine import Machine, Row
from coalsim.topology.overrides import occupancy_as_transfer
from coalsim.topology.place import MemoryNode, Slit, occurring_distances
from coalsim.topology.placing import FoundCpu, Key, Numbering, place_cpus
from coalsim.units import PAGE_SIZE, NodeId

SLIT_LOCAL, SLIT_UNREACHABLE = 10, 255


@dataclass(frozen=True, kw_only=True)
class FoundNode:
    """A memory node as a file describes it; `socket` None where the file does not say."""

    os_index: int
    memory: int
    socket: Key | None = None
    latency: Sourced | None = None
    bandwidth: Sourced | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an importer found in a file."""

    name: str
    title: str
    where: str  # for messages
    source: str  # for provenance
    status: Status = "measured"
    cpus: Sequence[FoundCpu]
    nodes: Sequence[FoundNode]
    slit: Mapping[tuple[int, int], int] = field(default_factory=dict)  # by firmware's node numbers
    warnings: Sequence[str] = ()


def assembled(found: Found) -> Machine:
    """The machine that was found, with assumed costs.

    Raises:
        InputError: it cannot be a machine; every mistake.
    """
    if problems := list(_problems(found)):
        raise InputError(problems)
    costs = assumed_costs()
    numbers = {node.os_index: NodeId(i) for i, node in enumerate(_by_number(found.nodes))}
    numbering = Numbering()
    cpus = place_cpus(found.cpus, numbers, numbering)
    node_sockets = _node_sockets(found, numbering)
    sockets = len(numbering)
    links = tuple(combinations(range(sockets), 2))
    hops = socket_hops(sockets, links)
    occurring = occurring_distances(cpus, hops)
    transfer = filled(costs.line_transfer, occurring)
    return Machine(
        name=clean(found.name),
        title=clean(found.title),
        layout=Sourced(value=Decimal(len(cpus)), unit="cpus", source=found.source, status=found.status),
        clock_ghz=costs.clock_ghz,
        cpus=cpus,
        nodes=_nodes(found, node_sockets, costs.bandwidth),
        dram=_dram(found, dram_matrix(costs.dram, node_sockets, hops)),
        line_transfer=transfer,
        line_occupancy={distance: occupancy_as_transfer(cost) for distance, cost in transfer.items()},
        ipi_flight=filled(costs.ipi_flight, occurring),
        ipi_send=costs.ipi_send,
        ipi=costs.ipi,
        mmu=costs.mmu,
        links=links,
        interconnect=_assumed_links(len(links)),
        link_bandwidth=costs.link_bandwidth,
        slit=_slit(found),
        warnings=(*found.warnings, *_warnings(found, numbers, occurring)),
    )


def _by_number(nodes: Sequence[FoundNode]) -> list[FoundNode]:
    return sorted(nodes, key=lambda node: node.os_index)


def _assumed_links(count: int) -> Sourced:
    source = "not in the imported file; every pair of sockets is linked"
    return Sourced(value=Decimal(count), unit="links", source=source, status="assumed")


def _problems(found: Found) -> Iterator[Problem]:
    def problem(message: str, remedy: str) -> Problem:
        return Problem(where=found.where, message=message, remedy=remedy)

    if not found.cpus:
        yield problem("a machine without CPUs", "export it again; it needs at least one CPU")
    if not found.nodes:
        yield problem("a machine without memory nodes", "export it again, with its NUMA nodes")
    elif not any(node.memory >= PAGE_SIZE for node in found.nodes):
        yield problem("a machine without memory", "give at least one node some")
    if too_big := size_problem(len(found.cpus), len(found.nodes), found.where):
        yield too_big
    for what, numbers in (
        ("CPU", [cpu.os_index for cpu in found.cpus]),
        ("node", [node.os_index for node in found.nodes]),
    ):
        for number, count in Counter(numbers).items():
            if count > 1:
                yield problem(f"{what} {number} is there {count} times", f"name every {what} once")
    for node in found.nodes:
        if not 0 <= node.memory <= MAX_MEMORY:
            yield problem(f"node {node.os_index} has {node.memory} bytes", "give 0 to 4 PiB")
    known = {node.os_index for node in found.nodes}
    for cpu in found.cpus:
        if cpu.node not in known:
            yield problem(f"CPU {cpu.os_index} is in node {cpu.node}, which is missing", "list that node too")


def _node_sockets(found: Found, numbering: Numbering) -> list[int]:
    """What the file says, else the socket of its CPUs, else that of the nearest node with CPUs."""
    home = {cpu.node: numbering[cpu.socket] for cpu in found.cpus}

    def socket_of(node: FoundNode) -> int:
        if node.socket is not None:
            return numbering[node.socket]
        if node.os_index in home:
            return home[node.os_index]
        nearest = min(home, key=lambda other: (found.slit.get((node.os_index, other), 255), other))
        return home[nearest]

    return [socket_of(node) for node in _by_number(found.nodes)]


def _nodes(found: Found, sockets: Sequence[int], bandwidth: Sourced) -> tuple[MemoryNode, ...]:
    return tuple(
        MemoryNode(
            node=NodeId(i),
            socket=sockets[i],
            memory=node.memory - node.memory % PAGE_SIZE,
            bandwidth=node.bandwidth or bandwidth,
            os_index=node.os_index,
            memory_source=found.source,
            memory_status=found.status,
        )
        for i, node in enumerate(_by_number(found.nodes))
    )


def _dram(found: Found, matrix: list[list[Sourced]]) -> tuple[Row, ...]:
    for i, node in enumerate(_by_number(found.nodes)):
        if node.latency:
            matrix[i][i] = node.latency
    return tuple(tuple(row) for row in matrix)


def _slit(found: Found) -> Slit | None:
    order = [node.os_index for node in _by_number(found.nodes)]
    rows = tuple(tuple(found.slit.get((a, b), 0) for b in order) for a in order)
    if any(not SLIT_LOCAL <= value <= SLIT_UNREACHABLE for row in rows for value in row):
        return None
    return Slit(rows=rows, source=found.source, status="measured")


def _warnings(found: Found, numbers: Mapping[int, NodeId], occurring: Iterable[Distance]) -> Iterator[str]:
    cpus = sorted(cpu.os_index for cpu in found.cpus)
    if cpus != list(range(len(cpus))):
        yield "CPU numbers have gaps: the CPUs were renumbered from 0 in the same order"
    if any(number != node for number, node in numbers.items()):
        yield "node numbers have gaps: the nodes were renumbered from 0 in the same order"
    if found.slit and _slit(found) is None:
        yield "the node distances are incomplete or outside 10 to 255, so they were left out"
    measured = all(node.latency for node in found.nodes), all(node.bandwidth for node in found.nodes)
    guessed = ["clock", "memory latencies" + (" between nodes" if measured[0] else "")]
    if not measured[1]:
        guessed.append("memory bandwidths")
    guessed += ["links and their bandwidth", "interrupt costs"]
    classes = ", ".join(distance.key for distance in occurring)
    yield f"not in the file, so assumed: {', '.join(guessed)}, and cache-line hand-over ({classes})"
    yield no_mmu_warning()
    if found.slit:
        yield "node distances are firmware's ratios, not latencies: no latency was made from them"
