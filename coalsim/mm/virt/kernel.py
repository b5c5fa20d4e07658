"""What the paths of virtual memory share: the processors' MMUs, tables, frames, locks, costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.operation import Operations
from coalsim.cpus.oracle import Oracle
from coalsim.cpus.tablelines import TableLines, line_of
from coalsim.cpus.walker import TranslationUnit
from coalsim.engine.clock import Op
from coalsim.locks.base import SpinLock
from coalsim.locks.rwsem import RwSemaphore
from coalsim.mm.cache.page_cache import PageCache
from coalsim.mm.paging.geometry import Geometry
from coalsim.mm.paging.kernel_space import KernelSpace
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.ram import Ram
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.switching import Switching
from coalsim.mm.virt.counts import VmCounts
from coalsim.mm.virt.frames import UserFrames
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import NodeId, Pfn, Time, Vpn

RANK_MMAP, RANK_TABLE, RANK_LRU = 2, 12, 45
"""mmap_lock before page-table locks before the allocator's; the LRU lock is taken with none of those held."""
TABLE_LINE = "line:page table"

SpinLockMaker = Callable[[str, int, str], SpinLock]
RwSemMaker = Callable[[str, int, str], RwSemaphore]


@dataclass(kw_only=True, eq=False)
class VmKernel:
    """Everything below the spaces; filled in by boot."""

    cpus: Sequence[Cpu]
    units: Sequence[TranslationUnit]
    policy: Shootdown
    switching: Switching
    oracle: Oracle | None
    operations: Operations
    costs: KernelCosts
    switches: Switches
    geometry: Geometry
    ram: Ram
    frames: UserFrames
    cache: PageCache
    lines: TableLines
    kernel_space: KernelSpace
    num_nodes: int
    make_spinlock: SpinLockMaker
    make_rwsem: RwSemMaker
    table_node: Callable[[Cpu], NodeId | None]
    wake_latency: Time
    counts: VmCounts = field(default_factory=VmCounts)
    unflushed: dict[int, list[Flush]] = field(default_factory=dict)  # by space: what reclaim has cleared
    last_number: int = 0

    def next_number(self) -> int:
        """Numbers of address spaces, in the order in which they are made; synchronised."""
        self.last_number += 1
        return self.last_number

    def line_cost(self, cpu: Cpu, tree: PageTable, vpn: Vpn) -> Time:
        """What getting the line of a page's entry for writing takes; synchronised."""
        leaf = tree.leaf(vpn)
        if leaf is None:
            return 0
        table, index = leaf
        return self.lines.write(cpu, line_of(table.pfn, index, self.geometry.entry_bytes))

    def new_table_frames(
        self,
        cpu: Cpu,
        count: int,
        site: str,
        nodes: Sequence[NodeId | None],
        context: AllocContext = AllocContext.KERNEL,
    ) -> Op[list[Pfn]]:
        """Zeroed frames for tables; fewer when there is no memory."""
        frames: list[Pfn] = []
        for number in range(count):
            pfn = yield from self.frames.take(cpu, site, nodes[number], context)
            if pfn < 0:
                break
            yield from self.frames.zero(cpu, pfn)
            cpu.charge(self.costs.table_new, "page tables")
            frames.append(pfn)
        return frames
