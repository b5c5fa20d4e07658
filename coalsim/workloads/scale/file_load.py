"""What the testcases on files have in common: each task has a mapping of its own file, again and again.

    file per task -> [map it -> visit its pages -> unmap it] every round

Source: will-it-scale, tests/page_fault2.c and its siblings (Blanchard).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Task
from coalsim.units import MIB
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.scale.temp_files import temp_files
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class FileLoad(TeamLoad, ABC):
    """Every task works on a file of its own.

    Args:
        mib: of the file.
    """

    mib: int = 128

    testcase: ClassVar[str]
    shared: ClassVar[bool] = False
    """How the file is mapped."""
    frames_per_page: ClassVar[int]
    """That a page of the file needs at once: its own and a copy."""

    @property
    def length(self) -> int:
        """Of the file and of its mapping, in bytes."""
        return self.mib * MIB

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        name = self.testcase
        files = temp_files(host, self.team, name, self.mib, frames_per_page=self.frames_per_page)

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._loop(task, meter, files[task.cpu.id])

        self.team.start(host, name, loop)

    @abstractmethod
    def _loop(self, task: Task, meter: CpuMeter, file: File) -> Op[None]:
        """All rounds of a task."""
