"""Broken: lazy processors are left out, and nobody compares generations when they come back."""

from coalsim.cpus.cpu import Cpu
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.shootdown.linux import LinuxShootdown


class TrustsLazy(LinuxShootdown):
    """A processor that returns keeps all that it had."""

    def switched_in(self, cpu: Cpu, loaded: Loaded, context: Context) -> bool:
        return False
