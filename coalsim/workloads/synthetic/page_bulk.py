"""Page bulk: all CPUs allocate their share of frames, meet, and free them in the same order.

The two phases are `alloc` and `free`.  Operations follow each other without a gap, so
the latencies of one thread add up to its wall time: the mean that the published
benchmark gives (each thread's wall time by its operations, averaged over the threads)
is `thread_mean_ns`, and differs from the mean of the single operations only where
threads did different numbers of them.  A thread that finds no memory stops allocating.

Unlike the benchmark, the share of a CPU is fixed and not a fraction of the memory.
Source: Wrenger and others, "LLFree: scalable and optionally-persistent page-frame
allocation", USENIX ATC 2023; its kernel module, test `bulk`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import ConfigError, Problem
from coalsim.units import NS, Pfn
from coalsim.workloads.base import CpuMeter, Host, Memory, Rendezvous
from coalsim.workloads.synthetic.places import Spread, choose_cpus

SITE = "page_bulk"


@dataclass(frozen=True, kw_only=True)
class PageBulk:
    """N CPUs, from the first node on.

    Args:
        cpus: how many.
        order: of a block, 2**order frames.
        frames_per_cpu: each CPU's share in frames; at least one block.
        spread: which CPUs.
    """

    cpus: int
    order: int
    frames_per_cpu: int
    spread: Spread = "compact"
    meters: list[tuple[CpuMeter, CpuMeter]] = field(default_factory=list, init=False, repr=False)

    endless = False
    headline = "alloc"

    def start(self, host: Host) -> None:
        """One thread per CPU."""
        check_order(host.memory, self.order)
        gate = Rendezvous(self.cpus)
        for cpu_id in choose_cpus(host.machine, self.cpus, self.spread):
            meters = host.meter.cpu(cpu_id, "alloc", apart=True), host.meter.cpu(cpu_id, "free", apart=True)
            self.meters.append(meters)
            host.run_thread(cpu_id, "page_bulk", self._both(host.cpus[cpu_id], meters, host.memory, gate))

    def _both(
        self, cpu: Cpu, meters: tuple[CpuMeter, CpuMeter], memory: Memory, gate: Rendezvous
    ) -> Op[None]:
        blocks = max(1, self.frames_per_cpu >> self.order)
        heads = yield from allocate(cpu, meters[0], memory, self.order, blocks, SITE)
        yield from gate.meet(cpu)
        yield from release(cpu, meters[1], memory, self.order, heads, SITE)

    def results(self) -> Mapping[str, object]:
        """The mean over the threads, by phase."""
        means = {
            phase: thread_mean([meters[number] for meters in self.meters])
            for number, phase in enumerate(("alloc", "free"))
        }
        return {"phases": {phase: {"thread_mean_ns": mean} for phase, mean in means.items() if mean}}


def check_order(memory: Memory, order: int) -> None:
    """Refuse blocks that the kernel does not have.

    Raises:
        ConfigError: the order is too large.
    """
    if order > memory.max_order:
        problem = Problem(
            key="workload.order",
            value=str(order),
            message=f"the kernel's largest blocks have order {memory.max_order}",
            remedy=f"use 0 to {memory.max_order}, or raise kernel.max_order",
        )
        raise ConfigError([problem])


def allocate(cpu: Cpu, meter: CpuMeter, memory: Memory, order: int, blocks: int, site: str) -> Op[list[int]]:
    """So many blocks one after the other, each counted; fewer when there is no memory."""
    take, done = memory.alloc_pages_now, meter.done
    heads: list[int] = []
    yield from cpu.look()
    began = cpu.clock
    for _ in range(blocks):
        head = take(cpu, order)
        if head < 0:
            head = yield from memory.alloc_pages(cpu, order, site)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if head < 0:
            meter.failed += 1
            break
        heads.append(head)
        done(cpu.clock - began)
        began = cpu.clock
    return heads


def release(cpu: Cpu, meter: CpuMeter, memory: Memory, order: int, heads: list[int], site: str) -> Op[None]:
    """Free blocks one after the other, each counted."""
    give, done = memory.free_pages_now, meter.done
    yield from cpu.look()
    began = cpu.clock
    for head in heads:
        if not give(cpu, head, order):
            yield from memory.free_pages(cpu, Pfn(head), order, site)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        done(cpu.clock - began)
        began = cpu.clock


def thread_mean(meters: list[CpuMeter]) -> float:
    """Each thread's time per operation, averaged over the threads, in ns; 0 if there was none."""
    parts = [meter.latencies for meter in meters]
    each = [latencies.total / latencies.count for latencies in parts if latencies.count]
    return sum(each) / len(each) / NS if each else 0.0
