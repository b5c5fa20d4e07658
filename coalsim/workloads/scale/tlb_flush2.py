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
        cpu = task.cpu
        for _ in self.team.turns():
            area = yield from task.mmap(MIB)
            if area < 0:
                self.give_up(task, meter)
                return
            yield from cpu.look()
            began = cpu.clock
            for address in range(area, area + MIB, PAGE_SIZE):
                yield from task.touch(address)
                yield from task.madvise_dontneed(address, PAGE_SIZE)
                yield from task.touch(address, write=False)
                yield from cpu.look()
                meter.done(cpu.clock - began)
                began = cpu.clock
            yield from task.munmap(area, MIB)
