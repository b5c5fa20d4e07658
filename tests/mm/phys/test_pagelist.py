"""Per-CPU page lists: the closed form of the plain rule, and each kernel generation's amounts."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coalsim.errors import ConfigError
from coalsim.mm.phys.buddy import BuddyAllocator
from coalsim.mm.phys.pagelist import BELOW_HIGH, CALM, RECLAIMING, PageList, page_list
from coalsim.mm.phys.pagelist_rules import (
    BATCH_CAP_BEFORE_4_19,
    Generation,
    PageListRules,
    batch_size,
    classic_high,
    tuned_limits,
)


def make(
    generation: Generation, batch: int, low: int, high: int = 0, orders: tuple[int, ...] = (0,)
) -> PageList:
    """A list with these numbers; one limit only: it does not tune."""
    rules = PageListRules(
        generation=generation, batch=batch, high_min=low, high_max=high or low, cached_orders=orders
    )
    return page_list(rules)


def alloc(pages: PageList, order: int = 0) -> int:
    """Allocate one block; answers the blocks fetched for it (0: none)."""
    if pages.pop(order) is not None:
        return 0
    amount = pages.refill_amount(order)
    assert pages.refill(order, range(amount)) == 0
    return amount


def free(pages: PageList, order: int = 0, pressure: int = CALM) -> int:
    """Free one block; answers the pages that drained (0: none)."""
    due = pages.push(order, -1, pressure)
    if due:
        before = pages.count
        pages.take_coldest(due, order)
        due = before - pages.count
    return due


def moves(operation: Callable[[PageList], int], pages: PageList, times: int) -> list[int]:
    """Repeat an operation; answers what moved at each visit to the zone."""
    return [moved for _ in range(times) if (moved := operation(pages))]


def visits_per_operation(generation: Generation, batch: int, high: int) -> float:
    """Visits to the zone's lock per operation of a symmetric random walk, exactly.

    Every count of pages is built as a list, both operations are tried on it, and the
    stationary law of the resulting chain is solved.
    """
    size = high + 2
    chain, visits = np.zeros((size, size)), np.zeros(size)
    for count in range(size):
        for operation in (alloc, free):
            pages = make(generation, batch, high)
            pages.stock(0, range(count))
            visits[count] += 0.5 * bool(operation(pages))
            chain[count, pages.count] += 0.5
    balance = np.vstack([chain.T - np.eye(size), np.ones(size)])
    law = np.linalg.lstsq(balance, np.array([0.0] * size + [1.0]), rcond=None)[0]
    return float(law @ visits)


@pytest.mark.parametrize(
    ("batch", "high", "rate"), [(7, 42, 0.00386100), (15, 60, 0.00141844), (63, 378, 5.00726e-05)]
)
def test_a_random_walk_visits_the_zone_once_in_b_times_h_plus_two_less_b(
    batch: int, high: int, rate: float
) -> None:
    """1 / (b (H + 2 - b)) lock visits per operation, to six digits, for the rule that drains first."""
    assert 1 / (batch * (high + 2 - batch)) == pytest.approx(rate, rel=1e-5)
    assert visits_per_operation("coal", batch, high) == pytest.approx(rate, rel=1e-5)


def test_draining_after_the_push_is_the_same_rule_with_one_page_less() -> None:
    """Linux before 5.14 drains once the push reached H: the closed form holds with H - 1."""
    assert visits_per_operation("linux-2.6", 7, 42) == pytest.approx(1 / (7 * (41 + 2 - 7)), rel=1e-9)


def test_a_long_random_walk_agrees_with_the_closed_form() -> None:
    """200,000 operations on one list visit the zone within 10 % of the expected number of times."""
    random, pages, visits = Random(9), make("coal", 7, 42), 0
    for _ in range(200_000):
        visits += bool(alloc(pages) if random.random() < 0.5 else free(pages))
    assert visits / 200_000 == pytest.approx(0.00386100, rel=0.1)


@pytest.mark.parametrize("operation", [alloc, free])
def test_a_pure_stream_visits_the_zone_once_per_batch(operation: Callable[[PageList], int]) -> None:
    """Only allocations, or only frees: one visit per b operations."""
    pages = make("coal", 15, 60)
    assert len(moves(operation, pages, 60 + 15 * 100)) in (100, 104)  # frees first fill the list


def test_a_burst_around_a_middle_level_never_visits_the_zone() -> None:
    """Bursts no deeper than the list's room cost nothing."""
    pages = make("coal", 63, 378)
    pages.stock(0, range(189))
    for _ in range(5):
        assert not moves(alloc, pages, 189)
        assert not moves(free, pages, 378)
        assert not moves(alloc, pages, 189)


