"""Frame bitmap: next fit, runs, wrong frees, and size."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coalsim.errors import BadFree, ConfigError, DoubleFree, ForeignFree, InteriorFree
from coalsim.mm.phys.bitmap import NOBODY, WORD, Found, FrameBitmap


def test_the_scan_goes_on_where_the_last_one_ended() -> None:
    """Next fit: freed frames behind the hint are found only after a turn around the end."""
    bitmap = FrameBitmap(0x100, 192)
    assert [bitmap.alloc() for _ in range(2)] == [Found(0x100, 1, NOBODY), Found(0x101, 1, NOBODY)]
    for _ in range(126):
        bitmap.alloc()
    bitmap.free(0x100, by=3)
    assert bitmap.alloc() == Found(0x180, 2, NOBODY)  # the hint word is full, the next is not
    for _ in range(63):
        bitmap.alloc()
    assert bitmap.alloc() == Found(0x100, 2, 3)  # around the end
    assert bitmap.alloc() is None


def test_a_nearly_full_bitmap_costs_a_read_per_word() -> None:
    """The words read are those of the modelled kernel, though full groups are skipped."""
    bitmap = FrameBitmap(0, 64 * 10_000)
    assert bitmap.alloc_run(64 * 9_999) == Found(0, 9_999, NOBODY)
    for _ in range(64):
        bitmap.alloc()
    bitmap.free_run(0, 64 * 9_999, by=1)
    assert bitmap.alloc() == Found(0, 2, 1)
    assert bitmap.words == 10_000
    for _ in range(63):
        bitmap.alloc()
    assert bitmap.alloc_run(64 * 9_998) is not None
    bitmap.free(63)
    assert bitmap.alloc() == Found(63, 3, NOBODY)  # hint 9,998, then 9,999, then 0
    bitmap.validate()


def test_a_run_is_the_first_that_is_long_enough_and_aligned() -> None:
    """Runs skip holes that are too short; alignment counts absolute frame numbers."""
    bitmap = FrameBitmap(0x41, 256)
    singles = [found.pfn for _ in range(8) if (found := bitmap.alloc())]
    for pfn in singles[2:5]:
        bitmap.free(pfn, by=7)
    assert bitmap.alloc_run(3) == Found(0x43, 1, 7)
    assert bitmap.alloc_run(16, align=16) == Found(0x50, 1, NOBODY)
    assert bitmap.alloc_run(100) == Found(0x60, 3, NOBODY)
    assert bitmap.alloc_run(100) == Found(0xC4, 2, NOBODY)
    assert bitmap.alloc_run(100) is None
    assert bitmap.statistics().longest_free_run == 256 - (0x60 - 0x41) - 200
    assert bitmap.statistics().runs == 4
    bitmap.validate()


def test_a_run_behind_the_hint_is_found_in_a_second_pass() -> None:
    """A scan that fails from the hint on starts again at the first word, and both are paid."""
    bitmap = FrameBitmap(0, 256)
    assert bitmap.alloc_run(100) == Found(0, 2, NOBODY)
    assert bitmap.alloc_run(100) == Found(100, 3, NOBODY)
    bitmap.free_run(0, 100, by=2)
    assert bitmap.alloc_run(90) == Found(0, 1 + 2, 2)


def test_wrong_frees_are_named() -> None:
    """Double, foreign and interior frees and a wrong length each name the culprit."""
    bitmap = FrameBitmap(0x40, 128)
    assert bitmap.alloc_run(8) == Found(0x40, 1, NOBODY)
    single = bitmap.alloc()
    assert single
    with pytest.raises(InteriorFree, match="3 frames into the run of 8 from 0x40"):
        bitmap.free(0x43)
    with pytest.raises(InteriorFree, match="3 frames into"):
        bitmap.free_run(0x43, 5)
    with pytest.raises(InteriorFree, match="0 frames into"):
        bitmap.free(0x40)
    with pytest.raises(BadFree, match="8 frames, 4 were freed"):
        bitmap.free_run(0x40, 4)
    with pytest.raises(BadFree, match="single frame"):
        bitmap.free_run(single.pfn, 2)
    with pytest.raises(ForeignFree, match="0x40 to 0xbf"):
        bitmap.free(0xC0)
    with pytest.raises(DoubleFree, match="nobody ever took it"):
        bitmap.free(0x80)
    bitmap.free(single.pfn, by=5)
    with pytest.raises(DoubleFree, match="CPU 5 freed it last"):
        bitmap.free(single.pfn)
    bitmap.free_run(0x40, 8)
    assert bitmap.free_frames == 128
    bitmap.validate()


def test_four_terabytes_cost_nothing_until_used() -> None:
    """2^30 frames: the bitmap stores no word that was never written."""
    bitmap = FrameBitmap(0, 1 << 30)
    assert bitmap.alloc() == Found(0, 1, NOBODY)
    assert bitmap.alloc_run(512, align=512) == Found(512, 16, NOBODY)
    bitmap.validate()
    assert bitmap.statistics().longest_free_run == (1 << 30) - 1024


@pytest.mark.parametrize("frames", [0, -64, 100])
def test_a_bitmap_fills_whole_words(frames: int) -> None:
    """Sizes that are not a positive multiple of 64 are refused."""
    with pytest.raises(ConfigError):
        FrameBitmap(0, frames)
    with pytest.raises(ValueError, match="cannot be asked for"):
        FrameBitmap(0, WORD).alloc_run(0)


class BitmapMachine(RuleBasedStateMachine):
    """Any mix of single frames and runs; a plain list of booleans says what is right."""

    FIRST, FRAMES = 7, 320

    def __init__(self) -> None:
        super().__init__()
        self.bitmap = FrameBitmap(self.FIRST, self.FRAMES)
        self.taken = [False] * self.FRAMES
        self.held: list[tuple[int, int]] = []

    @rule(times=st.integers(1, 80))
    def alloc(self, times: int) -> None:
        for _ in range(times):
            found = self.bitmap.alloc()
            assert (found is None) == all(self.taken)
            if found:
                self.mark(found.pfn, 1)

    @rule(count=st.integers(2, 100), align=st.sampled_from([1, 2, 8, 64]))
    def alloc_run(self, count: int, align: int) -> None:
        found = self.bitmap.alloc_run(count, align)
        fits = [
            pfn
            for pfn in range(self.FIRST, self.FIRST + self.FRAMES - count + 1)
            if pfn % align == 0 and not any(self.taken[pfn - self.FIRST : pfn - self.FIRST + count])
        ]
        assert (found is None) == (not fits)
        if found:
            assert found.pfn in fits
            assert 1 <= found.words_read <= 2 * self.bitmap.words
            self.mark(found.pfn, count)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), by=st.integers(0, 3))
    def free(self, data: st.DataObject, by: int) -> None:
        pfn, count = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.bitmap.free_run(pfn, count, by)
        for at in range(pfn - self.FIRST, pfn - self.FIRST + count):
            self.taken[at] = False

    def mark(self, pfn: int, count: int) -> None:
        """Note frames as handed out; none may be out already."""
        at = pfn - self.FIRST
        assert not any(self.taken[at : at + count])
        self.taken[at : at + count] = [True] * count
        self.held.append((pfn, count))

    @invariant()
    def it_agrees_with_the_list(self) -> None:
        self.bitmap.validate()
        assert [self.bitmap.is_free(self.FIRST + at) for at in range(self.FRAMES)] == [
            not t for t in self.taken
        ]
        free_runs = "".join("01"[taken] for taken in self.taken).split("1")
        assert self.bitmap.statistics().longest_free_run == max(map(len, free_runs))

    def teardown(self) -> None:
        """Everything freed is a fresh bitmap again."""
        for pfn, count in self.held:
            self.bitmap.free_run(pfn, count)
        assert self.bitmap.free_frames == self.FRAMES == self.bitmap.statistics().longest_free_run


TestBitmapMachine = BitmapMachine.TestCase
TestBitmapMachine.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
