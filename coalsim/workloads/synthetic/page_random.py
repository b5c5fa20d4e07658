"""Page random: pages are freed in random order by CPUs that did not allocate them.

All CPUs allocate their share; the first one's thread shuffles all blocks among all
CPUs; then each frees what it was dealt.  Only the frees are counted: they meet
descriptors that other CPUs wrote and blocks whose buddies are scattered.  Neither the
allocations nor the shuffle (which takes no simulated time) are operations.
Source: Wrenger and others, "LLFree: scalable and optionally-persistent page-frame
allocation", USENIX ATC 2023; its kernel module, test `rand`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.workloads.base import CpuMeter, Host, Memory, Rendezvous
from coalsim.workloads.synthetic.page_bulk import check_order, release, thread_mean
from coalsim.workloads.synthetic.places import Spread, choose_cpus

SITE = "page_random"


@dataclass(frozen=True, kw_only=True)
class PageRandom:
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
    meters: list[CpuMeter] = field(default_factory=list, init=False, repr=False)

    endless = False
    headline = "free"

    def start(self, host: Host) -> None:
        """One thread per CPU."""
        check_order(host.memory, self.order)
        gate = Rendezvous(self.cpus)
        hands: list[list[int]] = [[] for _ in range(self.cpus)]
        uniform = host.streams.stream("page_random shuffle").random
        for number, cpu_id in enumerate(choose_cpus(host.machine, self.cpus, self.spread)):
            meter = host.meter.cpu(cpu_id, "free", apart=True)
            self.meters.append(meter)
            body = self._thread(host.cpus[cpu_id], number, meter, host.memory, gate, hands, uniform)
            host.run_thread(cpu_id, "page_random", body)

    def _thread(
        self,
        cpu: Cpu,
        number: int,
        meter: CpuMeter,
        memory: Memory,
        gate: Rendezvous,
        hands: list[list[int]],
        uniform: Callable[[], float],
    ) -> Op[None]:
        for _ in range(max(1, self.frames_per_cpu >> self.order)):
            head = memory.alloc_pages_now(cpu, self.order)
            if head < 0:
                head = yield from memory.alloc_pages(cpu, self.order, SITE)
            if head < 0:
                break
            hands[number].append(head)
        yield from gate.meet(cpu)
        if not number:
            _shuffle(hands, uniform)
        yield from gate.meet(cpu)
        yield from release(cpu, meter, memory, self.order, hands[number], SITE)

    def results(self) -> Mapping[str, object]:
        """The mean over the threads."""
        mean = thread_mean(self.meters)
        return {"phases": {"free": {"thread_mean_ns": mean}}} if mean else {}


def _shuffle(hands: list[list[int]], uniform: Callable[[], float]) -> None:
    """Deal all blocks anew; each hand keeps its size (Fisher and Yates)."""
    pool = [head for hand in hands for head in hand]
    for last in range(len(pool) - 1, 0, -1):
        other = int(uniform() * (last + 1))
        pool[last], pool[other] = pool[other], pool[last]
    at = 0
    for hand in hands:
        hand[:] = pool[at : at + len(hand)]
        at += len(hand)
