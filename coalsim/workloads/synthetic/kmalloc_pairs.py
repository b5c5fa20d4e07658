"""kmalloc pairs: every CPU allocates and frees one object, over and over.

The best case of every per-CPU cache: after the first pair all stay on the CPU.  An
operation is a pair.  A request that fails is counted as failed and not as an operation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.laws import Law, Sampler
from coalsim.workloads.base import CpuMeter, Host, Memory
from coalsim.workloads.synthetic.places import Spread, choose_cpus

USER = "user"
SITE = "kmalloc_pairs"


@dataclass(frozen=True, kw_only=True)
class KmallocPairs:
    """N CPUs, each by itself.

    Args:
        cpus: how many.
        size: bytes of an object.
        think: time between two pairs.
        spread: which CPUs.
    """

    cpus: int
    size: int
    think: Law
    spread: Spread = "compact"

    endless = True
    headline = ""

    def start(self, host: Host) -> None:
        """One thread per CPU."""
        for cpu_id in choose_cpus(host.machine, self.cpus, self.spread):
            cpu, meter = host.cpus[cpu_id], host.meter.cpu(cpu_id)
            stream = host.streams.stream("kmalloc_pairs think", cpu_id)
            think = self.think.sampler(stream) if self.think.mean else None
            host.run_thread(cpu_id, "kmalloc_pairs", _pairs(cpu, meter, host.memory, self.size, think))

    def results(self) -> Mapping[str, object]:
        """Nothing beyond the meter."""
        return {}


def _pairs(cpu: Cpu, meter: CpuMeter, memory: Memory, size: int, think: Sampler | None) -> Op[None]:
    take, give, charge = memory.kmalloc_now, memory.kfree_now, cpu.charge
    while True:
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        began = cpu.clock
        address = take(cpu, size) or (yield from memory.kmalloc(cpu, size, SITE))
        if address and not give(cpu, address):
            yield from memory.kfree(cpu, address, SITE)
        if cpu.clock >= cpu.limit:  # counting is a look
            yield from cpu.look()
        if address:
            meter.done(cpu.clock - began)
        else:
            meter.failed += 1
        if think is not None:
            charge(think(), USER)
