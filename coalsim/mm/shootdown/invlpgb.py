"""INVLPGB and TLBSYNC: AMD's broadcast, for processes that many processors run.

    generation + 1 -> INVLPGB for each run of pages -> TLBSYNC: all of them have landed

A process that is active on `invlpgb_min_cpus` processors has one ASID for all of them,
and is flushed without mask, request, interrupt or handler.  Any other goes the way of
`concurrent`.
Reuse: when TLBSYNC has returned.
Source: Linux 6.15 arch/x86/mm/tlb.c (4afeb0ed1753 and the commits around it), AMD64
Architecture Programmer's Manual, volume 3.

Model: which way is looked at in each flush, and changing costs nothing; the kernel
decides once, by sampling, and changes ASIDs by one round of interrupts.
"""

from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.shootdown.causes import SETUP
from coalsim.mm.shootdown.fabric import Fabric
from coalsim.mm.shootdown.linux import ConcurrentShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.system import ShootdownSystem


class InvlpgbShootdown(ConcurrentShootdown):
    """Hardware broadcast for busy processes, interrupts for the others."""

    name: ClassVar[str] = "invlpgb"
    source: ClassVar[str] = "Linux 6.15, arch/x86/mm/tlb.c"
    uses_broadcast: ClassVar[bool] = True

    def __init__(self, system: ShootdownSystem) -> None:
        super().__init__(system)
        self._fabric = Fabric(system)

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """By broadcast if enough processors run the process."""
        yield from cpu.sync()
        if self._active(request) < self.system.switches.invlpgb_min_cpus:
            yield from super().flush(cpu, request)
            return
        began = yield from self.new_generation(cpu, request)
        cpu.charge(self.system.costs.invlpgb_setup, SETUP)
        ranged = self.is_ranged(request)
        issues = -(-request.pages // self.system.times.broadcast_pages) if ranged else 1
        others = yield from self._fabric.flush(cpu, request, issues, ranged=ranged)
        yield from self.record(cpu, began, others)

    def _active(self, request: Flush) -> int:
        """Processors that run the process now; synchronised."""
        context, loaded = request.context, self.system.loaded
        return sum(
            loaded[number].context is context and not loaded[number].is_lazy for number in context.mask
        )
