"""Matching frees with allocations: as the bookkeeping of lifetimes counts, and each block once."""

from hypothesis import given
from hypothesis import strategies as st

from coalsim.workloads.replay.matching import LiveBlock, LivePages
from coalsim.workloads.replay.operations import Block
from coalsim.workloads.trace.lifetimes import Lifetimes
from coalsim.workloads.trace.records import Kind, Record

Steps = list[tuple[bool, int, int]]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 31), st.integers(0, 5)), max_size=60))
def test_pages_are_matched_as_lifetimes_counts_them(steps: Steps) -> None:
    """Blocks of any order over each other: live frames, unmatched frees, and no block over twice."""
    pages, lifetimes = LivePages(), Lifetimes()
    owner: dict[int, LiveBlock] = {}  # frame to block, the slow way
    unmatched = 0
    for allocates, place, order in steps:
        first = place >> order << order
        frames = range(first, first + (1 << order))
        kind = Kind.PAGE_ALLOC if allocates else Kind.PAGE_FREE
        lifetimes.add(Record(0, 0, kind, first, order, 0, 1, "task", "", ""))
        before = list(dict.fromkeys(owner.values()))
        known = any(frame in owner for frame in frames)
        for frame in frames:
            owner.pop(frame, None)
        if allocates:
            block = LiveBlock((Block(),), 0, order)
            over = pages.allocate(first, block)
            owner.update(dict.fromkeys(frames, block))
        else:
            matched, over = pages.end(first, order)
            assert matched == known
            unmatched += not known
        left = list(owner.values())
        assert sorted(map(id, over)) == sorted(id(block) for block in before if block not in left)
    counts = lifetimes.statistics()
    assert (counts.live_pages, counts.unmatched_page_frees) == (len(owner), unmatched)
