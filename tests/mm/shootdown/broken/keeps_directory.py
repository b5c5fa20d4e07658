"""Broken: pages are invalidated in the TLB, but not the cached page-directory entries that led to them."""

from coalsim.cpus.cpu import Cpu
from coalsim.mm.paging.context import Loaded
from coalsim.mm.shootdown.linux import LinuxShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.units import Time


class KeepsDirectory(LinuxShootdown):
    """Drops leaf entries only."""

    def catch_up(self, cpu: Cpu, loaded: Loaded, request: Flush) -> Time:
        tlb = self.system.units[cpu.id].tlb
        loaded.generation = request.context.generation
        for vpn, asid, _ in list(tlb.entries()):
            if asid == loaded.asid:
                tlb.invalidate(vpn, asid)
        return self.system.times.asid_flush
