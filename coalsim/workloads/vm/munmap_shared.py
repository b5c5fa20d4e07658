"""munmap_shared: all CPUs touch the same pages, then one of them takes them away.

    first task:  mmap -> barrier -> touch all -> barrier -> munmap, timed -> ...
    the others:          barrier -> touch all -> barrier -> (next barrier) ...

An operation is the munmap, or the madvise(MADV_DONTNEED), and nothing else.  Meanwhile
the others wait in the next round's barrier: asleep, as the original has it, so that
idle CPUs may be skipped; or spinning, so that none can be.

Unlike the original, the task that unmaps also touches; there it shares its CPU with the
first of those that do.
Source: Kumar and others, "LATR: Lazy translation coherence", ASPLOS 2018; its
microbenchmark mmap_micro.
"""

from dataclasses import dataclass, field
from typing import Literal

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.gates import Barrier, Waiting
from coalsim.workloads.vm.team import TeamLoad, check_memory

Call = Literal["munmap", "madvise"]


@dataclass
class _Shared:
    """What the tasks know of each other."""

    gate: Barrier
    area: int = field(default=-1)


@dataclass(frozen=True, kw_only=True)
class MunmapShared(TeamLoad):
    """The team's first thread unmaps; its mode is `threads`.

    Args:
        pages: that all touch.
        call: what is timed.
        barrier: how tasks wait in it.
    """

    pages: int = 1
    call: Call = "munmap"
    barrier: Waiting = "sleep"

    def start(self, host: VirtualHost) -> None:
        """One thread per CPU."""
        check_memory(host.machine, self.pages, "workload.pages", self.pages)
        first = self.team.chosen(host.machine)[0]
        shared = _Shared(Barrier(self.team.cpus, self.barrier))

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._lead(task, meter, shared) if task.cpu.id == first else self._follow(task, shared)

        self.team.start(host, "munmap_shared", loop)

    def _lead(self, task: Task, meter: CpuMeter, shared: _Shared) -> Op[None]:
        cpu, length = task.cpu, self.pages * PAGE_SIZE
        for _ in self.team.turns():
            if shared.area < 0:
                shared.area = yield from task.mmap(length)
            yield from self._touch(task, shared)
            yield from cpu.look()
            began = cpu.clock
            if self.call == "munmap":
                yield from task.munmap(shared.area, length)
                shared.area = -1
            else:
                yield from task.madvise_dontneed(shared.area, length)
            yield from cpu.look()
            meter.done(cpu.clock - began)

    def _follow(self, task: Task, shared: _Shared) -> Op[None]:
        for _ in self.team.turns():
            yield from self._touch(task, shared)

    def _touch(self, task: Task, shared: _Shared) -> Op[None]:
        yield from shared.gate.meet(task)
        yield from task.sequential(shared.area, self.pages * PAGE_SIZE, write=True)
        yield from shared.gate.meet(task)
