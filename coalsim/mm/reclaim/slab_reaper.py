"""Reaping object caches when memory is short: what the processors keep, the depots, empty slabs.

    magazines   an interrupt handler on every processor takes its magazines off, and nothing
                else; the reaper's own thread puts the full ones into the depots and the rounds
                of the others into the slabs, empties the depots, and frees empty slabs
    the others  a thread on every processor flushes its part (SLUB, sheaves), then the reaper
                frees empty slabs

Objects that a debug layer holds back (`kernel.debug_quarantine`) come first, on every processor, by
a thread: giving them back takes locks, which the magazines' handler does not.
Taking everything is more than the working-set minimum that a periodic reap takes.  Reclaim reaps
magazines at most once in REAP_INTERVAL, and leaves the others alone, as Linux does; a request that
reclaim has not helped reaps all there are, before anybody is killed.
Source: Bonwick and Adams, "Magazines and Vmem", USENIX ATC 2001, section 3.3; Linux mm/slub.c
(`__kmem_cache_shrink`, `flush_all`), mm/slab_common.c (`kmem_cache_shrink`, which has KASAN's
quarantine give up its objects first); illumos kmem.c (kmem_reap, kmem_reap_interval).
"""

from collections.abc import Callable, Sequence
from functools import partial

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.mm.kmem.kmalloc import Kmalloc
from coalsim.mm.kmem.magazine import Magazine
from coalsim.mm.kmem.magazine_cache import MagazineCache
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.reclaim.everywhere import on_each
from coalsim.profiles.costs import KernelCosts
from coalsim.units import SEC, CpuId, NodeId, Time

REAP = "reap caches"
WAIT = "reap caches:wait"
REAP_INTERVAL: Time = 15 * SEC
"""kmem_reap_interval: 15 s."""


class SlabReaper:
    """Gives back what object caches keep.

    Args:
        objects: whose caches.
        pages: to which slabs give their pages back.
        cpus: the processors.
        costs: of the kernel.
        flights: by processor, how long an interrupt takes to each other.
        send_cost: what sending one takes.
        wake_latency: from a wake-up to the thread's first step on an idle processor.
    """

    def __init__(
        self,
        objects: Kmalloc,
        pages: PageAllocator,
        cpus: Sequence[Cpu],
        costs: KernelCosts,
        flights: Callable[[CpuId], Sequence[Time]],
        send_cost: Time,
        wake_latency: Time,
    ) -> None:
        self._objects = objects
        self._pages = pages
        self._cpus = cpus
        self._costs = costs
        self._flights = flights
        self._send_cost = send_cost
        self._wake_latency = wake_latency
        self._began: Time = -REAP_INTERVAL
        self._ended: Time = -REAP_INTERVAL
        self._is_reaping = False
        self._has_magazines = any(isinstance(cache, MagazineCache) for cache in objects.caches)
        self._given = 0  # pages, by the reap that goes on
        self.release_held_back: Callable[[Cpu], Op[int]] | None = None  # of a debug layer, on one processor
        self.reaps = 0
        self.reaped = 0  # pages

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.reaps = self.reaped = 0

    @property
    def is_reaping(self) -> bool:
        """Somebody reaps; synchronised."""
        return self._is_reaping

    def reclaimable(self, node: NodeId, context: AllocContext) -> int:
        """Nobody knows before; as in Linux the hope for more memory counts pages of the LRU lists only."""
        return 0

    def shrink(
        self, cpu: Cpu, node: NodeId, want: int, priority: int, site: str, context: AllocContext
    ) -> Op[int]:
        """Reap all caches, of every node, if they have magazines and the last reap was long ago."""
        if not self._has_magazines:
            return 0
        yield from cpu.sync()
        if self._is_reaping or cpu.clock - self._began < REAP_INTERVAL:
            return 0
        return (yield from self._reap(cpu, site))

    def reap_since(self, cpu: Cpu, stalled: Time, site: str) -> Op[int]:
        """Reap, unless somebody else has since that time, or does; how many pages came back."""
        yield from cpu.sync()
        if self._is_reaping or self._ended >= stalled:
            return 0
        return (yield from self._reap(cpu, site))

    def _reap(self, cpu: Cpu, site: str) -> Op[int]:
        """Reap all caches, one reap at a time; synchronised."""
        self._is_reaping, self._began, self._given = True, cpu.clock, 0
        caches = [cache for cache in self._objects.caches if isinstance(cache, MagazineCache)]
        if self.release_held_back is not None and caches:
            yield from self._everywhere(cpu, self._release_held_back)
        if caches:
            detached = yield from self._detach_everywhere(cpu, caches)
            for cache in caches:
                magazines = [magazine for owner, magazine in detached if owner is cache]
                if magazines:
                    yield from self._counted(cpu, cache.put_back(cpu, magazines, site))
                yield from self._counted(cpu, cache.drain_shared(cpu, site))
        else:
            yield from self._everywhere(cpu, partial(self._flush_own, site=site))
            for any_cache in self._objects.caches:
                yield from self._counted(cpu, any_cache.drain_shared(cpu, site))
        yield from cpu.sync()
        self._is_reaping, self._ended = False, cpu.clock
        self.reaps += 1
        self.reaped += self._given
        return self._given

    def _everywhere(self, cpu: Cpu, work: Callable[[Cpu], Op[None]]) -> Op[None]:
        """Work of every processor, here and by a thread on each other one."""
        yield from work(cpu)
        others = [other for other in self._cpus if other is not cpu]
        yield from on_each(cpu, others, work, self._costs, self._wake_latency, REAP)

    def _release_held_back(self, cpu: Cpu) -> Op[None]:
        """What a processor holds back goes where freed objects go."""
        if self.release_held_back is not None:
            yield from self._counted(cpu, self.release_held_back(cpu))

    def _flush_own(self, cpu: Cpu, site: str) -> Op[None]:
        yield from self._release_held_back(cpu)
        for cache in self._objects.caches:
            yield from self._counted(cpu, cache.drain_cpu(cpu, site))

    def _counted(self, cpu: Cpu, work: Op[object]) -> Op[None]:
        """Do some work of this processor that does not sleep, and count the pages that it gives back."""
        yield from cpu.look()
        own = self._pages.own[cpu.id]
        before = own.owned_freed
        yield from work
        given = own.owned_freed - before
        yield from cpu.sync()
        self._given += given

    def _detach_everywhere(
        self, cpu: Cpu, caches: Sequence[MagazineCache]
    ) -> Op[list[tuple[MagazineCache, Magazine]]]:
        """Interrupt everybody; each handler takes its processor's magazines off."""
        detached: dict[CpuId, list[tuple[MagazineCache, Magazine]]] = {}
        cost = len(caches) * self._costs.magazine_detach

        def effect(target: Cpu) -> None:
            detached[target.id] = [(cache, one) for cache in caches for one in cache.detach(target.id)]

        yield from cpu.look()
        cpu.charge(cost, REAP)
        effect(cpu)
        others = [other for other in self._cpus if other is not cpu]
        if others:
            cpu.charge(self._send_cost, REAP)
            yield from cpu.sync()
            flights = self._flights(cpu.id)
            now, back = cpu.clock, [cpu.transfer[other.id] for other in self._cpus]
            shot: Shot[Cpu] = Shot(cpu, now, len(others), cost, effect, lambda target: back[target])
            cpu.send([(now + flights[other.id], other) for other in others], shot)
            yield from cpu.wait_for_answers(shot, WAIT)
            yield from cpu.sync()
        return [pair for target in sorted(detached) for pair in detached[target]]
