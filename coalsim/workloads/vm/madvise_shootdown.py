"""madvise_shootdown: one thread gives a page back and touches it again; the others spin.

An operation is madvise(MADV_DONTNEED) of one page and a write to it.  All other threads
of the process spin in user mode on CPUs of their own, so each flush has to reach them,
and finds their interrupts on.
Source: Amit, "x86: concurrent TLB flushes", lkml, 2019 (the microbenchmark of its cover
letter); Amit, Tai, Wei, "Don't shoot down TLB shootdowns!", EuroSys 2020.
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class MadviseShootdown(TeamLoad):
    """The team's first thread flushes; its mode is `threads`."""

    def start(self, host: VirtualHost) -> None:
        """One thread per CPU."""
        first = self.team.chosen(host.machine)[0]
        over = SpinFlag()

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._flush(task, meter, over) if task.cpu.id == first else task.spin(over)

        self.team.start(host, "madvise_shootdown", loop)

    def _flush(self, task: Task, meter: CpuMeter, over: SpinFlag) -> Op[None]:
        cpu = task.cpu
        page = yield from task.mmap(PAGE_SIZE)
        if page < 0:
            self.give_up(task, meter)
            yield from over.set(cpu)
            return
        yield from task.touch(page)
        yield from cpu.look()
        began = cpu.clock
        for _ in self.team.turns():
            yield from task.madvise_dontneed(page, PAGE_SIZE)
            yield from task.touch(page)
            yield from cpu.look()
            meter.done(cpu.clock - began)
            began = cpu.clock
        yield from over.set(cpu)
