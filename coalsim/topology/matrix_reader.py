"""The parts of a machine file that go between things: `[links]`, `[[dram]]`, `[slit]`.

Each function returns what can be used and leaves a problem in the reader for the
rest.  A latency matrix in which a pair of nodes is missing is such a problem.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import combinations

from coalsim.guarded import clean
from coalsim.provenance import Sourced, Status
from coalsim.topology.cost_reader import TIMES, Reader, Table
from coalsim.topology.distance import Distance, of_hops
from coalsim.topology.layout_reader import Layout
from coalsim.topology.machine import Row
from coalsim.topology.place import MemoryNode, Slit

BETWEEN = {
    "local": Distance.SELF,
    "socket": Distance.SOCKET,
    "cross": Distance.CROSS,
    "cross2": Distance.CROSS2,
}


def read_links(reader: Reader, layout: Layout) -> tuple[tuple[tuple[int, int], ...], Sourced]:
    """The wired pairs of sockets, all of them if none are listed, and how many, with provenance."""
    table = reader.table("links")
    reader.only(table, ("pairs", "bandwidth", "source", "status"), "links.")
    if "pairs" not in table:
        pairs = tuple(combinations(range(layout.sockets), 2))
        return pairs, _links_of(pairs, "every pair of sockets is linked", "assumed")
    pairs = _pairs(reader, table["pairs"], "links.pairs", layout.sockets, "sockets")
    source, status = reader.provenance(table, "links")
    return pairs, _links_of(pairs, source, status)


def read_link_bandwidth(reader: Reader, nodes: Sequence[MemoryNode]) -> Sourced | None:
    """Bandwidth of one link; a machine of one socket needs none."""
    table = reader.table("links")
    if "bandwidth" in table or len({node.socket for node in nodes}) > 1:
        return reader.number(table, "bandwidth", ("GB/s",), "links.")
    if not nodes:
        return None
    source = f"as the node's, there is no link: {nodes[0].bandwidth.source}"
    return replace(nodes[0].bandwidth, source=source, status="assumed")


def read_dram(reader: Reader, layout: Layout, hops: Sequence[Sequence[int]]) -> tuple[Row, ...]:
    """Every `[[dram]]` entry in turn written into the matrix."""
    entries = reader.document.get("dram")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        reader.refuse("dram", "missing, or not entries", "write [[dram]] with value or values, unit, ...")
        return ()
    count = len(layout.node_sockets)
    cells: list[list[Sourced | None]] = [[None] * count for _ in range(count)]
    for index, entry in enumerate(entries):
        prefix = f"dram.{index}."
        reader.only(entry, ("between", "pairs", "value", "values", "unit", "source", "status"), prefix)
        if "values" in entry:
            for a, row in enumerate(_matrix(reader, entry, prefix, count)):
                cells[a] = list(row)
        elif number := _entry(reader, entry, prefix):
            for a, b in _chosen(reader, entry, prefix, layout, hops):
                cells[a][b] = number
    if not reader.problems and any(None in row for row in cells):
        reader.refuse("dram", "some pairs of nodes have no latency", 'add entries: between = "cross", ...')
    return tuple(tuple(cell for cell in row if cell) for row in cells)


def _entry(reader: Reader, entry: Table, prefix: str) -> Sourced | None:
    number = {key: entry[key] for key in ("value", "unit", "source", "status") if key in entry}
    return reader.number({"entry": number}, "entry", TIMES, prefix)


def _chosen(
    reader: Reader, entry: Table, prefix: str, layout: Layout, hops: Sequence[Sequence[int]]
) -> Iterable[tuple[int, int]]:
    """The cells that an entry speaks of."""
    sockets = layout.node_sockets
    if "pairs" in entry:
        return _pairs(reader, entry["pairs"], f"{prefix}pairs", len(sockets), "nodes")
    between = entry.get("between")
    if between not in BETWEEN:
        reader.refuse(
            f"{prefix}between",
            "no such class",
            f"use {', '.join(BETWEEN)}, or give pairs",
            clean(str(between)),
        )
        return ()
    return (
        (a, b)
        for a in range(len(sockets))
        for b in range(len(sockets))
        if BETWEEN[between] == (Distance.SELF if a == b else of_hops(hops[sockets[a]][sockets[b]]))
    )


def _matrix(reader: Reader, entry: Table, prefix: str, count: int) -> list[list[Sourced | None]]:
    """A whole matrix; equal numbers become one object."""
    known: dict[object, Sourced | None] = {}

    def cell(value: object) -> Sourced | None:
        key = repr(value)
        if key not in known:
            known[key] = _entry(reader, {**entry, "value": value}, prefix)
        return known[key]

    return [
        [cell(value) for value in row] for row in _rows(reader, entry["values"], f"{prefix}values", count)
    ]


def _rows(reader: Reader, values: object, key: str, count: int) -> list[list[object]]:
    if (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(row, list) and len(row) == count for row in values)
    ):
        return values
    reader.refuse(key, f"not a matrix of {count} x {count}", "give one row and column for each node")
    return []


def read_slit(reader: Reader, layout: Layout) -> Slit | None:
    """Firmware's distances, if the file has them."""
    table = reader.table("slit")
    if not table:
        return None
    reader.only(table, ("values", "source", "status"), "slit.")
    rows = _rows(reader, table.get("values"), "slit.values", len(layout.node_sockets))
    if not all(isinstance(value, int) and 10 <= value <= 255 for row in rows for value in row):
        reader.refuse("slit.values", "a distance is not within 10 to 255", "10 is local, 255 unreachable")
        return None
    source, status = reader.provenance(table, "slit")
    return Slit(
        rows=tuple(tuple(int(str(value)) for value in row) for row in rows), source=source, status=status
    )


def _pairs(reader: Reader, found: object, key: str, count: int, what: str) -> tuple[tuple[int, int], ...]:
    pairs = []
    for pair in found if isinstance(found, list) else [found]:
        match pair:
            case [int(a), int(b)] if 0 <= a < count and 0 <= b < count:
                pairs.append((a, b))
            case _:
                reader.refuse(
                    key, f"not a pair of {what}", f"give pairs of numbers below {count}", clean(str(pair))
                )
    return tuple(pairs)


def _links_of(pairs: Sequence[object], source: str, status: Status) -> Sourced:
    return Sourced(value=Decimal(len(pairs)), unit="links", source=source, status=status)
