"""page_fault1: map anonymous memory, write a byte in every page, unmap.

An operation is one write; mapping and unmapping come on top, once for all pages.  The
testcase maps 128 MiB.  A smaller area is quicker to simulate, but the shares of mmap
and munmap grow, and fewer frames go round: those that come back are warmer in the
caches.
Source: will-it-scale, tests/page_fault1.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.scale.written_pages import write_pages
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class PageFault1(TeamLoad):
    """Every task faults in an area of its own.

    Args:
        mib: of the area.
    """

    mib: int = 128

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        pages = self.mib * MIB // PAGE_SIZE
        check_memory(host.machine, self.team.cpus * pages, "workload.mib", self.mib)
        check_addresses(host, self.team.sharers * pages, "workload.mib", self.mib)
        self.team.start(host, "page_fault1", self._loop)

    def _loop(self, task: Task, meter: CpuMeter) -> Op[None]:
        return write_pages(self, task, meter, self.mib * MIB)
