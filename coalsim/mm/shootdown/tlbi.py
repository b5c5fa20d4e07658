"""TLBI and DSB: Arm's broadcast, for every flush.

    TLBI for each page, or for the ASID -> DSB ISH: all of them have landed

All processors of the domain see every TLBI, so there is no mask, and a processor that
comes back to a space has nothing to catch up with.  Idle and unconcerned processors are
not disturbed; there is no handler and no answer.
Reuse: when DSB has returned.
Source: Arm Architecture Reference Manual; Linux arch/arm64/include/asm/tlbflush.h.

Model: the longest span that is flushed page by page is the kernel's `flush_ceiling`.
"""

from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.causes import SETUP
from coalsim.mm.shootdown.fabric import Fabric
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.system import ShootdownSystem


class TlbiShootdown(Shootdown):
    """Hardware broadcast, always."""

    name: ClassVar[str] = "tlbi"
    source: ClassVar[str] = "Linux arch/arm64/include/asm/tlbflush.h"
    uses_broadcast: ClassVar[bool] = True

    def __init__(self, system: ShootdownSystem) -> None:
        super().__init__(system)
        self._fabric = Fabric(system)

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """An issue per page and one wait for all; nothing of the space is written."""
        began = yield from self.begin(cpu, request)
        cpu.charge(self.system.costs.flush_fixed, SETUP)
        ranged = self.is_ranged(request)
        others = yield from self._fabric.flush(cpu, request, request.pages if ranged else 1, ranged=ranged)
        yield from self.record(cpu, began, others)

    def switched_in(self, cpu: Cpu, loaded: Loaded, context: Context) -> bool:
        """No: its TLB got every invalidation, whatever it ran."""
        return False
