"""The reverse map: from a page of a file to all entries that lead to it.

    referenced     has anybody used the page? test and clear A, without a flush, as x86 does
    try_to_unmap   clear the entries, keep what they wrote, flush in batches
    make_clean     take the right to write away, so that the next write is noticed

The entries are found by the file's list of spaces and their areas, and looked at under the locks of
their tables; mremap moves none of them meanwhile.

With `kernel.flush_batch` 1 each entry is flushed under its table's lock.  With more, so many
entries of all spaces are cleared before one flush per space, which comes before the pages can be
freed or written; whoever works on entries of such a space meanwhile flushes first
(`flush_pending`).  Linux sends one interrupt for the batch to all CPUs of all its spaces; here
it is one flush for each space in it, since a policy flushes one context at a time.
Source: Linux mm/rmap.c (`folio_referenced`, `try_to_unmap`, `set_tlb_ubc_flush_pending`,
`flush_tlb_batched_pending`), commit 72b252aed506.
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment
from coalsim.engine.clock import Op
from coalsim.mm.cache.page import FOLIO_LINE, CachedPage
from coalsim.mm.paging.entry import ACCESSED, DIRTY, PRESENT, WRITABLE, pfn_of
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.virt.file_areas import places
from coalsim.mm.virt.kernel import TABLE_LINE, VmKernel
from coalsim.mm.virt.rss import RSS_LINE
from coalsim.mm.virt.space import AddressSpace
from coalsim.units import Vpn

RMAP = "reverse map"
UNMAP = "try_to_unmap"
CLEAN = "writeback"
UNKNOWN = -1
"""Somebody is changing who maps the file."""


class ReverseMap:
    """Ways from pages to entries.

    Args:
        kernel: whose.
    """

    def __init__(self, kernel: VmKernel) -> None:
        self._kernel = kernel

    # -- who leads to a page -----------------------------------------------------------------

    def _mappings(self, page: CachedPage) -> list[tuple[AddressSpace, Vpn]]:
        """Where the page may be mapped; synchronised."""
        found = []
        for space in page.file.mappers:
            assert isinstance(space, AddressSpace), "only address spaces map files"
            if not space.is_dead:
                found += [(space, Vpn(vpn)) for vpn in places(space, page.file, page.index)]
        return [(space, vpn) for space, vpn in found if self._leads_to(space, vpn, page)]

    def _leads_to(self, space: AddressSpace, vpn: Vpn, page: CachedPage) -> bool:
        entry = space.tables.lookup(vpn) if space.tables.is_started else 0
        return bool(entry & PRESENT) and pfn_of(entry) == page.pfn

    def referenced(self, cpu: Cpu, page: CachedPage) -> Op[int]:
        """Entries through which the page has been used since the last time, or `UNKNOWN`."""
        yield from cpu.sync()
        if not page.mapped:
            return 0
        if not (yield from page.file.i_mmap.try_read(cpu, RMAP)):
            return UNKNOWN
        yield from cpu.sync()
        used = 0
        for space, vpn in self._mappings(page):
            cpu.charge(self._kernel.costs.rmap_walk, RMAP)
            lock = space.table_lock(vpn)
            yield from lock.acquire(cpu, RMAP)
            yield from cpu.sync()
            if self._leads_to(space, vpn, page):
                entry = space.tables.lookup(vpn)
                if entry & ACCESSED:
                    used += 1
                    space.tables.exchange(vpn, entry & ~ACCESSED)
                    cpu.charge(self._kernel.line_cost(cpu, space.tables.tree_near(cpu), vpn), TABLE_LINE)
            yield from lock.release(cpu)
        yield from page.file.i_mmap.release_read(cpu)
        return used

    # -- unmapping -----------------------------------------------------------------------------

    def try_to_unmap(self, cpu: Cpu, pages: Sequence[CachedPage], flush_batch: int) -> Op[list[CachedPage]]:
        """Clear all entries that lead to these pages, which are locked; those that nobody uses any more.

        What was cleared has been flushed.
        """
        batch: dict[AddressSpace, Flush] = {}
        for page in pages:
            yield from page.file.i_mmap.acquire_read(cpu, UNMAP)
            yield from cpu.sync()
            for space, vpn in self._mappings(page):
                yield from self._unmap_at(cpu, space, vpn, page, batch, flush_batch)
            yield from page.file.i_mmap.release_read(cpu)
            if sum(len(request.vpns) for request in batch.values()) >= flush_batch:
                yield from self._flush(cpu, batch)
        yield from self._flush(cpu, batch)
        yield from cpu.sync()
        return [page for page in pages if not page.mapped]

    def _unmap_at(
        self,
        cpu: Cpu,
        space: AddressSpace,
        vpn: Vpn,
        page: CachedPage,
        batch: dict[AddressSpace, Flush],
        flush_batch: int,
    ) -> Op[None]:
        """Clear one entry, under its table's lock."""
        kernel, tables = self._kernel, space.tables
        cpu.charge(kernel.costs.rmap_walk, RMAP)
        lock = space.table_lock(vpn)
        yield from lock.acquire(cpu, UNMAP)
        yield from cpu.sync()
        if self._leads_to(space, vpn, page):
            request = batch.get(space) or self._open(space, vpn, batch)
            line = kernel.line_cost(cpu, space.tables.tree_near(cpu), vpn)
            counting, references = space.rss.settle(cpu, -1, file=-1), page.count(cpu)
            moment = Moment(cpu.env._now, cpu.id, UNMAP)
            pending = f"flush after generation {space.context.generation} for {UNMAP}"
            if tables.is_tracked:
                request.sharers |= tables.sharers(vpn)
            old, copies = tables.exchange(vpn, 0)
            request.dead += space.context.end_translation(vpn, moment, pending)
            request.vpns.append(vpn)
            request.first, request.last = Vpn(min(request.first, vpn)), Vpn(max(request.last, vpn + 1))
            self._note_unflushed(space, request)
            space.counts.resident -= 1
            kernel.cache.unmap(page)
            kernel.cache.counts.pages_unmapped += 1
            cpu.charge(copies * kernel.costs.zap_page, UNMAP)
            for cost, cause in ((line, TABLE_LINE), (counting, RSS_LINE), (references, FOLIO_LINE)):
                if cost:
                    cpu.charge(cost, cause)
            if old & DIRTY:
                yield from kernel.cache.set_dirty(cpu, page, UNMAP)
            if flush_batch == 1:
                yield from self._flush(cpu, batch)
        yield from lock.release(cpu)

    def _open(self, space: AddressSpace, vpn: Vpn, batch: dict[AddressSpace, Flush]) -> Flush:
        """The first entry of a space in this batch."""
        request = batch[space] = _request(space, vpn, UNMAP)
        return request

    def _note_unflushed(self, space: AddressSpace, request: Flush) -> None:
        """It has one more entry; somebody may have flushed those before, so it is written down again."""
        waiting = self._kernel.unflushed.setdefault(space.number, [])
        if request not in waiting:
            waiting.append(request)

    def _flush(self, cpu: Cpu, batch: dict[AddressSpace, Flush]) -> Op[None]:
        """One flush per space."""
        kernel = self._kernel
        for space, request in batch.items():
            kernel.cache.counts.reclaim_flushes += 1
            yield from kernel.policy.flush(cpu, request)
            yield from cpu.sync()
            request.promise(Moment(cpu.clock, cpu.id, UNMAP))
            _strike_unflushed(kernel, space, [request])
        batch.clear()

    # -- before writing ---------------------------------------------------------------------------

    def make_clean(self, cpu: Cpu, page: CachedPage) -> Op[None]:
        """No entry writes the locked page any more, and none says that it has been written.

        Each is flushed under its table's lock.
        """
        yield from page.file.i_mmap.acquire_read(cpu, CLEAN)
        yield from cpu.sync()
        for space, vpn in self._mappings(page):
            cpu.charge(self._kernel.costs.rmap_walk, RMAP)
            lock = space.table_lock(vpn)
            yield from lock.acquire(cpu, CLEAN)
            yield from cpu.sync()
            if self._leads_to(space, vpn, page) and space.tables.lookup(vpn) & (WRITABLE | DIRTY):
                yield from self._protect(cpu, space, vpn)
            yield from lock.release(cpu)
        yield from page.file.i_mmap.release_read(cpu)
        yield from cpu.sync()

    def _protect(self, cpu: Cpu, space: AddressSpace, vpn: Vpn) -> Op[None]:
        kernel = self._kernel
        request = _request(space, vpn, CLEAN)
        request.keeps_frames = True
        pending = f"flush after generation {space.context.generation} for {CLEAN}"
        moment = Moment(cpu.env._now, cpu.id, CLEAN)
        line = kernel.line_cost(cpu, space.tables.tree_near(cpu), vpn)
        if space.tables.is_tracked:
            request.sharers = space.tables.sharers(vpn)
        entry = space.tables.lookup(vpn)
        _, copies = space.tables.exchange(vpn, entry & ~(WRITABLE | DIRTY))
        request.dead += space.context.end_translation(vpn, moment, pending, lost_frame=False)
        request.vpns.append(vpn)
        request.first, request.last = vpn, Vpn(vpn + 1)
        cpu.charge(copies * kernel.costs.pte_protect, CLEAN)
        if line:
            cpu.charge(line, TABLE_LINE)
        yield from kernel.policy.flush(cpu, request)
        yield from cpu.sync()
        request.promise(Moment(cpu.clock, cpu.id, CLEAN))


