"""Reclaim of file pages: the shrinker of the LRU lists.

    oldest inactive pages, 32 at a time -> isolated -> used since?  -> back, or active
                                                    -> mapped       -> unmapped, flushed in batches
                                                    -> dirty        -> handed to the device, freed later
                                                    -> clean        -> out of the file, freed

At priority p it scans 1/2**p of each list.  A page is kept for another round when it has been used
through an entry once, and made active when that happens again or it was used by calls twice;
activation is noticed here and not at the use.  Active pages become inactive, the oldest first,
when there are too few inactive ones.
Pages in zones that the request cannot use are looked past, which takes as long as taking them, and
do not count for how many are scanned.
Where all that was found waits for the device, so does the reclaimer.

Linux leaves dirty pages to flusher threads unless these are behind; here the reclaimer writes them.
Invariant: each page that is taken off a list is put back or freed.
Locking: the node's LRU lock around the lists; page locks are only tried.
Source: Linux mm/vmscan.c (`shrink_lruvec`, `shrink_inactive_list`, `shrink_folio_list`,
`folio_check_references`, `shrink_active_list`, `isolate_lru_folios`, `zone_reclaimable_pages`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.nap import nap
from coalsim.mm.cache.lists import MOST_SKIPPED, inactive_is_low
from coalsim.mm.cache.page import CachedPage
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.reclaim.kswapd import KSWAPD
from coalsim.mm.reclaim.shrinker import CLUSTER, RECLAIM
from coalsim.mm.virt.file_io import write_back
from coalsim.mm.virt.kernel import VmKernel
from coalsim.mm.virt.rmap import ReverseMap
from coalsim.units import MS, NodeId, Time

LONGEST_THROTTLE: Time = 100 * MS


class Verdict(Enum):
    """What the references to a page say."""

    RECLAIM = auto()
    CLEAN_ONLY = auto()  # used by a call once: not worth writing yet
    KEEP = auto()
    ACTIVATE = auto()


@dataclass
class Sorted:
    """What has become of isolated pages."""

    inactive: list[CachedPage] = field(default_factory=list)
    active: list[CachedPage] = field(default_factory=list)
    writing: list[tuple[CachedPage, Time]] = field(default_factory=list)
    freed: list[CachedPage] = field(default_factory=list)


class FileLru:
    """Gives back pages of files.

    Args:
        kernel: of virtual memory.
    """

    def __init__(self, kernel: VmKernel) -> None:
        self._kernel = kernel
        self._cache = kernel.cache
        self._rmap = ReverseMap(kernel)

    def reset(self) -> None:
        """Its counts are the page cache's."""

    def reclaimable(self, node: NodeId, context: AllocContext) -> int:
        """All pages of files, mapped and dirty ones too; none where the kernel keeps no lists."""
        if not self._kernel.frames.lru.is_on:
            return 0
        high = 0 if context.uses_high else self._cache.nr_high_file_pages[node]
        return self._cache.nr_file_pages[node] - high

    def shrink(
        self, cpu: Cpu, node: NodeId, want: int, priority: int, site: str, context: AllocContext
    ) -> Op[int]:
        """Scan the node's lists, 32 pages at a time, until `want` pages are free."""
        lru, lists = self._kernel.frames.lru, self._cache.lists[node]
        if not lru.is_on:
            return 0
        yield from lru.drain(cpu, site)
        yield from cpu.sync()
        inactive, active = lists.inactive.read(cpu), lists.active.read(cpu)
        with_high = context.uses_high
        left = lists.inactive.read(cpu, with_high=with_high) >> priority
        left_active = lists.active.read(cpu, with_high=with_high) >> priority
        freed = 0
        while (left > 0 or left_active > 0) and freed < want:
            if inactive_is_low(inactive, active) and left_active > 0:
                yield from self._refill(cpu, node, min(CLUSTER, left_active), site, with_high=with_high)
            left_active -= CLUSTER
            if left > 0:
                freed += yield from self._shrink_inactive(
                    cpu, node, min(CLUSTER, left), site, with_high=with_high
                )
                left -= CLUSTER
            yield from cpu.sync()
            inactive, active = lists.inactive.read(cpu), lists.active.read(cpu)
        return freed

    # -- the active list -----------------------------------------------------------------------

    def _refill(self, cpu: Cpu, node: NodeId, count: int, site: str, *, with_high: bool) -> Op[None]:
        """The oldest active pages become the youngest inactive ones; their references are forgotten."""
        pages, _ = yield from self._isolate(cpu, node, count, site, active=True, with_high=with_high)
        for page in pages:
            cpu.charge(self._kernel.costs.scan_page, RECLAIM)
            yield from self._rmap.referenced(cpu, page)
            yield from cpu.sync()
            page.is_hot = False
        self._cache.counts.pgdeactivate += len(pages)
        yield from self._put_back(cpu, node, Sorted(inactive=pages), site)

    # -- the inactive list ---------------------------------------------------------------------

    def _shrink_inactive(self, cpu: Cpu, node: NodeId, count: int, site: str, *, with_high: bool) -> Op[int]:
        """Free what can be freed of the oldest inactive pages; how many that were."""
        kernel = self._kernel
        pages, skipped = yield from self._isolate(cpu, node, count, site, active=False, with_high=with_high)
        if not pages and not skipped:
            return 0
        result = Sorted()
        locked = yield from self._choose(cpu, pages, result)
        mapped = [page for page in locked if page.mapped]
        if mapped:
            yield from self._rmap.try_to_unmap(cpu, mapped, kernel.switches.flush_batch)
        for page in locked:
            yield from self._dispose(cpu, page, result, site)
        yield from cpu.sync()
        self._count(node, len(pages) + skipped, result, site)
        yield from self._put_back(cpu, node, result, site)
        yield from kernel.frames.release(cpu, [page.pfn for page in result.freed], site, on_lru=False)
        if pages and len(result.writing) == len(pages):
            yield from self._throttle(cpu, site)
        return len(result.freed)

    def _count(self, node: NodeId, scanned: int, result: Sorted, site: str) -> None:
        """What a batch came to, when it is known and not at the end of a run of many; synchronised."""
        counts, freed = self._cache.counts, len(result.freed)
        counts.pgactivate += len(result.active)
        if site == KSWAPD:
            counts.pgscan_kswapd += scanned
            counts.pgsteal_kswapd += freed
            self._cache.stolen_by_kswapd[node] += freed
        else:
            counts.pgscan_direct += scanned
            counts.pgsteal_direct += freed

    def _choose(self, cpu: Cpu, pages: Sequence[CachedPage], result: Sorted) -> Op[list[CachedPage]]:
        """Those that are to be freed, locked; the others go where they belong."""
        chosen = []
        for page in pages:
            cpu.charge(self._kernel.costs.scan_page, RECLAIM)
            yield from cpu.sync()
            if page.is_being_written(cpu.clock):
                result.writing.append((page, page.written_at))
                continue
            if not page.try_lock(cpu, self._kernel.costs.folio_lock):
                result.inactive.append(page)
                continue
            verdict = yield from self._look_at_references(cpu, page)
            if verdict is Verdict.RECLAIM or (verdict is Verdict.CLEAN_ONLY and not page.dirty):
                chosen.append(page)
                continue
            (result.active if verdict is Verdict.ACTIVATE else result.inactive).append(page)
            yield from self._unlock(cpu, page)
        return chosen

    def _look_at_references(self, cpu: Cpu, page: CachedPage) -> Op[Verdict]:
        """Second chance; returns synchronised."""
        used = yield from self._rmap.referenced(cpu, page)
        yield from cpu.sync()
        was_referenced, page.referenced = page.referenced, False
        was_hot, page.is_hot = page.is_hot, False
        if used < 0:
            return Verdict.KEEP
        if used:
            page.referenced = True
            return Verdict.ACTIVATE if was_referenced or used > 1 else Verdict.KEEP
        if was_hot:
            return Verdict.ACTIVATE
        return Verdict.CLEAN_ONLY if was_referenced else Verdict.RECLAIM

    def _dispose(self, cpu: Cpu, page: CachedPage, result: Sorted, site: str) -> Op[None]:
        """Free a locked page, or have it written first."""
        yield from cpu.sync()
        if page.mapped or page.pins:
            result.inactive.append(page)
        elif page.dirty:
            done = yield from write_back(self._kernel, cpu, [page], site)
            result.writing.append((page, done))
        elif (yield from self._cache.remove(cpu, page, site)):
            result.freed.append(page)
        else:
            result.inactive.append(page)
        yield from self._unlock(cpu, page)

    def _throttle(self, cpu: Cpu, site: str) -> Op[None]:
        """Nothing goes on before the device has got a page."""
        yield from cpu.sync()
        wait = self._cache.device.next_written(cpu.clock) - cpu.clock
        if wait > 0:
            yield from nap(cpu, min(wait, LONGEST_THROTTLE), site)

    # -- lists and locks -----------------------------------------------------------------------

    def _isolate(
        self, cpu: Cpu, node: NodeId, count: int, site: str, *, active: bool, with_high: bool
    ) -> Op[tuple[list[CachedPage], int]]:
        """Take pages off a list; with how many were looked past."""
        lists, each = self._cache.lists[node], self._kernel.costs.isolate_page
        taken: list[CachedPage] = []
        skipped = 0

        def body(grant: Time) -> Time:
            nonlocal skipped
            pages, skipped = lists.isolate(cpu, grant, count, active=active, with_high=with_high)
            taken.extend(pages)
            return (len(taken) + skipped) * each

        most = count if with_high or not lists.high else count + MOST_SKIPPED
        yield from self._kernel.frames.lru.section(cpu, node, body, most * each, site)
        return taken, skipped

    def _put_back(self, cpu: Cpu, node: NodeId, result: Sorted, site: str) -> Op[None]:
        lists, each = self._cache.lists[node], self._kernel.costs.isolate_page
        kept = len(result.inactive) + len(result.active) + len(result.writing)

        def body(grant: Time) -> Time:
            lists.put_back(cpu, grant, result.inactive, result.active, result.writing)
            for page in result.freed:
                lists.forget(page)
            return kept * each

        yield from self._kernel.frames.lru.section(cpu, node, body, kept * each, site)

    def _unlock(self, cpu: Cpu, page: CachedPage) -> Op[None]:
        yield from page.unlock(cpu, self._kernel.costs.folio_lock, self._kernel.wake_latency)
