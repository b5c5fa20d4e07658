"""Machine files: a machine as TOML.

Two ways to give the layout.  A preset is regular::

    [layout]
    sockets = 2
    nodes_per_socket = 1
    clusters_per_socket = 1
    cores_per_socket = 26
    threads_per_core = 2
    source = "..."  # unit: count
    status = "measured"

    [node]                      # each node
    memory = {value = 192, unit = "GiB", source = "...", status = "assumed"}
    bandwidth = {value = 112.6, unit = "GB/s", ...}

An imported machine lists what is there: `layout.cores`, one entry per core with its
CPUs in the order of their threads, and `[[node]]`, one per node.

Latencies are `[[dram]]` entries, later ones winning: ``between = "local"`` (or socket,
cross, cross2), ``pairs = [[0, 1]]``, or a whole matrix in `values`.  `[line_transfer]`,
`[line_occupancy]`, `[ipi_flight]` go by class of distance (`distance.py`).
`[links]` has the pairs of sockets (left out: all) and their bandwidth.

``mmu = "skylake-sp"`` names the microarchitecture whose TLBs and flush costs the machine
has (`mmu_file.py`), `[mmu_values]` replaces single numbers of it.  `ipi_model` and, for a
guest, `[guest]` say how interrupts are sent (`interrupts.py`).

Invariant: `machine_file_text` (`machine_writer.py`) of a machine reads back equal.
"""

from dataclasses import replace
from pathlib import Path

from coalsim.errors import ConfigError
from coalsim.guarded import DEFAULT_MAX_INPUT, clean
from coalsim.topology.cost_reader import TIMES, Reader
from coalsim.topology.costs import assumed_costs, filled, no_mmu_warning
from coalsim.topology.distance import socket_hops
from coalsim.topology.interrupts import read_guest, read_ipi_model
from coalsim.topology.layout_reader import read_layout
from coalsim.topology.machine import Machine
from coalsim.topology.matrix_reader import read_dram, read_link_bandwidth, read_links, read_slit
from coalsim.topology.mmu import Mmu
from coalsim.topology.mmu_file import UNKNOWN, mmu_named, mmu_names, nearest, read_values, with_numbers
from coalsim.topology.node_reader import read_nodes
from coalsim.topology.overrides import occupancy_as_transfer
from coalsim.topology.place import occurring_distances
from coalsim.topology.toml_text import key_lines, line_of, read_toml

TOP = (
    "name",
    "title",
    "warnings",
    "sources",
    "clock_ghz",
    "ipi_send",
    "ipi_model",
    "guest",
    "mmu",
    "mmu_values",
    "layout",
    "node",
    "links",
    "dram",
    "slit",
    "line_transfer",
    "line_occupancy",
    "ipi_flight",
)


def read_machine_file(path: Path, max_input: int = DEFAULT_MAX_INPUT) -> Machine:
    """The machine in a TOML file.

    Raises:
        ConfigError: every mistake in it, with its line.
    """
    document, text = read_toml(path, max_input)
    return _machine(Reader(document, clean(str(path)), key_lines(text)), clean(path.stem))


def _machine(reader: Reader, default_name: str) -> Machine:
    """Reads all parts first, so that the mistakes of all are reported together."""
    top = reader.document
    reader.only(top, TOP)
    name = reader.text(top, "name", default_name)
    title = reader.text(top, "title", name)
    mmu, warnings = _mmu(reader), _warnings(reader)
    ipi, guest = read_ipi_model(reader), read_guest(reader)
    clock = reader.number(top, "clock_ghz", ("GHz",))
    send = reader.number(top, "ipi_send", TIMES)
    transfer = reader.by_distance("line_transfer")
    occupancy = reader.by_distance("line_occupancy", optional=True)
    flight = reader.by_distance("ipi_flight")
    layout = read_layout(reader)
    nodes = read_nodes(reader, layout)
    links, interconnect = read_links(reader, layout)
    link_bandwidth = read_link_bandwidth(reader, nodes)
    hops = socket_hops(layout.sockets, links)
    dram = read_dram(reader, layout, hops)
    slit = read_slit(reader, layout)
    reader.finish()
    assert clock is not None
    assert send is not None
    assert link_bandwidth is not None
    try:
        return Machine(
            name=name,
            title=title,
            layout=layout.provenance,
            clock_ghz=clock,
            cpus=layout.cpus,
            nodes=nodes,
            dram=dram,
            line_transfer=transfer,
            line_occupancy={
                distance: occupancy.get(distance, occupancy_as_transfer(cost))
                for distance, cost in transfer.items()
            },
            ipi_flight=filled(flight, occurring_distances(layout.cpus, hops)),
            ipi_send=send,
            ipi=ipi or assumed_costs().ipi,
            mmu=mmu,
            guest=guest,
            links=links,
            interconnect=interconnect,
            link_bandwidth=link_bandwidth,
            slit=slit,
            warnings=warnings,
        )
    except ConfigError as refused:
        problems = [
            replace(problem, where=reader.where, line=line_of(reader.lines, _key_in_file(problem.key)))
            for problem in refused.problems
        ]
    raise ConfigError(problems)


def _key_in_file(key: str) -> str:
    return key.replace("mmu.", "mmu_values.", 1) if key.startswith("mmu.") else key


def _mmu(reader: Reader) -> Mmu:
    """The microarchitecture that is named, or else assumed, with the file's own numbers."""
    name = reader.text(reader.document, "mmu", "")
    numbers = read_values(reader, "mmu_values")
    if name and name not in mmu_names():
        reader.refuse("mmu", UNKNOWN, nearest(name), name)
        name = ""
    return with_numbers(mmu_named(name) if name else assumed_costs().mmu, numbers)


def _warnings(reader: Reader) -> tuple[str, ...]:
    found = reader.document.get("warnings", [])
    if isinstance(found, list) and all(isinstance(text, str) and text.isprintable() for text in found):
        return tuple(found) if "mmu" in reader.document else (*found, no_mmu_warning())
    reader.refuse("warnings", "not a list of texts", 'write warnings = ["..."]')
    return ()
