"""Free blocks in the layout of /proc/pagetypeinfo, as far as the model goes.

No kernel here groups pages by how they can be moved, so each zone has one row, of type Any, and
one kind of page block.  Counts from 100,000 up are cut as the kernel cuts them.
Source: mm/vmstat.c (pagetypeinfo_show) of Linux 6.18.
"""

from collections.abc import Sequence

from coalsim.guarded import clean
from coalsim.observe.memory_document import BuddyRow, ZoneInfoRow

TYPE = "Any"
BLOCK_ORDER = 9
MOST = 100_000


def pagetypeinfo(rows: Sequence[BuddyRow], zones: Sequence[ZoneInfoRow]) -> str:
    """Free blocks by order, and the page blocks of each zone."""
    orders = max((len(row["free_blocks"]) for row in rows), default=0)
    lines = [f"Page block order: {BLOCK_ORDER}", f"Pages per block:  {1 << BLOCK_ORDER}", ""]
    head = f"{'Free pages count per migrate type at order':<43} "
    lines.append(head + "".join(f"{order:6} " for order in range(orders)))
    for row in rows:
        counts = "".join(f"{_cut(round(blocks))} " for blocks in row["free_blocks"])
        lines.append(f"Node {row['node']:4}, zone {clean(row['zone']):>8}, type {TYPE:>12} {counts}")
    lines += ["", f"{'Number of blocks type':<23}{TYPE:>12} "]
    for zone in zones:
        blocks = zone["spanned"] >> BLOCK_ORDER
        lines.append(f"Node {zone['node']}, zone {clean(zone['zone']):>8} {blocks:12} ")
    return "".join(f"{line}\n" for line in lines)


def _cut(blocks: int) -> str:
    return f">{MOST}" if blocks >= MOST else f"{blocks:6}"
