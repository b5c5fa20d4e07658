"""Entries, geometries and memory maps against numbers worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.mm.paging import entry, layout
from coalsim.mm.paging.geometry import GEOMETRIES, PAE, X86_32, X86_64, X86_64_5, Geometry
from coalsim.units import PAGE_SHIFT, Pfn, Vpn

ALL = list(GEOMETRIES.values())


@pytest.mark.parametrize(
    ("pfn", "flags", "word", "letters"),
    [
        (0x12345, entry.PRESENT | entry.WRITABLE, 0x1234_5003, "P|W"),
        (0x12345, entry.PRESENT | entry.WRITABLE | entry.USER | 0x60, 0x1234_5067, "P|W|U|A|D"),
        (0xFFFFF, entry.PRESENT | entry.GLOBAL, 0xFFFF_F101, "P|G"),
        (0x1, entry.PRESENT | entry.USER | entry.COW, 0x0000_1205, "P|U|COW"),
        (0x400, entry.PRESENT | entry.LARGE, 0x0040_0081, "P|L"),
        (0xF_FFFF_FFFF, entry.PRESENT | entry.NO_EXECUTE, 0x8000_FFFF_FFFF_F001, "P|NX"),
        (0, 0, 0, "-"),
    ],
)
def test_an_entry_is_the_word_that_the_manual_draws(pfn: int, flags: int, word: int, letters: str) -> None:
    """Frame and flags go to their bits and come back."""
    assert entry.make(Pfn(pfn), flags) == word
    assert entry.pfn_of(word) == pfn
    assert entry.flags_of(word) == flags
    assert entry.describe(word) == letters


@pytest.mark.parametrize(
    ("geometry", "address", "indices"),
    [
        (X86_32, 0x0040_1000, [1, 1]),
        (X86_32, 0xC000_0000, [768, 0]),
        (X86_32, 0xFFFF_F000, [1023, 1023]),
        (PAE, 0x0040_1000, [0, 2, 1]),
        (PAE, 0xC020_0000, [3, 1, 0]),
        (X86_64, 0x0000_7FFF_FFFF_E000, [255, 511, 511, 510]),
        (X86_64, 0xFFFF_8880_0000_0000, [273, 0, 0, 0]),
        (X86_64, 0xFFFF_FFFF_8000_0000, [511, 510, 0, 0]),
        (X86_64_5, 0xFF11_0000_0000_0000, [273, 0, 0, 0, 0]),
        (X86_64_5, 0x0000_7FFF_FFFF_E000, [0, 255, 511, 511, 510]),
    ],
)
def test_an_address_has_its_index_at_every_level(
    geometry: Geometry, address: int, indices: list[int]
) -> None:
    """Worked out by hand from the bits of each level."""
    vpn = Vpn(address >> PAGE_SHIFT)
    assert [geometry.index(vpn, level) for level in range(geometry.levels)] == indices
    assert geometry.is_canonical(vpn)


def test_each_geometry_has_the_shape_that_its_manual_gives() -> None:
    """Pages behind an entry by level, slots, and where the kernel's half begins in the root."""
    assert [X86_32.span(level) for level in range(2)] == [1024, 1]
    assert [PAE.span(level) for level in range(3)] == [1 << 18, 512, 1]
    assert [X86_64.span(level) for level in range(4)] == [1 << 27, 1 << 18, 512, 1]
    assert X86_64_5.span(0) == 1 << 36
    assert [geometry.kernel_slot for geometry in ALL] == [768, 3, 256, 256]
    assert [geometry.slots(0) for geometry in ALL] == [1024, 4, 512, 512]
    for geometry in ALL:
        assert all(geometry.slots(level) * geometry.entry_bytes <= 4096 for level in range(geometry.levels))
        assert geometry.end == 1 << (20 if geometry.entry_bytes == 4 or geometry is PAE else 52)


@pytest.mark.parametrize("geometry", ALL, ids=lambda geometry: geometry.name)
def test_sides_and_hole_divide_all_pages(geometry: Geometry) -> None:
    """The borders themselves: user below, kernel from its first page, the hole to nobody."""
    first = geometry.kernel_first
    assert geometry.is_user(0)
    assert geometry.is_user(geometry.user_pages - 1)
    assert not geometry.is_user(geometry.user_pages)
    assert not geometry.is_kernel(first - 1)
    assert geometry.is_kernel(first)
    assert geometry.is_kernel(geometry.end - 1)
    assert not geometry.is_kernel(geometry.end)
    assert geometry.is_canonical(first - 1) == (not geometry.hole_pages)
    assert not geometry.is_canonical(geometry.end)
    assert not geometry.is_canonical(-1)


