"""mmap_touch_munmap: map some pages, write each, unmap them.

An operation is a whole round.  With threads all rounds change one address space; with
processes only what the kernel shares between processes is left to wait for.
Source: the loop by which RadixVM's authors compare kernels on one core (Clements,
Kaashoek, Zeldovich, EuroSys 2013), wherever the kernel chooses the address.
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class MmapTouchMunmap(TeamLoad):
    """Every task by itself.

    Args:
        pages: of a round.
    """

    pages: int = 1

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        check_memory(host.machine, self.team.cpus * self.pages, "workload.pages", self.pages)
        check_addresses(host, self.team.sharers * self.pages, "workload.pages", self.pages)
        self.team.start(host, "mmap_touch_munmap", self._loop)

    def _loop(self, task: Task, meter: CpuMeter) -> Op[None]:
        cpu, length = task.cpu, self.pages * PAGE_SIZE
        yield from cpu.look()
        began = cpu.clock
        for _ in self.team.turns():
            area = yield from task.mmap(length)
            if area < 0:
                self.give_up(task, meter)
                return
            yield from task.sequential(area, length, write=True)
            yield from task.munmap(area, length)
            yield from cpu.look()
            meter.done(cpu.clock - began)
            began = cpu.clock
