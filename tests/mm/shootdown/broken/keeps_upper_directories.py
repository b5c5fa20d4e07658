"""Broken: pages and pointers to leaf tables are invalidated, but not pointers to directories above."""

from coalsim.cpus.cpu import Cpu
from coalsim.mm.paging.context import Loaded
from coalsim.mm.shootdown.linux import ConcurrentShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.units import Time


class KeepsUpperDirectories(ConcurrentShootdown):
    """A flush drops the lowest paging-structure cache only: right where there is no other, as on x86-32."""

    def catch_up(self, cpu: Cpu, loaded: Loaded, request: Flush) -> Time:
        """Flush, and put back what the upper caches had."""
        upper = self.system.units[cpu.id].structure_caches.levels[1:]
        before = [dict(cache) for cache in upper]
        cost = super().catch_up(cpu, loaded, request)
        for cache, kept in zip(upper, before, strict=True):
            cache.update(kept)
        return cost
