"""A machine as a JSON document: what `coalsim machines show --json` prints."""

from collections.abc import Iterable, Mapping

from coalsim.provenance import Sourced
from coalsim.topology.machine import Machine

Json = str | int | float | bool | None | list["Json"] | Mapping[str, "Json"]


def machine_summary(machine: Machine) -> dict[str, Json]:
    """One machine in a list."""
    status = [number.status for _, number in machine.parameters()]
    return {
        "name": machine.name,
        "title": machine.title,
        "num_sockets": machine.num_sockets,
        "num_cores": machine.num_cores,
        "num_cpus": machine.num_cpus,
        "num_nodes": machine.num_nodes,
        "memory": machine.memory,
        "clock_ghz": float(machine.clock_ghz.value),
        "numbers": {word: status.count(word) for word in ("measured", "derived", "assumed")},
    }


def machine_document(machine: Machine) -> dict[str, Json]:
    """Everything that is known; costs in ns, sizes in bytes, and each number with its provenance."""
    clock = machine.clock_ghz.value
    tables = {
        f"{name}_ns": {distance.key: cost.picoseconds(clock) / 1000 for distance, cost in table.items()}
        for name, table in machine.tables().items()
    }
    return {
        **machine_summary(machine),
        "cpus": [
            {
                "cpu": place.cpu,
                "node": place.node,
                "socket": place.socket,
                "cluster": place.cluster,
                "core": place.core,
                "thread": place.thread,
            }
            for place in machine.cpus
        ],
        "nodes": [
            {
                "node": node.node,
                "os_index": node.os_index,
                "socket": node.socket,
                "memory": node.memory,
                "bandwidth_gb_s": float(node.bandwidth.value),
                "cpus": [int(cpu) for cpu in machine.cpus_of_node(node.node)],
            }
            for node in machine.nodes
        ],
        "dram_ns": [[cell.picoseconds(clock) / 1000 for cell in row] for row in machine.dram],
        "slit": [list(row) for row in machine.slit.rows] if machine.slit else None,
        "links": [list(pair) for pair in machine.links],
        "link_bandwidth_gb_s": float(machine.link_bandwidth.value),
        "ipi_send_ns": machine.ipi_send.picoseconds(clock) / 1000,
        "ipi_model": {
            "name": machine.ipi.name,
            "source": machine.ipi.source,
            "status": machine.ipi.status,
        },
        "guest": _values(machine.guest.numbers()) if machine.guest else None,
        "mmu": {"name": machine.mmu.name, **_values(machine.mmu.numbers())},
        **tables,
        "parameters": [
            {
                "key": key,
                "value": float(number.value),
                "unit": number.unit,
                "source": number.source,
                "status": number.status,
            }
            for key, number in machine.parameters()
        ],
        "warnings": list(machine.warnings),
    }


def _values(numbers: Iterable[tuple[str, Sourced]]) -> dict[str, Json]:
    """As they stand in their files; units and sources are among the parameters."""
    return {key: float(number.value) for key, number in numbers}
