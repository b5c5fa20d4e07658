"""Bookkeeping of lifetimes against models that keep every frame and pointer by itself."""

from hypothesis import given
from hypothesis import strategies as st

from coalsim.workloads.trace.lifetimes import BATCH_WINDOW, LifetimeCounts, Lifetimes
from coalsim.workloads.trace.records import Kind, Record


def record(kind: Kind, key: int, size: int = 0, cpu: int = 0, time: int = 0) -> Record:
    return Record(time, cpu, kind, key, size, size, 1, "cc1", "", "")


def count(*records: Record) -> LifetimeCounts:
    lifetimes = Lifetimes()
    for one in records:
        lifetimes.add(one)
    lifetimes.validate()
    return lifetimes.statistics()


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 9), st.integers(0, 1)), max_size=200)
)
def test_objects_follow_the_definition(steps: list[tuple[bool, int, int, int]]) -> None:
    """Unmatched, implied, remote and live counts are those of a dictionary of pointers."""
    live: dict[int, tuple[int, int]] = {}
    unmatched = implied = remote = nulls = 0
    lifetimes = Lifetimes()
    for allocates, key, size, cpu in steps:
        if allocates:
            key += 1
            implied += key in live
            live[key] = (size, cpu)
            lifetimes.add(record(Kind.CACHE_ALLOC if size % 2 else Kind.KMALLOC, key, size, cpu))
        else:
            lifetimes.add(record(Kind.CACHE_FREE if size % 2 else Kind.KFREE, key, 0, cpu))
            if key == 0:
                nulls += 1
            elif key in live:
                remote += live.pop(key)[1] != cpu
            else:
                unmatched += 1
    counts = lifetimes.statistics()
    assert (counts.unmatched_frees, counts.implied_frees) == (unmatched, implied)
    assert (counts.remote_frees, counts.null_frees) == (remote, nulls)
    assert (counts.live_objects, counts.live_bytes) == (len(live), sum(size for size, _ in live.values()))
    assert counts.object_allocs - counts.implied_frees - counts.live_objects == (
        counts.object_frees - counts.unmatched_frees
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 31), st.integers(0, 4)), max_size=120))
def test_pages_are_counted_by_frames(steps: list[tuple[bool, int, int]]) -> None:
    """Blocks may be split, merged and handed out again: live frames are those of a set of frames."""
    live: dict[int, None] = {}
    unmatched = 0
    lifetimes = Lifetimes()
    for allocates, place, order in steps:
        first = place >> order << order
        frames = range(first, first + (1 << order))
        lifetimes.add(record(Kind.PAGE_ALLOC if allocates else Kind.PAGE_FREE, first, order))
        if allocates:
            live.update(dict.fromkeys(frames))
        else:
            unmatched += not any(frame in live for frame in frames)
            for frame in frames:
                live.pop(frame, None)
        lifetimes.validate()
        assert lifetimes.statistics().live_pages == len(live)
    assert lifetimes.statistics().unmatched_page_frees == unmatched


def test_a_block_freed_in_parts_ends_in_parts() -> None:
    """Four single frees of an order-2 block are all matched; three leave one frame."""
    block = record(Kind.PAGE_ALLOC, 8, 2)
    parts = [record(Kind.PAGE_FREE, frame) for frame in (10, 8, 11, 9)]
    counts = count(block, *parts[:3])
    assert (counts.live_pages, counts.live_blocks, counts.unmatched_page_frees) == (1, 1, 0)
    assert count(block, *parts).live_pages == 0


def test_single_frames_freed_as_a_block_all_end() -> None:
    """One free may end several blocks; it counts as remote if any of them came from elsewhere."""
    singles = [record(Kind.PAGE_ALLOC, frame, cpu=frame % 2) for frame in (4, 5, 6)]
    counts = count(*singles, record(Kind.PAGE_FREE, 4, 2))
    assert (counts.live_pages, counts.unmatched_page_frees, counts.remote_page_frees) == (0, 0, 1)


def test_an_allocation_on_live_blocks_frees_each_of_them() -> None:
    """Two single frames under a new order-1 block are two implied frees."""
    counts = count(record(Kind.PAGE_ALLOC, 4), record(Kind.PAGE_ALLOC, 5), record(Kind.PAGE_ALLOC, 4, 1))
    assert (counts.implied_page_frees, counts.live_pages, counts.live_blocks) == (2, 2, 1)


def test_events_of_the_page_lists_are_neither_allocations_nor_frees() -> None:
    """Pages that move between the per-CPU lists and the buddy lists change no owner."""
    counts = count(record(Kind.ZONE_LOCKED, 4), record(Kind.PCPU_DRAIN, 5), record(Kind.PAGE_ALLOC, 4))
    assert (counts.page_allocs, counts.page_frees, counts.live_pages) == (1, 0, 1)


def test_batched_frees_pair_in_either_order() -> None:
    """Before their plain free as on old kernels, or behind it; those alone are counted."""
    plain, batched = Kind.PAGE_FREE, Kind.PAGE_FREE_BATCHED
    counts = count(
        record(plain, 1), record(batched, 1), record(batched, 2), record(plain, 2), record(batched, 3)
    )
    assert (counts.page_frees, counts.batched_frees, counts.unpaired_batched_frees) == (2, 3, 1)


def test_pairing_forgets_what_is_long_past() -> None:
    """The window is bounded: a batched event without partner is given up, and stays counted."""
    others = [record(Kind.PAGE_FREE, frame) for frame in range(10, 10 + 3 * BATCH_WINDOW)]
    counts = count(record(Kind.PAGE_FREE_BATCHED, 1), *others, record(Kind.PAGE_FREE, 1))
    assert counts.unpaired_batched_frees == 1


def test_a_free_just_before_its_allocation_is_reported_as_reordered() -> None:
    """Only at the same stamp and on another CPU; the other counts keep the order of the text."""
    free = record(Kind.KFREE, 7, cpu=1, time=5)
    tied = count(free, record(Kind.KMALLOC, 7, 16, cpu=0, time=5))
    assert (tied.reordered_frees, tied.unmatched_frees, tied.live_objects) == (1, 1, 1)
    assert count(free, record(Kind.KMALLOC, 7, 16, cpu=1, time=5)).reordered_frees == 0
    assert count(free, record(Kind.KMALLOC, 7, 16, cpu=0, time=6)).reordered_frees == 0
    page = record(Kind.PAGE_FREE, 7, cpu=1, time=5)
    assert count(page, record(Kind.PAGE_ALLOC, 7, cpu=0, time=5)).reordered_page_frees == 1
