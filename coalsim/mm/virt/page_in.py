"""Pages of files come into memory: frames, and their contents from the device or zeros.

    missing -> frame -> into the file, locked -> [holes: zeroed] [others: one request per run] -> unlocked

A mapping's fault reads around its page, a reader in sequence reads ahead of it, twice as far each
time, up to 128 KiB.  Only the page that is wanted is worth much: where there is no memory for
another, the window ends, without a word and without a kill.
Source: Linux mm/filemap.c (`do_sync_mmap_readahead`), mm/readahead.c (`page_cache_sync_ra`,
`page_cache_ra_unbounded`, VM_READAHEAD_PAGES).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.cache.page import CachedPage
from coalsim.mm.cache.page_cache import KIB_PER_PAGE
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.virt.kernel import VmKernel
from coalsim.units import PAGE_SIZE, NodeId, Pfn

READ_AHEAD = 32
"""Pages: 128 KiB."""
FIRST_WINDOW = 4
"""Pages that the first read of a sequence reads ahead."""


def read_around(kernel: VmKernel, cpu: Cpu, file: File, index: int, site: str) -> Op[bool]:
    """What a fault on a page that is not in memory brings in; False: there was no memory for it."""
    first = max(0, index - READ_AHEAD // 2)
    return (yield from page_in(kernel, cpu, file, index, first, first + READ_AHEAD, site))


def read_ahead(kernel: VmKernel, cpu: Cpu, file: File, index: int, site: str) -> Op[bool]:
    """What a read of a page that is not in memory brings in."""
    yield from cpu.sync()
    in_sequence = index == file.next_read
    file.window = min(READ_AHEAD, 2 * file.window) if in_sequence and file.window else FIRST_WINDOW
    file.next_read = index + file.window
    return (yield from page_in(kernel, cpu, file, index, index, file.next_read, site))


def page_in(
    kernel: VmKernel, cpu: Cpu, file: File, wanted: int, first: int, last: int, site: str
) -> Op[bool]:
    """The pages of a window that are missing; False: the one that is wanted could not be had.

    Where there is no memory for another one, the window ends, and the one that is wanted comes alone.
    Whether it is in memory at the end nobody knows: it may have gone again.
    """
    run: list[CachedPage] = []
    for index in range(first, min(last, file.pages)):
        yield from cpu.sync()
        if index in file.pages_in:
            yield from _read(kernel, cpu, run, site)
            continue
        context = AllocContext.USER if index == wanted else AllocContext.AHEAD
        pfn = yield from kernel.frames.take(cpu, site, context=context)
        if pfn < 0:
            yield from _read(kernel, cpu, run, site)
            if index < wanted:
                return (yield from page_in(kernel, cpu, file, wanted, wanted, wanted + 1, site))
            return index > wanted
        page = yield from make_page(kernel, cpu, file, index, pfn, site)
        if page is None:
            yield from _read(kernel, cpu, run, site)
        elif file.is_hole(index):
            yield from kernel.frames.zero(cpu, page.pfn)
            yield from page.unlock(cpu, kernel.costs.folio_lock, kernel.wake_latency)
            yield from _read(kernel, cpu, run, site)
        else:
            run.append(page)
    yield from _read(kernel, cpu, run, site)
    return True


def make_page(
    kernel: VmKernel, cpu: Cpu, file: File, index: int, pfn: Pfn, site: str
) -> Op[CachedPage | None]:
    """Make a frame a page of a file, locked and without contents; None: somebody was faster."""
    frames, cache = kernel.frames, kernel.cache
    page = CachedPage(file, index, pfn, NodeId(frames.node_of(pfn)))
    if not (yield from cache.insert(cpu, page, site)):
        yield from frames.release(cpu, [pfn], site, on_lru=False)
        return None
    if kernel.costs.memcg_charge:
        cpu.charge(kernel.costs.memcg_charge, "memcg")
    yield from frames.lru.add(cpu, pfn, site, page)
    yield from cpu.sync()
    return page


def _read(kernel: VmKernel, cpu: Cpu, run: list[CachedPage], site: str) -> Op[None]:
    """One request for pages that follow each other; the list is empty then."""
    if not run:
        return
    yield from cpu.sync()
    cache = kernel.cache
    done = cache.device.read(cpu, run)
    cache.counts.pgpgin += len(run) * KIB_PER_PAGE
    for page in run:
        page.ready_at = done
        page.is_locked = False
        kernel.ram.write(page.pfn, 0, _contents(page.file, page.index))
        page.wake(cpu.env._now + kernel.wake_latency)
    run.clear()


def _contents(file: File, index: int) -> bytes:
    return file.stored.get(index) or bytes(PAGE_SIZE)


def store_contents(kernel: VmKernel, page: CachedPage) -> None:
    """The device has got what the page holds; synchronised."""
    pfn: Pfn = page.pfn
    data = kernel.ram.read(pfn, 0, PAGE_SIZE)
    if any(data):
        page.file.stored[page.index] = data
    else:
        page.file.stored.pop(page.index, None)
