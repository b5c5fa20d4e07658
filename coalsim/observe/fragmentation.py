"""How broken up the free memory of a zone is: the kernel's two external indices.

Both are asked for each order, in thousandths as the kernel's integers have them:

    unusable   share of free memory that lies in blocks too small for the order
    index      why a request of the order would fail: 0 means for want of memory,
               1000 for fragmentation; -1000 means that it would not fail

Source: mm/vmstat.c of Linux 6.18, unusable_free_index(), __fragmentation_index(),
shown in debugfs as extfrag/unusable_index and extfrag/extfrag_index.
"""

from collections.abc import Sequence

THOUSAND = 1000


def free_pages(free_blocks: Sequence[int]) -> int:
    """Pages in the free blocks of one zone; `free_blocks[order]` counts blocks of 2**order pages."""
    return sum(blocks << order for order, blocks in enumerate(free_blocks))


def unusable(free_blocks: Sequence[int], order: int) -> int:
    """Thousandths of free memory that a request of `order` cannot use; no free memory is all unusable."""
    pages = free_pages(free_blocks)
    if not pages:
        return THOUSAND
    return (pages - (_suitable(free_blocks, order) << order)) * THOUSAND // pages


def index(free_blocks: Sequence[int], order: int) -> int:
    """The fragmentation index in thousandths; -1000 when the request would be served."""
    blocks = sum(free_blocks)
    if not blocks:
        return 0
    if _suitable(free_blocks, order):
        return -THOUSAND
    return THOUSAND - (THOUSAND + free_pages(free_blocks) * THOUSAND // (1 << order)) // blocks


def _suitable(free_blocks: Sequence[int], order: int) -> int:
    """Blocks of exactly `order` that the free blocks of that order and above hold."""
    return sum(blocks << at for at, blocks in enumerate(free_blocks[order:]))
