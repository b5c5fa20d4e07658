"""The state of the recorded machine, read from texts of /proc."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_oracle import SNAPSHOTS, lines_of

from coalsim.errors import InputError
from coalsim.workloads.trace.procfs import (
    Damage,
    PageSet,
    parse_buddyinfo,
    parse_interrupts,
    parse_pagetypeinfo,
    parse_slabinfo,
    parse_vmstat,
    parse_zoneinfo,
)
from coalsim.workloads.trace.snapshot import read_snapshot


def test_zones_have_their_limits_blocks_and_lists() -> None:
    """The Normal zone of the recorded machine, number by number."""
    normal = next(zone for zone in read_snapshot(SNAPSHOTS).before.zones if zone.name == "Normal")
    assert (normal.node, normal.start_pfn, normal.managed, normal.present) == (0, 1048576, 1179648, 5505024)
    assert (normal.free, normal.min, normal.low, normal.high, normal.promo) == (
        301182,
        10187,
        12733,
        15279,
        17825,
    )
    assert normal.pagesets == (
        PageSet(cpu=0, count=43314, high=64512, batch=63, high_min=6366, high_max=73728),
        PageSet(cpu=1, count=25627, high=57929, batch=63, high_min=6366, high_max=73728),
    )
    assert normal.free_blocks == (9556, 1803, 1567, 587, 3570, 1751, 707, 347, 96, 77, 10)
    assert normal.free_by_type["Reclaimable"] == (1962, 315, 92, 55, 25, 12, 3, 4, 2, 1, 0)


def test_free_blocks_add_up_to_the_free_frames() -> None:
    """Where nothing runs in between (the small zones), the two files agree."""
    for zone in read_snapshot(SNAPSHOTS).before.zones[:2]:
        assert sum(count << order for order, count in enumerate(zone.free_blocks)) == zone.free


def test_every_counter_cache_and_interrupt_is_read() -> None:
    """As many as the text has lines, in both pictures."""
    snapshot = read_snapshot(SNAPSHOTS)
    text = "\n".join(lines_of(SNAPSHOTS))
    sections = re.split(r"==== /proc/(\w+) \((\w+)\)\n", text)[1:]
    for name, moment, body in zip(sections[::3], sections[1::3], sections[2::3], strict=True):
        picture = getattr(snapshot, moment)
        rows = body.splitlines()
        if name == "vmstat":
            assert len(picture.vmstat) == len(rows)
        elif name == "slabinfo":
            assert len(picture.caches) == len(rows) - 2
        elif name == "interrupts":
            assert len(picture.interrupts) == len(rows) - 1
    assert [zone.name for zone in snapshot.after.zones] == ["DMA", "DMA32", "Normal", "Movable", "Device"]
    assert snapshot.before.interrupts["TLB"] == (22316, 79965)
    assert snapshot.before.interrupts["ERR"] == (0,)


def test_missing_sections_read_as_empty(tmp_path: Path) -> None:
    """Only buddyinfo: the zones are known by their free blocks; the rest is empty."""
    path = tmp_path / "snapshot.txt"
    path.write_text("==== /proc/buddyinfo (after)\nNode 1, zone   Normal      3      2 \n")
    snapshot = read_snapshot(path)
    assert snapshot.before.zones == snapshot.after.caches == ()
    (zone,) = snapshot.after.zones
    assert (zone.node, zone.name, zone.free_blocks, zone.managed) == (1, "Normal", (3, 2), 0)


def test_old_kernels_lack_the_limits_of_growing_lists(tmp_path: Path) -> None:
    """Before 6.7 a per-CPU list had one limit."""
    path = tmp_path / "snapshot.txt"
    path.write_text(
        "==== /proc/zoneinfo (before)\nNode 0, zone   Normal\n  pages free     7\n        high     5\n"
        "  pagesets\n    cpu: 0\n              count: 3\n              high:  186\n              batch: 31\n"
        "  vm stats threshold: 8\n  start_pfn:         4096\n"
    )
    (zone,) = read_snapshot(path).before.zones
    assert zone.pagesets == (PageSet(cpu=0, count=3, high=186, batch=31, high_min=0, high_max=0),)
    assert (zone.free, zone.high, zone.start_pfn) == (7, 5, 4096)


def test_all_damaged_lines_are_named(tmp_path: Path) -> None:
    """One problem per line, with its section and text, cleaned."""
    path = tmp_path / "snapshot.txt"
    path.write_text(
        "==== /proc/vmstat (before)\nnr_free_pages many\n"
        "==== /proc/buddyinfo (before)\nNode 0, zone Normal 1 \x1b[31mx\n"
        "==== /proc/zoneinfo (after)\nNode 0, zone Normal\n   managed lots\n"
        "==== /proc/slabinfo (after)\nslabinfo - version: 2.1\nfilp 1 2 3\n"
    )
    with pytest.raises(InputError) as caught:
        read_snapshot(path)
    problems = caught.value.problems
    assert [(p.line, p.key) for p in problems] == [
        *((2, "vmstat"), (4, "buddyinfo"), (7, "zoneinfo"), (10, "slabinfo")),
    ]
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """As is an endless one."""
    path = tmp_path / "snapshot.txt"
    path.write_text("Node 0, zone Normal\n")
    with pytest.raises(InputError, match="no line of snapshot text"):
        read_snapshot(path)
    with pytest.raises(InputError, match="more than 1 KiB"):
        read_snapshot(SNAPSHOTS, max_input=1024)


REAL = [line for line in lines_of(SNAPSHOTS) if line.strip()]


@given(st.lists(st.one_of(st.sampled_from(REAL), st.text(max_size=60)), max_size=30), st.integers(0, 79))
def test_parsers_never_raise(lines: list[str], cut: int) -> None:
    """Whatever the lines: parsed, ignored, or in the damage."""
    numbered = [(n, line[cut:] if n % 7 == 3 else line) for n, line in enumerate(lines) if line.strip()]
    damage: list[Damage] = []
    parse_zoneinfo(numbered, damage)
    parse_buddyinfo(numbered, damage)
    parse_pagetypeinfo(numbered, damage)
    parse_slabinfo(numbered, damage)
    parse_vmstat(numbered, damage)
    parse_interrupts(numbered, damage)
    assert all(one.text.isprintable() for one in damage)
