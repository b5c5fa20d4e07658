"""read, write and fsync: files by calls instead of mappings, through the same pages.

    read    page in memory, or read ahead -> copied out
    write   page in memory, a new one, or read first -> copied in, dirty
    fsync   dirty pages, in order: entries lose the right to write -> device -> wait for all

A page that is read or written twice is hot.  A file grows when a page beyond its end has got its bytes,
so a write that fails leaves it as long as what was written; until then nobody else looks there.
Source: Linux mm/filemap.c (`filemap_read`, `generic_perform_write`), mm/page-writeback.c
(`write_cache_pages`, `folio_clear_dirty_for_io`).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.nap import nap
from coalsim.mm.cache.file import File
from coalsim.mm.cache.page import FOLIO_LINE, CachedPage
from coalsim.mm.virt.kernel import VmKernel
from coalsim.mm.virt.page_in import READ_AHEAD, make_page, page_in, read_ahead, store_contents
from coalsim.mm.virt.rmap import ReverseMap
from coalsim.mm.virt.uaccess import pieces
from coalsim.units import PAGE_SHIFT, PAGE_SIZE, Time

READ, WRITE, FSYNC = "read", "write", "fsync"
COPY = "user copy"


def read(kernel: VmKernel, cpu: Cpu, file: File, offset: int, length: int) -> Op[bytes]:
    """Bytes of a file; fewer at its end, or when there is no memory."""
    data = b""
    for at, size in pieces(offset, max(0, min(length, file.pages * PAGE_SIZE - offset))):
        index = at >> PAGE_SHIFT
        page = yield from kernel.cache.lookup(cpu, file, index)
        while page is None:
            if not (yield from read_ahead(kernel, cpu, file, index, READ)):
                return data
            page = yield from kernel.cache.lookup(cpu, file, index)
        page.pin(cpu)
        yield from page.wait(cpu)
        page.mark_accessed()
        data += kernel.ram.read(page.pfn, at % PAGE_SIZE, size)
        _copy(kernel, cpu, size)
        yield from page.unpin(cpu)
    return data


def write(kernel: VmKernel, cpu: Cpu, file: File, offset: int, data: bytes) -> Op[int]:
    """Write bytes; the file grows as they come.  Returns how many: fewer when there is no memory."""
    done = 0
    for at, size in pieces(offset, len(data)):
        page = yield from _page_to_write(kernel, cpu, file, at >> PAGE_SHIFT, size == PAGE_SIZE)
        if page is None:
            break
        kernel.ram.write(page.pfn, at % PAGE_SIZE, data[done : done + size])
        file.pages = max(file.pages, page.index + 1)
        _copy(kernel, cpu, size)
        page.mark_accessed()
        yield from kernel.cache.set_dirty(cpu, page, WRITE)
        yield from page.unlock(cpu, kernel.costs.folio_lock, kernel.wake_latency)
        page.pins -= 1
        cpu.charge(kernel.costs.balance_dirty, WRITE)
        done += size
    return done


def _page_to_write(
    kernel: VmKernel, cpu: Cpu, file: File, index: int, is_whole: bool
) -> Op[CachedPage | None]:
    """A page, pinned and locked; what will be written over is not read first.  None: no memory."""
    while True:
        page = yield from kernel.cache.lookup(cpu, file, index)
        if page is not None:
            page.pins += 1
            yield from page.lock(cpu, kernel.costs.folio_lock)
            yield from cpu.sync()
            return page
        is_beyond = index >= file.pages
        if not is_whole and not is_beyond:
            if not (yield from page_in(kernel, cpu, file, index, index, index + 1, WRITE)):
                return None
            continue
        pfn = yield from kernel.frames.take(cpu, WRITE)
        if pfn < 0:
            return None
        page = yield from make_page(kernel, cpu, file, index, pfn, WRITE)
        if page is not None:  # locked
            page.pins += 1
            if is_beyond and not is_whole:  # the device has nothing of it
                yield from kernel.frames.zero(cpu, page.pfn)
                yield from cpu.sync()
            return page


def _copy(kernel: VmKernel, cpu: Cpu, size: int) -> None:
    cpu.charge(kernel.costs.user_copy_fixed + -(-size // 64) * kernel.costs.user_copy_per_64, COPY)


# -- writing back ------------------------------------------------------------------------------


def write_back(kernel: VmKernel, cpu: Cpu, pages: list[CachedPage], site: str) -> Op[Time]:
    """Hand locked dirty pages that follow each other to the device; when it has them.

    No entry can write them.
    """
    yield from cpu.sync()
    for page in pages:
        store_contents(kernel, page)
    return (yield from kernel.cache.write(cpu, pages, site))


def fsync(kernel: VmKernel, cpu: Cpu, file: File) -> Op[None]:
    """Write everything that is dirty and wait for the device, also for what others have handed to it."""
    yield from cpu.sync()
    rmap, done = ReverseMap(kernel), file.written_at
    run: list[CachedPage] = []
    for index in sorted(file.dirty):
        if run and (index != run[-1].index + 1 or len(run) >= READ_AHEAD):
            done = max(done, (yield from _write_run(kernel, cpu, run)))
        yield from cpu.sync()
        page = file.pages_in.get(index)
        if page is None:
            continue
        page.pins += 1
        yield from page.lock(cpu, kernel.costs.folio_lock)
        yield from cpu.sync()
        if page.is_being_written(cpu.clock):
            yield from nap(cpu, page.written_at - cpu.clock, FSYNC)
        if not page.dirty:
            yield from page.unlock(cpu, kernel.costs.folio_lock, kernel.wake_latency)
            page.pins -= 1
            continue
        yield from rmap.make_clean(cpu, page)
        run.append(page)
    if run:
        done = max(done, (yield from _write_run(kernel, cpu, run)))
    yield from cpu.sync()
    if done > cpu.clock:
        yield from nap(cpu, done - cpu.clock, FSYNC)
        cpu.charge(kernel.costs.io_complete, FSYNC)


def _write_run(kernel: VmKernel, cpu: Cpu, run: list[CachedPage]) -> Op[Time]:
    done = yield from write_back(kernel, cpu, run, FSYNC)
    for page in run:
        yield from page.unlock(cpu, kernel.costs.folio_lock, kernel.wake_latency)
        page.pins -= 1
    yield from cpu.sync()
    cpu.charge(sum(page.count(cpu) for page in run), FOLIO_LINE)
    run.clear()
    return done
