"""mmap2: map a file privately and unmap it, untouched.

An operation is the pair.  As in mmap1 no page is ever there; in addition the area goes into the
file's list of mappings and out of it, under the file's own lock.
Source: will-it-scale, tests/mmap2.c (Blanchard).
"""

from dataclasses import dataclass
from functools import partial

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.scale.temp_files import Files, temp_files
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class Mmap2(TeamLoad):
    """Every task maps and unmaps a file of its own.

    Args:
        mib: of the file.
    """

    mib: int = 128

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        files = temp_files(host, self.team, "mmap2", self.mib, frames_per_page=0)
        self.team.start(host, "mmap2", partial(self._loop, files))

    def _loop(self, files: Files, task: Task, meter: CpuMeter) -> Op[None]:
        cpu, length = task.cpu, self.mib * MIB
        file = files[cpu.id]
        yield from cpu.look()
        began = cpu.clock
        for _ in self.team.turns():
            area = yield from task.mmap(length, file=file)
            if area < 0:
                self.give_up(task, meter)
                return
            yield from task.munmap(area, length)
            yield from cpu.look()
            meter.done(cpu.clock - began)
            began = cpu.clock
