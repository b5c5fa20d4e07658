"""The slow path of an allocation: no zone is above what the request has to leave.

    direct reclaim -> again -> reap caches, drain page lists -> again -> ... 16 rounds without a page
                   -> OOM killer -> sleep a tick -> again

    ATOMIC   cannot wait: it has had its chance, and fails
    RESERVE  takes from the emergency reserve, or fails
    KERNEL   fails when nobody is left to be killed; blocks of more than 8 pages after the first round
    USER     the kernel panics when nobody is left to be killed; a victim's own request fails
    AHEAD    fails after the first direct reclaim
    MUST     takes from the emergency reserve at the end, and panics when that is empty too

Who names the one node that it wants (`__GFP_THISNODE`) gets nobody killed: it fails where others
go to the OOM killer.
Reclaim is done by the thread that needs the memory, in its own time, and may sleep; who holds a
lock that forbids that has to ask with ATOMIC.
Source: Linux mm/page_alloc.c (`__alloc_pages_slowpath`, `should_reclaim_retry`,
`__alloc_pages_may_oom`).
"""

from collections.abc import Callable, Mapping, Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.locks.lockdep import check_may_sleep
from coalsim.locks.nap import nap
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.pages import NONE, PageAllocator
from coalsim.mm.phys.reserve import take_reserved
from coalsim.mm.phys.zone import FLOOR, HIGH, VICTIM
from coalsim.mm.reclaim.draining import PageDrain
from coalsim.mm.reclaim.kswapd import Kswapd
from coalsim.mm.reclaim.oom import PANIC, Need, OomKiller
from coalsim.mm.reclaim.oom_reaper import OomReaper
from coalsim.mm.reclaim.oom_report import stamped
from coalsim.mm.reclaim.shrinker import CLUSTER, FIRST_PRIORITY, RECLAIM, NodeReclaim, Shrinker
from coalsim.mm.reclaim.slab_reaper import SlabReaper
from coalsim.mm.virt.space import AddressSpace
from coalsim.profiles.costs import KernelCosts
from coalsim.units import NodeId, Pfn, Time

COSTLY_ORDER = 3
"""Nobody is killed for blocks of more than 2**3 pages."""
NOBODY = "Out of memory and no killable processes..."
ROUNDS_IN_VAIN = 16
SHORTEST_NAP: Time = 1_000_000_000
"""1 ms, where the kernel has no tick to count by."""


class PressureCounts:
    """Under the names of /proc/vmstat."""

    FIELDS = ("allocstall", "allocstall_movable", "drain_pages")

    __slots__ = FIELDS

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.allocstall = self.drain_pages = 0
        self.allocstall_movable = 0  # of those, for pages of processes


