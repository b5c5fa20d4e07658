"""A process: an address space and the tasks that run in it."""

from typing import TYPE_CHECKING, Protocol

from coalsim.mm.virt.space import AddressSpace
from coalsim.units import NodeId

if TYPE_CHECKING:
    from coalsim.mm.virt.task import Body, Task


class Starter(Protocol):
    """Who starts tasks and numbers processes; filled in by the kernel's face."""

    def adopt(self, space: AddressSpace, name: str, parent: "Process") -> "Process":
        """A child process with that space."""

    def start(self, task: "Task", body: "Body") -> None:
        """Give the task its thread."""


class Process:
    """One process.

    Args:
        pid: its number.
        name: for tables.
        space: its memory.
        starter: who starts its tasks.
    """

    def __init__(self, pid: int, name: str, space: AddressSpace, starter: Starter) -> None:
        self.pid = pid
        self.name = name
        self.space = space
        self.starter = starter
        self.tasks: list[Task] = []
        self.children: list[Process] = []
        self.parent: Process | None = None
        self.waiting: list[Task] = []  # of this process, for its children
        self.running = 0  # tasks that have not ended
        self.is_loaded = True  # its image has been written, or it has none
        self.is_exiting = False  # its last task has ended
        self.has_memory = True  # until its exit begins to give the space back
        self.is_over = False
        self.oom_score_adj = 0  # -1000 (unkillable) to 1000 (first)
        self.allowed_nodes: tuple[
            NodeId, ...
        ] = ()  # its pages come from these; none: from where placement says
        self.is_victim = False  # the OOM killer has chosen it
        self.is_spent = False  # a victim whose memory has been taken, or could not be

    def bind(self, *nodes: NodeId) -> None:
        """Its pages must come from these nodes (MPOL_BIND); before it runs."""
        self.allowed_nodes = nodes
        self.space.kernel.frames.bound[self.space] = nodes
