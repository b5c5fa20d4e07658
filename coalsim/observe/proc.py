"""Allocator state in the layouts of /proc: buddyinfo, slabinfo 2.1, debugfs extfrag.

Each text starts with a line that says that the data is simulated.  buddyinfo and the
extfrag indices have one column for each order the machine has, so max order + 1.
Source: mm/vmstat.c (frag_show_print, unusable_show_print, extfrag_show_print) and
mm/slab_common.c (print_slabinfo_header, cache_show) of Linux 6.18.
"""

from collections.abc import Callable, Sequence

from coalsim.guarded import clean
from coalsim.observe import fragmentation
from coalsim.observe.memory_document import BuddyRow, SlabRow

_SLABINFO_HEADINGS = (
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> "
    ": tunables <limit> <batchcount> <sharedfactor> "
    ": slabdata <active_slabs> <num_slabs> <sharedavail>"
)


def banner(version: str, layout: str) -> str:
    """The first line of everything in a foreign layout."""
    return f"# coalsim {clean(version)} simulated, {layout} layout"


def buddyinfo(rows: Sequence[BuddyRow]) -> str:
    """Free blocks of each zone, orders from 0 up."""
    return "".join(_zone(row) + "".join(f"{round(n):6} " for n in row["free_blocks"]) + "\n" for row in rows)


def unusable_index(rows: Sequence[BuddyRow]) -> str:
    """Share of free memory that is of no use to each order."""
    return _indices(rows, fragmentation.unusable, 0)


def extfrag_index(rows: Sequence[BuddyRow]) -> str:
    """Why a request of each order would fail: 0.000 no memory, 1.000 fragmentation, -1.000 it would not."""
    return _indices(rows, fragmentation.index, 6)


def _indices(rows: Sequence[BuddyRow], of_order: Callable[[Sequence[int], int], int], width: int) -> str:
    lines = []
    for row in rows:
        blocks = [round(n) for n in row["free_blocks"]]
        cells = [_thousandths(of_order(blocks, order)) for order in range(len(blocks))]
        lines.append(_zone(row) + "".join(f"{cell:>{width}} " for cell in cells) + "\n")
    return "".join(lines)


def _thousandths(number: int) -> str:
    sign = "-" if number < 0 else ""
    return f"{sign}{abs(number) // 1000}.{abs(number) % 1000:03}"


def _zone(row: BuddyRow) -> str:
    return f"Node {row['node']}, zone {clean(row['zone']):>8} "


def slabinfo(rows: Sequence[SlabRow]) -> str:
    """Every cache in slabinfo 2.1."""
    lines = ["slabinfo - version: 2.1", _SLABINFO_HEADINGS]
    lines += [_cache(row) for row in rows]
    return "\n".join(lines) + "\n"


def _cache(row: SlabRow) -> str:
    active, objects = round(row["active_objs"]), round(row["num_objs"])
    limit, batch = round(row["limit"]), round(row["batchcount"])
    active_slabs, slabs = round(row["active_slabs"]), round(row["num_slabs"])
    return (
        f"{clean(row['name']):<17} {active:6} {objects:6} {row['objsize']:6} {row['objperslab']:4} "
        f"{row['pagesperslab']:4} : tunables {limit:4} {batch:4} {0:4} "
        f": slabdata {active_slabs:6} {slabs:6} {0:6}"
    )
