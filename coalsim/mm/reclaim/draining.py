"""Draining the per-CPU page lists when memory is short: frames on them are free, but not for others.

    remote   the drainer takes every list's frames itself: a list is told to let go, which
             its processor sees one lookahead later without being interrupted, and the drainer
             then pays for the list's lock, whose line is there, and frees under the zone's lock;
             a list that is being refilled, whose lock is held, lets go when that is over
    work     a thread on every processor drains its own lists when its turn comes; the drainer sleeps

One drain at a time, behind a mutex; who comes second drains what has come back since.
Source: Linux mm/page_alloc.c (`__drain_all_pages`; work items until 5.19, remote since
6.0, 443c2accd1b6).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.locks.base import Lock
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.zone import OwnList, Zone
from coalsim.mm.reclaim.everywhere import on_each
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.pressure_switches import DrainBy
from coalsim.units import FOREVER, Time

DRAIN = "drain page lists"
WAIT = "drain page lists:wait"
LIST_LINE = "line:pcp->lock"

Taken: TypeAlias = tuple[Cpu, Zone, list[int], int]
"""Whose, of which zone, the blocks and how many pages they are."""


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
        taken: list[Taken] = []
        yield from cpu.sync()
        # nothing crosses between processors in no time: a ps back; the way of the list's line is paid below
        shot: Shot[Cpu] = Shot(cpu, cpu.clock, len(others), 0, _nothing, lambda _: 1)
        for other in others:
            cpu.post(other, self._let_go(shot, taken))
        yield from cpu.wait_for_answers(shot, WAIT)
        yield from cpu.sync()
        for other, zone, heads, pages in sorted(taken, key=lambda one: (one[0].id, one[1].index)):
            cpu.charge(self._costs.pcp_lock, DRAIN)
            cpu.charge(cpu.transfer[other.id], LIST_LINE)
            self.drained += pages
            yield from zone.give_taken(cpu, heads, pages, site)

    def _let_go(self, shot: Shot[Cpu], taken: list[Taken]) -> Callable[[Cpu], None]:
        """What a processor is told: all frames on its lists go, and that is answered."""

        def setting(owner: Cpu) -> None:
            own, now = self._pages.own[owner.id], owner.env._now
            busy: OwnList | None = None
            ended = now
            for index in sorted(own.lists):
                mine, zone = own.lists[index], self._pages.zones[index]
                if mine.busy_until == FOREVER:
                    busy = mine
                    mine.when_free = partial(_take_later, owner, mine, zone, shot, taken)
                else:
                    ended = max(ended, mine.busy_until)
                    _take_all(owner, mine, zone, taken)
            if busy is None:
                shot.answer(owner.id, now, now, now, ended)

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


def _nothing(_: Cpu) -> None:
    """No interrupt comes, so no handler does anything."""


def _take_all(owner: Cpu, mine: OwnList, zone: Zone, taken: list[Taken]) -> None:
    """All frames of a list are on their way to the zone."""
    pages = mine.pages.count
    if pages:
        heads = mine.pages.take_coldest(pages)
        for head in heads:
            mine.fresh.pop(head, None)
        zone.moving += pages
        taken.append((owner, zone, heads, pages))


def _take_later(owner: Cpu, mine: OwnList, zone: Zone, shot: Shot[Cpu], taken: list[Taken]) -> None:
    """The same at the end of a refill."""
    _take_all(owner, mine, zone, taken)
    ended = mine.busy_until
    shot.answer(owner.id, ended, ended, ended, ended)
