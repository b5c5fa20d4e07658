"""Buddy allocator: splits, merges, wrong frees, batches, start from a recorded machine."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coalsim.errors import BadFree, ConfigError, DoubleFree, ForeignFree, InteriorFree
from coalsim.mm.phys.buddy import NOBODY, BuddyAllocator

FIRST, FRAMES, TOP = 0x1003, 700, 6  # neither end is aligned


def test_a_fresh_zone_is_cut_into_the_largest_blocks() -> None:
    """Frames 3 to 69 with blocks up to 16: 1 and 4 and 8 at the low end, 3 whole ones, 4 and 2 above."""
    buddy = BuddyAllocator(3, 67, max_order=4)
    assert buddy.free_blocks() == [1, 1, 2, 1, 3]
    buddy.validate()


def test_one_page_of_a_fresh_block_costs_one_split_per_order() -> None:
    """A page cut from an order-12 block takes 12 splits and leaves one block of each smaller order."""
    buddy = BuddyAllocator(0, 4096)
    assert buddy.alloc(0, by=2) == (0, 12, NOBODY)
    assert buddy.free_blocks() == [1] * 12 + [0]
    assert buddy.alloc(3, by=5) == (8, 0, 2)  # CPU 2 wrote that half's descriptor when it split
    assert buddy.free(8, 3, by=5) == (3, 0, 1)  # its buddy is split: one look, no merge
    assert buddy.free(0, by=7) == (12, 12, 12)
    assert buddy.free_blocks() == [0] * 12 + [1]


def test_the_block_freed_last_is_handed_out_first() -> None:
    """Free lists are LIFO, and a block carries the tag of the CPU that freed it."""
    buddy = BuddyAllocator(0, 64, max_order=6)
    heads = [answer[0] for _ in range(8) if (answer := buddy.alloc(0))]
    for cpu, head in enumerate(heads[::2]):  # every second page: nothing merges
        buddy.free(head, 0, by=cpu)
    assert [buddy.alloc(0) for _ in range(3)] == [(6, 0, 3), (4, 0, 2), (2, 0, 1)]


def test_a_request_that_nothing_fits_is_answered_with_none() -> None:
    """Memory that is exhausted, scattered or too small is an answer, not an error."""
    buddy = BuddyAllocator(0, 16, max_order=4)
    assert buddy.alloc(5) is None
    assert buddy.alloc_batch(5, 3) == ([], 0, [])
    assert buddy.alloc(4) == (0, 0, NOBODY)
    assert buddy.alloc(0) is None
    assert buddy.alloc_batch(0, 3) == ([], 0, [])
    buddy.validate()


def test_wrong_frees_are_named() -> None:
    """Double, foreign and interior frees and a wrong order each name the culprit."""
    buddy = BuddyAllocator(0x100, 64, max_order=5)
    assert buddy.alloc(2) == (0x100, 3, NOBODY)
    with pytest.raises(InteriorFree, match="3 frames inside block 0x100 of order 2"):
        buddy.free(0x103)
    with pytest.raises(BadFree, match="taken with order 2 and freed with order 1"):
        buddy.free(0x100, 1)
    with pytest.raises(ForeignFree, match="0x100 to 0x13f"):
        buddy.free(0x140)
    with pytest.raises(DoubleFree, match="nobody ever took"):
        buddy.free(0x120)
    buddy.free(0x100, 2, by=9)
    with pytest.raises(DoubleFree, match="free block 0x100 of order 5; CPU 9"):
        buddy.free(0x100)
    with pytest.raises(DoubleFree, match="CPU 9"):
        buddy.free_batch([0x101])
    buddy.validate()


def test_internal_fragmentation_is_what_was_granted_beyond_what_was_asked() -> None:
    """Bytes asked for and bytes granted are kept for live blocks and forgotten at their free."""
    buddy = BuddyAllocator(0, 64, max_order=6)
    first = buddy.alloc(1, requested=5000)
    second = buddy.alloc(0, requested=4096)
    buddy.alloc(0)  # its caller did not say
    assert first
    assert second
    now = buddy.statistics()
    assert (now.requested_bytes, now.granted_bytes) == (9096, 12288)
    buddy.free(first[0])
    buddy.free_batch([second[0]])
    now = buddy.statistics()
    assert (now.requested_bytes, now.granted_bytes, now.taken_blocks) == (0, 0, 1)


def test_four_terabytes_cost_nothing_until_used() -> None:
    """2^30 frames are one range; a page of them costs twelve splits and no more memory than that."""
    buddy = BuddyAllocator(0, 1 << 30)
    assert buddy.alloc(0) == (0, 12, NOBODY)
    assert buddy.free_blocks()[12] == (1 << 18) - 1
    buddy.validate()


def test_a_zone_without_frames_is_refused() -> None:
    """Nothing can be built on no memory."""
    with pytest.raises(ConfigError, match="cannot exist"):
        BuddyAllocator(0, 0)


class BuddyMachine(RuleBasedStateMachine):
    """Any mix of single and batched calls; a second allocator does the batches one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.buddy = BuddyAllocator(FIRST, FRAMES, TOP)
        self.plain = BuddyAllocator(FIRST, FRAMES, TOP)
        self.start = self.buddy.free_blocks()
        self.held: list[int] = []

    @rule(order=st.integers(0, TOP), by=st.integers(0, 3))
    def alloc(self, order: int, by: int) -> None:
        answer = self.buddy.alloc(order, by)
        assert answer == self.plain.alloc(order, by)
        if answer:
            self.held.append(answer[0])

    @rule(order=st.integers(0, 3), count=st.integers(0, 90), by=st.integers(0, 3))
    def alloc_batch(self, order: int, count: int, by: int) -> None:
        heads, splits, tags = self.buddy.alloc_batch(order, count, by)
        singly = [answer for _ in range(count) if (answer := self.plain.alloc(order, by))]
        assert heads == [answer[0] for answer in singly]
        assert splits == sum(answer[1] for answer in singly)
        assert tags == [answer[2] for answer in singly]
        self.held += heads

    @precondition(lambda self: self.held)
    @rule(data=st.data(), by=st.integers(0, 3))
    def free(self, data: st.DataObject, by: int) -> None:
        head = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        assert self.buddy.free(head, by=by) == self.plain.free(head, by=by)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), by=st.integers(0, 3))
    def free_batch(self, data: st.DataObject, by: int) -> None:
        count = data.draw(st.integers(1, len(self.held)))
        leaving, self.held = self.held[:count], self.held[count:]
        singly = [self.plain.free(head, by=by) for head in leaving]
        assert self.buddy.free_batch(leaving, by) == (
            sum(answer[1] for answer in singly),
            sum(answer[2] for answer in singly),
        )

    @invariant()
    def every_frame_is_in_one_block(self) -> None:
        self.buddy.validate()
        assert self.buddy.free_blocks() == self.plain.free_blocks()
        assert self.buddy.free_frames == self.plain.free_frames

    def teardown(self) -> None:
        """Everything freed ends coalesced to the initial state."""
        self.buddy.free_batch(self.held)
        self.buddy.validate()
        assert self.buddy.free_blocks() == self.start


