"""A machine as text, at most 100 columns wide: sockets as boxes, then the cost tables.

Only reads the machine; returns lines and prints nothing.
"""

import textwrap
from collections.abc import Iterator, Sequence

from coalsim.provenance import Sourced
from coalsim.topology.distance import Distance
from coalsim.topology.draw_mmu import interrupt_text, translation_text
from coalsim.topology.machine import Machine
from coalsim.topology.place import MemoryNode
from coalsim.topology.ranges import ranges
from coalsim.units import format_size

WIDTH = 100
GAP = 2  # columns between boxes
MATRIX_NODES = 16  # a wider matrix does not fit
WHAT = {
    Distance.SELF: "same CPU",
    Distance.SMT: "same core",
    Distance.CLUSTER: "same cluster",
    Distance.SOCKET: "same socket",
    Distance.CROSS: "other socket",
    Distance.CROSS2: "two hops away",
}


def machine_text(machine: Machine) -> list[str]:
    """The whole drawing, without provenance."""
    parts = (
        _head(machine),
        _boxes(machine),
        _links(machine),
        _matrix(machine),
        _classes(machine),
        interrupt_text(machine),
        translation_text(machine),
    )
    lines = [line.rstrip() for part in parts for line in ("", *part)]
    return lines[1:]


def provenance_text(machine: Machine) -> list[str]:
    """Every number once, grouped by status and source, with what rests on it."""
    lines = ["Where the numbers come from"]
    groups: dict[tuple[str, str], list[str]] = {}
    for key, number in machine.parameters():
        groups.setdefault((number.status, number.source), []).append(key)
    for (status, source), keys in groups.items():
        lines += textwrap.wrap(
            f"{status:<9} {_keys(keys)}: {source}", WIDTH, initial_indent="  ", subsequent_indent=" " * 12
        )
    for warning in machine.warnings:
        lines += textwrap.wrap(f"warning   {warning}", WIDTH, initial_indent="  ", subsequent_indent=" " * 12)
    return lines


def _keys(keys: Sequence[str]) -> str:
    """Cells of one table count together: ``dram (16)``; the many of the MMU are named once."""
    counts: dict[str, int] = {}
    of_mmu = False
    for key in keys:
        name = key.split(".")[0] if key.startswith("dram.") else key
        if key.startswith("mmu."):
            name, of_mmu = key.removeprefix("mmu.") if of_mmu else key, True
        name = "node." + key.split(".")[2] if key.startswith("node.") else name
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items())


def nanoseconds(machine: Machine, cost: Sourced) -> str:
    """A cost in ns, as short as three digits allow."""
    ps = cost.picoseconds(machine.clock_ghz.value)
    return f"{ps / 1000:.0f}" if ps >= 1_000_000 else f"{ps / 1000:.4g}"


def size_in_words(machine: Machine) -> str:
    """``2 sockets, 52 cores, ...``."""

    def count(number: int, what: str) -> str:
        return f"{number:,} {what}{'' if number == 1 else 's'}"

    parts = (
        count(machine.num_sockets, "socket"),
        count(machine.num_cores, "core"),
        count(machine.num_cpus, "CPU"),
        count(machine.num_nodes, "memory node"),
        format_size(machine.memory),
        f"{machine.clock_ghz.value} GHz",
    )
    return ", ".join(parts)


def _head(machine: Machine) -> list[str]:
    return [*textwrap.wrap(f"{machine.name}: {machine.title}", WIDTH), size_in_words(machine)]


