"""What lies around an object: nothing overlaps, and objects lie as they lie without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.mm.debug.poison import damage, freed, fresh
from coalsim.mm.debug.quarantine import Quarantine
from coalsim.mm.debug.redzone import TRACKS, WORD, SlotLayout, is_debug, natural_alignment, room_around
from coalsim.mm.debug.report import dump
from coalsim.mm.kmem.geometry import NO_ROOM, coal_geometry, slub_geometry
from coalsim.mm.kmem.slab import Slab
from coalsim.profiles.profile import load_profile
from coalsim.profiles.switches import Switches
from coalsim.units import PAGE_SIZE

MODES = [
    {"debug_redzone": "on"},
    {"debug_poison": "on"},
    {"debug_quarantine": "4"},
    {"debug_redzone": "on", "debug_poison": "on"},
]


def switches(changes: dict[str, str]) -> Switches:
    return load_profile("linux-6.18").with_overrides(changes).switches


@given(st.integers(1, 8192), st.sampled_from(MODES), st.booleans(), st.integers(0, 6))
def test_zones_lie_side_by_side_within_the_stride(
    size: int, changes: dict[str, str], is_coal: bool, colour: int
) -> None:
    """Left zone, object, right zone, free pointer and tracks, padding; then the next object's left zone."""
    chosen = switches(changes)
    align, room = natural_alignment(size), room_around(size, chosen)
    geometry = coal_geometry(size, align, room) if is_coal else slub_geometry(size, 8, align, room)
    layout = SlotLayout(geometry, chosen)
    assert -layout.left.start == layout.before == room.before
    assert layout.right.start == size <= layout.right.end
    assert layout.padding.start >= layout.right.end + WORD + TRACKS
    assert layout.padding.start <= layout.padding.end == layout.stride - layout.before
    if chosen.debug_redzone:
        assert layout.before >= WORD
        assert 1 <= layout.right.end - size <= WORD
        assert layout.padding_bytes >= WORD
    slab = Slab("cache", geometry, 16, colour=colour % geometry.colours * geometry.colour_step)
    for address in slab.take(geometry.objects):
        assert address % align == 0
        assert slab.index_of(address) >= 0
        assert address - layout.before >= slab.base - layout.before
        assert (address - slab.base) + layout.padding.end + layout.before <= geometry.slab_bytes


def test_a_kernel_without_debug_modes_leaves_no_room() -> None:
    """Guard pages alone put nothing around objects either."""
    for changes in ({}, {"debug_guard_pages": "on"}):
        assert not is_debug(switches(changes))
        assert room_around(64, switches(changes)) == NO_ROOM
    assert slub_geometry(100, 8).listed_size == 100
    assert slub_geometry(100, 8, 8, room_around(100, switches(MODES[0]))).listed_size > 100


@pytest.mark.parametrize(("size", "align"), [(1, 8), (8, 8), (96, 32), (100, 8), (192, 64), (8192, 4096)])
def test_natural_alignment_is_the_largest_power_of_two_that_divides_a_size(size: int, align: int) -> None:
    """From a word to a page."""
    assert natural_alignment(size) == align
    assert PAGE_SIZE % align == 0


@given(st.binary(min_size=1, max_size=64), st.data())
def test_damage_is_the_stretch_from_the_first_to_the_last_wrong_byte(
    pattern: bytes, data: st.DataObject
) -> None:
    """Nothing outside it differs."""
    found = data.draw(st.binary(min_size=len(pattern), max_size=len(pattern)))
    wrong = damage(pattern, found)
    if wrong is None:
        assert pattern == found
        return
    assert pattern[: wrong.first] == found[: wrong.first]
    assert pattern[wrong.last + 1 :] == found[wrong.last + 1 :]
    assert found[wrong.first] == wrong.found != wrong.expected == pattern[wrong.first]
    assert pattern[wrong.last] != found[wrong.last]


def test_patterns_are_those_of_linux() -> None:
    """A free object ends in another byte, so that one shifted by a byte is noticed."""
    assert fresh(3) == b"\x5a\x5a\x5a"
    assert freed(3) == b"\x6b\x6b\xa5"
    assert freed(1) == b"\xa5"


def test_a_quarantine_gives_back_the_oldest_first() -> None:
    """Each processor by itself; with no room it holds nothing."""
    quarantine: Quarantine[str] = Quarantine(2, 2)
    assert [quarantine.push(0, name) for name in "abc"] == [None, None, "a"]
    assert quarantine.push(1, "x") is None
    assert quarantine.held == 3
    assert [quarantine.drain(0), quarantine.drain(0), quarantine.drain(0)] == ["b", "c", None]
    assert Quarantine[str](1, 0).push(0, "a") == "a"


def test_equal_lines_of_a_dump_are_folded_but_for_the_last() -> None:
    """So that both ends of every zone can be read."""
    lines = list(dump("Object", 0x1000, bytes(64) + b"A" + bytes(8)))
    assert [line.split(":")[0] for line in lines] == [
        "Object   0000000000001000",
        "*",
        "Object   0000000000001040",
    ]
    assert lines[-1].endswith(" A........")
    assert len(list(dump("Object", 0, bytes(32)))) == 2
