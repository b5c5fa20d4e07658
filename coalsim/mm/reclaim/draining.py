"""Draining the per-CPU page lists when memory is short: frames on them are free, but not for others.

    remote   the drainer takes every list's frames itself: a list is told to let go, which
             its processor sees one lookahead later without being interrupted, and the drainer
             then pays for the list's lock, whose line is there, and frees under the zone's lock
    work     a thread on every processor drains its own lists when its turn comes; the drainer sleeps

One drain at a time, behind a mutex; who comes second drains what has come back since.
Source: Linux mm/page_alloc.c (`__drain_all_pages`; work items until 5.19, remote since
6.0, 443c2accd1b6).
"""

from collections.abc import Callable, Sequence
from functools import partial

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Lock
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.zone import Zone
from coalsim.mm.reclaim.everywhere import on_each
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.pressure_switches import DrainBy
from coalsim.units import Time

DRAIN = "drain page lists"
WAIT = "drain page lists:wait"
LIST_LINE = "line:pcp->lock"


class PageDrain:
    """Drains all processors' lists.

    Args:
        pages: whose lists.
        cpus: the processors.
        costs: of the kernel.
        lock: a sleeping lock, one drain at a time.
        by: who does it.
        wake_latency: from a wake-up to the thread's first step on an idle processor.
    """

    def __init__(
        self,
        pages: PageAllocator,
        cpus: Sequence[Cpu],
        costs: KernelCosts,
        lock: Lock,
        by: DrainBy,
        wake_latency: Time,
    ) -> None:
        self._pages = pages
        self._cpus = cpus
        self._costs = costs
        self._lock = lock
        self._by = by
        self._wake_latency = wake_latency
        self.drains = 0
        self.drained = 0  # pages

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.drains = self.drained = 0

    def drain(self, cpu: Cpu, site: str) -> Op[int]:
        """Empty all lists; how many pages that gave back."""
        yield from self._lock.acquire(cpu, site)
        before = self.drained
        self.drains += 1
        yield from self._drain_own(cpu, site)
        others = [other for other in self._cpus if other is not cpu]
        if others:
            drain = self._remotely if self._by == "remote" else self._by_work
            yield from drain(cpu, others, site)
        gained = self.drained - before
        yield from self._lock.release(cpu)
        return gained

    def _remotely(self, cpu: Cpu, others: Sequence[Cpu], site: str) -> Op[None]:
        """Take everybody's frames from here."""
        taken: list[tuple[Cpu, Zone, list[int], int]] = []
        at = max(cpu.post(other, self._let_go(taken)) for other in others)
        yield from cpu.wait_until(at, WAIT)
        yield from cpu.sync()
        for other, zone, heads, pages in taken:
            cpu.charge(self._costs.pcp_lock, DRAIN)
            cpu.charge(cpu.transfer[other.id], LIST_LINE)
            self.drained += pages
            yield from zone.give_taken(cpu, heads, pages, site)

    def _let_go(self, taken: list[tuple[Cpu, Zone, list[int], int]]) -> Callable[[Cpu], None]:
        """What a processor's lists are told: all their frames go."""

        def setting(owner: Cpu) -> None:
            own = self._pages.own[owner.id]
            for index in sorted(own.lists):
                mine, zone = own.lists[index], self._pages.zones[index]
                pages = mine.pages.count
                if pages:
                    heads = mine.pages.take_coldest(pages)
                    for head in heads:
                        mine.fresh.pop(head, None)
                    zone.moving += pages
                    taken.append((owner, zone, heads, pages))

        return setting

    def _by_work(self, cpu: Cpu, others: Sequence[Cpu], site: str) -> Op[None]:
        """Let everybody do it, and sleep until they have."""
        yield from on_each(
            cpu, others, partial(self._drain_own, site=site), self._costs, self._wake_latency, DRAIN
        )

    def _drain_own(self, cpu: Cpu, site: str) -> Op[None]:
        """A processor empties its own lists."""
        yield from cpu.look()
        pages = sum(mine.pages.count for mine in self._pages.own[cpu.id].lists.values())
        yield from self._pages.drain_cpu(cpu, site)
        yield from cpu.sync()
        self.drained += pages
