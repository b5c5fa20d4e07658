"""The loop of the page_fault testcases: write a byte in every page of a mapping.

An operation is one write; mapping and unmapping come on top, once for all pages.
Source: will-it-scale, tests/page_fault1.c and its siblings (Blanchard).
"""

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE
from coalsim.workloads.base import CpuMeter
from coalsim.workloads.vm.team import TeamLoad


def write_pages(
    load: TeamLoad,
    task: Task,
    meter: CpuMeter,
    length: int,
    file: File | None = None,
    *,
    shared: bool = False,
) -> Op[None]:
    """All rounds of a task, over so much of the file, or of anonymous memory where there is none."""
    cpu, touch, done = task.cpu, task.touch, meter.done
    for _ in load.team.turns():
        area = yield from task.mmap(length, file=file, shared=shared)
        if area < 0:
            load.give_up(task, meter)
            return
        yield from cpu.look()
        began = cpu.clock
        for address in range(area, area + length, PAGE_SIZE):
            yield from touch(address)
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            done(cpu.clock - began)
            began = cpu.clock
        yield from task.munmap(area, length)
