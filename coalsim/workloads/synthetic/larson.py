"""Larson: threads replace random objects of arrays that they inherit from each other.

Each CPU has an array of slots.  A replacement frees the object in a random slot and
allocates one of random size; that is an operation.  After some rounds the array goes
to the next CPU's thread, the last one's to the first, as a server's worker threads
inherit live objects.  So most frees are of objects that another CPU allocated.
Source: Larson and Krishnan, "Memory allocation for long-running server applications",
ISMM 1998; there a fresh thread inherits the array, here the next CPU's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.workloads.base import CpuMeter, Host, Memory
from coalsim.workloads.synthetic.channel import Channel
from coalsim.workloads.synthetic.places import Spread, choose_cpus

SITE = "larson"


@dataclass(frozen=True, kw_only=True)
class Larson:
    """N CPUs in a ring.

    Args:
        cpus: how many.
        slots: objects of an array.
        least, most: bytes of an object, drawn evenly between them.
        rounds: replacements before an array goes on.
        spread: which CPUs.
    """

    cpus: int
    slots: int
    least: int
    most: int
    rounds: int
    spread: Spread = "compact"

    endless = True
    headline = ""

    def start(self, host: Host) -> None:
        """One thread per CPU, and a queue of one array between each and the next."""
        chosen = choose_cpus(host.machine, self.cpus, self.spread)
        inboxes = [Channel(f"arrays for CPU {cpu_id}", 1) for cpu_id in chosen]
        for number, cpu_id in enumerate(chosen):
            uniform = host.streams.stream("larson", cpu_id).random
            onward = inboxes[(number + 1) % len(inboxes)]
            cpu, meter = host.cpus[cpu_id], host.meter.cpu(cpu_id)
            body = self._replace(cpu, meter, host.memory, uniform, inboxes[number], onward)
            host.run_thread(cpu_id, "larson", body)

    def _replace(
        self,
        cpu: Cpu,
        meter: CpuMeter,
        memory: Memory,
        uniform: Callable[[], float],
        inbox: Channel,
        onward: Channel,
    ) -> Op[None]:
        take, give = memory.kmalloc_now, memory.kfree_now
        least, span, slots = self.least, self.most - self.least + 1, self.slots
        array = [0] * slots
        for slot in range(slots):
            array[slot] = yield from memory.kmalloc(cpu, least + int(uniform() * span), SITE)
        while True:
            yield from cpu.look()
            began = cpu.clock
            for _ in range(self.rounds):
                slot = int(uniform() * slots)
                old, size = array[slot], least + int(uniform() * span)
                if not (old and give(cpu, old)):
                    yield from memory.kfree(cpu, old, SITE)
                array[slot] = new = take(cpu, size) or (yield from memory.kmalloc(cpu, size, SITE))
                if cpu.clock >= cpu.limit:
                    yield from cpu.look()
                if new:
                    meter.done(cpu.clock - began)
                else:
                    meter.failed += 1
                began = cpu.clock
            yield from onward.deposit(cpu, array)
            array = yield from inbox.collect(cpu)

    def results(self) -> Mapping[str, object]:
        """Nothing beyond the meter."""
        return {}
