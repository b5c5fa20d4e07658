"""The zones of a machine in the layout of /proc/zoneinfo.

A line of the kernel that the model has nothing for is left out: boost, vm stats thresholds, pages of
kinds that do not exist here.  `present` and `managed` are `spanned`: zones have no holes.  CPUs
that have no list for a zone are left out.
Source: mm/vmstat.c (zoneinfo_show_print) of Linux 6.18.
"""

from collections.abc import Mapping, Sequence

from coalsim.guarded import clean
from coalsim.observe.memory_document import NodeCounters, PageSetRow, ZoneInfoRow
from coalsim.observe.proc_vmstat import in_order
from coalsim.observe.quantities import Count

_PAGESET = ("count", "high", "batch", "high_min", "high_max")


def zoneinfo(rows: Sequence[ZoneInfoRow], nodes: Sequence[NodeCounters] = ()) -> str:
    """All zones; the first of each node says what the node has."""
    of_node = {row["node"]: row["counters"] for row in nodes}
    lines: list[str] = []
    for row in rows:
        lines += _zone(row, of_node.pop(row["node"], {}))
    return "".join(f"{line}\n" for line in lines)


def _zone(row: ZoneInfoRow, node: Mapping[str, Count]) -> list[str]:
    lines = [f"Node {row['node']}, zone {clean(row['zone']):>8}"]
    if node:
        lines += ["  per-node stats", *_counters(node)]
    lines.append(f"  pages free     {round(row['free'])}")
    marks = (
        *(("min", row["min"]), ("low", row["low"]), ("high", row["high"]), ("promo", row["promo"])),
        *((name, row["spanned"]) for name in ("spanned", "present", "managed")),
    )
    lines += [f"        {name:<8} {round(pages)}" for name, pages in marks]
    lines.append(f"        protection: ({', '.join(str(round(pages)) for pages in row['protection'])})")
    lines += [*_counters(row["counters"]), "  pagesets"]
    for pages in row["pagesets"]:
        lines += _page_set(pages)
    lines.append(f"  node_unreclaimable:  {round(row['node_unreclaimable'])}")
    lines.append(f"  start_pfn:           {row['start_pfn']}")
    return lines


def _counters(counters: Mapping[str, Count]) -> list[str]:
    return [f"      {clean(name):<12} {round(counters[name])}" for name in in_order(counters)]


def _page_set(row: PageSetRow) -> list[str]:
    numbers: dict[str, Count] = {name: row[name] for name in _PAGESET}  # type: ignore[literal-required]
    lines = [f"              {name + ':':<9} {round(pages)}" for name, pages in numbers.items()]
    return [f"    cpu: {row['cpu']}", *lines]
