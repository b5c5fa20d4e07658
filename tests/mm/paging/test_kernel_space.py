"""The kernel's directory: its half is in every directory, and paging is set up in the right order."""

import re

import pytest
from page_trees import make_space

from coalsim.errors import KernelBug
from coalsim.mm.paging.entry import GLOBAL, PRESENT, USER, WRITABLE
from coalsim.mm.paging.geometry import GEOMETRIES, PAE, X86_32, X86_64, X86_64_5, Geometry
from coalsim.units import Pfn, Vpn

ALL = list(GEOMETRIES.values())
KERNEL = PRESENT | WRITABLE
USERS = PRESENT | WRITABLE | USER


def by_name(geometry: Geometry) -> str:
    return geometry.name


def test_the_first_pages_of_the_kernel_by_hand() -> None:
    """x86-32: root in frame 0x1000, the next 255 hold slots 768 to 1022; frames 0, 1 at 3 GiB."""
    space, ram, frames = make_space(X86_32)
    space.map_window(2)
    root = Pfn(0x1000)
    assert space.paging_enable() == root
    assert ram.read(root, 767 * 4, 12).hex() == "00000000" + "03100001" + "03200001"
    assert ram.read(root, 1022 * 4, 8).hex() == "03f00f01" + "03000001"
    assert ram.read(Pfn(0x1001), 0, 12).hex() == "03010000" + "03110000" + "00000000"
    assert len(frames.out) == 256


@pytest.mark.parametrize(
    ("geometry", "tables"), [(X86_32, 255), (PAE, 1), (X86_64, 256), (X86_64_5, 256)], ids=str
)
def test_the_kernel_half_is_complete_from_the_start(geometry: Geometry, tables: int) -> None:
    """All tables of level 1 are there, so that every later directory can share them."""
    space, _, frames = make_space(geometry)
    assert len(frames.out) == 1 + tables
    assert list(space.table.all_frames()) == frames.out
    space.table.validate()


@pytest.mark.parametrize("geometry", ALL, ids=by_name)
def test_the_kernel_half_is_shared_by_all_directories(geometry: Geometry) -> None:
    """What the kernel maps after a directory was made shows there at once, through the same tables."""
    space, _, _ = make_space(geometry)
    first, second = space.create_directory(), space.create_directory()
    vpn = Vpn(geometry.kernel_first + geometry.span(geometry.leaf_level - 1) + 3)
    assert first.lookup(vpn) == 0
    space.map(vpn, Pfn(0x77), KERNEL | GLOBAL)
    for directory in (space.table, first, second):
        assert directory.lookup(vpn) == 0x0007_7103
        assert directory.path(vpn)[-1] == space.table.path(vpn)[-1]
        assert directory.leaf_frame(vpn) == space.table.leaf_frame(vpn)
    space.map(Vpn(vpn + 1), Pfn(0x78), KERNEL, first)
    assert second.lookup(Vpn(vpn + 1)) == 0x0007_8003
    assert space.unmap(vpn, second) == 0x77
    assert space.table.lookup(vpn) == first.lookup(vpn) == 0
    for directory in (space.table, first, second):
        directory.validate()


def test_kernel_tables_that_go_are_gone_in_every_directory() -> None:
    """Below level 1 the kernel may free a table, through whichever directory; nobody remembers it."""
    space, ram, frames = make_space(X86_64)
    directory = space.create_directory()
    vpn = Vpn(X86_64.kernel_first + 512)
    space.map(vpn, Pfn(0x77), KERNEL)
    assert directory.lookup(vpn) == 0x0007_7003
    space.unmap(vpn)
    assert not directory.tables_within(0, X86_64.end), "they belong to the kernel's tree"
    leaf, level_2 = space.table.tables_within(X86_64.kernel_first, X86_64.end)
    assert (leaf.level, level_2.level) == (3, 2)
    frames.free(directory.unlink(leaf.first_vpn, leaf.level))
    ram.forget(leaf.pfn)
    assert space.table.leaf(vpn) is None
    assert directory.leaf(vpn) is None
    assert directory.missing_level(vpn) == 3
    directory.validate()
    space.table.validate()


