"""Serial: one processor after the other, each asked only when the one before has answered.

    generation + 1 -> choose targets -> local flush -> [send -> wait] per target

The plainest correct shootdown, and the upper bound of what one costs: T times send,
flight, handler and acknowledgement.
Reuse: when the last target has answered.
Source: Black, Rashid, Golub, Hill, Baron, "Translation lookaside buffer consistency: a
software approach", ASPLOS 1989, without its barrier.
"""

from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.request import Flush


class SerialShootdown(Shootdown):
    """Unicast, in the order of the processors' ids."""

    name: ClassVar[str] = "serial"
    source: ClassVar[str] = "Black and others, ASPLOS 1989"

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """The own TLB, then each target in turn."""
        began = yield from self.new_generation(cpu, request)
        yield from cpu.sync()
        targets = self.choose_targets(cpu, request)
        yield from self.flush_here(cpu, request)
        for target in targets:
            shot = yield from self.send(cpu, [target], request)
            yield from self.wait_for(cpu, shot, request.reason)
        yield from self.record(cpu, began, len(targets))
