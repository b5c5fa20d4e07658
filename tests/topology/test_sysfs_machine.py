"""Copies of /sys: directories and tars, honest and hostile."""

import io
import tarfile
from pathlib import Path

import pytest

from coalsim.errors import InputError
from coalsim.topology.distance import Distance
from coalsim.topology.presets import load_machine
from coalsim.topology.sysfs import machine_from_sysfs
from coalsim.units import KIB, NS, CpuId, NodeId


def system() -> dict[str, str]:
    """Two packages of two cores with two threads, node numbers 0 and 2, HMAT for node 0."""
    files = {}
    for node, cpus in ((0, "0-1,4-5"), (2, "2-3,6-7")):
        files[f"node/node{node}/cpulist"] = f"{cpus}\n"
        files[f"node/node{node}/meminfo"] = f"Node {node} MemTotal:  6383828 kB\nNode {node} MemFree: 1 kB\n"
        files[f"node/node{node}/distance"] = "10 21\n" if node == 0 else "21 10\n"
    files["node/node0/access0/initiators/read_latency"] = "77\n"
    files["node/node0/access0/initiators/read_bandwidth"] = "100000\n"
    for cpu in range(8):
        core = cpu % 4
        files[f"cpu/cpu{cpu}/topology/physical_package_id"] = f"{core // 2}\n"
        files[f"cpu/cpu{cpu}/topology/core_id"] = f"{core % 2}\n"
        files[f"cpu/cpu{cpu}/topology/die_id"] = "0\n"
        files[f"cpu/cpu{cpu}/cache/index3/level"] = "3\n"
        files[f"cpu/cpu{cpu}/cache/index3/shared_cpu_list"] = f"{core},{core + 4}\n"
    return files


