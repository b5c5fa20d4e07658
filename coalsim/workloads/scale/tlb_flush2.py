"""tlb_flush2: write a page, give it back, read it again; page after page of 1 MiB.

An operation is the three on one page: a fault that takes a frame, madvise(DONTNEED)
with a flush of that page, and a fault that maps the page of zeros (or takes a frame
where the kernel has none).  Every 256 operations the area is unmapped and a new one
mapped, which no operation's latency contains.
Source: will-it-scale, tests/tlb_flush2.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.scale.flushed_pages import flush_pages
from coalsim.workloads.vm.room import check_addresses
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class TlbFlush2(TeamLoad):
    """Every task flushes pages of its own."""

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        check_addresses(host, self.team.sharers * MIB // PAGE_SIZE, "workload.cpus", self.team.cpus)
        self.team.start(host, "tlb_flush2", self._loop)

    def _loop(self, task: Task, meter: CpuMeter) -> Op[None]:
        return flush_pages(self, task, meter, MIB)
