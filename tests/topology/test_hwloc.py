"""lstopo XML: what a real file gives, and what is refused."""

from pathlib import Path

import pytest

from coalsim.errors import InputError
from coalsim.topology.distance import Distance
from coalsim.topology.hwloc import machine_from_hwloc
from coalsim.topology.machine import Machine
from coalsim.units import GIB, CpuId, NodeId

DATA = Path(__file__).parent.parent / "data" / "topology"
SAMPLE = DATA / "lstopo-2pack-4numa.xml"
SLIT = (
    '<distances2 type="NUMANode" nbobjs="4" kind="5" name="NUMALatency" indexing="os">'
    '<indexes length="8">0 1 2 3 </indexes><u64values length="24">10 11 21 21 11 10 </u64values>'
    '<u64values length="24">21 21 21 21 10 11 21 21 11 10 </u64values></distances2></topology>'
)


def read(folder: Path, text: str) -> Machine:
    file = folder / "machine.xml"
    file.write_text(text, encoding="utf-8")
    return machine_from_hwloc(file)


def test_a_real_file_has_its_sockets_nodes_clusters_and_threads() -> None:
    """Two packages of two nodes, each with an L3 over two cores of two threads."""
    machine = machine_from_hwloc(SAMPLE)
    assert (machine.num_sockets, machine.num_nodes, machine.num_cores, machine.num_cpus) == (2, 4, 8, 16)
    assert [node.memory for node in machine.nodes] == [GIB] * 4
    assert [node.socket for node in machine.nodes] == [0, 0, 1, 1]
    assert machine.cpus_of_node(NodeId(2)) == (8, 9, 10, 11)
    assert machine.distance(CpuId(0), CpuId(1)) == Distance.SMT
    assert machine.distance(CpuId(0), CpuId(2)) == Distance.CLUSTER
    assert machine.distance(CpuId(0), CpuId(4)) == Distance.SOCKET
    assert machine.distance(CpuId(0), CpuId(8)) == Distance.CROSS


def test_what_the_file_does_not_say_is_assumed_and_said() -> None:
    """Sizes and shape are the file's; clock and latencies are marked, and a warning lists them."""
    machine = machine_from_hwloc(SAMPLE)
    status = {key: number.status for key, number in machine.parameters()}
    assert status["layout.cpus"] == status["node.0.memory"] == "measured"
    assert status["clock_ghz"] == status["dram.0.1"] == status["line_transfer.cross"] == "assumed"
    assert any("assumed: clock, memory latencies" in warning for warning in machine.warnings)
    assert any("no node distances" in warning for warning in machine.warnings)


def test_distances_are_kept_but_make_no_latency(tmp_path: Path) -> None:
    """Even when the matrix comes in pieces."""
    machine = read(tmp_path, SAMPLE.read_text().replace("</topology>", SLIT))
    assert machine.slit
    assert machine.slit.rows == ((10, 11, 21, 21), (11, 10, 21, 21), (21, 21, 10, 11), (21, 21, 11, 10))
    assert machine.dram == machine_from_hwloc(SAMPLE).dram


@pytest.mark.parametrize(
    "broken", [SLIT.replace("10 11 21 21 11 10 ", "10 x "), SLIT.replace("NUMALatency", "Bandwidth")]
)
def test_other_matrices_are_left_out(tmp_path: Path, broken: str) -> None:
    """A matrix that is no distance table, or a damaged one, is no reason to fail."""
    assert read(tmp_path, SAMPLE.read_text().replace("</topology>", broken)).slit is None


def test_memory_without_cpus_becomes_a_node_of_its_socket(tmp_path: Path) -> None:
    """High-bandwidth memory hangs beside the DRAM; CPUs belong to the lower-numbered node."""
    hbm = '<object type="NUMANode" os_index="9" cpuset="0xf" gp_index="99" local_memory="4294967296"/>'
    text = SAMPLE.read_text().replace(
        '<object type="Core" os_index="4"', f'{hbm}<object type="Core" os_index="4"'
    )
    machine = read(tmp_path, text)
    memory_only = machine.nodes[4]
    assert (memory_only.os_index, memory_only.socket, memory_only.memory) == (9, 1, 4 * GIB)
    assert machine.cpus_of_node(NodeId(4)) == ()
    assert any("node numbers have gaps" in warning for warning in machine.warnings)


def test_version_3_is_read(tmp_path: Path) -> None:
    """The layout is the same."""
    text = SAMPLE.read_text().replace('version="2.0"', 'version="3.0"')
    assert read(tmp_path, text).num_cpus == 16


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE topology [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    '<topology version="2.0"><object type="&b;"/></topology>'
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAUGHS, "it declares entities or a document type of its own"),
        ('<!DOCTYPE topology [ ]><topology version="2.0"/>', "a document type of its own"),
        ("<topology></topology>", "hwloc format 1.x is not read; export with lstopo of hwloc 2 or 3"),
        ('<topology version="1.11"/>', "hwloc format 1.11 is not read"),
        ('<topology version="4.0"/>', "hwloc format 4.0 is not read"),
        ('<svg xmlns="http://www.w3.org/2000/svg"/>', "machine.xml:1: <svg> is not an lstopo topology"),
        ('<topology version="2.0"/>', "a machine without CPUs"),
        (
            '<topology version="2.0">\n<object type="PU"/></topology>',
            "machine.xml:2: os_index is not a number",
        ),
        ('<topology version="2.0">\n<object', "machine.xml:2: not XML: unclosed token"),
        ('<topology version="2.0">' + "<object>" * 100, "nested deeper than 64"),
        ("", "not XML: no element found"),
    ],
)
def test_other_files_are_refused_with_line_and_remedy(tmp_path: Path, text: str, told: str) -> None:
    """Dangerous ones before anything is built."""
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert told in str(refused.value)


def test_text_in_another_encoding_cannot_hide_entities(tmp_path: Path) -> None:
    """UTF-16 is refused before the parser sees it, and a false declaration is not believed."""
    file = tmp_path / "machine.xml"
    file.write_bytes(LAUGHS.encode("utf-16"))
    with pytest.raises(InputError, match="not UTF-8 text"):
        machine_from_hwloc(file)
    assert read(tmp_path, SAMPLE.read_text().replace("UTF-8", "UTF-16")).num_cpus == 16


def test_a_machine_without_memory_is_refused(tmp_path: Path) -> None:
    """All nodes empty."""
    with pytest.raises(InputError, match="a machine without memory; give at least one node some"):
        read(tmp_path, SAMPLE.read_text().replace("1073741824", "0"))


def test_all_mistakes_come_together(tmp_path: Path) -> None:
    """A CPU that is there twice and a machine without memory."""
    text = (
        SAMPLE.read_text()
        .replace("1073741824", "0")
        .replace('type="PU" os_index="3"', 'type="PU" os_index="2"')
    )
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert "a machine without memory" in str(refused.value)
    assert "CPU 2 is there 2 times" in str(refused.value)
