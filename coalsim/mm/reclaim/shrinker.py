"""Shrinkers: whoever has memory that it can give back, and how they are asked.

Reclaim of a node asks each in turn, the cheapest first, with a priority that falls from 12 to 1
as long as too little comes back: at priority p a shrinker looks at 1/2**p of what it has.
It is told for whom, since a page in a zone that the request cannot use is of no help.
Source: Linux mm/vmscan.c (`shrink_node`, `scan_control.reclaim_idx`, DEF_PRIORITY,
SWAP_CLUSTER_MAX).
"""

from collections.abc import Sequence
from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext
from coalsim.profiles.costs import KernelCosts
from coalsim.units import NodeId

RECLAIM = "reclaim"
FIRST_PRIORITY = 12
CLUSTER = 32
"""Pages that one round tries to get at least."""


class Shrinker(Protocol):
    """Somebody who can give memory back."""

    def reclaimable(self, node: NodeId, context: AllocContext) -> int:
        """Pages of a node that it might give back, in zones that the context may use; synchronised."""

    def shrink(
        self, cpu: Cpu, node: NodeId, want: int, priority: int, site: str, context: AllocContext
    ) -> Op[int]:
        """Give back some of them; how many that were."""

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""


class NodeReclaim:
    """One round over one node.

    Args:
        shrinkers: in the order in which they are asked.
        costs: of the kernel.
    """

    def __init__(self, shrinkers: Sequence[Shrinker], costs: KernelCosts) -> None:
        self.shrinkers = list(shrinkers)
        self._costs = costs

    def round(
        self, cpu: Cpu, node: NodeId, want: int, priority: int, site: str, context: AllocContext
    ) -> Op[int]:
        """Ask the shrinkers until `want` pages have come back; how many did."""
        cpu.charge(self._costs.reclaim_fixed, RECLAIM)
        freed = 0
        for shrinker in self.shrinkers:
            freed += yield from shrinker.shrink(cpu, node, want - freed, priority, site, context)
            if freed >= want:
                break
        return freed

    def reclaimable(self, nodes: Sequence[NodeId], context: AllocContext) -> int:
        """Pages of these nodes that might come back to this context; synchronised."""
        return sum(shrinker.reclaimable(node, context) for shrinker in self.shrinkers for node in nodes)
