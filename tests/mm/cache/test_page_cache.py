"""The page cache below virtual memory: pages of files, their states, the device, the lists."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "virt"))

from vm_bench import VmBench

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelBug
from coalsim.mm.cache.file import File
from coalsim.mm.cache.lists import NodeLists, inactive_is_low
from coalsim.mm.cache.page import CachedPage
from coalsim.mm.virt.task import Task
from coalsim.units import GIB, MIB, NS, PAGE_SIZE, US, NodeId, Pfn

Program = Callable[[Task, File], Op[None]]


def played(program: Program, pages: int = 64, *, is_sparse: bool = False) -> VmBench:
    """A bench whose one task has run a program on one file."""
    bench = VmBench("linux-6.18")
    file = bench.kernel.cache.new_file("data", pages, is_sparse=is_sparse)
    return bench.run(lambda task: program(task, file))


def new_page(task: Task, file: File, index: int) -> Op[CachedPage]:
    """A page with a frame of its own, not in its file yet."""
    pfn = yield from task.kernel.frames.take(task.cpu, "test")
    return CachedPage(file, index, pfn, NodeId(0))


def test_a_page_is_found_under_its_file_and_by_its_frame() -> None:
    """Inserted once; whoever comes second is told so."""

    def program(task: Task, file: File) -> Op[None]:
        cache = task.kernel.cache
        assert (yield from cache.lookup(task.cpu, file, 3)) is None
        page = yield from new_page(task, file, 3)
        assert (yield from cache.insert(task.cpu, page, "test"))
        assert (yield from cache.lookup(task.cpu, file, 3)) is page
        assert cache.owner(page.pfn) == (file, 3)
        assert cache.owner(Pfn(page.pfn + 1)) is None
        late = yield from new_page(task, file, 3)
        assert not (yield from cache.insert(task.cpu, late, "test"))
        yield from task.kernel.frames.release(task.cpu, [late.pfn], "test", on_lru=False)
        yield from page.unlock(task.cpu, 0, 1)
        assert cache.vmstat(page.node, task.cpu.env.now)["nr_file_pages"] == 1

    played(program)


@pytest.mark.parametrize("state", ["mapped", "pinned", "dirty", "being written", "idle"])
def test_only_a_page_that_nobody_needs_is_removed(state: str) -> None:
    """Mapped, pinned, dirty, on its way to the device: it stays; else it goes."""

    def program(task: Task, file: File) -> Op[None]:
        cpu, cache = task.cpu, task.kernel.cache
        page = yield from new_page(task, file, 0)
        yield from cache.insert(cpu, page, "test")
        page.pins = int(state == "pinned")
        if state == "mapped":
            cache.map(page)
        if state in ("dirty", "being written"):
            yield from cache.set_dirty(cpu, page, "test")
        if state == "being written":
            yield from cache.write(cpu, [page], "test")
        gone = yield from cache.remove(cpu, page, "test")
        assert gone == (state == "idle")
        if gone:
            assert cache.owner(page.pfn) is None
            yield from task.kernel.frames.release(cpu, [page.pfn], "test", on_lru=False)
            return
        page.pins = 0
        if state == "mapped":
            cache.unmap(page)
        yield from page.unlock(cpu, 0, 1)

    played(program)


def test_removing_a_page_that_is_not_the_files_is_a_bug() -> None:
    """A frame that lies under no index of the file has been mixed up."""

    def program(task: Task, file: File) -> Op[None]:
        page = yield from new_page(task, file, 0)
        with pytest.raises(KernelBug, match="is not page 0 of data"):
            yield from task.kernel.cache.remove(task.cpu, page, "test")
        yield from task.kernel.frames.release(task.cpu, [page.pfn], "test", on_lru=False)

    played(program)


def test_a_page_gets_dirty_once_and_only_that_takes_the_tree_lock() -> None:
    """The first time tags it, with interrupts off; later times find it dirty."""

    def program(task: Task, file: File) -> Op[None]:
        cpu, cache = task.cpu, task.kernel.cache
        yield from task.write(file, 0, b"x")
        (page,) = file.pages_in.values()
        assert page.dirty
        taken = file.xa_lock.stat.row().acquisitions
        yield from cache.set_dirty(cpu, page, "test")
        assert file.xa_lock.stat.row().acquisitions == taken
        assert cache.nr_dirty == [1, 0][: len(cache.nr_dirty)]
        yield from task.fsync(file)
        assert not page.dirty
        assert not file.dirty
        yield from cache.set_dirty(cpu, page, "test")
        assert file.xa_lock.stat.row().acquisitions == taken + 2

    played(program)


def test_requests_queue_at_the_device_and_latencies_overlap() -> None:
    """Two requests of 4 and 8 pages: transfers one after the other, each with its latency behind it."""

    def program(task: Task, file: File) -> Op[None]:
        cpu, device, costs = task.cpu, task.kernel.cache.device, task.kernel.costs
        yield from cpu.sync()
        began = cpu.clock
        pages = [CachedPage(file, index, Pfn(index), NodeId(0)) for index in range(8)]
        first = device.read(cpu, pages[:4])
        second = device.write(cpu, pages)
        assert first == began + 4 * costs.device_read_page + costs.device_read_latency
        transferred = began + 4 * costs.device_read_page + 8 * costs.device_write_page
        assert second == transferred + costs.device_write_latency
        assert device.being_written(NodeId(0), second - 1) == 8
        assert device.being_written(NodeId(0), second) == 0
        assert device.next_written(second) == second
        assert cpu.clock == began + 2 * costs.io_submit
        assert (device.requests, device.pages_read, device.pages_written) == (2, 4, 8)

    played(program)


def test_a_read_in_sequence_reads_ahead_twice_as_far_each_time() -> None:
    """4, 8, 16, 32 pages and then 32 again, one request each; a hole needs no device."""

    def program(task: Task, file: File) -> Op[None]:
        device = task.kernel.cache.device
        sizes = []
        for index in range(124):
            before = device.pages_read
            yield from task.read(file, index * PAGE_SIZE, 1)
            if device.pages_read > before:
                sizes.append(device.pages_read - before)
        assert sizes == [4, 8, 16, 32, 32, 32]
        assert device.requests == 6

    played(program, 124)


def test_reading_a_hole_asks_no_device() -> None:
    """Nobody has written it, so it is zeros."""

    def program(task: Task, file: File) -> Op[None]:
        assert (yield from task.read(file, 100, 3)) == bytes(3)
        assert task.kernel.cache.device.requests == 0
        yield from task.write(file, 0, b"abc")
        yield from task.fsync(file)
        assert task.kernel.cache.device.pages_written == 1
        assert not file.is_hole(0)
        assert file.is_hole(1)

    played(program, is_sparse=True)


def test_what_is_written_is_read_again_also_from_the_device() -> None:
    """Bytes over page borders, before and after the pages have left memory."""

    def program(task: Task, file: File) -> Op[None]:
        cpu, cache, frames = task.cpu, task.kernel.cache, task.kernel.frames
        text = bytes(range(256)) * 40
        assert (yield from task.write(file, 1000, text)) == len(text)
        assert (yield from task.read(file, 1000, len(text))) == text
        yield from task.fsync(file)
        for page in list(file.pages_in.values()):
            yield from page.lock(cpu, 0)
            assert (yield from cache.remove(cpu, page, "test"))
            yield from frames.release(cpu, [page.pfn], "test")
        assert (yield from task.read(file, 1000, len(text))) == text
        assert cache.device.pages_read
        end = file.pages * PAGE_SIZE
        assert (yield from task.read(file, end - 2, 10)) == bytes(2)
        yield from task.write(file, end, b"more")
        assert file.pages == 65

    bench = VmBench("linux-3.5", {"lru_batch": "0"})
    file = bench.kernel.cache.new_file("data", 64)
    bench.run(lambda task: program(task, file))


# -- the lists ---------------------------------------------------------------------------------


def a_cpu() -> Cpu:
    """A processor at time 0."""
    return VmBench("linux-6.18").system.cpus[0]


def some_pages(count: int) -> list[CachedPage]:
    """Pages of one file."""
    file = VmBench("linux-6.18").kernel.cache.new_file("data", count)
    return [CachedPage(file, number, Pfn(100 + number), NodeId(0)) for number in range(count)]


def test_the_oldest_page_is_isolated_first() -> None:
    """A list is a queue; what is put back is the youngest."""
    cpu, lists, pages = a_cpu(), NodeLists(), some_pages(4)
    for page in pages:
        lists.add(cpu, 0, page)
    taken, _ = lists.isolate(cpu, 0, 2, active=False)
    assert taken == pages[:2]
    lists.put_back(cpu, 0, [pages[0]], [pages[1]])
    lists.validate()
    assert (lists.inactive.latest, lists.active.latest) == (3, 1)
    assert lists.isolate(cpu, 0, 9, active=False) == ([pages[2], pages[3], pages[0]], 0)
    assert lists.isolate(cpu, 0, 9, active=True) == ([pages[1]], 0)


def test_a_page_that_is_being_written_comes_next_when_it_is_written() -> None:
    """It waits beside the list, counted, and is the oldest once the device has it."""
    cpu, lists, pages = a_cpu(), NodeLists(), some_pages(3)
    for page in pages:
        lists.add(cpu, 0, page)
    ((first,), _) = lists.isolate(cpu, 0, 1, active=False)
    lists.put_back(cpu, 0, [], [], [(first, 10 * US)])
    assert lists.inactive.latest == 3
    assert lists.isolate(cpu, 10 * US - 1, 1, active=False) == ([pages[1]], 0)
    assert lists.isolate(cpu, 10 * US, 2, active=False) == ([first, pages[2]], 0)
    for page in pages:
        lists.forget(page)
    lists.validate()


@pytest.mark.parametrize(
    ("size", "ratio"), [(10 * MIB, 1), (100 * MIB, 1), (GIB, 3), (10 * GIB, 10), (100 * GIB, 31)]
)
def test_the_share_of_inactive_pages_falls_with_memory_as_published(size: int, ratio: int) -> None:
    """The table above `inactive_is_low` in mm/vmscan.c: total memory and inactive_ratio."""
    total = size // PAGE_SIZE
    enough = -(-total // (ratio + 1))
    assert not inactive_is_low(enough, total - enough)
    assert inactive_is_low(enough - 1 - total // 1000, total - enough + 1 + total // 1000)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "young", "old", "back", "write", "free"]), st.integers(1, 5)))
)
def test_no_page_is_ever_in_two_places(steps: list[tuple[str, int]]) -> None:
    """Whatever is done with isolated pages, the counts are those of the lists."""
    cpu, lists, pages, now = CPU, NodeLists(), some_pages_of_one_file(), 0
    isolated: list[CachedPage] = []
    for what, count in steps:
        now += NS
        if what == "add":
            for _ in range(count):
                if pages:
                    lists.add(cpu, now, pages.pop())
        elif what in ("young", "old"):
            isolated += lists.isolate(cpu, now, count, active=what == "old")[0]
        else:
            part, isolated = isolated[:count], isolated[count:]
            if what == "back":
                lists.put_back(cpu, now, part[::2], part[1::2])
            elif what == "write":
                lists.put_back(cpu, now, [], [], [(page, now + 3 * NS) for page in part])
            else:
                for page in part:
                    lists.forget(page)
        lists.validate()


CPU = a_cpu()
FILE = VmBench("linux-6.18").kernel.cache.new_file("data", 64)


def some_pages_of_one_file() -> list[CachedPage]:
    """As `some_pages`, for many examples."""
    return [CachedPage(FILE, number, Pfn(100 + number), NodeId(0)) for number in range(64)]