class SlowPath:
    """`Pressure` of a kernel that reclaims.

    Args:
        pages: the page allocator.
        reclaim: how memory is got back.
        kswapds: by node.
        drain: of the per-CPU lists.
        slab_reaper: of object caches.
        oom, oom_reaper: the OOM killer, and who takes its victims' memory.
        costs: of the kernel.
        tick: of the kernel; 0: none.
    """

    def __init__(
        self,
        pages: PageAllocator,
        reclaim: NodeReclaim,
        kswapds: Mapping[NodeId, Kswapd],
        drain: PageDrain,
        slab_reaper: SlabReaper,
        oom: OomKiller,
        oom_reaper: OomReaper,
        costs: KernelCosts,
        tick: Time,
    ) -> None:
        self._pages = pages
        self._reclaim = reclaim
        self.kswapds = kswapds
        self.drain = drain
        self.slab_reaper = slab_reaper
        self.oom = oom
        self.oom_reaper = oom_reaper
        self._costs = costs
        self._nap = tick or SHORTEST_NAP
        self.counts = PressureCounts()
        self.flush_lazily_freed: Callable[[Cpu], Op[None]] | None = None  # what waits for a lazy flush

    def add_shrinker(self, shrinker: Shrinker) -> None:
        """One more who can give memory back, asked before the others; before the run."""
        self._reclaim.shrinkers.insert(0, shrinker)

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.counts.reset()
        self.drain.reset()
        for kswapd in self.kswapds.values():
            kswapd.reset()
        for shrinker in self._reclaim.shrinkers:
            shrinker.reset()

    def is_victim(self, cpu: Cpu) -> bool:
        """The running thread's process has been chosen by the OOM killer; synchronised."""
        space = None if cpu.current is None else cpu.current.space
        return isinstance(space, AddressSpace) and space.is_victim

    def wake(self, cpu: Cpu, order: int, nodes: Sequence[NodeId], context: AllocContext) -> None:
        """Start the reclaimers of nodes that are not balanced; synchronised."""
        woken = sum(self.kswapds[node].wake(cpu, context) for node in nodes if node in self.kswapds)
        cpu.charge(woken * self._costs.wake_up, RECLAIM)

    def slow_path(
        self,
        cpu: Cpu,
        order: int,
        nodes: Sequence[NodeId],
        site: str,
        context: AllocContext,
        *,
        may_kill: bool,
    ) -> Op[Pfn]:
        """Get memory back and a block of it; -1: it cannot be had.

        Raises:
            KernelPanic: the context cannot fail, or nobody can be killed.
        """
        if context is AllocContext.RESERVE:
            return (yield from take_reserved(self._pages, cpu, site)) if not order else NONE
        if not context.may_sleep:
            return NONE
        check_may_sleep(cpu, site)
        yield from cpu.sync()
        stalled, in_vain = cpu.clock, 0
        while True:
            self.counts.allocstall_movable += context.uses_high
            gained = yield from self._direct(cpu, nodes, site, context, is_first=not in_vain)
            found = yield from self._try(cpu, order, nodes, site, context)
            if found >= 0 or context.gives_up_soon:
                return found
            if not gained and not in_vain:
                self.counts.drain_pages += 1
                gained += yield from self.slab_reaper.reap_since(cpu, stalled, site)
                gained += yield from self.drain.drain(cpu, site)  # what was reaped lies on lists
                found = yield from self._try(cpu, order, nodes, site, context)
                if found >= 0:
                    return found
            yield from cpu.sync()
            if self.is_victim(cpu) and context is not AllocContext.MUST:
                return NONE
            if order > COSTLY_ORDER and context is not AllocContext.MUST:
                return NONE
            in_vain = 0 if gained and order <= COSTLY_ORDER else in_vain + 1
            if in_vain < ROUNDS_IN_VAIN and self._reclaim.reclaimable(nodes, context) > 0:
                continue
            if not may_kill and context is not AllocContext.MUST:
                return NONE
            if self.slab_reaper.is_reaping:  # what comes of it may be enough
                yield from nap(cpu, self._nap, site)
                continue
            need = Need(order=order, nodes=tuple(nodes), context=context, site=site)
            if not may_kill:
                return (yield from self._last_resort(cpu, need))
            if (yield from self.oom.begin(cpu, need)):
                # above the high mark: only to see what a victim has left that has just gone
                found = yield from self._pages.first_of(cpu, order, nodes, site, context, HIGH)
                if found >= 0:
                    yield from cpu.sync()
                    self.oom.never_mind()
                    return found
                if not (yield from self.oom.out_of_memory(cpu, need)):
                    return (yield from self._last_resort(cpu, need))
            in_vain = 0
            yield from nap(cpu, self._nap, site)
            stalled = cpu.clock

    def _try(
        self, cpu: Cpu, order: int, nodes: Sequence[NodeId], site: str, context: AllocContext
    ) -> Op[Pfn]:
        yield from cpu.sync()
        above = VICTIM if self.is_victim(cpu) else FLOOR
        return (yield from self._pages.first_of(cpu, order, nodes, site, context, above))

    def _direct(
        self, cpu: Cpu, nodes: Sequence[NodeId], site: str, context: AllocContext, *, is_first: bool
    ) -> Op[int]:
        """Direct reclaim: how many pages came back.  A node that gives any has hope again."""
        self.counts.allocstall += 1
        if is_first and self.flush_lazily_freed is not None:
            yield from self.flush_lazily_freed(cpu)
        gained = 0
        usable = [node for node in nodes if node in self.kswapds and self.kswapds[node].serves(context)]
        for priority in range(FIRST_PRIORITY, 0, -1):
            for node in usable:
                want = CLUSTER - gained
                freed = yield from self._reclaim.round(cpu, node, want, priority, site, context)
                if freed:
                    yield from cpu.sync()
                    self.kswapds[node].failures = 0
                gained += freed
                if gained >= CLUSTER:
                    return gained
        return gained

    def _last_resort(self, cpu: Cpu, need: Need) -> Op[Pfn]:
        """Nobody can be killed.

        Raises:
            KernelPanic: the request cannot fail.
        """
        if need.context is AllocContext.KERNEL:
            return NONE
        if need.context is AllocContext.MUST and not need.order:
            found = yield from take_reserved(self._pages, cpu, need.site)
            if found >= 0:
                return found
        report = yield from self.oom.report(cpu, need)
        verdict = stamped(cpu.clock, [NOBODY, f"{PANIC}: System is deadlocked on memory"])
        raise KernelPanic(f"{report}\n{verdict}")
