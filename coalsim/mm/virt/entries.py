"""Writing one entry of the page tables, and what that costs.

Synchronised, under the lock of the entry's table.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.tablelines import line_of
from coalsim.mm.virt.kernel import TABLE_LINE
from coalsim.mm.virt.space import AddressSpace
from coalsim.units import Time, Vpn


def store_entry(space: AddressSpace, cpu: Cpu, vpn: Vpn, entry: int, more: Time, cause: str) -> None:
    """Write a page's entry; `more` is charged after it."""
    kernel, tables, copies = space.kernel, space.tables, 1
    if tables.single is not None:
        leaf = tables.single.leaf(vpn)
        assert leaf is not None, "its tables have been made"
        table, index = leaf
        cost = kernel.lines.write(cpu, line_of(table.pfn, index, kernel.geometry.entry_bytes))
        table.exchange(index, entry)
    else:
        cost = kernel.line_cost(cpu, space.tree_of(cpu), vpn)
        copies = tables.store(tables.place_of(cpu), vpn, entry)
    if cost:
        cpu.charge(copies * kernel.costs.pte_set, cause)
        cpu.charge(cost, TABLE_LINE)
        cpu.charge(more, cause)
    else:  # the same
        cpu.charge(copies * kernel.costs.pte_set + more, cause)
