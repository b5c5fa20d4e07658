"""From a page to its entries: references, unmapping in batches, cleaning."""

import pytest
from vm_bench import VmBench, at, entry_of

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.cache.page import CachedPage
from coalsim.mm.paging.entry import ACCESSED
from coalsim.mm.virt.rmap import ReverseMap
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE, US

pytestmark = pytest.mark.fast_one_in(2, in_turn=True)

P = PAGE_SIZE
PAGES = 32


def locked(task: Task, file: File) -> Op[list[CachedPage]]:
    """All pages of a file that are in memory, locked, as reclaim has them."""
    yield from task.cpu.sync()
    pages = list(file.pages_in.values())
    for page in pages:
        yield from page.lock(task.cpu, 0)
    yield from task.cpu.sync()
    return pages


def unlock(task: Task, pages: list[CachedPage]) -> Op[None]:
    """The end of it."""
    for page in pages:
        yield from page.unlock(task.cpu, 0, 1)


def test_references_are_counted_by_entry_and_forgotten(bench: VmBench) -> None:
    """Two mappings used, one not: two; then none, without a flush, until a walk uses one again."""
    file = bench.kernel.cache.new_file("data", 16, is_sparse=True)

    def program(task: Task) -> Op[None]:
        rmap = ReverseMap(bench.kernel)
        areas = []
        for _ in range(3):
            areas.append((yield from task.mmap(16 * P, file=file, shared=True)))
            yield from task.touch(areas[-1] + 3 * P)
        unused = areas[-1] + 3 * P
        page = file.pages_in[3]
        yield from task.cpu.sync()
        task.process.space.tables.exchange(unused // P, entry_of(task, unused) & ~ACCESSED)
        before = bench.flushes.flushes
        assert (yield from rmap.referenced(task.cpu, page)) == 2
        assert (yield from rmap.referenced(task.cpu, page)) == 0
        assert bench.flushes.flushes == before
        yield from task.touch(areas[0] + 3 * P)  # the TLB has it: no walk, no mark
        assert (yield from rmap.referenced(task.cpu, page)) == 0
        bench.kernel.units[task.cpu.id].flush_all()
        yield from task.touch(areas[0] + 3 * P)
        assert (yield from rmap.referenced(task.cpu, page)) == 1

    bench.run(program)


def test_unmapping_finds_every_entry_and_keeps_what_was_written(bench: VmBench) -> None:
    """Two processes map the file, one writes: no entry is left, the page is dirty, and reads again."""
    file = bench.kernel.cache.new_file("data", PAGES, is_sparse=True)

    def program(task: Task) -> Op[None]:
        area = yield from task.mmap(PAGES * P, file=file, shared=True)
        for page in range(PAGES):
            yield from task.store(area + page * P, b"x")
        yield from at(task, 2000 * US)
        pages = yield from locked(task, file)
        assert all(page.mapped == 2 for page in pages)
        done = yield from ReverseMap(bench.kernel).try_to_unmap(task.cpu, pages, 32)
        assert done == pages
        assert all(page.dirty and not page.mapped for page in pages)
        assert not entry_of(task, area)
        yield from unlock(task, pages)
        assert (yield from task.load(area, 1)) == b"x"

    def other(task: Task) -> Op[None]:
        area = yield from task.mmap(PAGES * P, file=file, shared=True)
        yield from at(task, 1000 * US)
        for page in range(PAGES):
            yield from task.touch(area + page * P, write=False)
        yield from at(task, 4000 * US)
        assert (yield from task.load(area + 5 * P, 1)) == b"x"

    bench.start(bench.process("a"), 0, program)
    bench.start(bench.process("b"), 1, other)
    bench.finish()


@pytest.mark.parametrize(("batch", "flushes"), [(1, PAGES), (8, PAGES // 8), (32, 1), (100, 1)])
def test_so_many_entries_are_cleared_before_one_flush(batch: int, flushes: int) -> None:
    """One flush an entry, one for eight, one for all."""
    bench = VmBench("linux-6.18")
    file = bench.kernel.cache.new_file("data", PAGES, is_sparse=True)

    def program(task: Task) -> Op[None]:
        area = yield from task.mmap(PAGES * P, file=file)
        for page in range(PAGES):
            yield from task.touch(area + page * P, write=False)
        pages = yield from locked(task, file)
        before = bench.flushes.flushes
        yield from ReverseMap(bench.kernel).try_to_unmap(task.cpu, pages, batch)
        assert bench.flushes.flushes == before + flushes
        assert not bench.kernel.unflushed
        yield from unlock(task, pages)

    bench.run(program)
    assert bench.kernel.cache.counts.reclaim_flushes == flushes


def test_whoever_works_on_entries_flushes_what_reclaim_has_cleared_first() -> None:
    """munmap by another thread amid a batch: no address comes back with an old entry behind it."""
    bench = VmBench("linux-6.18")
    file = bench.kernel.cache.new_file("data", 1024, is_sparse=True)

    def reclaimer(task: Task) -> Op[None]:
        area = yield from task.mmap(1024 * P, address=1 << 30, file=file)
        for page in range(1024):
            yield from task.touch(area + page * P, write=False)
        yield from at(task, 5000 * US)
        pages = yield from locked(task, file)
        yield from ReverseMap(bench.kernel).try_to_unmap(task.cpu, pages, 1024)
        yield from unlock(task, pages)

    def unmapper(task: Task) -> Op[None]:
        yield from at(task, 5000 * US)
        while not bench.kernel.unflushed:
            yield from at(task, task.cpu.clock + US)
        yield from task.munmap(1 << 30, 1024 * P)

    bench.run(reclaimer, unmapper)
    assert bench.kernel.cache.counts.pending_flushes == 1


def test_a_page_used_again_meanwhile_stays_mapped() -> None:
    """Its entry comes back between clearing and flushing: it is not among those that nobody uses."""
    bench = VmBench("linux-6.18")
    file = bench.kernel.cache.new_file("data", 512, is_sparse=True)

    def reclaimer(task: Task) -> Op[None]:
        area = yield from task.mmap(512 * P, address=1 << 30, file=file)
        for page in range(512):
            yield from task.touch(area + page * P, write=False)
        yield from at(task, 5000 * US)
        pages = list(file.pages_in.values())
        yield from ReverseMap(bench.kernel).try_to_unmap(task.cpu, pages[:1], 999)
        assert not pages[0].mapped
        done = yield from ReverseMap(bench.kernel).try_to_unmap(task.cpu, pages, 999)
        assert pages[0] not in done
        assert len(done) >= 512 - 16

    def user(task: Task) -> Op[None]:
        yield from at(task, 5000 * US)
        while file.pages_in[0].mapped:
            yield from at(task, task.cpu.clock + US)
        yield from task.touch(1 << 30, write=False)

    bench.run(reclaimer, user)
