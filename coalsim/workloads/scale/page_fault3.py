"""page_fault3: map a file shared, write a byte in every page, unmap.

An operation is one write: a fault that tells the file system and maps the file's own page.  From
the second round on no frame is taken and no page gets dirty for the first time; munmap finds dirty
entries, so it flushes once per page table before it drops that table's lock.
The testcase maps 128 MiB; a smaller file is quicker to simulate, but the shares of mmap and munmap
grow.
Source: will-it-scale, tests/page_fault3.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Task
from coalsim.workloads.base import CpuMeter
from coalsim.workloads.scale.file_load import FileLoad
from coalsim.workloads.scale.written_pages import write_pages


@dataclass(frozen=True, kw_only=True)
class PageFault3(FileLoad):
    """Every task faults in a shared mapping of its own file."""

    testcase = "page_fault3"
    shared = True
    frames_per_page = 1

    def _loop(self, task: Task, meter: CpuMeter, file: File) -> Op[None]:
        return write_pages(self, task, meter, self.length, file, shared=self.shared)
