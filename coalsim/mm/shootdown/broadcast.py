"""Broadcast: interrupt every other processor, whatever it runs.

    generation + 1 -> local flush -> send to all but self -> wait

Nobody keeps a mask, so nothing has to be written at a context switch and nothing read
here; the price is a handler on every processor of the machine for each flush of any
process.  Processors that use another space find that out in the handler.
Reuse: when all processors have answered.
Source: Black, Rashid, Golub, Hill, Baron, "Translation lookaside buffer consistency: a
software approach", ASPLOS 1989; one write reaches all others by the APIC's shorthand.
"""

from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.request import Flush


class BroadcastShootdown(Shootdown):
    """Everybody, by one send."""

    name: ClassVar[str] = "broadcast"
    source: ClassVar[str] = "Black and others, ASPLOS 1989"

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """The own TLB, then all others at once."""
        began = yield from self.new_generation(cpu, request)
        yield from self.flush_here(cpu, request)
        others = [target for target in self.system.cpus if target is not cpu]
        if others:
            shot = yield from self.send(cpu, others, request)
            yield from self.wait_for(cpu, shot, request.reason)
        yield from self.record(cpu, began, len(others))
