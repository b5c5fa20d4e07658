"""The page cache: all pages of files that are in memory.

    find -> pin -> use -> unpin
    new page -> insert, locked -> contents -> unlock          remove: clean, not mapped, not pinned

A file's pages are looked up without a lock; inserting, removing and tagging takes the file's
xarray lock with interrupts off.

Invariant: `by_frame` has each page of each file under its frame.
Shared state: `sync` before every look.
Source: Linux mm/filemap.c (`__filemap_add_folio`, `__remove_mapping`), fs/buffer.c.
"""

from collections.abc import Callable, Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelBug
from coalsim.locks.base import SpinLock
from coalsim.locks.rwsem import RwSemaphore
from coalsim.mm.cache.counts import FileCounts
from coalsim.mm.cache.device import Device
from coalsim.mm.cache.file import RANK_I_MMAP, RANK_XARRAY, File
from coalsim.mm.cache.lists import NodeLists
from coalsim.mm.cache.page import CachedPage
from coalsim.profiles.costs import KernelCosts
from coalsim.units import NodeId, Pfn, Time

CACHE = "page cache"
KIB_PER_PAGE = 4


class PageCache:
    """All files.

    Args:
        costs: of the kernel.
        high: by node, the frames of its High zone.
        make_spinlock, make_rwsem: of a class, rank and name.
    """

    def __init__(
        self,
        costs: KernelCosts,
        high: Sequence[range],
        make_spinlock: Callable[[str, int, str], SpinLock],
        make_rwsem: Callable[[str, int, str], RwSemaphore],
    ) -> None:
        self._costs = costs
        self._make_spinlock = make_spinlock
        self._make_rwsem = make_rwsem
        self.files: list[File] = []
        self.by_frame: dict[Pfn, CachedPage] = {}
        self.device = Device(costs)
        self.lists = [NodeLists(frames) for frames in high]
        self.counts = FileCounts()
        nodes = len(high)
        self.nr_file_pages = [0] * nodes
        self.nr_high_file_pages = [0] * nodes  # of those, in the High zone
        self.stolen_by_kswapd = [0] * nodes
        self.nr_mapped = [0] * nodes  # pages, however many entries they have
        self.nr_dirty = [0] * nodes

    def new_file(self, name: str, pages: int, *, is_sparse: bool = False) -> File:
        """A file of so many pages; a sparse one is all holes, any other all zeros."""
        number = len(self.files)
        file = File(
            name,
            pages,
            is_sparse=is_sparse,
            xa_lock=self._make_spinlock("xa_lock", RANK_XARRAY, f"xa_lock/{number}"),
            i_mmap=self._make_rwsem("i_mmap_rwsem", RANK_I_MMAP, f"i_mmap_rwsem/{number}"),
        )
        self.files.append(file)
        return file

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.counts.reset()
        self.device.reset()
        self.stolen_by_kswapd = [0] * len(self.lists)

    # -- looking ----------------------------------------------------------------------------

    def owner(self, pfn: Pfn) -> tuple[File, int] | None:
        """Whose page a frame holds."""
        page = self.by_frame.get(pfn)
        return None if page is None else (page.file, page.index)

    def lookup(self, cpu: Cpu, file: File, index: int) -> Op[CachedPage | None]:
        """A page, if it is in memory; returns synchronised."""
        cpu.charge(self._costs.cache_lookup, CACHE)
        yield from cpu.sync()
        return file.pages_in.get(index)

    def vmstat(self, node: NodeId, now: Time) -> dict[str, int]:
        """Pages of a node by state, under the names of /proc/vmstat; at rest or at a barrier."""
        lists = self.lists[node]
        return {
            "nr_file_pages": self.nr_file_pages[node],
            "nr_mapped": self.nr_mapped[node],
            "nr_dirty": self.nr_dirty[node],
            "nr_writeback": self.device.being_written(node, now),
            "nr_inactive_file": lists.inactive.at_barrier(now),
            "nr_active_file": lists.active.at_barrier(now),
        }

    # -- pages come and go ---------------------------------------------------------------------

    def insert(self, cpu: Cpu, page: CachedPage, site: str) -> Op[bool]:
        """Make a page its file's; False: somebody else was faster.  Returns synchronised."""
        file = page.file
        yield from self._lock(cpu, file, site)
        is_first = page.index not in file.pages_in
        if is_first:
            file.pages_in[page.index] = self.by_frame[page.pfn] = page
            self.nr_file_pages[page.node] += 1
            self.nr_high_file_pages[page.node] += page.pfn in self.lists[page.node].high
        yield from self._unlock(cpu, file, self._costs.cache_insert)
        return is_first

    def remove(self, cpu: Cpu, page: CachedPage, site: str) -> Op[bool]:
        """Take a locked page out of its file; False: somebody uses it again.  Returns synchronised.

        Raises:
            KernelBug: it is not its file's page.
        """
        file = page.file
        if file.pages_in.get(page.index) is not page:
            raise KernelBug(f"frame {page.pfn:#x} is not page {page.index} of {file.name}")
        yield from self._lock(cpu, file, site)
        is_free = page.is_idle() and not page.is_being_written(cpu.clock)
        if is_free:
            del file.pages_in[page.index], self.by_frame[page.pfn]
            self.nr_file_pages[page.node] -= 1
            self.nr_high_file_pages[page.node] -= page.pfn in self.lists[page.node].high
        yield from self._unlock(cpu, file, self._costs.cache_remove)
        return is_free

    # -- dirty ---------------------------------------------------------------------------------

    def set_dirty(self, cpu: Cpu, page: CachedPage, site: str) -> Op[None]:
        """The device does not have what the page holds; a page that is known to be dirty costs nothing."""
        yield from cpu.sync()
        if page.dirty:
            return
        yield from self._lock(cpu, page.file, site)
        if not page.dirty:
            page.dirty = True
            page.file.dirty[page.index] = None
            self.nr_dirty[page.node] += 1
        yield from self._unlock(cpu, page.file, self._costs.dirty_tag)

    def write(self, cpu: Cpu, pages: Sequence[CachedPage], site: str) -> Op[Time]:
        """Hand dirty pages that follow each other to the device; they are locked, and no entry writes them.

        Returns:
            When they are written.
        """
        file = pages[0].file
        yield from self._lock(cpu, file, site)
        for page in pages:
            page.dirty = False
            del file.dirty[page.index]
            self.nr_dirty[page.node] -= 1
            file.written[page.index] = None
        done = self.device.write(cpu, pages)
        file.written_at = max(file.written_at, done)
        for page in pages:
            page.written_at = done
        self.counts.pgpgout += len(pages) * KIB_PER_PAGE
        yield from self._unlock(cpu, file, len(pages) * self._costs.dirty_tag)
        return done

    # -- entries ---------------------------------------------------------------------------------

    def map(self, page: CachedPage) -> None:
        """One more entry leads to a page; synchronised, under the lock of that entry's table."""
        page.mapped += 1
        self.nr_mapped[page.node] += page.mapped == 1

    def unmap(self, page: CachedPage) -> None:
        """One entry less; the same."""
        page.mapped -= 1
        self.nr_mapped[page.node] -= page.mapped == 0

    # -- the lock --------------------------------------------------------------------------------

    def _lock(self, cpu: Cpu, file: File, site: str) -> Op[None]:
        yield from cpu.sync()
        yield from cpu.irq_off()
        yield from file.xa_lock.acquire(cpu, site)
        yield from cpu.sync()

    def _unlock(self, cpu: Cpu, file: File, hold: Time) -> Op[None]:
        cpu.charge(hold, file.xa_lock.hold_cause)
        yield from file.xa_lock.release(cpu)
        yield from cpu.irq_on()
        yield from cpu.sync()

    def validate(self) -> None:
        """Recount the slow way; at rest."""
        pages = [page for file in self.files for page in file.pages_in.values()]
        assert {page.pfn: page for page in pages} == self.by_frame
        for node, lists in enumerate(self.lists):
            here = [page for page in pages if page.node == node]
            assert self.nr_file_pages[node] == len(here)
            assert self.nr_high_file_pages[node] == sum(page.pfn in lists.high for page in here)
            assert self.nr_mapped[node] == sum(page.mapped > 0 for page in here)
            assert self.nr_dirty[node] == sum(page.dirty for page in here)
            lists.validate()
        for file in self.files:
            file.validate()
