"""Fragmentation indices and watermarks against the kernel's own integer results."""

import pytest

from coalsim.mm.phys.fragmentation import (
    extfrag_for_order,
    extfrag_index,
    free_pages,
    min_free_kbytes,
    unusable_index,
    watermarks,
)

SPREAD = [64] * 12 + [0]
RECORDED = [517, 1136, 1003, 630, 381, 235, 144, 69, 36, 19, 44]
MIB = 1 << 10  # in KiB
GIB = 1 << 20


def test_indices_of_an_even_spread() -> None:
    """64 blocks of each order 0 to 11: scattered for order 12, served for order 9."""
    assert (free_pages(SPREAD), sum(SPREAD)) == (262_080, 768)
    assert extfrag_index(SPREAD, 12) == 916
    assert extfrag_index(SPREAD, 9) == -1000
    assert unusable_index(SPREAD, 9) == 124
    assert extfrag_for_order(SPREAD, 9) == 12


def test_indices_of_single_pages() -> None:
    """1,000 single pages: half missing for order 1, scattered for order 9."""
    assert [extfrag_index([1000], order) for order in (1, 9)] == [499, 998]


def test_indices_of_a_recorded_machine() -> None:
    """A buddyinfo line as a kernel printed it."""
    assert (free_pages(RECORDED), sum(RECORDED)) == (107_505, 4214)
    assert [unusable_index(RECORDED, order) for order in (4, 9, 10)] == [110, 490, 580]
    assert [extfrag_index(RECORDED, order) for order in (11, 12)] == [988, 994]


def test_indices_of_no_memory() -> None:
    """With nothing free nothing is scattered, and everything is unusable."""
    assert (extfrag_index([0, 0], 1), extfrag_for_order([0, 0], 1), unusable_index([0, 0], 1)) == (0, 0, 1000)


@pytest.mark.parametrize(
    ("lowmem", "kept"),
    [
        (1 * MIB, 128),
        (16 * MIB, 512),
        (512 * MIB, 2896),
        (1 * GIB, 4096),
        (4 * GIB, 8192),
        (16 * GIB, 16_384),
        (64 * GIB, 32_768),
        (1024 * GIB, 131_072),
        (16_384 * GIB, 262_144),
    ],
)
def test_the_memory_kept_free(lowmem: int, kept: int) -> None:
    """The square root of 16 times the memory in KiB, within its bounds."""
    assert min_free_kbytes(lowmem) == kept


def test_watermarks_of_one_zone() -> None:
    """4 GB and 16 GB as one zone."""
    assert watermarks(8192, [1 << 20]) == [(2048, 3096, 4144, 5192)]
    assert watermarks(16_384, [1 << 22]) == [(4096, 8290, 12_484, 16_678)]


def test_watermarks_of_three_zones() -> None:
    """The minimum is split by size; the first two lines are those a 6.18 kernel printed."""
    assert watermarks(67_584, [772_917, 851_968, 3840]) == [
        (8018, 10_022, 12_026, 14_030),
        (8838, 11_047, 13_256, 15_465),
        (39, 48, 57, 66),
    ]