@pytest.mark.parametrize("geometry", ALL, ids=by_name)
def test_user_halves_are_apart(geometry: Geometry) -> None:
    """The same page of two directories leads to two frames; the kernel's directory has neither."""
    space, _, _ = make_space(geometry)
    first, second = space.create_directory(), space.create_directory()
    vpn = Vpn(0x401)
    space.map(vpn, Pfn(1), USERS, first)
    space.map(vpn, Pfn(2), USERS, second)
    assert (first.lookup(vpn), second.lookup(vpn), space.table.lookup(vpn)) == (0x1007, 0x2007, 0)


def test_each_directory_shows_its_own_tables() -> None:
    """The recursive slot is not shared: 0xFFFFF000 is the directory in use."""
    space, _, _ = make_space(X86_32)
    first, second = space.create_directory(), space.create_directory()
    assert first.lookup(Vpn(0xFFFFF)) == 0x0110_0003
    assert second.lookup(Vpn(0xFFFFF)) == 0x0110_1003
    assert space.table.lookup(Vpn(0xFFFFF)) == 0x0100_0003


@pytest.mark.parametrize("geometry", ALL, ids=by_name)
def test_a_destroyed_directory_gives_every_frame_back(geometry: Geometry) -> None:
    """After map, unmap and destroy, frames and memory are as before; a second destroy is a bug."""
    space, ram, frames = make_space(geometry)
    before, in_use = list(frames.out), ram.bytes_in_use
    directory = space.create_directory()
    pages = [Vpn(0x401), Vpn(0x402), Vpn(0x10000), Vpn(geometry.user_pages - 1)]
    for vpn in pages:
        space.map(vpn, Pfn(vpn & 0xFFF), USERS, directory)
    with pytest.raises(KernelBug, match="with page 0x401 mapped"):
        space.destroy_directory(directory)
    for vpn in pages:
        assert space.unmap(vpn, directory) == vpn & 0xFFF
    freed = space.destroy_directory(directory)
    assert freed == len(pages) * (geometry.levels - 1) - shared_tables(geometry, pages) + 1
    assert frames.out == before
    assert ram.bytes_in_use == in_use
    assert not space.directories
    with pytest.raises(KernelBug, match="not a living directory"):
        space.destroy_directory(directory)


def shared_tables(geometry: Geometry, pages: list[Vpn]) -> int:
    """Tables that pages of a list share with earlier ones, counted by their numbers."""
    levels = range(1, geometry.levels)
    return sum(len(pages) - len({vpn >> geometry.shifts[level - 1] for vpn in pages}) for level in levels)


def test_paging_goes_on_once_and_with_the_kernel_mapped() -> None:
    """Otherwise the processor's next instruction would be gone."""
    space, _, _ = make_space(X86_32)
    with pytest.raises(KernelBug, match="before the kernel is mapped at 0xc0000000"):
        space.paging_enable()
    assert not space.enabled
    space.map_window(1)
    space.paging_enable()
    with pytest.raises(KernelBug, match="enabled already"):
        space.paging_enable()


@pytest.mark.parametrize("geometry", ALL, ids=by_name)
def test_the_window_shows_frame_after_frame(geometry: Geometry) -> None:
    """More than one leaf table of frames, in order, global; not twice, not beyond its room."""
    space, _, _ = make_space(geometry)
    space.map_window(1500)
    entries = [entry for _, entry in space.table.entries(geometry.kernel_first, geometry.end)]
    assert entries == [pfn << 12 | 0x103 for pfn in range(1500)]
    space.table.validate()
    with pytest.raises(KernelBug, match="mapped already"):
        space.map_window(1)
    for frames in (0, (1 << 40) + 1):
        with pytest.raises(KernelBug, match="has room for 1 to"):
            space.map_window(frames)


