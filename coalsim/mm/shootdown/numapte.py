"""numaPTE: only processors of nodes that copied the page table can have walked it.

Each node has a copy of those leaf tables that its processors needed
(`kernel.table_replication=lazy`), and the kernel knows which nodes have one.  A flush
asks the processors of the mask on these nodes only.
Reuse: when they have answered.
Source: Gao and others, numaPTE, arXiv 2401.15558.

Without copies (`table_replication=none`) nothing is known, and it is `concurrent`.
"""

from typing import ClassVar

from coalsim.mm.shootdown.filtered import FilteredShootdown
from coalsim.mm.shootdown.request import Flush


class NumaPteShootdown(FilteredShootdown):
    """Multicast to the nodes that share the tables."""

    name: ClassVar[str] = "numapte"
    source: ClassVar[str] = "Gao and others, arXiv 2401.15558"
    replication: ClassVar[str] = "lazy"

    def holders(self, request: Flush) -> int:
        """The processors of the nodes that have a copy of one of the tables."""
        return self.sharers(request)