@given(st.sampled_from(ALL), st.integers(0, 1 << 53), st.integers(0, 1 << 53))
def test_stretches_are_the_canonical_part_of_a_range(geometry: Geometry, first: int, last: int) -> None:
    """Near every border, a page lies in a stretch exactly if it is in the range and canonical."""
    stretches = geometry.stretches(first, last)
    borders = [0, geometry.kernel_first, geometry.end, first, last, 1 << geometry.vpn_bits - 1]
    for vpn in (border + step for border in borders for step in (-1, 0, 1)):
        inside = any(low + bias <= vpn < high + bias for low, high, bias in stretches)
        assert inside == (first <= vpn < last and geometry.is_canonical(vpn)), hex(vpn)


@pytest.mark.parametrize("geometry", ALL, ids=lambda geometry: geometry.name)
def test_regions_ascend_and_know_their_sides(geometry: Geometry) -> None:
    """No two regions overlap; user addresses are the user region, the kernel's the rest of its half."""
    regions = layout.REGIONS[geometry.name]
    borders = [border for region in regions for border in (region.start, region.end)]
    assert borders == sorted(borders)
    for region in regions:
        for address in (region.start, region.end - 1):
            assert layout.region_of(geometry, address) == region
            assert layout.is_user_address(geometry, address) == (region.name == "user")
            assert layout.is_kernel_address(geometry, address) == (region.name not in ("user", "reserved"))
            assert geometry.is_canonical(address >> PAGE_SHIFT)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0x0000_0000, "reserved"),
        (0x000F_FFFF, "reserved"),
        (0x0010_0000, "user"),
        (0xBFFF_FFFF, "user"),
        (0xC000_0000, "kernel code and data"),
        (0xFD00_0000, "device memory"),
        (0xFE00_0000, "kernel stacks"),
        (0xFF00_0000, "kernel heap"),
        (0xFFC0_0000, "kernel reserved"),
        (0xFFFF_FFFF, "kernel reserved"),
    ],
)
def test_the_map_of_x86_32(address: int, name: str) -> None:
    """Every border of the map."""
    found = layout.region_of(X86_32, address)
    assert found is not None
    assert found.name == name


def test_addresses_outside_all_regions_belong_to_nobody() -> None:
    """Beyond 4 GiB on 32 bits; the hole and the guard page below it on 64."""
    assert layout.region_of(X86_32, 1 << 32) is None
    assert layout.region_of(X86_64, 0x0000_7FFF_FFFF_F000) is None
    assert layout.region_of(X86_64, 0x0001_0000_0000_0000) is None
    assert not layout.is_kernel_address(X86_64, 0x0001_0000_0000_0000)


def test_the_window_on_memory() -> None:
    """896 MiB at 3 GiB on 32 bits, 64 TiB at the direct map with four levels."""
    assert layout.window(X86_32) == 0xC000_0000
    assert layout.window_pages(X86_32) == 896 * 256
    assert layout.window(X86_64) == 0xFFFF_8880_0000_0000
    assert layout.window_pages(X86_64) == 1 << 34


@pytest.mark.parametrize(
    ("address", "table", "leaf", "directory"),
    [
        (0x0000_0000, 0xFFC0_0000, 0xFFC0_0000, 0xFFFF_F000),
        (0x0040_1000, 0xFFC0_1000, 0xFFC0_1004, 0xFFFF_F004),
        (0xBFFF_F000, 0xFFEF_F000, 0xFFEF_FFFC, 0xFFFF_FBFC),
        (0xC000_0000, 0xFFF0_0000, 0xFFF0_0000, 0xFFFF_FC00),
        (0xFFC0_0000, 0xFFFF_F000, 0xFFFF_F000, 0xFFFF_FFFC),
    ],
)
def test_recursive_addresses(address: int, table: int, leaf: int, directory: int) -> None:
    """Where the tables of an address are seen through the last slot of the directory, by hand."""
    vpn = Vpn(address >> PAGE_SHIFT)
    assert layout.recursive_table_address(vpn) == table
    assert layout.recursive_entry_address(vpn) == leaf
    assert layout.recursive_directory_entry_address(vpn) == directory
