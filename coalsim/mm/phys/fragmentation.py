"""Measures of a zone's free memory: how scattered it is, and how little is too little.

    extfrag_index      would a request of this order fail for lack of memory (towards 0)
                       or because free memory is scattered (towards 1000)?
    extfrag_for_order  per cent of the free memory in blocks too small for the order
    unusable_index     the same in thousandths

All are the kernel's own integer arithmetic, so that they can be compared digit by digit
with what a running kernel prints.  A line of free blocks per order is the argument, as
`BuddyAllocator.free_blocks` and /proc/buddyinfo give it.

Nothing here waits or costs time.
Source: Linux mm/vmstat.c (`__fragmentation_index`, `extfrag_for_order`,
`unusable_free_index`), mm/page_alloc.c (`calculate_min_free_kbytes`,
`__setup_per_zone_wmarks`).
"""

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

from coalsim.units import PAGE_SIZE

SUITABLE = -1000
"""`extfrag_index` of an order that can be had right now."""
MIN_FREE_FLOOR_KIB = 128
MIN_FREE_CEILING_KIB = 262_144
WATERMARK_SCALE = 10
"""Ten-thousandths of a zone between two watermarks, at least."""
HIGH_MIN_FLOOR, HIGH_MIN_CEILING = 32, 128
"""Pages of a high zone's minimum, which is a 1,024th of it between these."""
PAGE_KIB = PAGE_SIZE // 1024


class Watermarks(NamedTuple):
    """Free pages below which a zone may not fall (min), is reclaimed (low) until (high)."""

    min: int
    low: int
    high: int
    promo: int


def free_pages(free_blocks: Sequence[int]) -> int:
    """Pages in all the blocks."""
    return sum(count << order for order, count in enumerate(free_blocks))


def suitable_pages(free_blocks: Sequence[int], order: int) -> int:
    """Pages in blocks of at least this order."""
    return sum(count << k for k, count in enumerate(free_blocks) if k >= order)


def extfrag_index(free_blocks: Sequence[int], order: int) -> int:
    """0 (memory is missing) to 1000 (memory is scattered); SUITABLE if a block is there."""
    blocks = sum(free_blocks)
    if not blocks:
        return 0
    if any(free_blocks[order:]):
        return SUITABLE
    return 1000 - (1000 + free_pages(free_blocks) * 1000 // (1 << order)) // blocks


def extfrag_for_order(free_blocks: Sequence[int], order: int) -> int:
    """Per cent of the free pages that lie in blocks too small for the order."""
    free = free_pages(free_blocks)
    return (free - suitable_pages(free_blocks, order)) * 100 // free if free else 0


def unusable_index(free_blocks: Sequence[int], order: int) -> int:
    """Thousandths of the free pages that lie in blocks too small for the order (1000: none is free)."""
    free = free_pages(free_blocks)
    return (free - suitable_pages(free_blocks, order)) * 1000 // free if free else 1000


def min_free_kbytes(lowmem_kib: int) -> int:
    """KiB that the kernel keeps free on a machine with so many KiB of low memory."""
    return min(max(isqrt(16 * lowmem_kib), MIN_FREE_FLOOR_KIB), MIN_FREE_CEILING_KIB)


def watermarks(min_kib: int, managed: Sequence[int], is_high: Sequence[bool] = ()) -> list[Watermarks]:
    """Split the kernel's minimum over its zones, by size.

    Args:
        min_kib: as `min_free_kbytes` gives it.
        managed: pages of each zone.
        is_high: which of them the kernel reaches by temporary mappings only: they get a small minimum
            of their own.  Empty: none.
    """
    high = is_high or [False] * len(managed)
    pages_min = min_kib // PAGE_KIB
    total = sum(pages for pages, beyond in zip(managed, high, strict=True) if not beyond)
    marks = []
    for pages, beyond in zip(managed, high, strict=True):
        share = pages_min * pages // total if total else 0
        least = min(max(pages // 1024, HIGH_MIN_FLOOR), HIGH_MIN_CEILING) if beyond else share
        gap = max(share // 4, pages * WATERMARK_SCALE // 10_000)
        marks.append(Watermarks(least, least + gap, least + 2 * gap, least + 3 * gap))
    return marks
