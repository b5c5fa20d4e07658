"""Atomic allocations that eat the reserve: drivers take pages with interrupts off while memory is short.

    hogs      processes that fill memory up to a share of it, and keep it
    drivers   every period: interrupts off -> take a burst of pages, ATOMIC -> interrupts on
              -> hold them -> free them

A driver cannot wait for reclaim, so it may go below the min mark, which ordinary requests leave
alone, down to three eighths of it; what it does not get there it has to drop.  The test is made
before a page list is refilled, and the batch may be larger than what is left above that floor: so a
zone can be drained below it, down to nothing, as in Linux.
Handlers of interrupts do no allocating in this simulator (they change private state only), so
drivers are threads with interrupts off, as a softirq is for everybody else on its CPU.

An operation is a burst; `atomic` in the result has the pages dropped and, by node and zone, where
ordinary and where atomic requests stop, and the least that was ever free.  All of it is of the whole
run, its warm-up included.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.nap import nap
from coalsim.locks.view import LowestCount
from coalsim.mm.manager import MemoryManager
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.zone import FLOOR, Zone
from coalsim.mm.reclaim.victims import UNKILLABLE
from coalsim.mm.virt.task import Body, Task
from coalsim.units import PAGE_SIZE, NodeId, Pfn, Time
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.synthetic.places import Spread, choose_cpus

SITE = "driver"


@dataclass(frozen=True, kw_only=True)
class AtomicBursts:
    """The load.

    Args:
        cpus: one driver on each.
        spread: which ones.
        fill: percent of each node that its hog takes before the drivers begin.
        burst: pages of one.
        hold: for so long they are kept, in ps.
        period: from the end of one burst's hold to the next, in ps.
        rounds: bursts of each driver; 0 = for ever.
        begin: when the drivers begin, in ps.
    """

    cpus: int
    spread: Spread
    fill: int
    burst: int
    hold: Time
    period: Time
    rounds: int
    begin: Time
    dropped: list[int] = field(default_factory=list, init=False, repr=False, compare=False)
    free: dict[str, LowestCount] = field(default_factory=dict, init=False, repr=False, compare=False)
    zones: dict[str, Zone] = field(default_factory=dict, init=False, repr=False, compare=False)

    headline = "burst"

    @property
    def endless(self) -> bool:
        """Unless the rounds are counted."""
        return not self.rounds

    def start(self, host: VirtualHost) -> None:
        """A hog per node with CPUs, a driver per CPU."""
        memory = host.memory
        assert isinstance(memory, MemoryManager), "the drivers ask the kernel itself"
        chosen = choose_cpus(host.machine, self.cpus, self.spread)
        for zone in memory.pages.zones:
            name = f"{zone.node}/{zone.name}"
            self.zones[name] = zone
            zone.free = self.free[name] = LowestCount(zone.free.latest)
        hogs: list[Task] = []
        left = dict.fromkeys(chosen)

        def over(cpu: Cpu) -> None:
            """The last driver lets the hogs go."""
            del left[cpu.id]
            for hog in hogs if not left else ():
                hog.rouse(cpu.clock + host.vm.kernel.wake_latency)

        for node in host.machine.nodes:
            mine = host.machine.cpus_of_node(node.node)
            pages = node.memory // PAGE_SIZE * self.fill // 100
            if mine and pages:
                process = host.vm.new_process(f"hog{node.node}")
                process.bind(NodeId(node.node))
                process.oom_score_adj = UNKILLABLE
                hogs.append(host.vm.run_task(process, mine[-1], process.name, fill_and_stay(pages)))
        for cpu_id in chosen:
            meter = host.meter.cpu(cpu_id, "burst")
            body = self._drive(host.cpus[cpu_id], memory, meter, over)
            host.run_thread(cpu_id, f"driver{cpu_id}", body)

    def _drive(
        self, cpu: Cpu, memory: MemoryManager, meter: CpuMeter, over: Callable[[Cpu], None]
    ) -> Op[None]:
        done = 0
        yield from nap(cpu, self.begin, SITE)
        while not self.rounds or done < self.rounds:
            yield from cpu.look()
            began = cpu.clock
            held = yield from self._burst(cpu, memory)
            yield from cpu.look()
            meter.done(cpu.clock - began)
            meter.failed += len(held) < self.burst
            self.dropped.append(self.burst - len(held))
            yield from nap(cpu, self.hold, SITE)
            for pfn in held:
                yield from memory.free_pages(cpu, pfn, 0, SITE)
            yield from nap(cpu, self.period, SITE)
            done += 1
        over(cpu)

    def _burst(self, cpu: Cpu, memory: MemoryManager) -> Op[list[Pfn]]:
        held: list[Pfn] = []
        yield from cpu.irq_off()
        for _ in range(self.burst):
            pfn = yield from memory.pages.alloc(cpu, 0, SITE, context=AllocContext.ATOMIC)
            if pfn < 0:
                break
            held.append(pfn)
        yield from cpu.irq_on()
        yield from cpu.sync()
        return held

    def _stops(self, context: AllocContext) -> dict[str, int]:
        """Free pages at which requests pass a zone over: the mark, and what is kept for lower zones."""
        return {name: zone.mark(context, FLOOR) for name, zone in self.zones.items()}

    def results(self) -> Mapping[str, object]:
        """What was dropped, and how low it went."""
        if not self.dropped:
            return {}
        return {
            "atomic": {
                "bursts": len(self.dropped),
                "bursts_short": sum(1 for number in self.dropped if number),
                "pages_dropped": sum(self.dropped),
                "ordinary_stop": self._stops(AllocContext.USER),
                "atomic_stop": self._stops(AllocContext.ATOMIC),
                "lowest_free": {name: free.lowest for name, free in self.free.items()},
            }
        }


def fill_and_stay(pages: int) -> Body:
    """The program of a process that fills memory and keeps it until it is woken."""

    def body(task: Task) -> Op[None]:
        area = yield from task.mmap(pages * PAGE_SIZE)
        yield from task.sequential(area, pages * PAGE_SIZE, write=True)
        yield from task.sleep_until_woken()

    return body
