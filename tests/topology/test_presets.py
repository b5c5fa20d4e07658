"""The machines that come with coalsim: complete, sourced, and what their sources say."""

import tomllib
from decimal import Decimal

import pytest

from coalsim.errors import ConfigError
from coalsim.topology.distance import Distance
from coalsim.topology.machine import Machine
from coalsim.topology.presets import PRESETS, load_machine, load_preset, preset_names
from coalsim.units import GIB, NS, CpuId, NodeId

# name: sockets, cores, CPUs, nodes, clock
SHAPES = {
    "altra2": (2, 160, 160, 2, "3.0"),
    "bdx2": (2, 32, 64, 2, "2.5"),
    "clx2": (2, 52, 104, 2, "2.5"),
    "clx2-snc": (2, 52, 104, 4, "2.5"),
    "coal": (2, 4, 4, 2, "2.5"),
    "e7v3-4s": (4, 56, 112, 4, "2.2"),
    "gnr2-snc3": (2, 256, 512, 6, "2.0"),
    "graviton2": (1, 64, 64, 1, "2.5"),
    "graviton3": (1, 64, 64, 1, "2.6"),
    "hsx2": (2, 16, 32, 2, "2.4"),
    "icx2": (2, 64, 128, 2, "2.9"),
    "ideal": (1, 256, 256, 1, "1.0"),
    "ivb-laptop": (1, 2, 4, 1, "2.6"),
    "ivx8": (8, 120, 240, 8, "2.3"),
    "kunpeng920": (1, 64, 64, 2, "2.6"),
    "kvm80": (2, 40, 80, 2, "2.5"),
    "milan2-nps4": (2, 128, 256, 8, "2.0"),
    "rome2-nps4": (2, 128, 256, 8, "2.25"),
    "westmere-ep": (2, 12, 24, 2, "2.67"),
    "wex8": (8, 80, 80, 8, "2.4"),
}

# Published hand-over medians, ns: SMT, cluster, socket, cross (None: not on this machine).
HAND_OVER = {
    "clx2": ("7.6", None, "46.9", "134.1"),
    "icx2": ("8.0", None, "51.3", "107.8"),
    "rome2-nps4": ("8.0", "25.3", "132.1", "266.6"),
    "milan2-nps4": ("9.8", "22.9", "107.6", "197.2"),
    "bdx2": ("7.6", None, "43.7", "118.1"),
    "westmere-ep": ("7.1", None, "37.2", "73.8"),
    "graviton3": (None, None, "46.4", None),
    "graviton2": (None, None, "47.2", None),
    "kunpeng920": (None, "34.9", "71.9", None),
}


def test_the_presets_are_those() -> None:
    """No preset is missing, none is left untested."""
    assert preset_names() == tuple(sorted(SHAPES))


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_as_published(name: str) -> None:
    """Sockets, cores, CPUs, nodes and the clock."""
    machine = load_preset(name)
    sockets, cores, cpus, nodes, clock = SHAPES[name]
    assert machine.name == name
    assert (machine.num_sockets, machine.num_cores, machine.num_cpus, machine.num_nodes) == (
        sockets,
        cores,
        cpus,
        nodes,
    )
    assert machine.clock_ghz.value == Decimal(clock)


@pytest.mark.parametrize("name", SHAPES)
def test_matrices_are_square_and_costs_grow_with_distance(name: str) -> None:
    """Local memory is the nearest; a line from farther away is never cheaper."""
    machine = load_preset(name)
    for a in machine.nodes:
        row = [machine.dram_latency(a.node, b.node) for b in machine.nodes]
        assert len(row) == machine.num_nodes
        assert min(row) == row[a.node]
    costs = [cost.picoseconds(machine.clock_ghz.value) for cost in machine.line_transfer.values()]
    assert costs == sorted(costs)
    assert list(machine.line_transfer) == list(machine.distances())
    if machine.slit:
        assert all(
            machine.slit.rows[i][j] == machine.slit.rows[j][i]
            for i in range(machine.num_nodes)
            for j in range(machine.num_nodes)
        )


@pytest.mark.parametrize("name", SHAPES)
def test_every_number_is_sourced(name: str) -> None:
    """Each entry of the file has value, unit, source and status, and so has each of the machine."""
    machine = load_preset(name)
    for key, number in machine.parameters():
        assert number.source.strip(), key
        assert "@" not in number.source, key
        assert number.status in ("measured", "derived", "assumed")
    document = tomllib.loads((PRESETS / f"{name}.toml").read_text(encoding="utf-8"))
    for table in _tables(document):
        if any(isinstance(value, int | float) for value in table.values()) or "values" in table:
            assert {"source", "status"} <= table.keys(), table
            assert "unit" in table or "values" in table, table


