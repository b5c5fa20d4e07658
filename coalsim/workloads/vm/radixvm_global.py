"""radixvm_global: threads build one large table together and use all of it, at random.

    map the own slice, in place of the last round's -> barrier
    -> write random pages of the whole, as many draws as it has pages -> barrier

Only the first write of a thread to a page counts, about 63 of 100 draws.  Mapping a
slice anew unmaps pages that all threads may have translations of.  The draws themselves
take no time.
Source: as in `mapbench.py`, mode global; 64 KiB a thread in the paper.
"""

from collections.abc import Callable
from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.gates import Barrier
from coalsim.workloads.vm.mapbench import BASE
from coalsim.workloads.vm.room import check_end, check_memory
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class RadixvmGlobal(TeamLoad):
    """Threads of one process.

    Args:
        pages: of a slice.
    """

    pages: int = 16

    def start(self, host: VirtualHost) -> None:
        """One thread per CPU, each with its slice."""
        pages = self.pages * self.team.cpus
        check_memory(host.machine, pages, "workload.pages", self.pages)
        check_end(host, BASE + pages * PAGE_SIZE, "workload.pages", self.pages)
        gate = Barrier(self.team.cpus)
        number_of = {cpu: number for number, cpu in enumerate(self.team.chosen(host.machine))}

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            own = BASE + number_of[task.cpu.id] * self.pages * PAGE_SIZE
            uniform = host.streams.stream("radixvm_global", task.cpu.id).random
            return self._loop(task, meter, own, gate, uniform)

        self.team.start(host, "radixvm_global", loop)

    def _loop(
        self, task: Task, meter: CpuMeter, own: int, gate: Barrier, uniform: Callable[[], float]
    ) -> Op[None]:
        cpu, total = task.cpu, self.team.cpus * self.pages
        for _ in self.team.turns():
            mapped = yield from task.mmap(self.pages * PAGE_SIZE, address=own)
            if mapped < 0:
                self.give_up(task, meter)
            yield from gate.meet(task)
            if self.gave_up:  # a slice is missing, which all would write
                return
            draws = dict.fromkeys(int(uniform() * total) for _ in range(total))
            began = cpu.clock
            for page in draws:
                yield from task.touch(BASE + page * PAGE_SIZE)
                if cpu.clock >= cpu.limit:
                    yield from cpu.look()
                meter.done(cpu.clock - began)
                began = cpu.clock
            yield from gate.meet(task)
