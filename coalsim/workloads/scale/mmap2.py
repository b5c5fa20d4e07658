"""mmap2: map a file privately and unmap it, untouched.

An operation is the pair.  As in mmap1 no page is ever there; in addition the area goes into the
file's list of mappings and out of it, under the file's own lock.
Source: will-it-scale, tests/mmap2.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Task
from coalsim.workloads.base import CpuMeter
from coalsim.workloads.scale.file_load import FileLoad


@dataclass(frozen=True, kw_only=True)
class Mmap2(FileLoad):
    """Every task maps and unmaps a file of its own."""

    testcase = "mmap2"
    frames_per_page = 0

    def _loop(self, task: Task, meter: CpuMeter, file: File) -> Op[None]:
        cpu, length = task.cpu, self.length
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
