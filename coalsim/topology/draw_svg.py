"""A machine as an SVG drawing: sockets with their nodes and cores, links, latencies.

Cores are squares, drawn in their clusters; resting the mouse on one names its CPUs,
and on small machines the numbers are written into it.  Below the sockets stand the
links (where there are more than two sockets), the latency matrix as a heat table,
and hand-over by distance as bars.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, cos, pi, sin, sqrt

from coalsim.topology import svg
from coalsim.topology.distance import Distance
from coalsim.topology.draw import WHAT, nanoseconds, size_in_words
from coalsim.topology.machine import Machine
from coalsim.topology.place import MemoryNode
from coalsim.topology.ranges import ranges
from coalsim.units import format_size

PAGE = 1000.0  # wide at most, unless one socket is wider
MARGIN = 24.0
PAD = 12.0
LABELLED_CPUS = 32  # up to here the cores carry their CPU numbers
HEAT_NODES = 32


@dataclass(frozen=True)
class _Block:
    """A part of the drawing, with its size; elements are placed by a translation."""

    width: float
    height: float
    elements: Sequence[str]

    def at(self, x: float, y: float) -> str:
        return f'<g transform="translate({x:g} {y:g})">{"".join(self.elements)}</g>'


def machine_svg(machine: Machine) -> str:
    """The whole drawing."""
    sockets = [_socket(machine, socket) for socket in range(machine.num_sockets)]
    charts = [block for block in (_links(machine), _heat(machine), _bars(machine)) if block]
    parts = [
        svg.text(MARGIN, MARGIN + 20, machine.name, size=22, bold=True),
        svg.text(MARGIN, MARGIN + 42, machine.title, "faint", size=14),
        svg.text(MARGIN, MARGIN + 62, size_in_words(machine), "faint", size=12),
    ]
    y, width = MARGIN + 82, 2 * MARGIN + 7.5 * max(len(machine.title), 60)
    for blocks, gap in ((sockets, PAD), (charts, 3 * PAD)):
        for row in _rows(blocks, gap):
            x = MARGIN
            for block in row:
                parts.append(block.at(x, y))
                x += block.width + gap
            width = max(width, x - gap + MARGIN)
            y += max(block.height for block in row) + gap
        y += PAD
    return svg.document(width, y - 2 * PAD, f"{machine.name}: {machine.title}", parts)


def _rows(blocks: Sequence[_Block], gap: float) -> Iterator[list[_Block]]:
    """Blocks from left to right, broken where the page ends."""
    row: list[_Block] = []
    used = MARGIN
    for block in blocks:
        if row and used + block.width > PAGE - MARGIN:
            yield row
            row, used = [], MARGIN
        row.append(block)
        used += block.width + gap
    if row:
        yield row


# -- sockets


def _socket(machine: Machine, socket: int) -> _Block:
    nodes = [_node(machine, node) for node in machine.nodes if node.socket == socket]
    across = 1 if len(nodes) == 1 else 2
    elements = [svg.text(PAD, 20, f"socket {socket}", size=13, bold=True)]
    y, width = 30.0, 120.0
    for start in range(0, len(nodes), across):
        row = nodes[start : start + across]
        x = PAD
        for block in row:
            elements.append(block.at(x, y))
            x += block.width + PAD
        width = max(width, x)
        y += max(block.height for block in row) + PAD
    return _Block(width, y, [svg.rectangle(0, 0, width, y, "socket", radius=8), *elements])


def _node(machine: Machine, node: MemoryNode) -> _Block:
    label = f"node {node.node}"
    size = f"{format_size(node.memory)}, {node.bandwidth.value} GB/s"
    cpus = machine.cpus_of_node(node.node)
    clusters: dict[int, dict[int, list[int]]] = {}
    for cpu in cpus:
        place = machine.cpus[cpu]
        clusters.setdefault(place.cluster, {}).setdefault(place.core, []).append(cpu)
    blocks = [_cluster(machine, cores) for cores in clusters.values()]
    elements = [svg.text(10, 18, label, size=12, bold=True)]
    under = ranges(cpus) if cpus else "memory only"
    under = f"CPUs {under}" if cpus else under
    elements.append(svg.text(10, 33, size, "faint", size=11))
    elements.append(svg.text(10, 48, under if len(under) <= 34 else under[:33] + "…", "faint", size=11))
    across = max(1, ceil(sqrt(len(blocks))))
    y, width = 58.0, max(165.0, 20 + 6.0 * min(34, len(under)))
    for start in range(0, len(blocks), across):
        row = blocks[start : start + across]
        x = 10.0
        for block in row:
            elements.append(block.at(x, y))
            x += block.width + 5
        width = max(width, x + 5)
        y += max(block.height for block in row) + 5
    return _Block(width, y + 5, [svg.rectangle(0, 0, width, y + 5, "node", radius=6), *elements])


def _cluster(machine: Machine, cores: dict[int, list[int]]) -> _Block:
    """Cores in a grid about twice as wide as high."""
    labelled = machine.num_cpus <= LABELLED_CPUS
    side = 30.0 if labelled else 16.0 if machine.num_cpus <= 256 else 10.0
    step = side + (4 if labelled else 3)
    across = ceil(len(cores) / max(1, round(sqrt(len(cores) / 2))))
    elements: list[str] = []
    for i, (core, cpus) in enumerate(cores.items()):
        x, y = 4 + i % across * step, 4 + i // across * step
        elements += _core(x, y, side, core, cpus, labelled=labelled)
    width = 8 + min(across, len(cores)) * step - (step - side)
    height = 8 + ceil(len(cores) / across) * step - (step - side)
    return _Block(width, height, [svg.rectangle(0, 0, width, height, "cluster", radius=4), *elements])


def _core(
    x: float, y: float, side: float, core: int, cpus: Sequence[int], *, labelled: bool
) -> Iterator[str]:
    """A square, split into one strip per thread."""
    strip = (side - (len(cpus) - 1)) / len(cpus)
    for i, cpu in enumerate(cpus):
        left = x + i * (strip + 1)
        names = f"core {core}: CPU {', '.join(map(str, cpus))}"
        yield svg.rectangle(left, y, strip, side, "core", radius=min(2.0, strip / 3), hint=names)
        if labelled:
            size = 12 if len(cpus) == 1 else 9
            yield svg.text(
                left + strip / 2, y + side / 2 + size / 3, str(cpu), "on-core", size=size, anchor="middle"
            )


# -- what lies between them


def _links(machine: Machine) -> _Block | None:
    if machine.num_sockets < 3:
        return None
    size, radius = 220.0, 84.0
    middle_x, middle_y = size / 2, 30 + size / 2 - 8
    turn = 2 * pi / machine.num_sockets
    spots = [
        (middle_x + radius * sin(i * turn), middle_y - radius * cos(i * turn))
        for i in range(machine.num_sockets)
    ]
    elements = [svg.text(0, 14, f"Links, {machine.link_bandwidth.value} GB/s each", size=13, bold=True)]
    elements += (svg.line(*spots[a], *spots[b]) for a, b in machine.links)
    for socket, (x, y) in enumerate(spots):
        elements.append(svg.rectangle(x - 14, y - 11, 28, 22, "socket", radius=5))
        elements.append(svg.text(x, y + 4, str(socket), size=12, anchor="middle"))
    return _Block(size, size + 20, elements)


def _heat(machine: Machine) -> _Block | None:
    nodes = machine.num_nodes
    if nodes > HEAT_NODES:
        return None
    cell = 46.0 if nodes <= 8 else 30.0 if nodes <= 16 else 18.0
    height = min(cell, 26.0)
    everywhere = [node.node for node in machine.nodes]
    rows = [[machine.dram_latency(a, b) for b in everywhere] for a in everywhere]
    low, high = min(map(min, rows)), max(map(max, rows))
    elements = [
        svg.text(0, 14, "Memory latency, ns", size=13, bold=True),
        svg.text(0, 30, "from the CPUs of a node (row) to the memory of a node (column)", "faint", size=10),
    ]
    left, top = 24.0, 52.0
    for i in everywhere:
        elements.append(
            svg.text(left + i * cell + cell / 2, top - 6, str(i), "faint", size=10, anchor="middle")
        )
        elements.append(
            svg.text(left - 8, top + i * height + height / 2 + 4, str(i), "faint", size=10, anchor="end")
        )
    for a, row in enumerate(rows):
        for b, latency in enumerate(row):
            heat = 0.12 + 0.68 * ((latency - low) / (high - low) if high > low else 0)
            x, y = left + b * cell, top + a * height
            more = f'fill-opacity="{heat:.2f}"'
            hint = f"node {a} to node {b}: {latency / 1000:g} ns"
            elements.append(
                svg.rectangle(x + 1, y + 1, cell - 2, height - 2, "hot", radius=3, more=more, hint=hint)
            )
            if nodes <= 16:
                words = f"{latency / 1000:.4g}" if nodes <= 8 else f"{latency / 1000:.0f}"
                size = 11 if nodes <= 8 else 9
                elements.append(svg.text(x + cell / 2, y + height / 2 + 4, words, size=size, anchor="middle"))
    return _Block(max(310.0, left + nodes * cell), top + nodes * height, elements)


def _bars(machine: Machine) -> _Block:
    distances: Sequence[Distance] = machine.distances()
    costs = [machine.line_transfer[distance].picoseconds(machine.clock_ghz.value) for distance in distances]
    elements = [
        svg.text(0, 14, "Cache-line hand-over, ns", size=13, bold=True),
        svg.text(0, 30, "one way, a line that the other CPU has written", "faint", size=10),
    ]
    longest, label, top = 120.0, 96.0, 46.0
    for i, (distance, cost) in enumerate(zip(distances, costs, strict=True)):
        y = top + i * 26
        length = max(2.0, longest * cost / max(costs))
        number = machine.line_transfer[distance]
        elements.append(svg.text(label - 8, y + 13, WHAT[distance], "faint", size=11, anchor="end"))
        elements.append(
            svg.rectangle(label, y, length, 18, "bar", radius=3, hint=f"{number.status}: {number.source}")
        )
        elements.append(svg.text(label + length + 6, y + 13, nanoseconds(machine, number), size=11))
    return _Block(label + longest + 50, top + 26 * len(distances), elements)
