"""tlb_flush3: write a page of a shared file mapping, give it back, read it again; page after page.

An operation is the three on one page: a write that maps the file's page or gives its entry the right
to write, madvise(DONTNEED) with a flush, and a read that maps the 64 KiB around it.  No frame is taken
once the file is in memory.
Source: will-it-scale, tests/tlb_flush3.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Task
from coalsim.workloads.base import CpuMeter
from coalsim.workloads.scale.file_load import FileLoad
from coalsim.workloads.scale.flushed_pages import flush_pages


@dataclass(frozen=True, kw_only=True)
class TlbFlush3(FileLoad):
    """Every task flushes pages of a shared mapping of its own file."""

    testcase = "tlb_flush3"
    shared = True
    frames_per_page = 1

    def _loop(self, task: Task, meter: CpuMeter, file: File) -> Op[None]:
        return flush_pages(self, task, meter, self.length, file, shared=self.shared)
