"""leaking_driver: a driver that queues requests, finishes them, and forgets to free some.

    allocate, clear -> link to the end of the queue -> ... -> take the oldest off -> free it
                                                                                 -> or forget it

Each thread has a queue of `depth` requests.  A request is an object whose member, 16 bytes
inside it, links it to the next one; the queue's head is a root word, so every request that is
in use can be found from it through pointers into the middle of objects.  While a thread has a
request in its hands only, the pointer lies in a root word that stands for its stack.

Requests come from `sites` call sites, drawn at random.  At the first `leaky` of them the driver
loses a share of its requests when they are done: the pointer goes, the object stays.  What was
lost, where and when, is remembered, so a scan's findings can be held against it.

An operation is one request.  Its costs are those of the allocator and of the stores.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.laws import Law, Sampler
from coalsim.locks.nap import nap
from coalsim.mm.manager import MemoryManager
from coalsim.units import NS, CpuId, Time
from coalsim.workloads.base import CpuMeter, Host
from coalsim.workloads.synthetic.places import Spread, choose_cpus

LINK = 16
"""Where in a request the link to the next one is."""
LEAST_SIZE = LINK + 8
PER_MILLE = 1000
USER = "user"
DONE = "leaking_driver:done"


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A request that was forgotten."""

    address: int
    site: str
    cpu: CpuId
    at: Time


@dataclass(frozen=True, kw_only=True)
class LeakingDriver:
    """N threads with a queue each.

    Args:
        cpus: how many.
        size: bytes of a request.
        depth: requests of a queue.
        requests: of each thread; 0 = for ever.
        sites: call sites that allocate.
        leaky: of them, those that forget.
        leak: of a thousand requests of such a site, how many are forgotten.
        think: between two requests.
        linger: how long a thread sleeps when its last request is done, so that scans find what it lost.
        spread: which CPUs.
    """

    cpus: int
    size: int
    depth: int
    requests: int
    sites: int
    leaky: int
    leak: int
    think: Law
    linger: Time = 0
    spread: Spread = "compact"
    lost: list[Lost] = field(default_factory=list, init=False)

    headline = ""

    @property
    def endless(self) -> bool:
        """Its threads never end."""
        return not self.requests

    def start(self, host: Host) -> None:
        """A thread and a queue on each CPU."""
        memory = host.memory
        assert isinstance(memory, MemoryManager), "the driver writes into simulated memory"
        for cpu_id in choose_cpus(host.machine, self.cpus, self.spread):
            uniform = host.streams.stream("leaking_driver", cpu_id).random
            think = self.think.sampler(host.streams.stream("leaking_driver think", cpu_id))
            cpu, meter = host.cpus[cpu_id], host.meter.cpu(cpu_id)
            body = self._serve(cpu, meter, memory, Queue(memory, cpu), uniform, think)
            host.run_thread(cpu_id, f"driver/{cpu_id}", body)

    def _serve(
        self,
        cpu: Cpu,
        meter: CpuMeter,
        memory: MemoryManager,
        queue: "Queue",
        uniform: Callable[[], float],
        think: Sampler,
    ) -> Op[None]:
        """One thread's requests."""
        done = 0
        while not self.requests or done < self.requests:
            yield from cpu.look()
            began = cpu.clock
            site = f"leaking_driver:{int(uniform() * self.sites)}"
            address = memory.kmalloc_now(cpu, self.size) or (yield from memory.kmalloc(cpu, self.size, site))
            if address:
                yield from queue.link(address, self.size, site)
                if len(queue) > self.depth:
                    yield from self._finish(cpu, memory, queue, uniform)
            yield from cpu.look()
            if address:
                meter.done(cpu.clock - began)
            else:
                meter.failed += 1
            done += 1
            cpu.charge(think(), USER)
            yield from cpu.preempt_point()
        while len(queue):
            yield from self._finish(cpu, memory, queue, uniform)
        yield from queue.drop()
        if self.linger:
            yield from nap(cpu, self.linger, DONE)

    def _finish(
        self, cpu: Cpu, memory: MemoryManager, queue: "Queue", uniform: Callable[[], float]
    ) -> Op[None]:
        """The oldest request is done: it is freed, or lost."""
        address, site = yield from queue.take()
        is_leaky = int(site.rpartition(":")[2]) < self.leaky
        if not is_leaky or uniform() * PER_MILLE >= self.leak:
            if not memory.kfree_now(cpu, address):
                yield from memory.kfree(cpu, address, DONE)
            return
        yield from queue.drop()
        self.lost.append(Lost(address=address, site=site, cpu=cpu.id, at=cpu.clock))

    def results(self) -> Mapping[str, object]:
        """What was lost on purpose, by call site."""
        objects = Counter(one.site for one in self.lost)
        rows = [
            {"site": site, "objects": count, "bytes": count * self.size}
            for site, count in sorted(objects.items())
        ]
        lost = [{"site": one.site, "address": one.address, "lost_ns": one.at / NS} for one in self.lost]
        return {"planted_leaks": rows, "planted_objects": lost}


class Queue:
    """Requests in use, oldest first, linked in simulated memory.

    Args:
        memory: where the pointers are.
        cpu: whose thread has it.
    """

    def __init__(self, memory: MemoryManager, cpu: Cpu) -> None:
        self._pointers = memory.pointers
        self._cpu = cpu
        self._head = self._pointers.new_roots(f"driver/{cpu.id}.data", 1)
        self._stack = self._pointers.new_roots(f"driver/{cpu.id}.stack", 1)
        self._requests: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        """How many are in use."""
        return len(self._requests)

    def link(self, address: int, size: int, site: str) -> Op[None]:
        """A new one behind the youngest."""
        cpu, pointers = self._cpu, self._pointers
        yield from pointers.set_root(cpu, self._stack, 0, address)
        yield from pointers.clear(cpu, address, size)
        if self._requests:
            yield from pointers.store(cpu, self._requests[-1][0], LINK, address + LINK)
        else:
            yield from pointers.set_root(cpu, self._head, 0, address + LINK)
        self._requests.append((address, site))

    def take(self) -> Op[tuple[int, str]]:
        """The oldest one, from now on in the thread's hands only."""
        cpu, pointers = self._cpu, self._pointers
        address, site = self._requests.popleft()
        yield from pointers.set_root(cpu, self._stack, 0, address)
        following = self._requests[0][0] + LINK if self._requests else 0
        yield from pointers.set_root(cpu, self._head, 0, following)
        return address, site

    def drop(self) -> Op[None]:
        """The thread has nothing in its hands any more; synchronised afterwards."""
        yield from self._pointers.set_root(self._cpu, self._stack, 0, 0)
