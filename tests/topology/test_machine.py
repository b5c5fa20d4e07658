"""A machine: distances, rows, order of nodes, and what cannot be one."""

import pickle
import time
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.errors import ConfigError
from coalsim.topology.distance import Distance, socket_hops
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine, load_preset, preset_names
from coalsim.units import NS, CpuId, NodeId


def every_distance() -> Machine:
    """Eight sockets in a ring with diameters would do; a small synthetic one has all but CROSS2."""
    return load_machine("pack:2 l3:2 core:2 pu:2")


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        (0, 0, Distance.SELF),
        (0, 1, Distance.SMT),
        (0, 2, Distance.CLUSTER),
        (0, 4, Distance.SOCKET),
        (0, 8, Distance.CROSS),
    ],
)
def test_distance_goes_by_the_innermost_thing_shared(a: int, b: int, distance: Distance) -> None:
    """Core, cluster, socket, in this order; it is the same in both directions."""
    machine = every_distance()
    assert machine.distance(CpuId(a), CpuId(b)) == distance
    assert machine.distance(CpuId(b), CpuId(a)) == distance


def test_a_cluster_that_fills_its_socket_is_no_distance() -> None:
    """On a machine with one L3 per socket, another core is SOCKET away."""
    machine = load_machine("pack:2 l3:1 core:2 pu:1")
    assert machine.distance(CpuId(0), CpuId(1)) == Distance.SOCKET
    assert Distance.CLUSTER not in machine.distances()


def test_the_second_hop_is_a_distance() -> None:
    """On the eight-socket preset, socket 2 is two links from socket 0, and no socket is farther."""
    machine = load_preset("wex8")
    assert machine.distance(CpuId(0), CpuId(10)) == Distance.CROSS
    assert machine.distance(CpuId(0), CpuId(20)) == Distance.CROSS2
    assert max(max(row) for row in machine.hops) == 2


