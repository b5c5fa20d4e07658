"""The initial fill: how much room a recorded line needs, and lines of other kernels."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coalsim.mm.phys.buddy import BuddyAllocator
from coalsim.mm.phys.fill import refold, span_for
from coalsim.mm.phys.fragmentation import free_pages

LINES = st.lists(st.integers(0, 40), min_size=1, max_size=11)


@settings(max_examples=60, deadline=None)
@given(free_blocks=LINES, extra=st.integers(0, 3000), max_order=st.integers(10, 12))
def test_a_line_fits_the_span_that_is_said_to_hold_it(
    free_blocks: list[int], extra: int, max_order: int
) -> None:
    """Whatever the line, a zone of `span_for` frames takes it, even one that is wholly free."""
    managed = free_pages(free_blocks) + extra
    frames = span_for(free_blocks, managed, max_order)
    assert frames >= managed
    buddy = BuddyAllocator(0, frames, max_order)
    buddy.shape(free_blocks)
    assert buddy.free_frames == free_pages(free_blocks)


@given(free_blocks=LINES, max_order=st.integers(0, 13))
def test_another_highest_order_keeps_every_free_page(free_blocks: list[int], max_order: int) -> None:
    """Refolding changes the blocks, not the pages, and ends at the order asked for."""
    line = refold(free_blocks, max_order)
    assert len(line) == max_order + 1
    assert free_pages(line) == free_pages(free_blocks)


def test_the_highest_blocks_of_a_shorter_line_join() -> None:
    """752 blocks of order 10 are 188 of order 12; 7 are one, one of order 11 and one of order 10."""
    assert refold([3] + [0] * 9 + [752], 12) == [3] + [0] * 11 + [188]
    assert refold([0] * 10 + [7], 12) == [0] * 10 + [1, 1, 1]
