"""kswapd: the reclaimer of one node, a thread that runs while a zone of it is short.

    asleep --a request finds a zone below low--> runs, round after round --all above high--> asleep
                                                       --16 runs in vain--> hopeless: asleep until
                                                                            somebody else reclaims

It runs on a processor of its node: one that idles, if there is any, else the first, where it
takes turns with what runs there.  The thread is made when it is woken and ends when it sleeps.
Source: Linux mm/vmscan.c (`kswapd`, `balance_pgdat`, `pgdat_balanced`, MAX_RECLAIM_RETRIES).
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.locks.nap import make_ready
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.reserve import fill_reserve
from coalsim.mm.phys.zone import HIGH, Zone
from coalsim.mm.reclaim.shrinker import CLUSTER, FIRST_PRIORITY, NodeReclaim
from coalsim.units import NodeId, Time

KSWAPD = "kswapd"
RUNS_IN_VAIN = 16
"""After so many without a page the node is given up."""


class Kswapd:
    """The reclaimer of one node.

    Args:
        node: whose.
        zones: of the node.
        cpus: of the node, or all where it has none.
        reclaim: how memory is got back.
        pages: the page allocator, whose reserve it tops up.
        wake_latency: from a wake-up to the thread's first step on an idle processor.
    """

    def __init__(
        self,
        node: NodeId,
        zones: Sequence[Zone],
        cpus: Sequence[Cpu],
        reclaim: NodeReclaim,
        pages: PageAllocator,
        wake_latency: Time,
    ) -> None:
        self.node = node
        self._zones = zones
        self._cpus = cpus
        self._reclaim = reclaim
        self._pages = pages
        self._wake_latency = wake_latency
        self.is_running = False
        self._for = AllocContext.KERNEL  # who woke it: its zones are to be above their high marks
        self.failures = 0  # runs in vain, one after the other
        self.runs = 0

    @property
    def is_hopeless(self) -> bool:
        """It has given up."""
        return self.failures >= RUNS_IN_VAIN

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.runs = 0

    def serves(self, context: AllocContext) -> bool:
        """The node has a zone that a request may use."""
        return any(context.uses_high or not zone.is_high for zone in self._zones)

    def wake(self, cpu: Cpu, context: AllocContext) -> bool:
        """A zone that a request may use is short; whether that made it run.  Synchronised."""
        if self.is_running or self.is_hopeless or not self.serves(context):
            return False
        if self._is_balanced(cpu, context):
            return False
        self.is_running = True
        self._for = context
        self.runs += 1
        target = next((other for other in self._cpus if other.is_idle), self._cpus[0])
        make_ready(target, Thread(f"{KSWAPD}{self.node}", self._run(target)), cpu.clock + self._wake_latency)
        return True

    def _run(self, cpu: Cpu) -> Op[None]:
        """Reclaim until the node is balanced or there is no hope."""
        yield from cpu.sync()
        while not self._is_balanced(cpu) and not self.is_hopeless:
            gained = 0
            for priority in range(FIRST_PRIORITY, 0, -1):
                gained += yield from self._at(cpu, priority)
                yield from cpu.sync()
                if self._is_balanced(cpu):
                    break
            self.failures = 0 if gained else self.failures + 1
            yield from cpu.sync()
        if self._pages.reserve is not None and self._is_balanced(cpu):
            yield from fill_reserve(self._pages, cpu, KSWAPD)
            yield from cpu.sync()
        self.is_running = False

    def _at(self, cpu: Cpu, priority: int) -> Op[int]:
        """Rounds at one priority, as long as each gets what it is after; how many pages came back."""
        gained = 0
        while True:
            freed = yield from self._reclaim.round(cpu, self.node, CLUSTER, priority, KSWAPD, self._for)
            gained += freed
            yield from cpu.preempt_point()
            yield from cpu.sync()
            if freed < CLUSTER or self._is_balanced(cpu):
                return gained

    def _is_balanced(self, cpu: Cpu, context: AllocContext | None = None) -> bool:
        """A zone could serve who asks, or who woke it, and stay above its high mark; synchronised."""
        asker = context or self._for
        return any(
            zone.free.read(cpu) > zone.mark(asker, HIGH)
            for zone in self._zones
            if asker.uses_high or not zone.is_high
        )