def test_blocks_leave_newest_first_and_drain_oldest_first() -> None:
    """The head serves allocations; the tail drains; a refill keeps the order of allocation."""
    pages = make("coal", 4, 8)
    assert pages.refill(0, [10, 11, 12, 13]) == 10
    for head in (20, 21):
        pages.push(0, head)
    assert pages.take_coldest(2) == [13, 12]
    assert [pages.pop(0) for _ in range(4)] == [21, 20, 11, None]


def test_the_list_of_the_freed_order_drains_before_the_others() -> None:
    """Draining starts with the order just freed and goes on to the larger ones, then around."""
    pages = make("linux-6.7", 4, 100, orders=(0, 1, 3))
    pages.stock(0, [1, 2])
    pages.stock(1, [10, 12])
    pages.stock(3, [64])
    assert pages.take_coldest(3, order=1) == [12, 10]  # two blocks of two pages: one more than asked
    assert pages.take_coldest(9, order=1) == [64, 2]
    assert pages.take_coldest(50, order=3) == [1]
    assert (pages.count, pages.take_coldest(5)) == (0, [])


def test_linux_6_0_drains_twice_as_much_each_time_and_refills_the_same() -> None:
    """Frees in a row drain b, 2b, 4b, then high - b; allocations halve it; refills stay at b."""
    pages = make("linux-5.14", 63, 378)
    assert moves(free, pages, 1500) == [63, 126, 252, 315, 315, 315]
    for _ in range(4):
        alloc(pages)
    assert moves(free, pages, 700)[0] == 63
    pages = make("linux-5.14", 63, 378)
    assert moves(alloc, pages, 400) == [63] * 7


def test_linux_6_7_refills_twice_as_much_each_time_up_to_thirty_two_batches() -> None:
    """With room to tune the refills double to 2^5 b; with a fixed limit they end at high - b."""
    pages = make("linux-6.7", 63, 252, 10_000)
    amounts = moves(alloc, pages, 6000)
    assert amounts == [63, 126, 252, 504, 1008, 2016, 2016, 2016]
    assert pages.high == 252 + sum(amounts)  # it grew by a batch at each refill
    pages = make("linux-6.7", 63, 378)
    assert moves(alloc, pages, 1000) == [63, 126, 252, 315, 315]


def test_linux_6_7_a_free_between_halves_the_next_refill() -> None:
    """Alternating allocs and frees keep refills at b."""
    pages = make("linux-6.7", 63, 252, 10_000)
    amounts = []
    for _ in range(3):
        amounts += moves(alloc, pages, 80)
        free(pages)
        free(pages)
        pages.take_coldest(pages.count)
    assert amounts == [63, 126, 63, 126, 63, 126]


def test_linux_6_7_drains_as_much_as_was_freed_in_a_row() -> None:
    """The drain is the run of frees, between b and high - b; the limit rises to hold such a run."""
    pages = make("linux-6.7", 63, 378)
    assert moves(free, pages, 1100) == [315, 315, 315]
    pages = make("linux-6.7", 63, 252, 10_000)
    assert moves(free, pages, 505) == [189, 252]
    assert pages.high == 504 + 63


def test_larger_blocks_that_stream_in_are_passed_on() -> None:
    """Blocks of 4 pages freed in a row empty the list: 6.0 after a drain, 6.7 after b, 6.16 later."""
    assert _pushes_until_drain("linux-6.7") == (17, 68)
    assert _pushes_until_drain("linux-6.16") == (49, 196)
    pages = make("linux-5.14", 63, 378, orders=(0, 2))
    while not free(pages):
        continue
    assert free(pages, 2) == 315 + 4
    assert pages.count == 0


def _pushes_until_drain(generation: Generation) -> tuple[int, int]:
    pages = make(generation, 63, 252, 10_000, orders=(0, 2))
    for pushes in range(1, 100):
        if due := free(pages, 2):
            return pushes, due
    raise AssertionError("the list never drained")


def test_a_limit_that_grew_decays_by_an_eighth_and_drains_the_rest() -> None:
    """Once a second the limit sinks by 1/8, never under high_min, and the excess drains."""
    pages = make("linux-6.7", 63, 252, 10_000)
    pages.high = 1000
    pages.stock(0, range(900))
    assert (pages.decay(), pages.high) == (25, 875)
    pages.take_coldest(25)
    for _ in range(20):
        pages.take_coldest(pages.decay())
    assert (pages.high, pages.count, pages.decay()) == (252, 252, 0)
    assert make("linux-5.14", 63, 378).decay() == 0


