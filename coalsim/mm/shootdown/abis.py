"""ABIS: the accessed bit tells whether one processor has an entry, or several, or none.

    first walk    the entry comes through a table of the processor's own; it is recorded
    second one's  the hardware sets the shared entry's accessed bit: from now on, shared
    flush         nobody recorded -> nobody; only one -> that one; any shared -> the mask

Saves most interrupts for memory that only one thread uses.  Costs a comparison at each
fill and one for each page that is flushed.
Reuse: when those who can have the page have answered; where page tables are freed,
everybody of the mask, since pointers to tables are not tracked.
Source: Amit, "Optimizing the TLB shootdown algorithm with page access tracking",
USENIX ATC 2017.

Model: a bit for each processor and incarnation of a page stands for recorded processor
and accessed bit; only "one" and "several" are told apart.  A recorded processor stays
recorded when its entry is evicted.
"""

from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.mm.paging.context import Context
from coalsim.mm.shootdown.filtered import EVERYBODY, FilteredShootdown, Walkers
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.units import Vpn

CHECK = "shootdown:access check"


class AbisShootdown(FilteredShootdown):
    """Multicast, but not where one processor or none has the pages."""

    name: ClassVar[str] = "abis"
    source: ClassVar[str] = "Amit, USENIX ATC 2017"

    def __init__(self, system: ShootdownSystem) -> None:
        super().__init__(system)
        self._walkers = Walkers()

    def filled(self, cpu: Cpu, context: Context, vpn: Vpn) -> None:
        """Record the processor, or that there are several."""
        self._walkers.note(cpu, context, vpn)
        cpu.charge(self.system.costs.abis_check, CHECK)

    def choose_targets(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        """As in the mask, without those who cannot have a page; each page is compared."""
        targets = super().choose_targets(cpu, request)
        cpu.charge(len(request.dead) * self.system.costs.abis_check, CHECK)
        return targets

    def holders(self, request: Flush) -> int:
        """Those who are recorded; everybody, if one of the pages is shared."""
        bits = EVERYBODY if request.freed_tables else 0
        for one in self._walkers.take(request.dead):
            is_alone = not one & (one - 1)
            bits |= one if is_alone else EVERYBODY
        return bits
