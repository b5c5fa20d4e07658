"""What the three loads of sv6's mapbench share: where they map, and what they count.

An operation is one write to a page, as in the published figures (page writes per
second); mapping and unmapping come on top.  How long those take is in the operations
`mmap`, `munmap` and `fault` of the result.
Source: Clements, Kaashoek, Zeldovich, "RadixVM: Scalable address spaces for
multithreaded applications", EuroSys 2013; sv6, bin/mapbench.cc.
"""

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter

BASE = 256 * MIB
"""Where the first region begins; mapbench has 4 GiB, which no 32-bit process has."""


def write_pages(task: Task, meter: CpuMeter, region: int, pages: int) -> Op[None]:
    """Write every page of a region, each an operation."""
    cpu = task.cpu
    yield from cpu.look()
    began = cpu.clock
    for address in range(region, region + pages * PAGE_SIZE, PAGE_SIZE):
        yield from task.touch(address)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        meter.done(cpu.clock - began)
        began = cpu.clock
