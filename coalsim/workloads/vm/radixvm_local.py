"""radixvm_local: every thread maps, writes and unmaps memory of its own.

Regions are 1 MiB apart for each page that they have, so that two neighbours share a
page table where there is one for all.  What the threads share is the address space.
Source: as in `mapbench.py`, mode local.
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.mapbench import BASE, write_pages
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class RadixvmLocal(TeamLoad):
    """Threads of one process.

    Args:
        pages: of a region.
    """

    pages: int = 1

    def start(self, host: VirtualHost) -> None:
        """One thread per CPU, each with its number."""
        number_of = {cpu: number for number, cpu in enumerate(self.team.chosen(host.machine))}

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._loop(task, meter, BASE + number_of[task.cpu.id] * self.pages * MIB)

        self.team.start(host, "radixvm_local", loop)

    def _loop(self, task: Task, meter: CpuMeter, region: int) -> Op[None]:
        length = self.pages * PAGE_SIZE
        for _ in self.team.turns():
            mapped = yield from task.mmap(length, address=region)
            if mapped < 0:
                meter.failed += 1
                return
            yield from write_pages(task, meter, region, self.pages)
            yield from task.munmap(region, length)
