"""mmap1: map anonymous memory and unmap it, untouched.

An operation is the pair.  No page is ever there, so nothing is faulted in, freed or
flushed: what is left is the address space's own bookkeeping and its lock.
Source: will-it-scale, tests/mmap1.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.room import check_addresses
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class Mmap1(TeamLoad):
    """Every task maps and unmaps.

    Args:
        mib: of the area.
    """

    mib: int = 128

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        check_addresses(host, self.team.sharers * self.mib * MIB // PAGE_SIZE, "workload.mib", self.mib)
        self.team.start(host, "mmap1", self._loop)

    def _loop(self, task: Task, meter: CpuMeter) -> Op[None]:
        cpu, length = task.cpu, self.mib * MIB
        yield from cpu.look()
        began = cpu.clock
        for _ in self.team.turns():
            area = yield from task.mmap(length)
            if area < 0:
                self.give_up(task, meter)
                return
            yield from task.munmap(area, length)
            yield from cpu.look()
            meter.done(cpu.clock - began)
            began = cpu.clock
