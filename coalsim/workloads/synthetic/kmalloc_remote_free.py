"""Remote frees: producers allocate, consumers on other CPUs free.

CPUs work in pairs, the first with the second and so on, each pair with a bounded
queue of its own whose cache lines carry eight pointers each.  Compact CPUs pair
neighbours, scattered ones pair across nodes.  Objects stream one way, so neither side
can reuse what it has: every magazine that fills or empties visits the depot.
An operation is an object freed; its latency is the free's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.laws import Law, Sampler
from coalsim.workloads.base import CpuMeter, Host, Memory
from coalsim.workloads.synthetic.channel import POINTERS_PER_LINE, Channel
from coalsim.workloads.synthetic.places import Spread, choose_cpus

USER = "user"
ALLOC_SITE = "producer"
FREE_SITE = "consumer"


@dataclass(frozen=True, kw_only=True)
class KmallocRemoteFree:
    """N / 2 pairs.

    Args:
        cpus: how many, an even number.
        size: bytes of an object.
        slots: of a queue, each for eight objects.
        think: a producer's time between two allocations.
        spread: which CPUs.
    """

    cpus: int
    size: int
    slots: int
    think: Law
    spread: Spread = "compact"

    endless = True
    headline = ""

    def start(self, host: Host) -> None:
        """A producer and a consumer per pair."""
        chosen = choose_cpus(host.machine, self.cpus, self.spread)
        for first, second in zip(chosen[::2], chosen[1::2], strict=True):
            queue = Channel(f"queue of CPU {first} and {second}", self.slots)
            think = self.think.sampler(host.streams.stream("kmalloc_remote_free think", first))
            producer = self._produce(host.cpus[first], host.memory, queue, think)
            consumer = _consume(host.cpus[second], host.meter.cpu(second), host.memory, queue)
            host.run_thread(first, ALLOC_SITE, producer)
            host.run_thread(second, FREE_SITE, consumer)

    def _produce(self, cpu: Cpu, memory: Memory, queue: Channel, think: Sampler) -> Op[None]:
        take, size = memory.kmalloc_now, self.size
        batch: list[int] = []
        while True:
            address = take(cpu, size) or (yield from memory.kmalloc(cpu, size, ALLOC_SITE))
            if address:
                batch.append(address)
            if len(batch) == POINTERS_PER_LINE or (batch and not address):
                yield from queue.deposit(cpu, batch)
                batch.clear()
            cpu.charge(think(), USER)

    def results(self) -> Mapping[str, object]:
        """Nothing beyond the meter."""
        return {}


def _consume(cpu: Cpu, meter: CpuMeter, memory: Memory, queue: Channel) -> Op[None]:
    give = memory.kfree_now
    while True:
        batch = yield from queue.collect(cpu)
        began = cpu.clock  # synchronised by the queue
        for address in batch:
            if not give(cpu, address):
                yield from memory.kfree(cpu, address, FREE_SITE)
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            meter.done(cpu.clock - began)
            began = cpu.clock
