"""Faults on areas of files: what `fault.py` leaves to the page cache.

| entry          | access | area    | what is done                                                        |
|----------------|--------|---------|---------------------------------------------------------------------|
| not present    | read   | any     | the pages of 64 KiB around it that are in memory, else its own       |
| not present    | write  | private | a frame with a copy of the file's page; no others                    |
| not present    | write  | shared  | the file system is told, the page is dirty, no frame is taken        |
| the file's, -W | write  | private | copied; the old entry is flushed under its table's lock              |
| the file's, -W | write  | shared  | the file system is told, the page is dirty, the entry becomes writable |

A page that is not in memory is read with others around it; who has to wait for it gives up its
locks, sleeps, and begins again.
Entries of neighbours come with A set, as x86 makes them; their pages' lines are written one by
one, and all who map the file meet there.
Source: Linux mm/memory.c (`do_read_fault`, `do_cow_fault`, `do_shared_fault`, `wp_page_shared`),
mm/filemap.c (`filemap_fault`, `filemap_map_pages`).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment
from coalsim.engine.clock import Op
from coalsim.mm.cache.page import FOLIO_LINE, CachedPage
from coalsim.mm.paging.entry import ACCESSED, DIRTY, PRESENT, USER, WRITABLE, make, pfn_of
from coalsim.mm.shootdown.request import COW, Flush
from coalsim.mm.virt.area import Area
from coalsim.mm.virt.entries import store_entry
from coalsim.mm.virt.fault_words import NO_MEMORY
from coalsim.mm.virt.kernel import TABLE_LINE
from coalsim.mm.virt.page_in import read_around
from coalsim.mm.virt.rss import RSS_LINE
from coalsim.mm.virt.space import AddressSpace
from coalsim.units import Pfn, Vpn

FILE_FAULT = "file fault"
AROUND = 16
"""Pages that one read fault maps at most: fault_around_bytes, 64 KiB."""
RETRY = "retry"
BUS_ERROR = "SIGBUS: beyond the end of the file (BUS_ADRERR)"
KERNELS_BITS = ~(ACCESSED | DIRTY)
"""What of an entry only the kernel changes."""


class FileFault:
    """One fault on an area of a file; a lock keeps the area as it is.

    Args:
        space, cpu, vpn: of the fault.
        area: of the page.
    """

    __slots__ = ("_area", "_cpu", "_file", "_index", "_kernel", "_space", "_verdict", "_vpn", "awaited")

    def __init__(self, space: AddressSpace, cpu: Cpu, vpn: Vpn, area: Area) -> None:
        assert area.file is not None, "other areas have faults of their own"
        self._space = space
        self._kernel = space.kernel
        self._cpu = cpu
        self._vpn = vpn
        self._area = area
        self._file = area.file
        self._index = vpn - area.origin
        self._verdict = ""
        self.awaited: CachedPage | None = None  # with RETRY: the page that has to come first, pinned

    def handle(self, entry: int, *, write: bool) -> Op[str]:
        """The case of the table above; `entry` has been seen there."""
        if not write:
            return (yield from self.read())
        if entry & PRESENT:
            writing = self.make_writable if self._area.shared else self.copy_private
            return (yield from writing(entry))
        return (yield from (self.write_shared() if self._area.shared else self.write_private()))

    # -- cases -------------------------------------------------------------------------------

    def read(self) -> Op[str]:
        """Map what is in memory around the page, or wait for it."""
        kernel, cpu = self._kernel, self._cpu
        cpu.charge(kernel.costs.fault_fixed, FILE_FAULT)
        if (yield from self._map_around()):
            kernel.cache.counts.read_faults += 1
            return ""
        page = yield from self._get_page()
        if page is None:
            return self._verdict
        is_first = yield from self._map(page, 0)
        kernel.cache.counts.read_faults += is_first
        yield from self._put_page(page)
        return ""

    def write_private(self) -> Op[str]:
        """A frame of its own with a copy of the page."""
        kernel, cpu, space, frames = self._kernel, self._cpu, self._space, self._kernel.frames
        cpu.charge(kernel.costs.fault_fixed, FILE_FAULT)
        pfn = yield from frames.take(cpu, FILE_FAULT)
        if pfn < 0:
            return self._out_of_memory()
        if kernel.costs.memcg_charge:
            cpu.charge(kernel.costs.memcg_charge, "memcg")
        page = yield from self._get_page()
        if page is None:
            yield from frames.release(cpu, [pfn], FILE_FAULT, on_lru=False)
            return self._verdict
        yield from frames.copy(cpu, page.pfn, pfn)
        lock = space.table_lock(self._vpn)
        yield from lock.acquire(cpu, FILE_FAULT)
        yield from cpu.sync()
        is_first = not space.tables.lookup(self._vpn)
        if is_first:
            self._store(pfn, WRITABLE | DIRTY)
            kernel.cache.counts.private_writes += 1
            yield from frames.lru.add(cpu, pfn, FILE_FAULT)
        else:
            kernel.counts.lost_races += 1
        yield from lock.release(cpu)
        yield from self._put_page(page)
        if not is_first:
            yield from frames.release(cpu, [pfn], FILE_FAULT, on_lru=False)
        return ""

    def write_shared(self) -> Op[str]:
        """The page itself, which is dirty from now on."""
        self._cpu.charge(self._kernel.costs.fault_fixed, FILE_FAULT)
        page = yield from self._get_page()
        if page is None:
            return self._verdict
        yield from self._note_write(page)
        is_first = yield from self._map(page, WRITABLE | DIRTY)
        self._kernel.cache.counts.shared_writes += is_first
        yield from self._put_page(page)
        return ""

    def make_writable(self, seen: int) -> Op[str]:
        """The shared page is mapped for reading: the entry gains the right to write, without a flush."""
        self._cpu.charge(self._kernel.costs.fault_fixed, FILE_FAULT)
        page = yield from self._pin_mapped(seen)
        if page is None:
            return ""
        if not page.try_lock(self._cpu, self._kernel.costs.folio_lock):
            return self._wait_for(page)
        yield from self._note_write(page)
        is_first = yield from self._map(page, WRITABLE | DIRTY)
        self._kernel.cache.counts.made_writable += is_first
        yield from self._put_page(page)
        return ""

    def copy_private(self, seen: int) -> Op[str]:
        """The page is mapped for reading: a copy takes its place."""
        kernel, cpu, space, vpn, frames = (
            self._kernel,
            self._cpu,
            self._space,
            self._vpn,
            self._kernel.frames,
        )
        cpu.charge(kernel.costs.fault_fixed, FILE_FAULT)
        page = yield from self._pin_mapped(seen)
        if page is None:
            return ""
        cpu.charge(page.count(cpu), FOLIO_LINE)
        pfn = yield from frames.take(cpu, COW)
        if pfn < 0:
            yield from page.unpin(cpu)
            return self._out_of_memory()
        if kernel.costs.memcg_charge:
            cpu.charge(kernel.costs.memcg_charge, "memcg")
        yield from frames.copy(cpu, page.pfn, pfn)
        lock = space.table_lock(vpn)
        yield from lock.acquire(cpu, COW)
        yield from cpu.sync()
        is_same = space.tables.lookup(vpn) & KERNELS_BITS == seen & KERNELS_BITS
        if is_same:
            yield from self._replace(page, pfn)
        else:
            kernel.counts.lost_races += 1
        yield from lock.release(cpu)
        yield from page.unpin(cpu)
        if is_same:
            yield from frames.lru.add(cpu, pfn, COW)
        else:
            yield from frames.release(cpu, [pfn], COW, on_lru=False)
        return ""

    # -- steps: the page -----------------------------------------------------------------------

    def _get_page(self) -> Op[CachedPage | None]:
        """The file's page, pinned and locked; None: `_verdict` says why not."""
        kernel, cpu, file = self._kernel, self._cpu, self._file
        page = yield from kernel.cache.lookup(cpu, file, self._index)
        if page is None:
            if self._index >= file.pages:
                kernel.cache.counts.bus_errors += 1
                self._verdict = BUS_ERROR
                return None
            kernel.cache.counts.pgmajfault += not file.is_hole(self._index)
            while page is None:
                if not (yield from read_around(kernel, cpu, file, self._index, FILE_FAULT)):
                    self._verdict = self._out_of_memory()
                    return None
                page = yield from kernel.cache.lookup(cpu, file, self._index)
        page.pins += 1
        if not page.try_lock(cpu, kernel.costs.folio_lock):
            self._verdict = self._wait_for(page)
            return None
        return page

    def _put_page(self, page: CachedPage) -> Op[None]:
        """Unlock it and let it go, in one write of its line."""
        kernel = self._kernel
        yield from page.unlock(self._cpu, kernel.costs.folio_lock, kernel.wake_latency)
        page.pins -= 1

    def _pin_mapped(self, seen: int) -> Op[CachedPage | None]:
        """The page that an entry leads to, pinned; None: not any more.  Returns synchronised."""
        yield from self._cpu.sync()
        if self._space.tables.lookup(self._vpn) & KERNELS_BITS != seen & KERNELS_BITS:
            self._kernel.counts.lost_races += 1
            return None
        page = self._kernel.cache.by_frame[pfn_of(seen)]
        page.pins += 1
        return page

    def _wait_for(self, page: CachedPage) -> str:
        """The page is pinned and cannot be used yet."""
        self.awaited = page
        self._kernel.cache.counts.retries += 1
        return RETRY

    def _note_write(self, page: CachedPage) -> Op[None]:
        """The file system learns of a write to its locked page, and the writer of how many are dirty."""
        kernel, cpu = self._kernel, self._cpu
        cpu.charge(kernel.costs.page_mkwrite, FILE_FAULT)
        yield from kernel.cache.set_dirty(cpu, page, FILE_FAULT)
        cpu.charge(kernel.costs.balance_dirty, FILE_FAULT)

    # -- steps: entries --------------------------------------------------------------------------

    def _map_around(self) -> Op[bool]:
        """Map what is in memory of 64 KiB, under one lock; whether the page itself was there."""
        kernel, cpu, space, area, file = self._kernel, self._cpu, self._space, self._area, self._file
        start = self._vpn & -AROUND
        first = max(start, area.first, area.origin)
        last = min(start + AROUND, area.last, area.origin + file.pages)
        cpu.charge(kernel.costs.cache_lookup, FILE_FAULT)
        yield from cpu.sync()
        if not any(vpn - area.origin in file.pages_in for vpn in range(first, last)):
            return False
        lock = space.table_lock(self._vpn)
        yield from lock.acquire(cpu, FILE_FAULT)
        yield from cpu.sync()
        now, tree, place = cpu.env._now, space.tree_of(cpu), space.tables.place_of(cpu)
        mapped = copies = lines = references = 0
        last_line = -1
        for number in range(first, last):
            vpn = Vpn(number)
            page = file.pages_in.get(number - area.origin)
            if page is None or not page.is_usable(now) or space.tables.lookup(vpn):
                continue
            flags = PRESENT | USER if vpn == self._vpn else PRESENT | USER | ACCESSED
            if vpn >> 3 != last_line:
                last_line = vpn >> 3
                lines += kernel.line_cost(cpu, tree, vpn)
            references += page.count(cpu)
            copies += space.tables.store(place, vpn, make(page.pfn, flags))
            kernel.cache.map(page)
            mapped += 1
        if mapped:
            space.counts.resident += mapped
            counting = space.rss.count(cpu, mapped, file=mapped)
            cpu.charge(copies * kernel.costs.map_around_page, FILE_FAULT)
            for cost, cause in ((lines, TABLE_LINE), (references, FOLIO_LINE), (counting, RSS_LINE)):
                if cost:
                    cpu.charge(cost, cause)
        is_there = bool(space.tables.lookup(self._vpn))
        kernel.cache.counts.pages_around += max(0, mapped - is_there)
        yield from lock.release(cpu)
        return is_there

    def _map(self, page: CachedPage, flags: int) -> Op[bool]:
        """The entry leads to the locked page, with these flags; if it does already, it gains them.

        False: somebody else was faster.
        """
        kernel, cpu, space, vpn = self._kernel, self._cpu, self._space, self._vpn
        lock = space.table_lock(vpn)
        yield from lock.acquire(cpu, FILE_FAULT)
        yield from cpu.sync()
        entry = space.tables.lookup(vpn)
        is_first = True
        if not entry:
            references = page.count(cpu)
            self._store(page.pfn, flags, file=1)
            kernel.cache.map(page)
            cpu.charge(references, FOLIO_LINE)
        elif pfn_of(entry) == page.pfn and entry | flags != entry:
            store_entry(space, cpu, vpn, entry | flags, 0, FILE_FAULT)
        else:
            is_first = False
            kernel.counts.lost_races += 1
        yield from lock.release(cpu)
        return is_first

    def _store(self, pfn: Pfn, flags: int, *, file: int = 0) -> None:
        """Map the file's frame or a copy where nothing was; synchronised, under the lock of the table."""
        space, cpu = self._space, self._cpu
        counting = space.rss.count(cpu, 1, file=file)
        entry = make(pfn, PRESENT | USER | flags)
        store_entry(space, cpu, self._vpn, entry, self._kernel.costs.rmap_add, FILE_FAULT)
        if counting:
            cpu.charge(counting, RSS_LINE)
        space.counts.resident += 1

    def _replace(self, page: CachedPage, pfn: Pfn) -> Op[None]:
        """The copy takes the page's place; the lock of the table is held."""
        kernel, cpu, space, vpn = self._kernel, self._cpu, self._space, self._vpn
        request = Flush(context=space.context, first=vpn, last=Vpn(vpn + 1), reason=COW, vpns=[vpn])
        request.sharers = space.tables.sharers(vpn)
        pending = f"flush after generation {space.context.generation} for {COW}"
        request.dead = space.context.end_translation(vpn, Moment(cpu.clock, cpu.id, COW), pending)
        space.tables.exchange(vpn, 0)
        yield from kernel.policy.flush(cpu, request)
        yield from cpu.sync()
        request.promise(Moment(cpu.clock, cpu.id, COW))
        references = page.count(cpu)
        kernel.cache.unmap(page)
        space.rss.file_page_became_anonymous()
        mine = make(pfn, PRESENT | USER | WRITABLE | DIRTY)
        store_entry(space, cpu, vpn, mine, kernel.costs.rmap_add, FILE_FAULT)
        cpu.charge(references, FOLIO_LINE)
        kernel.cache.counts.private_copies += 1

    def _out_of_memory(self) -> str:
        self._kernel.counts.out_of_memory += 1
        return NO_MEMORY
