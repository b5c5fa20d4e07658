"""The loads on files that a study can name: the parameters of each kind, checked.

As in `loads.py`; all are of will-it-scale.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel

from coalsim.study.parameters import ModeParameters
from coalsim.study.vm_loads import Mib
from coalsim.workloads.base import Workload
from coalsim.workloads.scale.file_load import FileLoad
from coalsim.workloads.scale.mmap2 import Mmap2
from coalsim.workloads.scale.page_fault2 import PageFault2
from coalsim.workloads.scale.page_fault3 import PageFault3
from coalsim.workloads.scale.tlb_flush1 import TlbFlush1
from coalsim.workloads.scale.tlb_flush3 import TlbFlush3


class FileParameters(ModeParameters):
    """What they share: every task has a file of its own."""

    load: ClassVar[type[FileLoad]]

    mib: Mib = 128
    """Of the file."""

    def build(self) -> Workload:
        """The load."""
        return self.load(team=self.team(), mib=self.mib)


class PageFault2Parameters(FileParameters):
    """Every task faults in a private mapping of its own file."""

    load = PageFault2


class PageFault3Parameters(FileParameters):
    """Every task faults in a shared mapping of its own file."""

    load = PageFault3


class Mmap2Parameters(FileParameters):
    """Every task maps and unmaps its own file, untouched."""

    load = Mmap2


class TlbFlush1Parameters(FileParameters):
    """Every task writes, gives back and reads pages of a private file mapping."""

    load = TlbFlush1


class TlbFlush3Parameters(FileParameters):
    """Every task writes, gives back and reads pages of a shared file mapping."""

    load = TlbFlush3


FILE_WORKLOADS: Mapping[str, type[BaseModel]] = {
    "page_fault2": PageFault2Parameters,
    "page_fault3": PageFault3Parameters,
    "mmap2": Mmap2Parameters,
    "tlb_flush1": TlbFlush1Parameters,
    "tlb_flush3": TlbFlush3Parameters,
}
"""Every kind with its parameters."""
