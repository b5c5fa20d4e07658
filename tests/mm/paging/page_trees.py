"""What the tests of page tables share: frames from a counter, and every page mapped with its tables."""

from itertools import count

from coalsim.mm.paging.entry import PRESENT, USER, WRITABLE
from coalsim.mm.paging.geometry import Geometry
from coalsim.mm.paging.kernel_space import KernelSpace
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.phys.ram import Ram
from coalsim.units import Pfn, Vpn

TABLE_FLAGS = PRESENT | WRITABLE | USER


class Frames:
    """Hands out frames in order; knows which are out."""

    def __init__(self, first: int) -> None:
        self._next = count(first)
        self.out: list[Pfn] = []

    def alloc(self) -> Pfn:
        pfn = Pfn(next(self._next))
        self.out.append(pfn)
        return pfn

    def free(self, pfn: Pfn) -> None:
        self.out.remove(pfn)


def make_tree(geometry: Geometry, root: int = 0x500) -> tuple[PageTable, Ram, Frames]:
    """A tree without a kernel; its tables get the frames after the root."""
    ram = Ram()
    return PageTable(geometry, ram, Pfn(root)), ram, Frames(root + 1)


def make_space(geometry: Geometry) -> tuple[KernelSpace, Ram, Frames]:
    """A kernel whose tables get the frames from 0x1000 on."""
    ram, frames = Ram(), Frames(0x1000)
    return KernelSpace(geometry, ram, frames.alloc, frames.free), ram, frames


def complete(table: PageTable, ram: Ram, frames: Frames, vpn: Vpn, flags: int = TABLE_FLAGS) -> int:
    """Make the tables that a page lacks; returns how many."""
    made = 0
    while (level := table.missing_level(vpn)) >= 0:
        pfn = frames.alloc()
        ram.make_table(pfn, table.geometry.slots(level), table.geometry.entry_bytes)
        table.link(vpn, level, pfn, flags)
        made += 1
    return made