@pytest.mark.parametrize("name", preset_names())
def test_rows_hold_what_distance_says(name: str) -> None:
    """A row is the class table looked up for every CPU: the fast way and the plain way agree."""
    machine = load_preset(name)
    clock = machine.clock_ghz.value
    probes = dict.fromkeys([0, 1, machine.num_cpus // 2, machine.num_cpus - 1])
    for cpu in map(CpuId, probes):
        for row, costs in (
            (machine.transfer_row(cpu), machine.line_transfer),
            (machine.occupancy_row(cpu), machine.line_occupancy),
            (machine.ipi_row(cpu), machine.ipi_flight),
        ):
            plain = [costs[machine.distance(other.cpu, cpu)].picoseconds(clock) for other in machine.cpus]
            assert list(row) == plain


def test_a_row_is_built_once() -> None:
    """Hot paths keep a reference: the same list comes back."""
    machine = load_preset("coal")
    assert machine.transfer_row(CpuId(1)) is machine.transfer_row(CpuId(1))


def test_the_default_machine_is_what_it_promises() -> None:
    """2 nodes x 2 cores, 2.5 GHz, 2 GiB a node, DRAM 80 / 140 ns, lines 50 / 130 ns, 20 GB/s a node."""
    coal = load_preset("coal")
    assert (coal.num_sockets, coal.num_cores, coal.num_cpus, coal.num_nodes) == (2, 4, 4, 2)
    assert [node.memory for node in coal.nodes] == [2 << 30, 2 << 30]
    assert coal.cpus_of_node(NodeId(1)) == (2, 3)
    assert coal.node_of(CpuId(3)) == 1
    assert coal.dram_latency(NodeId(0), NodeId(0)) == 80 * NS
    assert coal.dram_latency(NodeId(1), NodeId(0)) == 140 * NS
    assert coal.transfer_row(CpuId(0))[1:] == [50 * NS, 130 * NS, 130 * NS]
    assert coal.occupancy_row(CpuId(0))[1:] == [50 * NS, 130 * NS, 130 * NS]
    assert coal.nodes[0].bandwidth.value == 20
    assert coal.cycles(5) == 2_000
    assert all(number.status == "assumed" for _, number in coal.parameters())


def test_nodes_fall_back_on_the_nearest_first() -> None:
    """The own node, then by measured latency, then by number."""
    machine = load_preset("clx2-snc")
    assert machine.nodes_by_distance(NodeId(0)) == (0, 1, 2, 3)
    assert machine.nodes_by_distance(NodeId(3)) == (3, 2, 0, 1)  # 81.7, then 134.4 and 137.7 ns
    assert machine.nodes_by_distance(NodeId(2)) == (2, 3, 0, 1)


def test_a_large_machine_is_quick_and_small() -> None:
    """1,024 CPUs and 16 nodes, all rows of all CPUs: well under a second."""
    began = time.perf_counter()
    machine = load_machine("pack:16 numa:1 l3:8 core:4 pu:2")
    for place in machine.cpus:
        assert len(machine.transfer_row(place.cpu)) == 1024
    assert time.perf_counter() - began < 1
    assert (machine.num_cpus, machine.num_nodes) == (1024, 16)


def test_a_machine_survives_pickling() -> None:
    """Sweeps send machines to worker processes."""
    machine = load_preset("coal")
    assert pickle.loads(pickle.dumps(machine)) == machine


def test_the_graph_holds_links_nodes_and_the_tree() -> None:
    """Sockets are joined by links, nodes and CPUs hang below them."""
    graph = load_preset("wex8").graph()
    links = [edge for edge in graph.edges(data=True) if edge[2]["kind"] == "link"]
    assert len(links) == 12
    assert graph.edges["socket 0", "socket 1"]["bandwidth"] == Decimal("13.7")
    assert sum(1 for _, kind in graph.nodes(data="kind") if kind == "cpu") == 80
    assert graph.nodes["node 7"]["memory"] == 32 << 30
    assert graph.graph["dram_ps"][0][1] == 197_400


def test_every_mistake_of_a_machine_is_told() -> None:
    """Not only the first: a negative size, a missing memory and a stray CPU come together."""
    coal = load_preset("coal")
    nodes = (replace(coal.nodes[0], memory=-1), replace(coal.nodes[1], memory=0))
    cpus = (replace(coal.cpus[0], node=NodeId(9)), *coal.cpus[1:])
    with pytest.raises(ConfigError) as refused:
        replace(coal, nodes=nodes, cpus=cpus)
    told = str(refused.value)
    assert "node.0.memory = -1: a negative size" in told
    assert "CPU 0 is in node 9, which does not exist" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cpus": ()}, "a machine without CPUs"),
        ({"nodes": ()}, "a machine without memory nodes"),
        ({"dram": ()}, "the matrix is not 2 x 2"),
        ({"links": ()}, "no way leads from socket 0 to socket 1"),
        ({"links": ((0, 5),)}, "no such pair of sockets"),
        ({"line_transfer": {}}, "line_transfer.cross: missing"),
    ],
)
def test_what_cannot_be_a_machine_is_refused(change: dict[str, object], told: str) -> None:
    """Each kind of hole has its own message."""
    with pytest.raises(ConfigError, match=told):
        replace(load_preset("coal"), **change)  # type: ignore[arg-type]


def test_nothing_crosses_in_no_time() -> None:
    """A hand-over between two CPUs costs at least a picosecond; a hit in the own cache may be free."""
    coal = load_preset("coal")
    assert coal.with_overrides({"line_transfer.self": "0"}).transfer_row(CpuId(0))[0] == 0
    with pytest.raises(ConfigError, match="nothing crosses in no time"):
        coal.with_overrides({"line_transfer.cross": "0"})


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))
    )
)
def test_hops_are_a_metric(given_: tuple[int, list[tuple[int, int]]]) -> None:
    """Symmetric, zero only at home, and no detour is shorter than the way itself."""
    sockets, links = given_
    hops = socket_hops(sockets, links)
    everywhere = range(sockets)
    for a in everywhere:
        for b in everywhere:
            assert hops[a][b] == hops[b][a]
            assert (hops[a][b] == 0) == (a == b)
            for c in everywhere:
                if min(hops[a][b], hops[b][c]) >= 0:
                    assert 0 <= hops[a][c] <= hops[a][b] + hops[b][c]