def _request(space: AddressSpace, vpn: Vpn, reason: str) -> Flush:
    """A flush of nothing yet."""
    sharers = 0 if space.tables.is_tracked else -1
    return Flush(context=space.context, first=vpn, last=vpn, reason=reason, sharers=sharers)


def flush_pending(space: AddressSpace, cpu: Cpu, site: str) -> Op[None]:
    """What reclaim has cleared and not flushed yet in this space is flushed now.

    The lock of a table is held, whose entries are to be worked on.  Others who come while the flush is
    under way flush too: until it is done, stale translations are used.
    """
    yield from cpu.sync()
    kernel = space.kernel
    waiting = kernel.unflushed.get(space.number)
    if waiting is None:
        return
    known = [(request, len(request.vpns)) for request in waiting]
    kernel.cache.counts.pending_flushes += 1
    request = Flush(
        context=space.context,
        first=Vpn(0),
        last=Vpn(kernel.geometry.user_pages),
        reason=site,
        keeps_frames=True,
        full=True,
    )
    yield from kernel.policy.flush(cpu, request)
    yield from cpu.sync()
    _strike_unflushed(kernel, space, [request for request, count in known if len(request.vpns) == count])


def _strike_unflushed(kernel: VmKernel, space: AddressSpace, flushed: Sequence[Flush]) -> None:
    """All entries of these have been flushed, by whomever."""
    waiting = kernel.unflushed.get(space.number, [])
    for request in flushed:
        if request in waiting:
            waiting.remove(request)
    if not waiting:
        kernel.unflushed.pop(space.number, None)
