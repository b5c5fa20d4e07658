"""A machine as a networkx graph, for questions about its shape.

Vertices are ``socket 0``, ``node 0``, ``cluster 0``, ``core 0``, ``cpu 0`` and carry
`kind`; edges carry `kind`: ``link`` (socket to socket, with `bandwidth` in GB/s),
``memory`` (node to socket, with `bandwidth`), ``part`` (the containment tree).
The graph itself carries the latency matrix, the hand-over costs by distance, and the
names of the microarchitecture and of the way that interrupts are sent.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx

    from coalsim.topology.machine import Machine


def machine_graph(machine: "Machine") -> "networkx.Graph[str]":
    """The graph of `machine`; built anew at each call."""
    import networkx  # 150 ms to import: only those who ask for a graph pay

    graph: networkx.Graph[str] = networkx.Graph(
        name=machine.name,
        mmu=machine.mmu.name,
        ipi_model=machine.ipi_model,
        dram_ps=[[machine.dram_latency(a.node, b.node) for b in machine.nodes] for a in machine.nodes],
        line_transfer_ps={
            distance.key: cost.picoseconds(machine.clock_ghz.value)
            for distance, cost in machine.line_transfer.items()
        },
    )
    for socket in range(machine.num_sockets):
        graph.add_node(f"socket {socket}", kind="socket")
    for a, b in machine.links:
        graph.add_edge(f"socket {a}", f"socket {b}", kind="link", bandwidth=machine.link_bandwidth.value)
    for node in machine.nodes:
        graph.add_node(f"node {node.node}", kind="node", memory=node.memory)
        graph.add_edge(
            f"node {node.node}", f"socket {node.socket}", kind="memory", bandwidth=node.bandwidth.value
        )
    for place in machine.cpus:
        chain = (
            ("socket", place.socket), ("cluster", place.cluster), ("core", place.core), ("cpu", place.cpu)
        )  # fmt: skip
        for kind, index in chain[1:]:
            graph.add_node(f"{kind} {index}", kind=kind)
        for (outer, i), (inner, j) in pairwise(chain):
            graph.add_edge(f"{outer} {i}", f"{inner} {j}", kind="part")
    return graph
