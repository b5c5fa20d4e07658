"""Broken: the flush returns when the interrupts are sent, so frames have new owners before targets answer."""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.mm.shootdown.linux import LinuxShootdown


class ReusesEarly(LinuxShootdown):
    """Does not wait."""

    def wait_for(self, cpu: Cpu, shot: Shot[Cpu], site: str) -> Op[None]:
        yield from ()