class TestMisuse:
    """A wrong map or unmap is named, and changes nothing."""

    def test_mapping_twice(self) -> None:
        """The message says what is there."""
        space, _, _ = make_space(X86_32)
        directory = space.create_directory()
        space.map(Vpn(0x401), Pfn(5), USERS, directory)
        with pytest.raises(KernelBug, match=r"0x401 is mapped already, to frame 0x5 \(P\|W\|U\)"):
            space.map(Vpn(0x401), Pfn(6), USERS, directory)
        assert directory.lookup(Vpn(0x401)) == 0x5007

    @pytest.mark.parametrize("tables", [False, True])
    def test_unmapping_what_is_not_mapped(self, tables: bool) -> None:
        """With or without a leaf table."""
        space, _, _ = make_space(X86_32)
        directory = space.create_directory()
        if tables:
            space.map(Vpn(0x402), Pfn(5), USERS, directory)
        with pytest.raises(KernelBug, match="0x401 is unmapped, but it is not mapped"):
            space.unmap(Vpn(0x401), directory)

    @pytest.mark.parametrize(
        ("vpn", "pfn", "flags", "says"),
        [
            (0x401, 1 << 20, USERS, "beyond what x86-32 can address"),
            (0x401, -1, USERS, "beyond what x86-32 can address"),
            (0x401, 5, WRITABLE | USER, "lack P"),
            (0x401, 5, KERNEL, "user page 0x401 mapped with flags P|W"),
            (0x401, 5, USERS | GLOBAL, "user page 0x401 mapped with flags P|W|U|G"),
            (0x0FF, 5, USERS, "not one that may be mapped here"),
            (0xC0000, 5, USERS, "kernel page 0xc0000 mapped for users"),
            (1 << 20, 5, USERS, "not one that may be mapped here"),
            (0xFFC01, 5, KERNEL, "shows a page table"),
            (0xFFFFF, 5, KERNEL, "mapped already"),
        ],
    )
    def test_a_map_that_no_kernel_wants(self, vpn: int, pfn: int, flags: int, says: str) -> None:
        """Frames too high, missing or excess rights, null pointers, the kernel open to users, the tables."""
        space, _, _ = make_space(X86_32)
        directory = space.create_directory()
        with pytest.raises(KernelBug, match=re.escape(says)):
            space.map(Vpn(vpn), Pfn(pfn), flags, directory)
        directory.validate()

    def test_a_user_page_in_the_kernels_directory(self) -> None:
        """The kernel's own directory has no user side."""
        space, _, _ = make_space(X86_64)
        with pytest.raises(KernelBug, match="not one that may be mapped here"):
            space.map(Vpn(0x401), Pfn(5), USERS)

    @pytest.mark.parametrize("geometry", ALL, ids=by_name)
    def test_the_shared_entries_of_the_root_are_fixed(self, geometry: Geometry) -> None:
        """Once a directory has copied them, no table of level 1 of the kernel's half comes or goes."""
        space, _, _ = make_space(geometry)
        first = geometry.kernel_first
        directory = space.create_directory()
        for table in (space.table, directory):
            with pytest.raises(KernelBug, match="shared by all directories"):
                table.unlink(first, 1)
        assert not space.table.tables_within(first, first + 2 * geometry.span(0)) or geometry is PAE
        with pytest.raises(KernelBug, match="share the kernel half"):
            space.table.dissolve()

    def test_sharing_with_a_directory_that_is_not_the_kernels(self) -> None:
        """A process's directory, or one of another geometry, is no kernel to share with."""
        space, ram, _ = make_space(X86_64)
        directory = space.create_directory()
        with pytest.raises(KernelBug, match="not the kernel's own x86-64 directory"):
            type(directory)(X86_64, ram, Pfn(0x9000), kernel=directory)
        with pytest.raises(KernelBug, match="not the kernel's own x86-32 directory"):
            type(directory)(X86_32, ram, Pfn(0x9001), kernel=space.table)
