"""A request to flush: which pages of which context have died, and why.

Invariant: `generation` is the context's at the moment of the request; what died before it has
been counted in earlier ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment, Translation
from coalsim.engine.clock import Op
from coalsim.mm.paging.context import Context
from coalsim.units import Vpn

COW = "cow"
"""The reason of a single page's flush that is ranged whatever the ceiling is."""

Release = Callable[[Cpu], Op[None]]
"""Frees what a request's frames held; called once, when the policy's promise holds."""


@dataclass(kw_only=True, eq=False)
class Flush:
    """A request: these pages of this context have died, or lost rights.

    Args:
        context: of the address space.
        first, last: the span of what was changed, in pages; `last` is exclusive.
        reason: the operation that asks, for reports: munmap, madvise, mprotect, cow, fork, mremap, exit.
        freed_tables: page tables are freed too, so processors that use no user page must flush as well.
        keeps_frames: nothing is freed: rights were lost, or pages moved.
        full: everything of the context, whatever the span.
        dead: translations that ended and that some TLB may hold.
        vpns: the pages of the span that were mapped and have to be flushed.
        sharers: bitmask of the places that have copies of the tables; -1: they are not tracked.
    """

    context: Context
    first: Vpn
    last: Vpn
    reason: str
    freed_tables: bool = False
    keeps_frames: bool = False
    full: bool = False
    dead: list[Translation] = field(default_factory=list)
    vpns: list[Vpn] = field(default_factory=list)
    sharers: int = -1
    generation: int = 0

    @property
    def pages(self) -> int:
        """Length of the span."""
        return self.last - self.first

    def promise(self, moment: Moment) -> None:
        """No processor uses any more what died."""
        if self.context.oracle is not None:
            self.context.oracle.promise(self.dead, moment)
