"""Page tables against words worked out by hand, and against a dict."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_trees import TABLE_FLAGS, complete, make_tree

from coalsim.errors import KernelBug
from coalsim.mm.paging import layout
from coalsim.mm.paging.entry import LARGE, PRESENT, WRITABLE, make
from coalsim.mm.paging.geometry import GEOMETRIES, PAE, X86_32, X86_64, X86_64_5, Geometry
from coalsim.mm.paging.pagetable import PageTable, Step
from coalsim.mm.paging.tables import FreeableTable
from coalsim.mm.phys.ram import Ram
from coalsim.units import PAGE_SHIFT, Pfn, Vpn

ALL = list(GEOMETRIES.values())


def word_at(ram: Ram, table: PageTable, address: int) -> int:
    """What a processor reads at a virtual address: the walk, then the memory behind it."""
    last = table.path(Vpn(address >> PAGE_SHIFT))[-1]
    assert last.level == table.geometry.leaf_level
    assert last.entry & PRESENT
    width = table.geometry.entry_bytes
    return int.from_bytes(ram.read(Pfn(last.entry >> PAGE_SHIFT), address & 0xFFF, width), "little")


def test_one_page_in_two_levels_by_hand() -> None:
    """0x00401000 -> frame 0x12345: word 1 of directory and table, and the recursive slot."""
    table, ram, frames = make_tree(X86_32, root=0x500)
    vpn = Vpn(0x401)
    assert table.missing_level(vpn) == 1
    assert table.path(vpn) == [Step(0, Pfn(0x500), 1, 0)]
    assert table.leaf(vpn) is None
    assert table.leaf_frame(vpn) == -1
    assert table.lookup(vpn) == 0

    assert complete(table, ram, frames, vpn) == 1
    assert table.missing_level(vpn) == -1
    assert table.set(vpn, 0x1234_5067) == 0

    assert ram.read(Pfn(0x500), 0, 8).hex() == "00000000" + "07105000"  # 0x00501007: table in frame 0x501
    assert ram.read(Pfn(0x500), 4092, 4).hex() == "03005000"  # 0x00500003: the root itself
    assert ram.read(Pfn(0x501), 0, 12).hex() == "00000000" + "67503412" + "00000000"
    assert table.path(vpn) == [Step(0, Pfn(0x500), 1, 0x0050_1007), Step(1, Pfn(0x501), 1, 0x1234_5067)]
    assert table.lookup(vpn) == 0x1234_5067
    assert table.leaf_frame(vpn) == 0x501
    table.validate()


def test_the_recursive_directory_shows_the_tables_as_memory() -> None:
    """The entries of 0x00401000 are read at 0xFFC01004 and 0xFFFFF004, the recursive one at 0xFFFFFFFC."""
    table, ram, frames = make_tree(X86_32, root=0x500)
    complete(table, ram, frames, Vpn(0x401))
    table.set(Vpn(0x401), 0x1234_5067)

    assert word_at(ram, table, 0xFFC0_1004) == 0x1234_5067
    assert word_at(ram, table, 0xFFFF_F004) == 0x0050_1007
    assert word_at(ram, table, 0xFFFF_FFFC) == 0x0050_0003
    assert table.path(Vpn(0xFFC01)) == [
        Step(0, Pfn(0x500), 1023, 0x0050_0003),
        Step(1, Pfn(0x500), 1, 0x0050_1007),
    ]
    assert table.lookup(Vpn(0xFFFFF)) == 0x0050_0003
    assert table.lookup(Vpn(0xFFC02)) == 0, "no table, no page to show"


@given(st.dictionaries(st.integers(0, 0xFFBFF), st.integers(0, 0xFFFFF), max_size=20))
def test_every_entry_is_seen_at_its_recursive_address(pages: dict[int, int]) -> None:
    """Whatever is mapped: leaf and directory entries equal the words at the computed addresses."""
    table, ram, frames = make_tree(X86_32)
    for vpn, pfn in pages.items():
        complete(table, ram, frames, Vpn(vpn))
        table.set(Vpn(vpn), make(Pfn(pfn), PRESENT | WRITABLE))
    for vpn in pages:
        directory_entry, entry = (step.entry for step in table.path(Vpn(vpn)))
        assert word_at(ram, table, layout.recursive_entry_address(Vpn(vpn))) == entry
        assert word_at(ram, table, layout.recursive_directory_entry_address(Vpn(vpn))) == directory_entry


@pytest.mark.parametrize(
    ("geometry", "address", "words"),
    [
        # (frame of the table, offset in it, the word there), root first, for frame 0x12345 with flags 0x67
        (
            PAE,
            0x4040_1000,
            [
                (0x500, 0x008, "0110500000000000"),  # the root's entries have no flags but P
                (0x501, 0x010, "0720500000000000"),
                (0x502, 0x008, "6750341200000000"),
            ],
        ),
        (
            X86_64,
            0x0000_7FFF_FFFF_E000,
            [
                (0x500, 0x7F8, "0710500000000000"),
                (0x501, 0xFF8, "0720500000000000"),
                (0x502, 0xFF8, "0730500000000000"),
                (0x503, 0xFF0, "6750341200000000"),
            ],
        ),
        (
            X86_64_5,
            0xFF11_0000_0020_3000,
            [
                (0x500, 0x888, "0710500000000000"),
                (0x501, 0x000, "0720500000000000"),
                (0x502, 0x000, "0730500000000000"),
                (0x503, 0x008, "0740500000000000"),
                (0x504, 0x018, "6750341200000000"),
            ],
        ),
    ],
    ids=["pae", "x86-64", "x86-64-5"],
)
def test_one_page_in_more_levels_by_hand(
    geometry: Geometry, address: int, words: list[tuple[int, int, str]]
) -> None:
    """The memory of every table on the way, worked out from the address."""
    table, ram, frames = make_tree(geometry, root=0x500)
    vpn = Vpn(address >> PAGE_SHIFT)
    assert complete(table, ram, frames, vpn) == geometry.levels - 1
    table.set(vpn, 0x1234_5067)
    for pfn, offset, word in words:
        assert ram.read(Pfn(pfn), offset, 8).hex() == word
    assert [(step.pfn, step.index * 8) for step in table.path(vpn)] == [word[:2] for word in words]
    assert list(table.all_frames()) == [word[0] for word in words]
    assert list(table.entries(0, geometry.end)) == [(vpn, 0x1234_5067)]
    table.validate()


def test_missing_levels_are_named_one_after_the_other() -> None:
    """A page needs its tables from the top down."""
    table, ram, frames = make_tree(X86_64)
    for level in (1, 2, 3):
        assert table.missing_level(Vpn(0)) == level
        pfn = frames.alloc()
        ram.make_table(pfn, 512, 8)
        table.link(Vpn(0), level, pfn, TABLE_FLAGS)
    assert table.missing_level(Vpn(511)) == -1
    assert table.missing_level(Vpn(512)) == 3
    assert table.missing_level(Vpn(1 << 18)) == 2
    assert table.missing_level(Vpn(1 << 27)) == 1


class TestMisuse:
    """What a kernel must not do to its page tables is named."""

    def test_an_entry_without_a_table(self) -> None:
        """Storing needs the leaf table, and the message names the level that is missing."""
        table, _, _ = make_tree(X86_64)
        with pytest.raises(KernelBug, match="level 1 is missing"):
            table.set(Vpn(5), 0x1067)

    def test_a_page_that_shows_a_page_table(self) -> None:
        """Directory entries change by link and unlink only."""
        table, _, _ = make_tree(X86_32)
        with pytest.raises(KernelBug, match="shows a page table"):
            table.set(Vpn(0xFFC01), 0x1067)
        with pytest.raises(KernelBug, match="recursive slot"):
            table.link(Vpn(0xFFC01), 1, Pfn(9), TABLE_FLAGS)
        with pytest.raises(KernelBug, match="recursive slot"):
            table.unlink(Vpn(0xFFC01), 1)

    @pytest.mark.parametrize("geometry", [X86_64, X86_64_5], ids=lambda geometry: geometry.name)
    def test_an_address_in_the_hole(self, geometry: Geometry) -> None:
        """No verb accepts a page that the hardware would refuse; ranges pass over the hole."""
        table, _, _ = make_tree(geometry)
        hole = Vpn(geometry.kernel_first - 1)
        for verb in (table.leaf, table.leaf_frame, table.lookup, table.path, table.missing_level):
            with pytest.raises(KernelBug, match="not canonical"):
                verb(hole)
        with pytest.raises(KernelBug, match="not canonical"):
            table.set(hole, 0x1067)
        with pytest.raises(KernelBug, match="not canonical"):
            table.link(hole, 1, Pfn(9), TABLE_FLAGS)
        assert not list(table.entries(hole, hole + 1))

    def test_a_table_in_a_wrong_place(self) -> None:
        """Linked twice, before the one above it, at a level that is none: each is refused."""
        table, ram, frames = make_tree(X86_64)
        spare = frames.alloc()
        ram.make_table(spare, 512, 8)
        with pytest.raises(KernelBug, match="where level 1 is missing"):
            table.link(Vpn(0), 2, spare, TABLE_FLAGS)
        complete(table, ram, frames, Vpn(0))
        with pytest.raises(KernelBug, match="where nothing is missing"):
            table.link(Vpn(0), 3, spare, TABLE_FLAGS)
        for level in (0, 4):
            with pytest.raises(KernelBug, match=f"no tables of level {level}"):
                table.link(Vpn(0), level, spare, TABLE_FLAGS)

    def test_a_frame_that_is_no_fresh_table(self) -> None:
        """Not a table, not empty, linked elsewhere, of another shape: each is refused."""
        table, ram, frames = make_tree(X86_64)
        with pytest.raises(KernelBug, match="not an empty table"):
            table.link(Vpn(0), 1, Pfn(0x999), TABLE_FLAGS)
        ram.make_table(Pfn(0x999), 512, 8)[3] = 1
        with pytest.raises(KernelBug, match="not an empty table"):
            table.link(Vpn(0), 1, Pfn(0x999), TABLE_FLAGS)
        ram.make_table(Pfn(0x99A), 1024, 4)
        with pytest.raises(KernelBug, match="no table of level 1 of x86-64"):
            table.link(Vpn(0), 1, Pfn(0x99A), TABLE_FLAGS)
        complete(table, ram, frames, Vpn(0))
        with pytest.raises(KernelBug, match="outside all trees"):
            table.link(Vpn(512), 3, table.leaf_frame(Vpn(0)), TABLE_FLAGS)
        with pytest.raises(KernelBug, match="outside all trees"):
            PageTable(X86_64, ram, table.root)

    @pytest.mark.parametrize("flags", [0, WRITABLE, PRESENT | LARGE])
    def test_flags_that_lead_to_no_table(self, flags: int) -> None:
        """A directory entry that is not present, or maps a large page, has no table below."""
        table, ram, _ = make_tree(X86_64)
        ram.make_table(Pfn(0x999), 512, 8)
        with pytest.raises(KernelBug, match="do not point to a table"):
            table.link(Vpn(0), 1, Pfn(0x999), flags)

    def test_a_table_that_is_still_in_use(self) -> None:
        """Only an empty table goes, only once, and the root only when it is alone."""
        table, ram, frames = make_tree(X86_64)
        complete(table, ram, frames, Vpn(7))
        table.set(Vpn(7), 0x1067)
        with pytest.raises(KernelBug, match="still has 1 entries"):
            table.unlink(Vpn(7), 3)
        with pytest.raises(KernelBug, match="leads to 3 tables"):
            table.dissolve()
        table.set(Vpn(7), 0)
        freed = table.unlink(Vpn(7), 3)
        with pytest.raises(KernelBug, match="nothing to unlink"):
            table.unlink(Vpn(7), 3)
        with pytest.raises(KernelBug, match="part of a tree"):
            ram.forget(table.root)
        ram.forget(freed)
        for level in (2, 1):
            ram.forget(table.unlink(Vpn(7), level))
        ram.forget(table.dissolve())
        assert ram.bytes_in_use == 0

    def test_a_directory_entry_that_points_nowhere(self) -> None:
        """A table that was overwritten by memory is found out by the next walk."""
        table, ram, frames = make_tree(X86_32)
        complete(table, ram, frames, Vpn(0x401))
        ram.write(table.root, 4, bytes.fromhex("07009000"))
        with pytest.raises(KernelBug, match="points to frame 0x900, which is no table"):
            table.lookup(Vpn(0x401))
        with pytest.raises(KernelBug, match="points to frame 0x900, which is no table"):
            table.path(Vpn(0x401))


def test_a_directory_written_as_memory_is_believed() -> None:
    """A store through 0xFFFFF004 takes the table away, a second one puts it back."""
    table, ram, frames = make_tree(X86_32)
    complete(table, ram, frames, Vpn(0x401))
    table.set(Vpn(0x401), 0x1234_5067)
    directory = Pfn(table.lookup(Vpn(0xFFFFF)) >> PAGE_SHIFT)
    word = ram.read(directory, 4, 4)

    ram.write(directory, 4, bytes(4))
    assert table.lookup(Vpn(0x401)) == 0
    assert table.missing_level(Vpn(0x401)) == 1
    ram.write(directory, 4, word)
    assert table.lookup(Vpn(0x401)) == 0x1234_5067
    table.validate()


def test_a_large_page_ends_the_walk_above_the_leaf_level() -> None:
    """A directory entry with L maps 4 MiB: 0x00400081 at slot 1 is read, and no table behind it."""
    table, ram, _ = make_tree(X86_32, root=0x500)
    ram.write(table.root, 4, bytes.fromhex("81004000"))
    assert table.path(Vpn(0x401)) == [Step(0, Pfn(0x500), 1, 0x0040_0081)]


def test_validate_finds_a_corrupted_recursive_slot() -> None:
    """The slow check does see what somebody did to the frames."""
    table, ram, _ = make_tree(X86_32)
    ram.write(table.root, 4092, bytes.fromhex("03009000"))
    with pytest.raises(AssertionError, match="recursive slot"):
        table.validate()


def test_entries_may_be_cleared_while_going_over_them() -> None:
    """Unmapping a range while iterating over it meets every page once."""
    table, ram, frames = make_tree(X86_64)
    pages = [Vpn(vpn) for vpn in (0, 1, 511, 512, 513, 1 << 18, (1 << 27) + 5)]
    for vpn in pages:
        complete(table, ram, frames, vpn)
        table.set(vpn, 0x1067)
    met = []
    for vpn, entry in table.entries(0, X86_64.user_pages):
        assert table.set(vpn, 0) == entry
        met.append(vpn)
    assert met == pages
    assert not list(table.entries(0, X86_64.end))


def test_entries_that_are_not_present_are_kept_but_not_listed() -> None:
    """A word without P may hold what the kernel likes; its table is in use all the same."""
    table, ram, frames = make_tree(X86_32)
    complete(table, ram, frames, Vpn(0x401))
    table.set(Vpn(0x401), 0x1234_5000)
    assert not list(table.entries(0, X86_32.end))
    assert table.lookup(Vpn(0x401)) == 0x1234_5000
    assert not table.tables_within(0, X86_32.end)


def test_tables_that_map_nothing_are_freed_from_below() -> None:
    """Only tables wholly inside, those below before those above, each just once."""
    table, ram, frames = make_tree(X86_64)
    for vpn in (0, 512, 1024, 1 << 18):
        complete(table, ram, frames, Vpn(vpn))
    level_1, level_2, leaf_0, leaf_512, leaf_1024, other_2, other_leaf = list(table.all_frames())[1:]
    table.set(Vpn(5), 0x1067)

    assert not table.tables_within(0, 511), "no table is wholly inside"
    assert not table.tables_within(1, 1023), "nor here"
    assert not table.tables_within(0, 512), "in use"
    assert table.tables_within(1, 1537) == [
        FreeableTable(3, leaf_512, Vpn(512)),
        FreeableTable(3, leaf_1024, Vpn(1024)),
    ]
    everything = table.tables_within(0, X86_64.end)
    assert [freeable.pfn for freeable in everything] == [leaf_512, leaf_1024, other_leaf, other_2]
    table.set(Vpn(5), 0)
    everything = table.tables_within(0, X86_64.end)
    assert [freeable.pfn for freeable in everything] == [
        leaf_0, leaf_512, leaf_1024, level_2, other_leaf, other_2, level_1,
    ]  # fmt: skip
    for freeable in everything:
        assert table.unlink(freeable.first_vpn, freeable.level) == freeable.pfn
    assert list(table.all_frames()) == [table.root]
    assert not table.tables_within(0, X86_64.end)
    table.validate()


def test_leaf_tables_are_listed_with_their_first_page() -> None:
    """A range that only touches a table lists it; the recursive slot is none."""
    table, ram, frames = make_tree(X86_32)
    for vpn in (0x401, 0x800, 0xC0000):
        complete(table, ram, frames, Vpn(vpn))
    assert [start for start, _ in table.leaf_tables(0x7FF, 0x801)] == [0x400, 0x800]
    assert [start for start, _ in table.leaf_tables(0x7FF, 0x800)] == [0x400]
    assert [start for start, _ in table.leaf_tables(0, X86_32.end)] == [0x400, 0x800, 0xC0000]
    assert not list(table.leaf_tables(0xFFC00, 0xFFC01))
    assert not list(table.leaf_tables(0x800, 0x800))


def near_borders(geometry: Geometry) -> st.SearchStrategy[int]:
    """Pages where tables of some level begin and end, on both sides."""
    bases = [0, geometry.kernel_first] + [geometry.span(level) for level in range(geometry.leaf_level)]
    bases.append(geometry.kernel_first + geometry.span(geometry.leaf_level - 1))
    return st.builds(lambda base, offset: base + offset, st.sampled_from(bases), st.integers(0, 3))


@given(st.data(), st.sampled_from(ALL))
def test_a_page_table_is_a_dict_of_pages(data: st.DataObject, geometry: Geometry) -> None:
    """Maps, unmaps, freed tables and ranges in any order: the tree says what a dict says."""
    table, ram, frames = make_tree(geometry)
    model: dict[int, int] = {}
    page = near_borders(geometry)
    step = st.one_of(
        st.tuples(st.just("set"), page, st.integers(0, geometry.max_frames - 1)),
        st.tuples(st.just("clear"), page, st.just(0)),
        st.tuples(st.just("free"), page, st.integers(0, 1 << 19)),
        st.tuples(st.just("range"), page, st.integers(0, 1 << 19)),
    )
    for verb, vpn, number in data.draw(st.lists(step, max_size=40)):
        if verb == "set":
            complete(table, ram, frames, Vpn(vpn))
            assert table.set(Vpn(vpn), make(Pfn(number), TABLE_FLAGS)) == model.get(vpn, 0)
            model[vpn] = make(Pfn(number), TABLE_FLAGS)
        elif verb == "clear" and table.leaf(Vpn(vpn)) is not None:
            assert table.set(Vpn(vpn), 0) == model.pop(vpn, 0)
        elif verb == "free":
            for freeable in table.tables_within(vpn, vpn + number):
                frames.free(table.unlink(freeable.first_vpn, freeable.level))
                ram.forget(freeable.pfn)
        elif verb == "range":
            expected = sorted(item for item in model.items() if vpn <= item[0] < vpn + number)
            assert list(table.entries(vpn, vpn + number)) == expected
    table.validate()
    assert list(table.entries(0, geometry.end)) == sorted(model.items())
    assert sorted(table.all_frames()) == sorted([table.root, *frames.out])
    for vpn in {**model, 0: 0, geometry.kernel_first: 0}:
        assert table.lookup(Vpn(vpn)) == model.get(vpn, 0)
        last = table.path(Vpn(vpn))[-1]
        assert (last.entry if last.level == geometry.leaf_level else 0) == model.get(vpn, 0)


def test_a_page_in_two_mib_costs_the_host_little() -> None:
    """512 spaces of 1 GB with one page in each leaf table fit in 300 MB: 1,140 bytes for each table."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        table, ram, frames = make_tree(X86_64)
        for vpn in range(0x40000, 0x80000, 512):
            complete(table, ram, frames, Vpn(vpn))
            table.set(Vpn(vpn), make(Pfn(vpn), TABLE_FLAGS))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / 512 < 1140
