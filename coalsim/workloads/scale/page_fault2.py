"""page_fault2: map a file privately, write a byte in every page, unmap.

An operation is one write: a fault that takes a frame and copies the file's page into it, never more
than one page.  The file's pages come into memory in the first round and stay there.
The testcase maps 128 MiB; a smaller file is quicker to simulate, but the shares of mmap and munmap
grow.
Source: will-it-scale, tests/page_fault2.c (Blanchard).
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
class PageFault2(TeamLoad):
    """Every task faults in a file of its own.

    Args:
        mib: of the file.
    """

    mib: int = 128

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        files = temp_files(host, self.team, "page_fault2", self.mib, frames_per_page=2)
        self.team.start(host, "page_fault2", partial(self._loop, files))

    def _loop(self, files: Files, task: Task, meter: CpuMeter) -> Op[None]:
        cpu, touch, done, length = task.cpu, task.touch, meter.done, self.mib * MIB
        file = files[cpu.id]
        for _ in self.team.turns():
            area = yield from task.mmap(length, file=file)
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
