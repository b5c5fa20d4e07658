"""What calls on files promise while others reclaim, write or move the same pages."""

import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "virt"))

from vm_bench import VmBench, at

from coalsim.engine.clock import Op
from coalsim.engine.occasions import When
from coalsim.mm.cache.file import File
from coalsim.mm.cache.page import CachedPage
from coalsim.mm.debug.failing import FailingPages, FailRule
from coalsim.mm.virt.file_io import write_back
from coalsim.mm.virt.rmap import ReverseMap, flush_pending
from coalsim.mm.virt.task import Task
from coalsim.units import MS, PAGE_SIZE, US, Vpn

P = PAGE_SIZE


def locked(task: Task, file: File) -> Op[list[CachedPage]]:
    """All pages of a file that are in memory, locked, as reclaim has them."""
    yield from task.cpu.sync()
    pages = list(file.pages_in.values())
    for page in pages:
        yield from page.lock(task.cpu, 0)
    yield from task.cpu.sync()
    return pages


def test_a_batch_that_goes_on_after_somebody_flushed_it_is_flushed_again_by_the_next() -> None:
    """Entries that reclaim clears after another's flush are pending as those before it were."""
    bench = VmBench("linux-6.18")
    file = bench.kernel.cache.new_file("data", 32, is_sparse=True)
    shared: list[int] = []
    began: list[int] = []
    ended: list[int] = []

    def program(task: Task) -> Op[None]:
        shared.append((yield from task.mmap(32 * P, file=file, shared=True)))
        for number in range(32):
            yield from task.touch(shared[0] + number * P)
        pages = yield from locked(task, file)
        yield from at(task, 10 * MS)
        began.append(task.cpu.clock)
        yield from ReverseMap(bench.kernel).try_to_unmap(task.cpu, pages, 32)
        ended.append(task.cpu.clock)
        for page in pages:
            yield from page.unlock(task.cpu, 0, 1)

    found: list[tuple[int, int]] = []  # entries that are clear, flushes for others

    def worker(task: Task) -> Op[None]:
        yield from at(task, 10 * MS)
        space, counts = task.process.space, bench.kernel.cache.counts
        while not ended:
            lock = space.table_lock(Vpn(shared[0] // P))
            yield from lock.acquire(task.cpu, "test")
            yield from flush_pending(space, task.cpu, "test")
            yield from task.cpu.sync()
            found.append((counts.pages_unmapped, counts.pending_flushes))
            yield from lock.release(task.cpu)
            yield from task.compute(100_000)
        assert not bench.kernel.unflushed

    bench.run(program, worker)
    midway = [(cleared, flushes) for cleared, flushes in found if 0 < cleared < 32]
    assert len({cleared for cleared, _ in midway}) > 2
    for (cleared, flushes), (more, later) in pairwise(midway):
        assert later > flushes or more == cleared


def test_fsync_waits_for_what_others_have_handed_to_the_device() -> None:
    """A page that reclaim began to write is clean, but not on the device yet."""
    bench = VmBench("linux-6.18")
    file = bench.kernel.cache.new_file("data", 4, is_sparse=True)

    def program(task: Task) -> Op[None]:
        yield from task.write(file, 0, b"text")
        (page,) = yield from locked(task, file)
        done = yield from write_back(bench.kernel, task.cpu, [page], "test")
        yield from page.unlock(task.cpu, 0, 1)
        yield from task.fsync(file)
        yield from task.cpu.sync()
        assert task.cpu.clock >= done

    bench.run(program)


def test_a_mapping_that_moves_during_fsync_is_not_forgotten() -> None:
    """Whatever was stored before the last fsync is on the device, however often the mapping has moved."""
    bench = VmBench("linux-6.18", machine="pack:1 numa:1 core:2 pu:1")
    file = bench.kernel.cache.new_file("data", 64, is_sparse=True)
    ended: list[bool] = []

    def mover(task: Task) -> Op[None]:
        area = yield from task.mmap(64 * P, file=file, shared=True)
        for step in range(40):
            for number in range(64):
                yield from task.store(area + number * P, bytes([step + 1]))
            yield from task.mmap(P, address=area + 64 * P)  # so that it cannot grow where it is
            moved = yield from task.mremap(area, 64 * P, 65 * P)
            assert moved > 0
            assert moved != area
            yield from task.munmap(moved + 64 * P, P)
            area = moved
        ended.append(True)
        for number in range(64):
            yield from task.store(area + number * P, b"end")
        yield from task.fsync(file)
        for number in range(64):
            assert file.stored[number].startswith(b"end"), f"page {number} after fsync"

    def syncer(task: Task) -> Op[None]:
        while not ended:
            yield from task.fsync(file)
            yield from task.compute(3 * US)

    bench.run(mover, syncer)


def test_no_memory_for_a_neighbour_is_no_reason_to_kill() -> None:
    """A fault reads around its page; what it cannot have of the others it does without."""
    bench = VmBench("linux-6.18")
    file = bench.kernel.cache.new_file("data", 64)

    def program(task: Task) -> Op[None]:
        rule = FailRule("pages", "file fault", "*", 0, -1, When(nth=3), 0)
        bench.system.memory.pages.gate = FailingPages([rule], bench.system.streams)
        area = yield from task.mmap(64 * P, file=file)
        yield from task.touch(area + 32 * P)
        assert rule.refused == {"file fault": 1}
        assert 32 in file.pages_in
        assert 16 in file.pages_in
        assert 31 not in file.pages_in

    bench.run(program)
    assert not [task.signal for task in bench.tasks if task.signal]


def test_a_write_without_memory_leaves_the_file_as_long_as_it_is() -> None:
    """It grows by what has been written, in whole pages or in parts of them, and by nothing more."""
    bench = VmBench("linux-6.18")
    file = bench.kernel.cache.new_file("data", 1)

    def program(task: Task) -> Op[None]:
        rule = FailRule("pages", "write", "*", 0, -1, When(nth=3), 0)
        bench.system.memory.pages.gate = FailingPages([rule], bench.system.streams)
        assert (yield from task.write(file, P, bytes(10 * P))) == 2 * P
        assert file.pages == 3
        rule = FailRule("pages", "write", "*", 0, -1, When(nth=2), 1)
        bench.system.memory.pages.gate = FailingPages([rule], bench.system.streams)
        assert (yield from task.write(file, 3 * P + 100, b"x" * P)) == P - 100
        assert file.pages == 4
        assert (yield from task.read(file, 3 * P, 2 * P)) == bytes(100) + b"x" * (P - 100)

    bench.run(program)
