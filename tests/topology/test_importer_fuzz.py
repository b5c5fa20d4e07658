"""Whatever is thrown at an importer: a machine or a ConfigError, nothing else."""

import gzip
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
TAR_HEADER = b"node/node0/meminfo".ljust(100, b"\0") + b"0000644\0" * 3 + b"00000000040\0" * 2

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


@quiet
@given(content=mutated(TAR_HEADER.ljust(257, b"\0") + b"ustar\00000".ljust(255, b"\0") + b"x" * 1024))
def test_damaged_tars(tmp_path: Path, content: bytes) -> None:
    """Headers with impossible sizes, types and checksums."""
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
