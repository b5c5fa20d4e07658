"""The loop of the tlb_flush testcases: write a page, give it back, read it again; page after page.

An operation is the three on one page.  Mapping and unmapping come on top, once for all pages, which
no operation's latency contains.
Source: will-it-scale, tests/tlb_flush1.c and its siblings (Blanchard).
"""

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE
from coalsim.workloads.base import CpuMeter
from coalsim.workloads.vm.team import TeamLoad


def flush_pages(
    load: TeamLoad,
    task: Task,
    meter: CpuMeter,
    length: int,
    file: File | None = None,
    *,
    shared: bool = False,
) -> Op[None]:
    """All rounds of a task, over so much of the file, or of anonymous memory where there is none."""
    cpu = task.cpu
    for _ in load.team.turns():
        area = yield from task.mmap(length, file=file, shared=shared)
        if area < 0:
            load.give_up(task, meter)
            return
        yield from cpu.look()
        began = cpu.clock
        for address in range(area, area + length, PAGE_SIZE):
            yield from task.touch(address)
            yield from task.madvise_dontneed(address, PAGE_SIZE)
            yield from task.touch(address, write=False)
            yield from cpu.look()
            meter.done(cpu.clock - began)
            began = cpu.clock
        yield from task.munmap(area, length)
