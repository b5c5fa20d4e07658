"""radixvm_local: every thread maps, writes and unmaps memory of its own.

Regions are 1 MiB apart for each page that they have.  So with one page two neighbours share
a leaf table, which maps 2 MiB, where one tree serves all CPUs; with more pages nobody does.
(One of x86-32 maps 4 MiB: there four regions of one page share it, and two of two pages.)
What the threads always share is the address space.
Source: as in `mapbench.py`, mode local.
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.mapbench import BASE, write_pages
from coalsim.workloads.vm.room import check_end, check_memory
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
        count, apart = self.team.cpus, self.pages * MIB
        check_memory(host.machine, count * self.pages, "workload.pages", self.pages)
        check_end(host, BASE + (count - 1) * apart + self.pages * PAGE_SIZE, "workload.pages", self.pages)
        number_of = {cpu: number for number, cpu in enumerate(self.team.chosen(host.machine))}

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._loop(task, meter, BASE + number_of[task.cpu.id] * apart)

        self.team.start(host, "radixvm_local", loop)

    def _loop(self, task: Task, meter: CpuMeter, region: int) -> Op[None]:
        length = self.pages * PAGE_SIZE
        for _ in self.team.turns():
            mapped = yield from task.mmap(length, address=region)
            if mapped < 0:
                self.give_up(task, meter)
                return
            yield from write_pages(task, meter, region, self.pages)
            yield from task.munmap(region, length)
