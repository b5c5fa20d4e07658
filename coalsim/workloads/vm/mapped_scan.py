"""A mapped scan: threads read a file through a mapping, again and again, that does not fit into memory.

    map the file, shared -> read one byte of every page, from a place of the thread's own, round and round

Every page that comes in pushes another one out, and that one is mapped: the reclaimer clears its entry
and has to flush it wherever threads of the process run.  `kernel.flush_batch` says for how many
pages one flush stands, which is what this load is for.

An operation is a page that is read.
Source of the situation: M. Gorman, "TLB flush multiple pages per IPI", linux-kernel, 2015 (the series
that became 72b252aed506): threads that read mapped files larger than memory.
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.area import READ
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.room import check_addresses
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class MappedScan(TeamLoad):
    """A team that reads a mapped file.

    Args:
        mib: length of the file.
    """

    mib: int = 64

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        pages = self.mib * MIB // PAGE_SIZE
        check_addresses(host, self.team.sharers * pages, "workload.mib", self.mib)
        file = host.vm.kernel.cache.new_file("/data/scanned", pages, is_sparse=False)
        number_of = {cpu: number for number, cpu in enumerate(self.team.chosen(host.machine))}

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._scan(task, meter, file, number_of[task.cpu.id] * pages // self.team.cpus)

        self.team.start(host, "mapped_scan", loop)

    def _scan(self, task: Task, meter: CpuMeter, file: File, first: int) -> Op[None]:
        cpu, pages = task.cpu, file.pages
        area = yield from task.mmap(pages * PAGE_SIZE, rights=READ, file=file, shared=True)
        if area < 0:
            self.give_up(task, meter)
            return
        for _ in self.team.turns():
            for page in range(pages):
                yield from cpu.look()
                began = cpu.clock
                yield from task.touch(area + (first + page) % pages * PAGE_SIZE, write=False)
                yield from cpu.look()
                meter.done(cpu.clock - began)
