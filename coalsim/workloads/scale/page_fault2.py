"""page_fault2: map a file privately, write a byte in every page, unmap.

An operation is one write: a fault that takes a frame and copies the file's page into it, never more
than one page.  The file's pages come into memory in the first round and stay there.
The testcase maps 128 MiB; a smaller file is quicker to simulate, but the shares of mmap and munmap
grow.
Source: will-it-scale, tests/page_fault2.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Task
from coalsim.workloads.base import CpuMeter
from coalsim.workloads.scale.file_load import FileLoad
from coalsim.workloads.scale.written_pages import write_pages


@dataclass(frozen=True, kw_only=True)
class PageFault2(FileLoad):
    """Every task faults in a private mapping of its own file."""

    testcase = "page_fault2"
    frames_per_page = 2

    def _loop(self, task: Task, meter: CpuMeter, file: File) -> Op[None]:
        return write_pages(self, task, meter, self.length, file, shared=self.shared)
