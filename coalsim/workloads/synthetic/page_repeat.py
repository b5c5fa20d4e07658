"""Page repeat: every CPU allocates a block of pages and frees it, over and over.

The block stays on the CPU's own list where its order has one.  An operation is a pair.
Source: Wrenger and others, "LLFree: scalable and optionally-persistent page-frame
allocation", USENIX ATC 2023; its kernel module, test `repeat`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.units import Pfn
from coalsim.workloads.base import CpuMeter, Host, Memory
from coalsim.workloads.synthetic.page_bulk import check_order
from coalsim.workloads.synthetic.places import Spread, choose_cpus

SITE = "page_repeat"


@dataclass(frozen=True, kw_only=True)
class PageRepeat:
    """N CPUs, each by itself.

    Args:
        cpus: how many.
        order: of the block, 2**order frames.
        spread: which CPUs.
    """

    cpus: int
    order: int
    spread: Spread = "compact"

    endless = True
    headline = ""

    def start(self, host: Host) -> None:
        """One thread per CPU."""
        check_order(host.memory, self.order)
        for cpu_id in choose_cpus(host.machine, self.cpus, self.spread):
            cpu, meter = host.cpus[cpu_id], host.meter.cpu(cpu_id)
            host.run_thread(cpu_id, "page_repeat", _repeat(cpu, meter, host.memory, self.order))

    def results(self) -> Mapping[str, object]:
        """Nothing beyond the meter."""
        return {}


def _repeat(cpu: Cpu, meter: CpuMeter, memory: Memory, order: int) -> Op[None]:
    take, give = memory.alloc_pages_now, memory.free_pages_now
    yield from cpu.look()
    began = cpu.clock
    while True:
        head = take(cpu, order)
        if head < 0:
            head = yield from memory.alloc_pages(cpu, order, SITE)
        if head >= 0 and not give(cpu, head, order):
            yield from memory.free_pages(cpu, Pfn(head), order, SITE)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if head >= 0:
            meter.done(cpu.clock - began)
        else:
            meter.failed += 1
        began = cpu.clock
