"""Simulated memory: bytes and table words are two views of the same frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.errors import KernelBug
from coalsim.mm.phys.ram import SPARSE_MOST, Ram, TableFrame
from coalsim.units import PAGE_SIZE, Pfn

FRAME = Pfn(0x123)
OTHER = Pfn(0x456)


def test_memory_reads_as_zero_until_somebody_writes() -> None:
    """An untouched frame costs nothing; a written byte is found again, its neighbours are zero."""
    ram = Ram()
    assert ram.read(FRAME, 100, 8) == bytes(8)
    assert ram.bytes_in_use == 0

    ram.write(FRAME, 102, b"coal")
    assert ram.read(FRAME, 100, 8) == b"\0\0coal\0\0"
    assert ram.read(OTHER, 100, 8) == bytes(8)
    assert ram.bytes_in_use == PAGE_SIZE


def test_zeros_over_zeros_and_reads_take_no_memory() -> None:
    """Clearing a page that nobody wrote keeps nothing."""
    ram = Ram()
    ram.write(FRAME, 0, bytes(PAGE_SIZE))
    ram.zero(FRAME)
    ram.copy(FRAME, OTHER)
    assert ram.bytes_in_use == 0


def test_a_copy_is_independent_of_its_source() -> None:
    """Copy-on-write works on contents: writing one page leaves the other alone."""
    ram = Ram()
    ram.write(FRAME, 0, b"parent")
    ram.copy(FRAME, OTHER)
    ram.write(OTHER, 0, b"child!")
    assert ram.read(FRAME, 0, 6) == b"parent"
    assert ram.read(OTHER, 0, 6) == b"child!"


def test_copying_an_untouched_frame_clears_the_target() -> None:
    """A copy of zeros is zeros, whatever was there."""
    ram = Ram()
    ram.write(OTHER, 0, b"old")
    ram.copy(FRAME, OTHER)
    assert ram.read(OTHER, 0, 3) == bytes(3)


def test_a_frame_copied_onto_itself_stays() -> None:
    """No special case of the caller's."""
    ram = Ram()
    ram.write(FRAME, 9, b"x")
    ram.copy(FRAME, FRAME)
    assert ram.read(FRAME, 9, 1) == b"x"


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (PAGE_SIZE, 1), (4090, 7), (0, PAGE_SIZE + 1)])
def test_no_access_leaves_its_frame(offset: int, size: int) -> None:
    """Frames side by side are not one memory: the caller has to split."""
    ram = Ram()
    with pytest.raises(KernelBug, match="leave frame 0x123"):
        ram.read(FRAME, offset, size)
    with pytest.raises(KernelBug, match="leave frame 0x123"):
        ram.write(FRAME, offset, bytes(size))


def test_a_table_of_32_bits_is_read_as_little_endian_memory() -> None:
    """Word 2 of a table, 0x12345067, lies as 67 50 34 12 at offset 8."""
    ram = Ram()
    table = ram.make_table(FRAME, 1024, 4)
    table[2] = 0x1234_5067
    assert ram.read(FRAME, 8, 4).hex() == "67503412"
    assert ram.read(FRAME, 6, 5).hex() == "0000675034", "across the border of two words"


def test_a_table_of_64_bits_is_written_as_little_endian_memory() -> None:
    """Three bytes into the middle of a word change these and no others."""
    ram = Ram()
    table = ram.make_table(FRAME, 512, 8)
    table[1] = 0x8000_0000_1234_5067
    ram.write(FRAME, 9, bytes.fromhex("aabbcc"))
    assert table[1] == 0x8000_0000_CCBB_AA67
    assert table.live == 1
    ram.write(FRAME, 8, bytes(8))
    assert table.live == 0


def test_a_short_table_ends_in_zeros_that_cannot_be_written() -> None:
    """The root of PAE has four words; behind them the frame is not a table."""
    ram = Ram()
    table = ram.make_table(FRAME, 4, 8)
    table[3] = 0xFFFF_F001
    assert ram.read(FRAME, 24, 16) == bytes.fromhex("01f0ffff00000000") + bytes(8)
    ram.write(FRAME, 32, bytes(8))
    with pytest.raises(KernelBug, match="word 4"):
        ram.write(FRAME, 32, b"\1")