def test_shortage_shrinks_the_list() -> None:
    """Below the high watermark the limit falls with every free and never grows; reclaim leaves 4 b."""
    pages = make("linux-6.7", 63, 252, 10_000)
    pages.high = 2000
    pages.stock(0, range(600))
    assert free(pages, pressure=BELOW_HIGH) == 63
    assert pages.high == 2000 - 63
    pages.take_coldest(pages.count)
    assert pages.refill_amount(0, BELOW_HIGH) == 63
    assert pages.high == 2000 - 63
    pages.stock(0, range(300))
    assert free(pages, pressure=RECLAIMING) == 63
    old = make("linux-5.14", 63, 1000)
    old.stock(0, range(300))
    assert free(old, pressure=RECLAIMING) == 63
    assert free(old) == 0


def test_larger_orders_refill_by_pages() -> None:
    """An order-k refill is b >> k blocks, at least 2; a batch of one page fetches one block."""
    pages = make("linux-5.14", 63, 378, orders=(0, 1, 2, 3, 9))
    assert [pages.refill_amount(order) for order in (0, 1, 2, 3, 9)] == [63, 31, 15, 7, 2]
    assert make("linux-2.6", 1, 4).refill_amount(0) == 1
    assert [pages.caches(order) for order in (0, 3, 4, 9, 10)] == [True, True, False, True, False]


def test_the_kernel_s_arithmetic_for_batch_and_limits() -> None:
    """Batch 63 above 1 GB (31 before 4.19), less below; limits from the low watermark and an eighth."""
    gib = 1 << 18
    assert [batch_size(pages) for pages in (gib, 64 * gib, gib // 2, gib // 4, 3840, 100)] == [
        63,
        63,
        31,
        15,
        1,
        1,
    ]
    assert batch_size(64 * gib, BATCH_CAP_BEFORE_4_19) == 31
    assert (classic_high(31), classic_high(63)) == (186, 378)
    assert tuned_limits(1_179_648, 12_733, 2, 63) == (6366, 73_728)
    assert tuned_limits(772_917, 8342, 2, 63) == (4171, 48_307)
    assert tuned_limits(3840, 48, 64, 1) == (4, 7)


def test_impossible_rules_are_refused_all_at_once() -> None:
    """Every mistake of a set of rules is named."""
    with pytest.raises(ConfigError) as caught:
        PageListRules(generation="coal", batch=0, high_min=-1, high_max=-2, cached_orders=(1, 0))
    assert [problem.key for problem in caught.value.problems] == [
        "page list batch",
        "page list high_min",
        "page list high_max",
        "page list cached_orders",
    ]


class PageListMachine(RuleBasedStateMachine):
    """Any mix of calls on a list in front of a buddy allocator keeps every page."""

    @initialize(
        generation=st.sampled_from(["coal", "linux-2.6", "linux-5.14", "linux-6.7", "linux-6.16"]),
        batch=st.integers(1, 9),
        room=st.integers(1, 20),
        tune=st.integers(0, 30),
    )
    def build(self, generation: Generation, batch: int, room: int, tune: int) -> None:
        self.pages = make(generation, batch, batch + room, batch + room + tune, orders=(0, 1, 3))
        self.buddy = BuddyAllocator(5, 500, 6)
        self.start = self.buddy.free_blocks()
        self.held: list[tuple[int, int]] = []

    @rule(order=st.sampled_from([0, 1, 3]), count=st.integers(1, 40), pressure=st.integers(0, 2))
    def alloc(self, order: int, count: int, pressure: int) -> None:
        for _ in range(count):
            head = self.pages.pop(order)
            if head is None:
                heads, _, _ = self.buddy.alloc_batch(order, self.pages.refill_amount(order, pressure))
                head = self.pages.refill(order, heads)
            if head is None:
                break
            self.held.append((order, head))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), pressure=st.integers(0, 2))
    def free(self, data: st.DataObject, pressure: int) -> None:
        for _ in range(data.draw(st.integers(1, len(self.held)))):
            order, head = self.held.pop(0)
            due = self.pages.push(order, head, pressure)
            if due:
                victims = self.pages.take_coldest(due, order)
                assert sum(1 << (self.buddy.order_of(victim) or 0) for victim in victims) >= due
                self.buddy.free_batch(victims)

    @rule()
    def decay(self) -> None:
        self.buddy.free_batch(self.pages.take_coldest(self.pages.decay()))

    @invariant()
    def no_page_is_lost(self) -> None:
        self.pages.validate()
        self.buddy.validate()
        held = sum(1 << order for order, _ in self.held)
        assert self.buddy.free_frames + self.pages.count + held == self.buddy.frames
        blocks = self.pages.statistics().blocks
        assert sum(count << order for order, count in blocks.items()) == self.pages.count

    def teardown(self) -> None:
        """Everything freed and drained ends coalesced to the initial state."""
        if hasattr(self, "buddy"):
            self.buddy.free_batch(head for _, head in self.held)
            self.buddy.free_batch(self.pages.take_coldest(self.pages.count))
            assert self.buddy.free_blocks() == self.start


TestPageListMachine = PageListMachine.TestCase
TestPageListMachine.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
