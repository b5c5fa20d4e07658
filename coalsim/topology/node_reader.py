"""The memory nodes of a machine file: one `[node]` for all, or one `[[node]]` for each."""

from coalsim.provenance import Sourced
from coalsim.topology.check import MAX_MEMORY
from coalsim.topology.cost_reader import Reader, Table
from coalsim.topology.layout_reader import Layout
from coalsim.topology.place import MemoryNode
from coalsim.units import GIB, KIB, MIB, PAGE_SIZE, NodeId

SIZES = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}


def read_nodes(reader: Reader, layout: Layout) -> tuple[MemoryNode, ...]:
    """The nodes that can be read, in order."""
    match reader.document.get("node"):
        case dict() as table:
            nodes = _alike(reader, table, layout)
        case list() as tables if len(tables) == len(layout.node_sockets) and all(
            isinstance(table, dict) for table in tables
        ):
            nodes = [_node(reader, table, f"node.{i}.", i, layout) for i, table in enumerate(tables)]
        case None:
            reader.refuse("node", "missing", "write [node] with memory and bandwidth")
            return ()
        case _:
            reader.refuse(
                "node", "not one table per node", f"write [[node]] {len(layout.node_sockets)} times"
            )
            return ()
    usable = tuple(node for node in nodes if node)
    if usable and not any(node.memory for node in usable):
        reader.refuse("node", "a machine without memory", "give at least one node some")
    return usable


def _alike(reader: Reader, table: Table, layout: Layout) -> list[MemoryNode | None]:
    first = _node(reader, table, "node.", 0, layout)
    if first is None:
        return []
    return [
        MemoryNode(
            node=NodeId(node),
            socket=socket,
            memory=first.memory,
            bandwidth=first.bandwidth,
            os_index=node,
            memory_source=first.memory_source,
            memory_status=first.memory_status,
        )
        for node, socket in enumerate(layout.node_sockets)
    ]


def _node(reader: Reader, table: Table, prefix: str, node: int, layout: Layout) -> MemoryNode | None:
    reader.only(table, ("socket", "os_index", "memory", "bandwidth"), prefix)
    bandwidth = reader.number(table, "bandwidth", ("GB/s",), prefix)
    memory = reader.number(table, "memory", tuple(SIZES), prefix)
    os_index = reader.whole(table, "os_index", prefix, 0) if "os_index" in table else node
    if memory is None or bandwidth is None:
        return None
    return MemoryNode(
        node=NodeId(node),
        socket=layout.node_sockets[node],
        memory=_bytes(reader, memory, f"{prefix}memory"),
        bandwidth=bandwidth,
        os_index=os_index,
        memory_source=memory.source,
        memory_status=memory.status,
    )


def _bytes(reader: Reader, memory: Sourced, key: str) -> int:
    size = memory.value * SIZES[memory.unit]
    if size > MAX_MEMORY or size % PAGE_SIZE:
        value = f"{memory.value} {memory.unit}"
        reader.refuse(key, "not a size that a node can have", "give whole 4 KiB pages, 4 PiB at most", value)
        return PAGE_SIZE  # stands in, so that one mistake is reported once
    return int(size)
