"""The `[layout]` of a machine file: a regular grid, or every core by itself.

Invariant: a `Layout` is returned even when there are mistakes (they are in the
reader's `problems`), so that the rest of the file is read and all are reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from coalsim.errors import Problem
from coalsim.provenance import Sourced
from coalsim.topology.check import size_problem
from coalsim.topology.cost_reader import Reader, Table
from coalsim.topology.place import CpuPlace
from coalsim.topology.placing import Grid, Numbering, place_cpus
from coalsim.units import CpuId, NodeId

GRID_KEYS = ("sockets", "nodes_per_socket", "clusters_per_socket", "cores_per_socket", "threads_per_core")
_ONE_CPU = Grid(sockets=1, nodes_per_socket=1, clusters_per_socket=1, cores_per_socket=1, threads_per_core=1)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """CPUs in their places and the socket of each node."""

    cpus: tuple[CpuPlace, ...]
    node_sockets: Sequence[int]
    sockets: int
    provenance: Sourced


def read_layout(reader: Reader) -> Layout:
    """Whatever of the layout can be read."""
    table = reader.table("layout")
    source, status = reader.provenance(table, "layout")
    by_core = "cores" in table
    reader.only(table, ("unit", "source", "status", *(("cores",) if by_core else GRID_KEYS)), "layout.")
    cpus, node_sockets = _listed(reader, table) if by_core else _regular(reader, table)
    sockets = 1 + max(max(node_sockets, default=0), max((place.socket for place in cpus), default=0))
    return Layout(
        cpus=cpus,
        node_sockets=node_sockets,
        sockets=sockets,
        provenance=Sourced(value=Decimal(len(cpus)), unit="cpus", source=source, status=status),
    )


def _regular(reader: Reader, table: Table) -> tuple[tuple[CpuPlace, ...], Sequence[int]]:
    grid = Grid(**{key: reader.whole(table, key, "layout.", 1) for key in GRID_KEYS})
    nodes = grid.sockets * grid.nodes_per_socket
    if too_big := size_problem(grid.cpus, nodes, reader.where):
        _note(reader, too_big)
        grid, nodes = _ONE_CPU, 1
    for key in ("nodes_per_socket", "clusters_per_socket"):
        if getattr(grid, key) > grid.cores_per_socket:
            reader.refuse(f"layout.{key}", "more than there are cores", "list the cores one by one instead")
    numbers = {node: NodeId(node) for node in range(nodes)}
    return place_cpus(grid.cpus_found(), numbers, Numbering()), grid.node_sockets


def _listed(reader: Reader, table: Table) -> tuple[tuple[CpuPlace, ...], Sequence[int]]:
    """Every core with its CPUs in the order of their threads; the ids are taken as they stand."""
    cores, nodes = table["cores"], reader.document.get("node")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        reader.refuse(
            "node", "not one [[node]] for each node", "a layout by cores needs the nodes listed too"
        )
        nodes = []
    node_sockets = [reader.whole(node, "socket", f"node.{i}.", 0) for i, node in enumerate(nodes)]
    places: dict[int, CpuPlace] = {}
    for core, entry in enumerate(cores if isinstance(cores, list) else [cores]):
        match entry:
            case {"node": int(node), "socket": int(socket), "cluster": int(cluster), "cpus": list(cpus)} if (
                min(node, socket, cluster) >= 0 and all(type(cpu) is int and cpu >= 0 for cpu in cpus)
            ):
                for thread, cpu in enumerate(cpus):
                    places[cpu] = CpuPlace(
                        cpu=CpuId(cpu),
                        node=NodeId(node),
                        socket=socket,
                        cluster=cluster,
                        core=core,
                        thread=thread,
                    )
            case _:
                remedy = "write {node = 0, socket = 0, cluster = 0, cpus = [0]}"
                reader.refuse("layout.cores", f"entry {core} is not a core", remedy)
    highest = max([*node_sockets, *(place.socket for place in places.values())], default=0)
    if too_big := size_problem(max(len(places), highest), len(nodes), reader.where):
        _note(reader, too_big)
        return (), [0]
    return tuple(places[cpu] for cpu in sorted(places)), node_sockets


def _note(reader: Reader, problem: Problem) -> None:
    reader.refuse("layout", problem.message, problem.remedy)