TestBuddyMachine = BuddyMachine.TestCase
TestBuddyMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@settings(max_examples=40, deadline=None)
@given(
    free_blocks=st.lists(st.integers(0, 12), min_size=1, max_size=TOP + 1),
    orders=st.lists(st.integers(0, TOP), max_size=30),
)
def test_a_recorded_fill_is_reproduced_and_holds_together(free_blocks: list[int], orders: list[int]) -> None:
    """The start has exactly the recorded blocks; memory taken before it is adopted and merges when freed."""
    buddy = BuddyAllocator(FIRST, 4000, TOP)
    whole = buddy.free_blocks()
    buddy.shape(free_blocks)
    buddy.validate()
    assert buddy.free_blocks() == [*free_blocks, *[0] * (TOP + 1 - len(free_blocks))]
    free_frames = buddy.free_frames
    adopted = [head for order in orders if (head := buddy.adopt(order)) is not None]
    buddy.validate()
    assert buddy.free_frames == free_frames
    while (head := buddy.adopt(0)) is not None:
        adopted.append(head)
    for head in adopted:
        buddy.free(head)
    buddy.validate()
    assert buddy.free_blocks() == whole


def test_memory_taken_before_the_start_has_no_holder() -> None:
    """Freeing it without adopting it is a foreign free; an adopted block is free to go once."""
    buddy = BuddyAllocator(0, 64, max_order=4)
    buddy.shape([0, 0, 1])
    with pytest.raises(ForeignFree, match="before the start"):
        buddy.free(63)
    head = buddy.adopt(1)
    assert head is not None
    buddy.free(head, 1)
    with pytest.raises(DoubleFree):
        buddy.free(head, 1)


def test_a_fill_that_cannot_be_is_refused_and_changes_nothing() -> None:
    """Too many blocks, too many orders, negative counts, or a zone in use."""
    buddy = BuddyAllocator(0, 64, max_order=4)
    with pytest.raises(ConfigError, match="32 frames more"):
        buddy.shape([16, 0, 0, 0, 4])
    with pytest.raises(ConfigError, match="orders 0 to 4"):
        buddy.shape([0] * 6)
    with pytest.raises(ConfigError, match="orders 0 to 4"):
        buddy.shape([-1])
    buddy.validate()
    assert buddy.free_blocks() == [0, 0, 0, 0, 4]
    buddy.alloc(0)
    with pytest.raises(ConfigError, match="before its first allocation"):
        buddy.shape([1])
