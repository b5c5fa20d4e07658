"""What the page allocator asks of others: help when memory is short, and leave to give any.

`Pressure` is the reclaimer, filled in at boot where the kernel has one (`kernel.reclaim`).
Without it no mark is kept, and a request fails when every zone is empty.
`PageGate` may refuse a request before it is looked at: fault injection.
"""

from collections.abc import Sequence
from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext
from coalsim.units import NodeId, Pfn


class Pressure(Protocol):
    """Who gets memory back."""

    def is_victim(self, cpu: Cpu) -> bool:
        """The thread that runs there is to die: it may use what others may not."""

    def wake(self, cpu: Cpu, order: int, nodes: Sequence[NodeId], context: AllocContext) -> None:
        """Zones of these nodes that the context may use are below their low mark: start their reclaimers.

        Synchronised.
        """

    def slow_path(
        self,
        cpu: Cpu,
        order: int,
        nodes: Sequence[NodeId],
        site: str,
        context: AllocContext,
        *,
        may_kill: bool,
    ) -> Op[Pfn]:
        """No zone is above the context's floor: get memory back and a block of it; -1: it cannot be had.

        Without `may_kill` the OOM killer is left out.

        Raises:
            KernelPanic: the context cannot fail.
        """


class PageGate(Protocol):
    """Who may refuse requests."""

    def refuses(self, cpu: Cpu, order: int, site: str, context: AllocContext) -> Op[bool]:
        """The request is to fail."""