def _tables(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        return [value, *(table for inner in value.values() for table in _tables(inner))]
    if isinstance(value, list):
        return [table for inner in value for table in _tables(inner)]
    return []


@pytest.mark.parametrize("name", HAND_OVER)
def test_hand_over_is_the_published_median(name: str) -> None:
    """core-to-core-latency, medians by class; read, so `measured`."""
    machine = load_preset(name)
    classes = (Distance.SMT, Distance.CLUSTER, Distance.SOCKET, Distance.CROSS)
    for distance, published in zip(classes, HAND_OVER[name], strict=True):
        assert (distance in machine.line_transfer) == (published is not None)
        if published:
            cost = machine.line_transfer[distance]
            assert (cost.value, cost.unit, cost.status) == (Decimal(published), "ns", "measured")
            assert "core-to-core-latency" in cost.source


def dram(machine: Machine) -> list[list[float]]:
    return [[machine.dram_latency(a.node, b.node) / NS for b in machine.nodes] for a in machine.nodes]


def test_measured_memory_matrices_are_the_published_ones() -> None:
    """Memory Latency Checker listings, cell by cell."""
    assert dram(load_preset("clx2")) == [[78.6, 144.1], [144.7, 78.5]]
    assert dram(load_preset("clx2-snc")) == [
        [77.3, 81.6, 129.8, 136.1],
        [82.1, 78.1, 134.1, 137.6],
        [129.8, 135.8, 73.5, 81.7],
        [134.4, 137.7, 81.7, 78.5],
    ]
    assert dram(load_preset("bdx2")) == [[85.0, 136.3], [137.2, 84.2]]
    granite = dram(load_preset("gnr2-snc3"))
    assert granite[0] == [138.7, 168.0, 208.5, 394.1, 475.2, 445.1]
    assert granite[5] == [445.4, 449.5, 392.4, 148.3, 122.3, 103.8]
    assert dram(load_preset("westmere-ep")) == [[82, 120], [120, 82]]


def test_no_latency_comes_from_firmware_distances() -> None:
    """The reported ratio of Cascade Lake is 2.1, the measured one 1.84; the preset has the measured one."""
    machine = load_preset("clx2")
    assert machine.slit
    assert machine.slit.rows == ((10, 21), (21, 10))
    assert round(dram(machine)[0][1] / dram(machine)[0][0], 2) == 1.83


def test_four_nodes_per_socket_are_eight() -> None:
    """Rome: 16 cores a node in four core complexes, as Linux numbers them."""
    rome = load_preset("rome2-nps4")
    assert rome.cpus_of_node(NodeId(1)) == (*range(16, 32), *range(144, 160))
    assert [node.socket for node in rome.nodes] == [0] * 4 + [1] * 4
    assert rome.distance(CpuId(0), CpuId(128)) == Distance.SMT
    assert rome.distance(CpuId(0), CpuId(3)) == Distance.CLUSTER
    assert rome.distance(CpuId(0), CpuId(4)) == Distance.SOCKET
    assert rome.distance(CpuId(0), CpuId(64)) == Distance.CROSS


def test_the_same_line_curve_is_met_where_it_calibrated() -> None:
    """Westmere-EX: 29.98, 135.19, 492.93 and 790.93 cycles at 1, 2, 10 and 11 writers (Clements 2014).

    Served one at a time, a round costs the larger of one hand-over and all occupancies.
    """
    wex = load_preset("wex8")
    transfer = {distance: cost.value for distance, cost in wex.line_transfer.items()}
    occupancy = {distance: cost.value for distance, cost in wex.line_occupancy.items()}
    near, far = occupancy[Distance.SOCKET], occupancy[Distance.CROSS]

    assert all(cost.unit == "cycles" for cost in wex.line_transfer.values())
    assert transfer[Distance.SELF] == Decimal("29.98")
    assert max(transfer[Distance.SOCKET], 2 * near) == Decimal("135.19")
    assert 10 * near == Decimal("492.93")
    assert abs(max(transfer[Distance.CROSS], 9 * near + 2 * far) - Decimal("790.93")) < Decimal("0.01")
    assert wex.line_occupancy[Distance.CROSS].status == "derived"
    assert wex.line_occupancy[Distance.CROSS2].status == "assumed"


def test_the_ideal_machine_costs_nothing_but_its_lookahead() -> None:
    """One picosecond for everything that crosses, a microsecond for an interrupt."""
    ideal = load_preset("ideal")
    assert dict.fromkeys(ideal.transfer_row(CpuId(7))) == {1: None}
    assert dict.fromkeys(ideal.occupancy_row(CpuId(7))) == {1: None}
    assert ideal.dram_latency(NodeId(0), NodeId(0)) == 1
    assert ideal.ipi_row(CpuId(0))[1] == 1000 * NS
    assert ideal.cycles(1) == NS
    assert ideal.memory == 64 * GIB


def test_a_guest_pays_for_its_interrupts() -> None:
    """2,239 ns one way in a KVM guest, about twice bare metal."""
    assert load_preset("kvm80").ipi_row(CpuId(0))[1] == 2239 * NS
    assert load_preset("clx2").ipi_row(CpuId(0))[1] == 1000 * NS
    assert load_preset("clx2").ipi_row(CpuId(0))[26] == 2000 * NS


def test_an_unknown_name_brings_the_nearest_ones() -> None:
    """And, if nothing is near, all of them."""
    with pytest.raises(ConfigError, match=r"no such file; did you mean .*clx2"):
        load_machine("clx3")
    with pytest.raises(ConfigError, match="the presets are altra2, bdx2"):
        load_machine("zzzzzzzz")


def test_a_missing_file_is_a_missing_file() -> None:
    """What looks like a path is not searched among the presets."""
    with pytest.raises(ConfigError, match="no such file"):
        load_machine("folder/clx2")
    with pytest.raises(ConfigError, match="no such file"):
        load_machine("clx2.toml")
