"""`numactl -H` text."""

import gzip
from pathlib import Path

import pytest

from coalsim.errors import InputError
from coalsim.topology.distance import Distance
from coalsim.topology.machine import Machine
from coalsim.topology.numactl import machine_from_numactl
from coalsim.topology.presets import load_machine
from coalsim.units import MIB, CpuId, NodeId

DATA = Path(__file__).parent.parent / "data" / "topology"
TWO = (DATA / "numactl-2nodes.txt").read_text()


def read(folder: Path, text: str) -> Machine:
    file = folder / "numactl.txt"
    file.write_text(text)
    return machine_from_numactl(file)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as refusal:
        read(folder, text)
    return str(refusal.value)


def test_nodes_cpus_sizes_and_distances_are_read() -> None:
    """Two nodes of eight CPUs, whose numbering shows two threads per core."""
    machine = load_machine(str(DATA / "numactl-2nodes.txt"))
    assert (machine.num_sockets, machine.num_nodes, machine.num_cores, machine.num_cpus) == (2, 2, 8, 16)
    assert machine.cpus_of_node(NodeId(1)) == (4, 5, 6, 7, 12, 13, 14, 15)
    assert machine.nodes[0].memory == 65442 * MIB
    assert machine.distance(CpuId(4), CpuId(12)) == Distance.SMT
    assert machine.slit
    assert machine.slit.rows == ((10, 21), (21, 10))
    assert any("CPUs 8 apart were taken for threads of one core" in warning for warning in machine.warnings)


def test_gaps_and_memory_without_cpus_are_machines_too() -> None:
    """Nodes 0, 2, 5 become 0, 1, 2; the last one has no CPUs and joins the nearest socket."""
    machine = machine_from_numactl(DATA / "numactl-gaps.txt")
    assert [(node.node, node.os_index) for node in machine.nodes] == [(0, 0), (1, 2), (2, 5)]
    assert machine.cpus_of_node(NodeId(2)) == ()
    assert machine.nodes[2].socket == machine.nodes[1].socket
    assert any("node numbers have gaps" in warning for warning in machine.warnings)


def test_near_nodes_share_a_socket(tmp_path: Path) -> None:
    """Distances 12 and 32, as EPYC reports them: two sockets of two nodes."""
    rows = ["10 12 32 32", "12 10 32 32", "32 32 10 12", "32 32 12 10"]
    text = "available: 4 nodes (0-3)\n"
    text += "".join(f"node {i} cpus: {i}\nnode {i} size: 1024 MB\n" for i in range(4))
    text += "node distances:\nnode 0 1 2 3\n" + "".join(f" {i}: {row}\n" for i, row in enumerate(rows))
    machine = read(tmp_path, text)
    assert [node.socket for node in machine.nodes] == [0, 0, 1, 1]
    flat = text.replace("32", "12")
    assert [node.socket for node in read(tmp_path, flat).nodes] == [0, 1, 2, 3]


def test_cpus_that_take_turns_are_no_threads(tmp_path: Path) -> None:
    """Even CPUs in one node, odd ones in the other: every CPU is a core."""
    text = TWO.replace("0 1 2 3 8 9 10 11", "0 2 4 6").replace("4 5 6 7 12 13 14 15", "1 3 5 7")
    assert read(tmp_path, text).num_cores == 8


def test_gzip_is_read_too(tmp_path: Path) -> None:
    """As all text."""
    file = tmp_path / "numactl.txt.gz"
    file.write_bytes(gzip.compress(TWO.encode()))
    assert machine_from_numactl(file).num_cpus == 16


def test_all_mistakes_come_with_their_lines(tmp_path: Path) -> None:
    """A size that is none, CPUs that are none, a row too short."""
    text = TWO.replace("65442 MB", "lots").replace("cpus: 4 5", "cpus: 4 x").replace("21  10", "21")
    told = refused(tmp_path, text)
    assert "numactl.txt:3: node 0 size: lots: not a size; write it like node 0 size: 65442 MB" in told
    assert "numactl.txt:5: node 1 cpus: 4 x 6 7 12 13 14 15: not a list of CPUs" in told
    assert "numactl.txt:11: 1:  21: 1 distances for 2 nodes; copy the whole table" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty; give numactl -H text"),
        ("hello\n", "no line of numactl -H text in it"),
        ("No NUMA available on this system\n", "no line of numactl -H text in it"),
        (
            "available: 2 nodes (0-1)\nnode 0 cpus: 0\nnode 0 size: 1024 MB\n",
            "2 nodes announced, but sizes of 1",
        ),
        ("available: 1 nodes (0)\nnode 0 cpus: 0\nnode 0 size: 0 MB\n", "a machine without memory"),
        ("available: 1 nodes (0)\nnode 0 cpus:\nnode 0 size: 10 MB\n", "a machine without CPUs"),
        ("node 0 cpus: 0 0\nnode 0 size: 10 MB\n", "CPU 0 is there 2 times"),
        ("node 0 cpus: 0\nx\x1b[2J" + "x" * 70_000, "numactl.txt:2: a line longer than 64 KiB"),
    ],
)
def test_what_is_no_machine_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """With what to do about it."""
    assert told in refused(tmp_path, text)