def as_directory(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / "sys" / "devices" / "system" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "sys"


def as_tar(folder: Path, files: dict[str, str], *more: tarfile.TarInfo, mode: str = "w") -> Path:
    path = folder / "sys.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            member = tarfile.TarInfo(f"devices/system/{name}")
            content = text.encode().ljust(4096, b"\0")  # as tar pads the files of /sys
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def test_a_directory_has_nodes_packages_cores_and_threads(tmp_path: Path) -> None:
    """Each L3 is a cluster; firmware's node numbers may have gaps."""
    machine = load_machine(str(as_directory(tmp_path, system())))
    assert (machine.num_sockets, machine.num_nodes, machine.num_cores, machine.num_cpus) == (2, 2, 4, 8)
    assert machine.cpus_of_node(NodeId(1)) == (2, 3, 6, 7)
    assert machine.nodes[1].os_index == 2
    assert machine.nodes[0].memory == 6383828 * KIB
    assert machine.distance(CpuId(0), CpuId(4)) == Distance.SMT
    assert machine.distance(CpuId(0), CpuId(1)) == Distance.SOCKET
    assert machine.slit
    assert machine.slit.rows == ((10, 21), (21, 10))


def test_firmwares_word_on_latency_is_taken_as_assumed(tmp_path: Path) -> None:
    """HMAT speaks of the own node; MiB/s become GB/s."""
    machine = machine_from_sysfs(as_directory(tmp_path, system()))
    assert machine.dram_latency(NodeId(0), NodeId(0)) == 77 * NS
    assert machine.dram[0][0].status == "assumed"
    assert "HMAT" in machine.dram[0][0].source
    assert str(machine.nodes[0].bandwidth.value) == "104.857600000"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_gives_the_same_machine_as_its_directory(tmp_path: Path, mode: str) -> None:
    """Padding of zero bytes included; plain or gzip."""
    one, other = (
        machine_from_sysfs(as_directory(tmp_path, system())),
        load_machine(str(as_tar(tmp_path, system(), mode=mode))),
    )
    assert one.cpus == other.cpus
    assert one.slit
    assert other.slit
    assert one.slit.rows == other.slit.rows
    assert [node.memory for node in one.nodes] == [node.memory for node in other.nodes]


def test_a_cpu_that_is_offline_is_left_out(tmp_path: Path) -> None:
    """It has no topology; the others are renumbered, with a warning."""
    files = {name: text for name, text in system().items() if not name.startswith("cpu/cpu1/")}
    machine = machine_from_sysfs(as_directory(tmp_path, files))
    assert machine.num_cpus == 7
    assert any("CPU numbers have gaps" in warning for warning in machine.warnings)


def member(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.type, found.linkname = size, kind, link
    return found


@pytest.mark.parametrize(
    ("evil", "told"),
    [
        (member("/etc/passwd", size=10), "a member's name leads out of the archive"),
        (member("../../etc/passwd", size=10), "a member's name leads out of the archive"),
        (member("devices/../system/x", size=10), "a member's name leads out of the archive"),
        (member("a/b", kind=tarfile.SYMTYPE, link="../../x"), "a link leads out of the archive"),
        (member("a/b", kind=tarfile.SYMTYPE, link="/etc/passwd"), "a link leads out of the archive"),
        (member("a/b", kind=tarfile.LNKTYPE, link="../x"), "a link leads out of the archive"),
        (member("big", size=1 << 20), "big: a member larger than 256 KiB"),
    ],
)
def test_a_tar_that_climbs_out_is_refused(tmp_path: Path, evil: tarfile.TarInfo, told: str) -> None:
    """Whatever else it holds; nothing is written anywhere."""
    path = as_tar(tmp_path, system(), evil)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as refused:
        machine_from_sysfs(path)
    assert told in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_links_that_stay_inside_are_no_offence(tmp_path: Path) -> None:
    """/sys is full of them."""
    link = member("devices/system/node/node0/cpu0", kind=tarfile.SYMTYPE, link="../../cpu/cpu0")
    assert machine_from_sysfs(as_tar(tmp_path, system(), link)).num_cpus == 8


def test_a_large_member_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """The header alone is enough: a name of a gigabyte is not read into memory either."""
    header = member("x", size=1 << 30, kind=tarfile.GNUTYPE_LONGNAME).tobuf()
    path = tmp_path / "sys.tar"
    path.write_bytes(header)
    with pytest.raises(InputError, match="a member larger than 256 KiB"):
        machine_from_sysfs(path)


@pytest.mark.parametrize("size", ["1000000000000", "-5"])
def test_an_extended_header_cannot_smuggle_a_size(tmp_path: Path, size: str) -> None:
    """A pax record may give a member another size than its header: it is refused, and at once."""
    evil = member("devices/system/node/node0/meminfo")
    evil.pax_headers = {"size": size}
    path = tmp_path / "sys.tar"
    path.write_bytes(evil.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with pytest.raises(InputError, match="a member larger than 256 KiB"):
        machine_from_sysfs(path)


def test_a_sparse_member_cannot_grow(tmp_path: Path) -> None:
    """A few bytes that claim to be a terabyte of zeros."""
    header = bytearray(member("devices/system/node/node0/meminfo", kind=tarfile.GNUTYPE_SPARSE).tobuf())
    header[483:495] = b"%011o\0" % (1 << 32)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "sys.tar"
    path.write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(InputError, match="a member larger than 256 KiB"):
        machine_from_sysfs(path)


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    """The limit counts unpacked bytes."""
    path = as_tar(tmp_path, system(), mode="w:gz")
    with pytest.raises(InputError, match="more than 16 KiB unpacked"):
        machine_from_sysfs(path, max_input=16 * KIB)


def test_a_truncated_tar_is_refused(tmp_path: Path) -> None:
    """In the middle of a member."""
    path = as_tar(tmp_path, system())
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="not a whole tar"):
        machine_from_sysfs(path)


def test_a_link_out_of_a_directory_is_refused(tmp_path: Path) -> None:
    """A copy of /sys holds no links to elsewhere; /etc/passwd is not read."""
    root = as_directory(tmp_path, system())
    file = root / "devices/system/node/node0/cpulist"
    file.unlink()
    (tmp_path / "elsewhere").write_text("0-7")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="a link leads out of the copy"):
        machine_from_sysfs(root)


def test_all_mistakes_come_together(tmp_path: Path) -> None:
    """Each with the file that holds it."""
    files = system()
    files["node/node0/meminfo"] = "nothing"
    files["node/node2/cpulist"] = "2-x"
    files["cpu/cpu0/topology/core_id"] = "zero"
    with pytest.raises(InputError) as refused:
        machine_from_sysfs(as_directory(tmp_path, files))
    told = str(refused.value)
    assert "node/node0/meminfo: no MemTotal" in told
    assert "node/node2/cpulist = 2-x: not a list of CPUs" in told
    assert "cpu/cpu0/topology/core_id = zero: not a number" in told


@pytest.mark.parametrize("cpulist", ["0-99999999", "0-999999", ",".join(["0-8000"] * 3)])
def test_a_list_without_end_is_refused(tmp_path: Path, cpulist: str) -> None:
    """No list makes us count to a billion."""
    files = {**system(), "node/node0/cpulist": cpulist}
    with pytest.raises(InputError, match="not a list of CPUs"):
        machine_from_sysfs(as_directory(tmp_path, files))


def test_a_directory_of_another_kind_is_refused(tmp_path: Path) -> None:
    """With what to copy."""
    with pytest.raises(InputError, match="no devices/system/node in it; copy devices/system/node"):
        load_machine(str(tmp_path))
