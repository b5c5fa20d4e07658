"""Broken: a target that finds a newer generation leaves its flush to that one, which has other pages."""

from coalsim.cpus.cpu import Cpu
from coalsim.mm.paging.context import Loaded
from coalsim.mm.shootdown.linux import LinuxShootdown
from coalsim.mm.shootdown.request import Flush


class DropsSuperseded(LinuxShootdown):
    """Flushes only for the newest request."""

    def catch_up(self, cpu: Cpu, loaded: Loaded, request: Flush) -> int:
        if request.generation < request.context.generation:
            return 0
        return super().catch_up(cpu, loaded, request)

    def suffices(self, request: Flush, loaded: Loaded) -> bool:
        return True
