"""kmalloc bursts: every CPU allocates B objects, then frees them, newest first.

Bursts larger than what the per-CPU cache holds spill into what lies behind it: the
depot, the barn, the slabs.  An operation is one call; allocations and frees are phases.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.laws import Law, Sampler
from coalsim.workloads.base import CpuMeter, Host, Memory
from coalsim.workloads.synthetic.places import Spread, choose_cpus

USER = "user"
SITE = "kmalloc_burst"


@dataclass(frozen=True, kw_only=True)
class KmallocBurst:
    """N CPUs, each by itself.

    Args:
        cpus: how many.
        size: bytes of an object.
        depth: objects of a burst.
        think: time between two bursts.
        spread: which CPUs.
    """

    cpus: int
    size: int
    depth: int
    think: Law
    spread: Spread = "compact"

    endless = True
    headline = "alloc"

    def start(self, host: Host) -> None:
        """One thread per CPU."""
        for cpu_id in choose_cpus(host.machine, self.cpus, self.spread):
            meters = host.meter.cpu(cpu_id, "alloc"), host.meter.cpu(cpu_id, "free")
            think = self.think.sampler(host.streams.stream("kmalloc_burst think", cpu_id))
            body = self._bursts(host.cpus[cpu_id], meters, host.memory, think)
            host.run_thread(cpu_id, "kmalloc_burst", body)

    def _bursts(
        self, cpu: Cpu, meters: tuple[CpuMeter, CpuMeter], memory: Memory, think: Sampler
    ) -> Op[None]:
        take, give, size, (allocs, frees) = memory.kmalloc_now, memory.kfree_now, self.size, meters
        held: list[int] = []
        while True:
            yield from cpu.look()
            began = cpu.clock
            for _ in range(self.depth):
                address = take(cpu, size) or (yield from memory.kmalloc(cpu, size, SITE))
                if cpu.clock >= cpu.limit:
                    yield from cpu.look()
                if address:
                    held.append(address)
                    allocs.done(cpu.clock - began)
                else:
                    allocs.failed += 1
                began = cpu.clock
            while held:
                address = held.pop()
                if not give(cpu, address):
                    yield from memory.kfree(cpu, address, SITE)
                if cpu.clock >= cpu.limit:
                    yield from cpu.look()
                frees.done(cpu.clock - began)
                began = cpu.clock
            cpu.charge(think(), USER)

    def results(self) -> Mapping[str, object]:
        """Nothing beyond the meter."""
        return {}
