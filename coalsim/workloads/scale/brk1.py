"""brk1: move the end of the heap up by a page, and down again.

An operation is one of the two, as in the original, which counts both.  The page is never
touched.  The original sets two fixed addresses; here each task adds and takes away a page, so
that threads, who share the break, always move it and never find it where they want it.
Source: will-it-scale, tests/brk1.c (Blanchard).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class Brk1(TeamLoad):
    """Every task moves its process's break."""

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        self.team.start(host, "brk1", self._loop)

    def _loop(self, task: Task, meter: CpuMeter) -> Op[None]:
        cpu = task.cpu
        yield from cpu.look()
        began = cpu.clock
        for _ in self.team.turns():
            for delta in (PAGE_SIZE, -PAGE_SIZE):
                yield from task.brk(delta)
                yield from cpu.look()
                meter.done(cpu.clock - began)
                began = cpu.clock
