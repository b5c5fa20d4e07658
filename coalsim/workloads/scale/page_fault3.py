"""page_fault3: map a file shared, write a byte in every page, unmap.

An operation is one write: a fault that tells the file system and maps the file's own page.  From
the second round on no frame is taken and no page gets dirty for the first time; munmap finds dirty
entries, so it flushes once per page table before it drops that table's lock.
The testcase maps 128 MiB; a smaller file is quicker to simulate, but the shares of mmap and munmap
grow.
Source: will-it-scale, tests/page_fault3.c (Blanchard).
"""

from dataclasses import dataclass
from functools import partial

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.scale.temp_files import Files, temp_files
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class PageFault3(TeamLoad):
    """Every task faults in a file of its own.

    Args:
        mib: of the file.
    """

    mib: int = 128

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        files = temp_files(host, self.team, "page_fault3", self.mib, frames_per_page=1)
        self.team.start(host, "page_fault3", partial(self._loop, files))

    def _loop(self, files: Files, task: Task, meter: CpuMeter) -> Op[None]:
        cpu, touch, done, length = task.cpu, task.touch, meter.done, self.mib * MIB
        file = files[cpu.id]
        for _ in self.team.turns():
            area = yield from task.mmap(length, file=file, shared=True)
            if area < 0:
                self.give_up(task, meter)
                return
            yield from cpu.look()
            began = cpu.clock
            for address in range(area, area + length, PAGE_SIZE):
                yield from touch(address)
                yield from cpu.look()
                done(cpu.clock - began)
                began = cpu.clock
            yield from task.munmap(area, length)
