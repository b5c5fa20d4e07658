"""Whatever is thrown at an importer: a machine or a ConfigError, nothing else."""

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coalsim.errors import ConfigError
from coalsim.topology.c2c import with_core_to_core
from coalsim.topology.draw import machine_text
from coalsim.topology.hwloc import machine_from_hwloc
from coalsim.topology.machine import Machine
from coalsim.topology.machine_file import read_machine_file
from coalsim.topology.machine_writer import machine_file_text
from coalsim.topology.numactl import machine_from_numactl
from coalsim.topology.presets import PRESETS, import_machine, load_machine, load_preset
from coalsim.topology.sysfs import machine_from_sysfs

DATA = Path(__file__).parent.parent / "data" / "topology"
LSTOPO = (DATA / "lstopo-2pack-4numa.xml").read_bytes()
LISTING = (DATA / "numactl-gaps.txt").read_bytes()
COAL = (PRESETS / "coal.toml").read_bytes()
MATRIX = b"0,50,130,130\n50,0,130,130\n130,130,0,50\n130,130,50,0\n"

quiet = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Reader = Callable[[Path], Machine]


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """A good file with some of its bytes cut out, doubled or replaced."""

    def mutate(edits: list[tuple[int, int, bytes]]) -> bytes:
        content = seed
        for at, length, new in edits:
            at %= len(content) + 1
            content = content[:at] + new + content[at + length :]
        return content

    digits = st.sampled_from(
        [b"-1", b"99999999999999999999", b"0", b"nan", b"\x00", b"\n", b'"', b"[", b"<", b",,"]
    )
    edit = st.tuples(st.integers(0, len(seed)), st.integers(0, 40), st.binary(max_size=8) | digits)
    return st.lists(edit, max_size=4).map(mutate)


def machine_or_refusal(make: Callable[[], Machine]) -> Machine | ConfigError:
    try:
        return make()
    except ConfigError as refused:
        return refused


def never_fails_otherwise(folder: Path, reader: Reader, content: bytes) -> None:
    file = folder / "input"
    file.write_bytes(content)
    found = machine_or_refusal(lambda: reader(file))
    if isinstance(found, ConfigError):
        assert found.problems
        assert all(str(problem).isprintable() for problem in found.problems)
        return
    assert machine_text(found)
    again = folder / "again.toml"
    again.write_text(machine_file_text(found), encoding="utf-8")
    assert read_machine_file(again) == found


@pytest.mark.parametrize(
    "reader", [machine_from_hwloc, machine_from_numactl, machine_from_sysfs, read_machine_file]
)
@quiet
@given(
    content=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_at_any_importer(tmp_path: Path, reader: Reader, content: bytes) -> None:
    """Bytes that have nothing to do with the format."""
    never_fails_otherwise(tmp_path, reader, content)


@quiet
@given(content=mutated(LSTOPO))
def test_damaged_lstopo_files(tmp_path: Path, content: bytes) -> None:
    """Near misses reach deeper than noise."""
    never_fails_otherwise(tmp_path, machine_from_hwloc, content)


@quiet
@given(content=mutated(LISTING))
def test_damaged_numactl_listings(tmp_path: Path, content: bytes) -> None:
    """Lines out of order, numbers out of range."""
    never_fails_otherwise(tmp_path, machine_from_numactl, content)


@quiet
@given(content=mutated(COAL))
def test_damaged_machine_files(tmp_path: Path, content: bytes) -> None:
    """Also with a value where a table belongs."""
    never_fails_otherwise(tmp_path, read_machine_file, content)


SYSFS_NAMES = [
    f"devices/system/{name}"
    for name in (
        "node/node0/cpulist",
        "node/node0/meminfo",
        "node/node7/cpulist",
        "node/node7/meminfo",
        "node/node0/distance",
        "node/node0/access0/initiators/read_latency",
        "cpu/cpu0/topology/core_id",
        "cpu/cpu0/topology/physical_package_id",
        "cpu/cpu5/topology/physical_package_id",
        "cpu/cpu5/cache/index3/level",
    )
]
SYSFS_TEXTS = ["0", "0,5", "0-7", "10 20", "Node 0 MemTotal: 4096 kB", "3", "-1", "0-99999999", "9" * 30]


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Archives with right checksums and wrong everything else."""
    blocks = []
    for _ in range(draw(st.integers(0, 8))):
        member = tarfile.TarInfo(draw(st.sampled_from(SYSFS_NAMES) | st.text(max_size=30)).replace("\0", ""))
        content = draw(st.sampled_from(SYSFS_TEXTS) | st.text(max_size=40)).encode("utf-8", "replace")
        member.size = draw(st.just(len(content)) | st.integers(0, 1 << 40))
        member.type = draw(
            st.just(b"0") | st.sampled_from([b"1", b"2", b"5", b"6", b"L", b"K", b"x", b"g", b"S"])
        )
        member.linkname = draw(st.sampled_from(["", "../x", "/x", "a/b"]))
        layout = draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
        blocks.append(member.tobuf(layout, errors="replace"))
        blocks.append(content.ljust(-(-len(content) // 512) * 512, b"\0"))
    return b"".join(blocks) + draw(st.sampled_from([bytes(1024), b"", b"x" * 100]))


@quiet
@given(content=archives() | archives().map(gzip.compress))
def test_any_tar(tmp_path: Path, content: bytes) -> None:
    """Impossible sizes and types, names and links to everywhere, texts that say something else."""
    never_fails_otherwise(tmp_path, machine_from_sysfs, content)


@quiet
@given(content=mutated(gzip.compress(LSTOPO)))
def test_damaged_gzips(tmp_path: Path, content: bytes) -> None:
    """Through the front door, which guesses the format."""
    never_fails_otherwise(tmp_path, import_machine, content)


@quiet
@given(content=mutated(MATRIX))
def test_damaged_matrices(tmp_path: Path, content: bytes) -> None:
    """Cells that are no numbers, rows that are too long."""
    never_fails_otherwise(tmp_path, lambda file: with_core_to_core(load_preset("coal"), file), content)


levels = st.sampled_from(
    ["pack", "numa", "l3", "die", "core", "pu", "l2", "group", "[numa]", "numa(memory=1GB)", "x"]
)
counted = st.tuples(levels, st.sampled_from(["", ":1", ":2", ":3", ":0", ":-1", ":99999"])).map("".join)


@quiet
@given(text=st.lists(counted, max_size=6).map(" ".join) | st.text(max_size=60))
def test_any_word_behind_machine(text: str) -> None:
    """Synthetic strings, names, paths: whatever somebody types."""
    found = machine_or_refusal(lambda: load_machine(text))
    assert str(found) if isinstance(found, ConfigError) else found.num_cpus


keys = st.text(max_size=20) | st.sampled_from(["clock_ghz", "memory", "dram.0.1", "line_transfer.self"])
numbers = st.from_regex(r"\A[0-9]{1,30}(\.[0-9]{1,30})? ?(ns|GHz|GB/s|TiB|cycles)?\Z")


@quiet
@given(key=keys, value=st.text(max_size=30) | numbers)
def test_any_setting(key: str, value: str) -> None:
    """Any key with any value."""
    found = machine_or_refusal(lambda: load_preset("coal").with_overrides({key: value}))
    assert str(found) if isinstance(found, ConfigError) else machine_text(found)