def test_zeroing_a_table_empties_it_and_copying_moves_its_words() -> None:
    """A table is memory to `zero` and `copy` too."""
    ram = Ram()
    table = ram.make_table(FRAME, 1024, 4)
    table[7] = 0xABCD_E003
    ram.copy(FRAME, OTHER)
    ram.zero(FRAME)
    assert table.live == 0
    assert ram.table(FRAME) is table
    assert ram.read(OTHER, 28, 4).hex() == "03e0cdab"


def test_a_frame_becomes_a_table_once_and_may_be_forgotten() -> None:
    """Making a table twice is a bug; after `forget` the frame is plain and zero."""
    ram = Ram()
    ram.write(FRAME, 0, b"old")
    ram.make_table(FRAME, 1024, 4)[0] = 1
    with pytest.raises(KernelBug, match="a page table already"):
        ram.make_table(FRAME, 1024, 4)
    ram.forget(FRAME)
    assert ram.table(FRAME) is None
    assert ram.read(FRAME, 0, 4) == bytes(4)
    assert ram.bytes_in_use == 0
    ram.forget(OTHER)  # a frame without contents is nothing to forget


def test_a_table_in_use_cannot_be_freed() -> None:
    """As long as other tables lead to it, freeing the frame would let the walker read anything."""
    ram = Ram()
    ram.make_table(FRAME, 1024, 4).linked = True
    with pytest.raises(KernelBug, match="part of a tree"):
        ram.forget(FRAME)


@pytest.mark.parametrize(("entries", "width"), [(1024, 8), (512, 2), (0, 4)])
def test_a_table_has_to_fit_into_a_frame(entries: int, width: int) -> None:
    """Shapes that no hardware has are refused."""
    with pytest.raises(KernelBug, match="no page table"):
        Ram().make_table(FRAME, entries, width)


@pytest.mark.parametrize("spread", [False, True])
def test_a_word_has_to_fit_into_its_entry(spread: bool) -> None:
    """A frame beyond 4 GiB in an entry of 32 bits is caught, in either form of the table."""
    table = TableFrame(FRAME, 1024, 4)
    if spread:
        table.fill(0, [1] * 100)
    with pytest.raises(KernelBug, match="32 bits"):
        table[5] = 1 << 32
    with pytest.raises(KernelBug, match="32 bits"):
        table.fill(0, [1 << 32] * 100)
    with pytest.raises(KernelBug, match="no word 1024"):
        table[1024] = 1
    with pytest.raises(KernelBug, match="no word -1"):
        table[-1] = 1
    with pytest.raises(KernelBug, match="leave table"):
        table.fill(1000, [1] * 25)


def test_a_write_behind_the_trees_back_empties_the_watch() -> None:
    """What remembers ways through a directory forgets them when a word changes by memory."""
    ram = Ram()
    table = ram.make_table(FRAME, 1024, 4)
    table.watch = {1: table}
    ram.write(FRAME, 0, bytes(4))
    assert table.watch, "the word did not change"
    ram.write(FRAME, 0, b"\1")
    assert not table.watch


WRITES = st.lists(
    st.tuples(st.integers(0, 127), st.sampled_from([0, 1, 0xFFFF_F067, 0xFFFF_FFFF])), max_size=300
)


@given(WRITES, st.integers(0, 127), st.integers(0, 127))
def test_a_table_is_a_list_of_words_however_it_is_kept(
    writes: list[tuple[int, int]], first: int, last: int
) -> None:
    """Dict or array: words, old words, the count and ranges equal those of a plain list."""
    table = TableFrame(FRAME, 128, 4)
    model = [0] * 128
    for index, word in writes:
        assert table.exchange(index, word) == model[index]
        model[index] = word
    table.validate()
    assert [table[index] for index in range(128)] == model
    assert table.live == sum(word != 0 for word in model)
    expected = [(index, model[index]) for index in range(first, last) if model[index]]
    assert table.filled(first, last) == expected


@given(st.integers(0, SPARSE_MOST + 20), st.integers(0, 50), st.integers(0, 3))
def test_filling_is_storing_word_by_word(words: int, first: int, word: int) -> None:
    """Many words at once end as the same table."""
    filled, stored = TableFrame(FRAME, 128, 8), TableFrame(FRAME, 128, 8)
    for table in (filled, stored):
        table[first] = 99
    filled.fill(first, [word] * words)
    for index in range(first, first + words):
        stored[index] = word
    filled.validate()
    assert filled.filled(0, 128) == stored.filled(0, 128)
