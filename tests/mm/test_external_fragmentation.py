"""External fragmentation of the buddy allocator against exact expectations."""

from math import sqrt
from random import Random
from statistics import mean, stdev

import pytest

from coalsim.mm.phys.buddy import BuddyAllocator
from coalsim.mm.phys.fragmentation import extfrag_index, free_pages

SEEDS = 300


def expected_blocks(frames: int, freed: int, top: int) -> list[float]:
    """Mean free blocks per order after `freed` of `frames` single pages were freed at random.

    A block of 2^k pages is free with probability P(2^k) = prod (freed-i)/(frames-i), and
    counts unless the block twice as large is free too.
    """

    def all_free(size: int) -> float:
        product = 1.0
        for i in range(size):
            product *= (freed - i) / (frames - i)
        return product

    blocks = [(frames >> k) * (all_free(1 << k) - all_free(2 << k)) for k in range(top)]
    return [*blocks, (frames >> top) * all_free(1 << top)]


def test_the_formula_gives_the_published_row() -> None:
    """F=4096, 3686 pages freed: the mean counts to six digits."""
    row = [369.050, 315.584, 231.365, 125.639, 38.5586, 4.17916, 0.0708299]
    assert expected_blocks(4096, 3686, 12)[:7] == pytest.approx(row, rel=1e-5)


def test_random_frees_leave_the_expected_blocks() -> None:
    """Over 300 seeds the mean number of blocks per order lies within 3 standard errors of the exact mean."""
    counts: list[list[int]] = []
    for seed in range(SEEDS):
        buddy = BuddyAllocator(0, 4096, max_order=12)
        heads, splits, _ = buddy.alloc_batch(0, 4096)
        assert splits == 4095  # every inner node of the tree is split once
        buddy.free_batch(Random(seed).sample(heads, 3686))
        counts.append(buddy.free_blocks())
        assert free_pages(counts[-1]) == 3686 == buddy.free_frames
    expected = expected_blocks(4096, 3686, 12)
    for order in range(6):
        seen = [count[order] for count in counts]
        assert abs(mean(seen) - expected[order]) < 3 * stdev(seen) / sqrt(SEEDS), f"order {order}"


@pytest.mark.parametrize("top", [4, 10, 12])
def test_one_page_per_block_denies_the_highest_order(top: int) -> None:
    """With one page of each 2^K block in use, almost all memory is free and no K-block can be had."""
    blocks = 8
    buddy = BuddyAllocator(0, blocks << top, max_order=top)
    heads, _, _ = buddy.alloc_batch(0, blocks << top)
    buddy.free_batch(head for head in heads if head % (1 << top))
    assert buddy.free_blocks() == [blocks] * top + [0]
    assert buddy.free_frames * (1 << top) == (blocks << top) * ((1 << top) - 1)
    assert buddy.alloc(top) is None
    assert extfrag_index(buddy.free_blocks(), top) > 0  # scattered, not missing
    buddy.validate()
