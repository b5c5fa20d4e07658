"""tlb_flush1: write a page of a private file mapping, give it back, read it again; page after page.

An operation is the three on one page: a write that copies the file's page, madvise(DONTNEED) with a
flush, and a read that maps the 64 KiB around it from the file.  So 15 of 16 writes meet an entry that
only reads, and their copies flush too, under the page table's lock.
Source: will-it-scale, tests/tlb_flush1.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Task
from coalsim.workloads.base import CpuMeter
from coalsim.workloads.scale.file_load import FileLoad
from coalsim.workloads.scale.flushed_pages import flush_pages


@dataclass(frozen=True, kw_only=True)
class TlbFlush1(FileLoad):
    """Every task flushes pages of a private mapping of its own file."""

    testcase = "tlb_flush1"
    frames_per_page = 2

    def _loop(self, task: Task, meter: CpuMeter, file: File) -> Op[None]:
        return flush_pages(self, task, meter, self.length, file, shared=self.shared)
