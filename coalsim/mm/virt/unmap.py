"""Unmapping: entries are cleared, TLBs flushed, and only then are frames given back.

    begin -> [lock the leaf table, clear entries, unlock]* -> free empty tables -> flush -> release -> end
                     |-- the gather is full: flush and release in between

Pages of files are only let go: they stay in memory, keep what was written to them, and entries
that could write them are flushed before the table's lock is dropped.

What dies is collected and flushed together: one shootdown for the whole call, or one for
each `gather_pages` pages.  The range that is flushed is the span of what was cleared.
If another thread of the process unmaps at the same time, newer kernels flush everything
and tables too, since the two cannot tell whose entries a processor still holds; so does
one that found nothing left to clear, since the other may not have flushed yet.
Reuse: a frame is released after the policy's promise and not before; tables likewise.  A
frame that other spaces map too counts as mapped here until then: the last of them must
not free it while a TLB of this one still leads there.
Source: Linux mm/mmu_gather.c, mm/memory.c (unmap_vmas, free_pgtables).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment, Translation
from coalsim.engine.clock import Op
from coalsim.mm.cache.page import FOLIO_LINE, CachedPage
from coalsim.mm.paging.entry import ACCESSED, DIRTY, pfn_of
from coalsim.mm.shootdown.request import Flush, Release
from coalsim.mm.virt.kernel import TABLE_LINE
from coalsim.mm.virt.rmap import flush_pending
from coalsim.mm.virt.rss import RSS_LINE
from coalsim.mm.virt.space import AddressSpace
from coalsim.units import Pfn, Time, Vpn

ZAP = "unmap pages"
TABLES = "page tables"


@dataclass
class Gathered:
    """What has been cleared and not been flushed."""

    first: int = 1 << 62
    last: int = 0
    dead: list[Translation] = field(default_factory=list)
    frames: list[Pfn] = field(default_factory=list)
    shared: list[Pfn] = field(default_factory=list)  # that others mapped too
    cached: list[CachedPage] = field(default_factory=list)  # pages of files, which stay; pinned
    tables: list[Pfn] = field(default_factory=list)
    vpns: list[Vpn] = field(default_factory=list)
    sharers: int = 0

    def __bool__(self) -> bool:
        return self.last > self.first or bool(self.tables)

    @property
    def pages(self) -> int:
        """How many wait to be released."""
        return len(self.frames) + len(self.shared) + len(self.cached)

    def forget_span(self) -> None:
        """It has been flushed; what it held is yet to be released."""
        self.first, self.last, self.sharers = 1 << 62, 0, 0
        self.dead, self.vpns = [], []


class Unmapping:
    """One call's way through clearing, flushing and releasing.

    Args:
        space: whose pages.
        cpu: who does it.
        reason: the operation, for reports.
        may_defer: the policy may flush later; `when_flushed` is called then, or at the end.
    """

    def __init__(
        self,
        space: AddressSpace,
        cpu: Cpu,
        reason: str,
        *,
        may_defer: bool = False,
        when_flushed: Callable[[], None] | None = None,
    ) -> None:
        self._space = space
        self._kernel = space.kernel
        self._cpu = cpu
        self._reason = reason
        self._may_defer = may_defer
        self._when_flushed = when_flushed
        self._gathered = Gathered()
        self._dirtied: list[CachedPage] = []  # pages of files that the entries cleared last have written

    def run(self, ranges: Sequence[tuple[int, int]], *, free_tables: bool) -> Op[None]:
        """Unmap the pages of some ranges; the space's lock is held for reading at least."""
        kernel, cpu = self._kernel, self._cpu
        yield from kernel.frames.lru.drain_before_unmap(cpu, self._reason)
        yield from cpu.sync()
        self._space.begin_gather(cpu)
        for first, last in ranges:
            yield from self._zap(first, last)
        done = -1  # what lies between two areas is looked through once
        for first, last in ranges if free_tables else ():
            if first >= done:
                done = yield from self._free_tables(first, last)
        yield from self._flush(is_last=True)
        yield from cpu.sync()
        self._space.end_gather(cpu)

    # -- clearing ---------------------------------------------------------------------------

    def _zap(self, first: int, last: int) -> Op[None]:
        """Clear the entries of a range, leaf table by leaf table."""
        space, kernel, cpu = self._space, self._kernel, self._cpu
        yield from cpu.sync()
        while (part := space.next_part(first, last)) is not None:
            low, high = part
            lock = space.table_lock(Vpn(low))
            yield from lock.acquire(cpu, self._reason)
            yield from flush_pending(space, cpu, self._reason)
            yield from cpu.sync()
            first = self._clear(low, high)
            if self._dirtied:
                yield from self._keep_dirty()
            yield from lock.release(cpu)
            if self._gathered.pages >= kernel.switches.gather_pages:
                yield from self._flush(is_last=False)
            yield from cpu.sync()

    def _clear(self, low: int, high: int) -> int:
        """Clear entries of one leaf table, under its lock; the cost follows.

        Returns:
            The page up to which they are cleared: the gather may be full before the end.
        """
        space, kernel, cpu, gathered = self._space, self._kernel, self._cpu, self._gathered
        context, tables, frames, cached = space.context, space.tables, kernel.frames, kernel.cache.by_frame
        counting_lines = 0
        moment = Moment(cpu.clock, cpu.id, self._reason)
        pending = f"flush after generation {context.generation} for {self._reason}"
        written = 0
        tree = space.tables.tree_near(cpu)
        last_line = -1
        line_cost = 0
        before, files_before, shmem = gathered.pages, len(gathered.cached), 0
        room = kernel.switches.gather_pages - before
        found = list(islice(tables.entries(low, high), room))
        if not found:
            return high  # somebody else was faster
        single = tables.single
        for vpn, _ in found:
            old, copies = (single.set(vpn, 0), 1) if single is not None else tables.exchange(vpn, 0)
            written += copies
            gathered.dead += context.end_translation(vpn, moment, pending)
            pfn = pfn_of(old)
            if cached and (page := cached.get(pfn)) is not None:
                counting_lines += self._leave_page(page, old)
            elif frames.is_shared(pfn):
                gathered.shared.append(pfn)
                shmem += pfn in frames.shared_memory
            elif pfn != frames.zero_frame:
                gathered.frames.append(pfn)
                shmem += pfn in frames.shared_memory
            gathered.vpns.append(vpn)
            if vpn >> 3 != last_line:
                last_line = vpn >> 3
                line_cost += kernel.line_cost(cpu, tree, vpn)
        gathered.first = min(gathered.first, found[0][0])
        gathered.last = max(gathered.last, found[-1][0] + 1)
        gathered.sharers |= max(0, tables.sharers(found[0][0]))
        space.counts.resident -= len(found)
        kernel.counts.pages_zapped += len(found)
        files = len(gathered.cached) - files_before
        counting = space.rss.settle(cpu, before - gathered.pages, file=-files, shmem=-shmem)
        cpu.charge(written * kernel.costs.zap_page, ZAP)
        if counting_lines:
            cpu.charge(counting_lines, FOLIO_LINE)
        if counting:
            cpu.charge(counting, RSS_LINE)
        if line_cost:
            cpu.charge(line_cost, TABLE_LINE)
        return found[-1][0] + 1 if len(found) == room else high

    def _leave_page(self, page: CachedPage, entry: int) -> Time:
        """A page of a file is mapped here no more, and pinned until the flush; what its line costs."""
        page.pins += 1
        self._kernel.cache.unmap(page)
        self._gathered.cached.append(page)
        if entry & ACCESSED:
            page.mark_accessed()
        if entry & DIRTY:
            self._dirtied.append(page)
        return page.count(self._cpu)

    def _keep_dirty(self) -> Op[None]:
        """Entries that wrote pages of files: before the lock is dropped, nobody may write any more."""
        kernel, cpu, gathered = self._kernel, self._cpu, self._gathered
        dirtied, self._dirtied = self._dirtied, []
        for page in dirtied:
            yield from kernel.cache.set_dirty(cpu, page, self._reason)
        request = self._request(gathered, nested=False)
        gathered.forget_span()
        yield from kernel.policy.flush(cpu, request)
        yield from cpu.sync()
        request.promise(Moment(cpu.clock, cpu.id, self._reason))

    def _free_tables(self, first: int, last: int) -> Op[int]:
        """Take out the tables that no area needs any more; they are freed after the flush.

        Returns:
            The page up to which there is nothing left to free.
        """
        space, kernel, cpu, gathered = self._space, self._kernel, self._cpu, self._gathered
        yield from cpu.sync()
        floor, ceiling = space.floor_and_ceiling(first, last)
        moment = Moment(cpu.clock, cpu.id, self._reason)
        pending = f"flush with freed tables for {self._reason}"
        for table in space.tables.freeable(floor, ceiling):
            above = kernel.geometry.leaf_level - table.level
            gathered.sharers |= 1 << table.place  # its walkers may have a pointer to the table, leaf or not
            pfn = space.tables.release(table.place, table.first_vpn, table.level)
            gathered.tables.append(pfn)
            gathered.dead += space.context.end_table(pfn, moment, pending)
            gathered.first = min(gathered.first, table.first_vpn)
            gathered.last = max(gathered.last, table.first_vpn + kernel.geometry.span(table.level - 1))
            if above == 0:
                space.forget_table_lock(table.first_vpn)
            kernel.counts.tables_freed += 1
            cpu.charge(kernel.costs.table_free, TABLES)
        return ceiling

    # -- flushing ---------------------------------------------------------------------------

    def _flush(self, *, is_last: bool) -> Op[None]:
        """Flush what was gathered, then release it."""
        gathered, kernel, cpu, context = self._gathered, self._kernel, self._cpu, self._space.context
        self._gathered = Gathered()
        nested = is_last and context.gathers > 1 and kernel.switches.nested_gather_full
        release = self._releaser(gathered, is_last=is_last)
        if not gathered and not nested:
            if gathered.pages:  # the flush has been
                yield from release(cpu)
            elif is_last and self._when_flushed is not None:
                self._when_flushed()
            return
        request = self._request(gathered, nested=nested)
        if self._may_defer and is_last and kernel.policy.defers(request):
            yield from kernel.policy.post(cpu, request, release)
            return
        yield from kernel.policy.flush(cpu, request)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        request.promise(Moment(cpu.clock, cpu.id, self._reason))
        yield from release(cpu)

    def _request(self, gathered: Gathered, *, nested: bool) -> Flush:
        return Flush(
            context=self._space.context,
            first=Vpn(min(gathered.first, gathered.last)),
            last=Vpn(gathered.last),
            reason=self._reason,
            freed_tables=bool(gathered.tables) or nested,
            full=nested,
            dead=gathered.dead,
            vpns=gathered.vpns,
            sharers=gathered.sharers if self._space.tables.is_tracked else -1,
        )

    def _releaser(self, gathered: Gathered, *, is_last: bool) -> Release:
        kernel, when_flushed, reason = self._kernel, self._when_flushed, self._reason

        def release(cpu: Cpu) -> Op[None]:
            if gathered.cached:
                yield from cpu.sync()
                for page in gathered.cached:
                    page.pins -= 1
                cpu.charge(sum(page.count(cpu) for page in gathered.cached), FOLIO_LINE)
            if gathered.shared:
                yield from cpu.sync()
                gathered.frames += [pfn for pfn in gathered.shared if kernel.frames.drop(pfn)]
            yield from kernel.frames.release(cpu, gathered.frames, reason, on_lru=True)
            yield from kernel.frames.release(cpu, gathered.tables, reason, on_lru=False)
            if is_last and when_flushed is not None:
                yield from cpu.sync()
                when_flushed()

        return release
