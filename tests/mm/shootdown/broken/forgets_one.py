"""Broken: the loop over the mask ends one processor too early."""

from coalsim.cpus.cpu import Cpu
from coalsim.mm.shootdown.linux import LinuxShootdown
from coalsim.mm.shootdown.request import Flush


class ForgetsOne(LinuxShootdown):
    """Never asks the last processor of the mask."""

    def candidates(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        return super().candidates(cpu, request)[:-1]