def _boxes(machine: Machine) -> Iterator[str]:
    """Sockets side by side, as many as fit."""
    contents = [_socket_lines(machine, socket) for socket in range(machine.num_sockets)]
    inner = max(len(line) for content in contents for line in content)
    per_row = max(1, min(4, (WIDTH + GAP) // (inner + 4 + GAP)))
    for start in range(0, len(contents), per_row):
        row = contents[start : start + per_row]
        height = max(map(len, row))
        boxes = [_box(f" socket {start + i} ", content, inner, height) for i, content in enumerate(row)]
        yield from ((" " * GAP).join(line) for line in zip(*boxes, strict=True))


def _box(title: str, content: Sequence[str], inner: int, height: int) -> list[str]:
    padded = [*content, *[""] * (height - len(content))]
    return [
        f"┌─{title}{'─' * (inner + 1 - len(title))}┐",
        *(f"│ {line:<{inner}} │" for line in padded),
        f"└{'─' * (inner + 2)}┘",
    ]


def _socket_lines(machine: Machine, socket: int) -> list[str]:
    lines: list[str] = []
    for node in machine.nodes:
        if node.socket == socket:
            lines += _node_lines(machine, node)
    strangers = [p.cpu for p in machine.cpus if p.socket == socket and machine.nodes[p.node].socket != socket]
    if strangers:
        lines += _wrapped("CPUs", f"{ranges(strangers)} (memory elsewhere)")
    return lines or ["empty"]


def _node_lines(machine: Machine, node: MemoryNode) -> list[str]:
    number = f"node {node.node}" + (f" (os {node.os_index})" if node.os_index != node.node else "")
    lines = [f"{number:<8} {format_size(node.memory)}, {node.bandwidth.value} GB/s"]
    cpus = machine.cpus_of_node(node.node)
    if not cpus:
        return [*lines, "  memory only"]
    lines += _wrapped("CPUs", ranges(cpus))
    clusters = dict.fromkeys(machine.cpus[cpu].cluster for cpu in cpus)
    if Distance.CLUSTER in machine.distances():
        cores = len(dict.fromkeys(machine.cpus[cpu].core for cpu in cpus))
        each = cores / len(clusters)
        shape = f"{len(clusters)} of {each:g} core{'s' if each != 1 else ''}"
        lines += _wrapped("clusters", f"{ranges(sorted(clusters))}: {shape}" if len(clusters) > 1 else shape)
    return lines


def _wrapped(label: str, text: str) -> list[str]:
    """Ranges may be long on machines whose nodes take turns."""
    broken = textwrap.wrap(text.replace(",", ", "), 40)
    return [f"  {label if i == 0 else '':<8} {part}" for i, part in enumerate(broken)]


def _links(machine: Machine) -> list[str]:
    if machine.num_sockets == 1:
        return ["One socket, no links."]
    speed = f"{machine.link_bandwidth.value} GB/s each"
    if len(machine.links) == machine.num_sockets * (machine.num_sockets - 1) // 2:
        return [f"Links between all sockets, {speed}."]
    pairs = ", ".join(f"{a}-{b}" for a, b in machine.links)
    return textwrap.wrap(f"Links between sockets, {speed}: {pairs}", WIDTH)


def _matrix(machine: Machine) -> Iterator[str]:
    everywhere = [node.node for node in machine.nodes]
    latencies = [[machine.dram_latency(a, b) / 1000 for b in everywhere] for a in everywhere]
    flat = [latency for row in latencies for latency in row]
    if machine.num_nodes > MATRIX_NODES:
        yield f"Memory latency: {min(flat):g} to {max(flat):g} ns; --json has the matrix."
        return
    width = min(7, (WIDTH - 9) // machine.num_nodes)
    digits = 1 if width > len(f"{max(flat):.1f}") and any(latency % 1 for latency in flat) else 0
    yield "Memory latency, ns (rows: from the CPUs of a node, columns: to the memory of a node)"
    yield f"{'':9}" + "".join(f"{node:>{width}}" for node in everywhere)
    for node, row in zip(everywhere, latencies, strict=True):
        yield f"{node:>9}" + "".join(f"{latency:>{width}.{digits}f}" for latency in row)


def _classes(machine: Machine) -> Iterator[str]:
    yield f"{'Between CPUs, ns':<20}{'hand-over':>12}{'occupancy':>12}{'interrupt':>12}"
    for distance in machine.distances():
        costs = (table[distance] for table in machine.tables().values())
        cells = "".join(f"{nanoseconds(machine, cost):>12}" for cost in costs)
        yield f"  {WHAT[distance]:<18}{cells}"
