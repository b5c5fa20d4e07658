"""malloc1: allocate and free 128 MiB in the C library.

An operation is the pair.  So large a request is beyond the library's threshold for
mmap: it maps the size and a page for its header, writes the header, and unmaps all of
it on free.  So one page is faulted in, flushed and freed in every round.
Source: will-it-scale, tests/malloc1.c (Blanchard); glibc malloc/malloc.c
(`sysmalloc_mmap`, `munmap_chunk`).
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.room import check_addresses
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class Malloc1(TeamLoad):
    """Every task allocates and frees.

    Args:
        mib: of the request.
    """

    mib: int = 128

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        pages = self.mib * MIB // PAGE_SIZE + 1
        check_addresses(host, self.team.sharers * pages, "workload.mib", self.mib)
        self.team.start(host, "malloc1", self._loop)

    def _loop(self, task: Task, meter: CpuMeter) -> Op[None]:
        cpu, length = task.cpu, self.mib * MIB + PAGE_SIZE
        yield from cpu.look()
        began = cpu.clock
        for _ in self.team.turns():
            chunk = yield from task.mmap(length)
            if chunk < 0:
                self.give_up(task, meter)
                return
            yield from task.touch(chunk, site="malloc")
            yield from task.munmap(chunk, length)
            yield from cpu.look()
            meter.done(cpu.clock - began)
            began = cpu.clock
