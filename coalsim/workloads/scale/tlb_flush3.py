"""tlb_flush3: write a page of a shared file mapping, give it back, read it again; page after page.

An operation is the three on one page: a write that maps the file's page or gives its entry the right
to write, madvise(DONTNEED) with a flush, and a read that maps the 64 KiB around it.  No frame is taken
once the file is in memory.
Source: will-it-scale, tests/tlb_flush3.c (Blanchard).
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
class TlbFlush3(TeamLoad):
    """Every task flushes pages of a file of its own.

    Args:
        mib: of the file.
    """

    mib: int = 128

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        files = temp_files(host, self.team, "tlb_flush3", self.mib, frames_per_page=1)
        self.team.start(host, "tlb_flush3", partial(self._loop, files))

    def _loop(self, files: Files, task: Task, meter: CpuMeter) -> Op[None]:
        cpu, length = task.cpu, self.mib * MIB
        file = files[cpu.id]
        for _ in self.team.turns():
            area = yield from task.mmap(length, file=file, shared=True)
            if area < 0:
                self.give_up(task, meter)
                return
            yield from cpu.look()
            began = cpu.clock
            for address in range(area, area + length, PAGE_SIZE):
                yield from task.touch(address)
                yield from task.madvise_dontneed(address, PAGE_SIZE)
                yield from task.touch(address, write=False)
                yield from cpu.look()
                meter.done(cpu.clock - began)
                began = cpu.clock
            yield from task.munmap(area, length)
