"""Mappings of files: what each fault does, what it costs, and what every other call makes of them."""

import pytest
from vm_bench import VmBench, entry_of, maps, timed, vpn_of

from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.paging.entry import DIRTY, WRITABLE, pfn_of
from coalsim.mm.virt.area import NONE, READ, READ_WRITE
from coalsim.mm.virt.file_fault import BUS_ERROR
from coalsim.mm.virt.task import EINVAL, ENOMEM, Task
from coalsim.units import PAGE_SIZE

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

P = PAGE_SIZE


def file_on(bench: VmBench, pages: int = 64, *, is_sparse: bool = True) -> File:
    """A file; a sparse one needs no device."""
    return bench.kernel.cache.new_file("data", pages, is_sparse=is_sparse)


def read_in(task: Task, file: File) -> Op[None]:
    """Bring the whole file into memory."""
    yield from task.read(file, 0, file.pages * P)


def has(task: Task, address: int) -> bool:
    """An entry is there."""
    return bool(entry_of(task, address))


# -- reading ---------------------------------------------------------------------------------------


def test_a_read_maps_what_is_in_memory_of_64_kib_around_it(bench: VmBench) -> None:
    """The aligned window of 16 pages, one fault; not beyond the area, and read-only."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        yield from read_in(task, file)
        area = yield from task.mmap(64 * P, file=file)
        at = area + (-area // P % 16) * P + 16 * P  # the second aligned window
        yield from task.touch(at + 5 * P, write=False)
        assert [has(task, at + page * P) for page in range(-1, 17)] == [False, *[True] * 16, False]
        assert not entry_of(task, at) & WRITABLE
        assert bench.kernel.cache.counts.pages_around == 15
        assert task.process.space.rss.total == 16
        assert bench.kernel.cache.nr_mapped[0] + sum(bench.kernel.cache.nr_mapped[1:]) == 16

    bench.run(program)
    assert bench.counts.faults == 1


def test_a_window_ends_with_its_area_and_its_file(bench: VmBench) -> None:
    """An area of 3 pages of a file of 4: nothing else is mapped."""
    file = file_on(bench, 4)

    def program(task: Task) -> Op[None]:
        yield from read_in(task, file)
        area = yield from task.mmap(3 * P, file=file, offset=P)
        yield from task.touch(area + P, write=False)
        assert task.process.space.counts.resident <= 3
        assert {pfn_of(entry_of(task, area + page * P)) for page in range(3)} == {
            file.pages_in[page + 1].pfn for page in range(3)
        }

    bench.run(program)


def test_neighbours_cost_a_step_and_a_line_each() -> None:
    """8 pages against 1, with entries in one line: 7 more steps, and 7 more counts in the own cache."""
    took: dict[int, int] = {}
    for pages in (1, 8):
        bench = VmBench("linux-6.18")
        file = file_on(bench, pages)

        def program(task: Task, file: File = file, took: dict[int, int] = took) -> Op[None]:
            yield from read_in(task, file)
            beside = yield from task.mmap(P, address=(1 << 30) + 64 * P)
            yield from task.touch(beside)  # so that the table is there
            area = yield from task.mmap(8 * P, address=1 << 30, file=file)
            _, time = yield from timed(task, task.touch(area, write=False))()
            took[file.pages] = time

        bench.run(program)
    each = bench.kernel.costs.map_around_page + bench.system.cpus[0].transfer[0]
    assert took[8] - took[1] == 7 * each


def test_a_page_that_is_not_in_memory_is_read_with_others_and_waited_for_without_locks(
    bench: VmBench,
) -> None:
    """One request of 32 pages around it; meanwhile another thread can map memory."""
    file = file_on(bench, 128, is_sparse=False)

    def reader(task: Task) -> Op[None]:
        area = yield from task.mmap(128 * P, file=file)
        began = task.cpu.clock
        yield from task.touch(area + 64 * P, write=False)
        yield from task.cpu.sync()
        costs = bench.kernel.costs
        assert task.cpu.clock - began > costs.device_read_latency + 32 * costs.device_read_page
        assert sorted(file.pages_in) == list(range(48, 80))
        assert has(task, area + 64 * P)

    def other(task: Task) -> Op[None]:
        latency = bench.kernel.costs.device_read_latency
        yield from task.compute(20_000_000)  # the request is under way
        _, took = yield from timed(task, task.mmap(P))()
        assert took < latency // 4

    bench.run(reader, other)
    counts = bench.kernel.cache.counts
    assert (counts.pgmajfault, counts.retries, bench.kernel.cache.device.requests) == (1, 1, 1)
    assert bench.counts.faults == 1


def test_two_that_want_the_same_page_read_it_once(bench: VmBench) -> None:
    """The second finds it on its way, and both sleep until it is there."""
    file = file_on(bench, is_sparse=False)

    def program(task: Task) -> Op[None]:
        area = yield from task.mmap(64 * P, file=file, shared=True)
        yield from task.touch(area, write=False)

    bench.run(program, program)
    assert bench.kernel.cache.device.pages_read == 32
    assert len(file.pages_in) == 32


def test_beyond_the_end_of_the_file_there_is_a_bus_error(bench: VmBench) -> None:
    """The area may be longer than the file; using that part deserves SIGBUS."""
    file = file_on(bench, 2)

    def program(task: Task) -> Op[None]:
        area = yield from task.mmap(4 * P, file=file)
        yield from task.touch(area + P, write=False)
        yield from task.touch(area + 2 * P, write=False)

    bench.run(program)
    assert bench.tasks[0].signal.startswith(BUS_ERROR)


# -- writing ---------------------------------------------------------------------------------------


def test_a_private_write_copies_the_page_and_brings_no_neighbour(bench: VmBench) -> None:
    """A frame of its own, which the file never sees."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        yield from task.write(file, 0, b"file")
        area = yield from task.mmap(64 * P, file=file)
        yield from task.store(area, b"mine")
        assert pfn_of(entry_of(task, area)) not in bench.kernel.cache.by_frame
        assert not has(task, area + P)
        assert (yield from task.load(area, 5)) == b"mine\0"
        assert (yield from task.read(file, 0, 4)) == b"file"

    bench.run(program)
    assert bench.kernel.cache.counts.private_writes == 1
    assert bench.flushes.flushes == 1  # the exit's


def test_a_private_write_to_a_page_mapped_for_reading_copies_with_a_flush(bench: VmBench) -> None:
    """The other thread still has the old entry in its TLB: it is told before the copy is there."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        yield from task.write(file, 0, b"file")
        area = yield from task.mmap(64 * P, file=file)
        assert (yield from task.load(area, 4)) == b"file"
        mapped = task.process.space.rss.total
        before = bench.flushes.flushes
        yield from task.store(area, b"mine")
        assert bench.flushes.flushes == before + 1
        assert task.process.space.rss.total == mapped
        assert file.pages_in[0].mapped == 0
        assert (yield from task.load(area, 4)) == b"mine"

    bench.run(program)
    assert bench.kernel.cache.counts.private_copies == 1


def test_a_shared_write_is_the_files_and_takes_no_frame_the_second_time(bench: VmBench) -> None:
    """The page is dirty from the first write on; a second pass over the file allocates nothing."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        for turn in range(2):
            before = bench.kernel.frames.taken
            area = yield from task.mmap(8 * P, address=1 << 30, file=file, shared=True)
            for page in range(8):
                yield from task.store(area + page * P, b"x")
            yield from task.munmap(area, 8 * P)
            if turn:
                assert bench.kernel.frames.taken <= before + 1
        assert (yield from task.read(file, 7 * P, 2)) == b"x\0"
        assert sorted(file.dirty) == list(range(8))

    bench.run(program)
    assert bench.kernel.cache.counts.shared_writes == 16


def test_a_shared_page_mapped_for_reading_becomes_writable_without_a_flush(bench: VmBench) -> None:
    """The entry gains the right, the file system is told, nobody is interrupted."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        area = yield from task.mmap(8 * P, file=file, shared=True)
        yield from task.touch(area, write=False)
        assert not entry_of(task, area) & WRITABLE
        before = bench.flushes.flushes
        yield from task.store(area, b"x")
        assert bench.flushes.flushes == before
        assert entry_of(task, area) & WRITABLE
        assert sorted(file.dirty) == [0]

    bench.run(program)
    assert bench.kernel.cache.counts.made_writable == 1


def test_after_writing_back_the_next_write_is_noticed_again(bench: VmBench) -> None:
    """fsync takes the right to write away and flushes, so that the page can get dirty once more."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        area = yield from task.mmap(8 * P, file=file, shared=True)
        yield from task.store(area, b"one")
        yield from task.fsync(file)
        assert not entry_of(task, area) & (WRITABLE | DIRTY)
        assert file.stored[0][:4] == b"one\0"
        assert not file.dirty
        yield from task.store(area, b"two")
        assert sorted(file.dirty) == [0]
        yield from task.fsync(file)
        assert file.stored[0][:3] == b"two"

    bench.run(program)


def test_processes_that_share_a_file_see_each_others_writes(bench: VmBench) -> None:
    """One frame under both; the counts of its page have two entries."""
    file = file_on(bench)
    seen = []

    def writer(task: Task) -> Op[None]:
        area = yield from task.mmap(8 * P, file=file, shared=True)
        yield from task.store(area, b"hello")
        yield from task.compute(1_000_000_000)

    def reader(task: Task) -> Op[None]:
        yield from task.compute(500_000_000)
        area = yield from task.mmap(8 * P, file=file, shared=True)
        seen.append((yield from task.load(area, 5)))
        assert file.pages_in[0].mapped == 2

    bench.start(bench.process("writer"), 0, writer)
    bench.start(bench.process("reader"), 1, reader)
    bench.finish()
    assert seen == [b"hello"]


# -- other calls ------------------------------------------------------------------------------------


def test_areas_of_one_file_join_only_where_the_file_goes_on(bench: VmBench) -> None:
    """Neighbours with the next pages are one area; others, and those of other files, are not."""
    file, other = file_on(bench), file_on(bench)
    where = 1 << 30

    def program(task: Task) -> Op[None]:
        yield from task.mmap(2 * P, address=where, file=file)
        yield from task.mmap(2 * P, address=where + 2 * P, file=file, offset=2 * P)
        merged = 1 if bench.kernel.switches.merge_areas else 2
        assert len(maps(task)) == merged
        yield from task.mmap(2 * P, address=where + 4 * P, file=file, offset=9 * P)
        yield from task.mmap(2 * P, address=where + 6 * P, file=other, offset=11 * P)
        yield from task.mmap(2 * P, address=where + 8 * P, file=other, offset=13 * P, shared=True)
        assert len(maps(task)) == merged + 3
        for page, index, of in ((3, 3, file), (4, 9, file), (6, 11, other), (9, 14, other)):
            yield from task.touch(where + page * P, write=False)
            assert pfn_of(entry_of(task, where + page * P)) == of.pages_in[index].pfn
        yield from task.munmap(where + P, 2 * P)
        areas = list(task.process.space.areas)
        assert [area.offset for area in areas[:2]] == [0, 3]
        assert "data" in str(areas[0])
        assert f"{3 * P:08x}" in str(areas[1])

    bench.run(program)


def test_bad_offsets_are_refused(bench: VmBench) -> None:
    """Not a multiple of a page, or before the file."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        assert (yield from task.mmap(P, file=file, offset=1)) == EINVAL
        assert (yield from task.mmap(P, file=file, offset=-P)) == EINVAL
        assert (yield from task.mmap(1 << 60, file=file)) == ENOMEM

    bench.run(program)


def test_discarding_private_pages_brings_the_files_back(bench: VmBench) -> None:
    """madvise(DONTNEED): the copy is freed, the file's page is read again; shared writes stay."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        yield from task.write(file, 0, b"file")
        private = yield from task.mmap(4 * P, file=file)
        shared = yield from task.mmap(4 * P, file=file, shared=True)
        yield from task.store(private, b"mine")
        yield from task.store(shared + P, b"ours")
        yield from task.madvise_dontneed(private, 4 * P)
        yield from task.madvise_dontneed(shared, 4 * P)
        assert (yield from task.load(private, 4)) == b"file"
        assert (yield from task.load(shared + P, 4)) == b"ours"

    bench.run(program)


def test_mprotect_leaves_it_to_the_fault_to_make_a_files_page_writable(bench: VmBench) -> None:
    """A private page must be copied, a clean shared one must get dirty: neither becomes writable at once."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        areas = []
        for shared in (False, True):
            area = yield from task.mmap(4 * P, file=file, shared=shared, rights=READ)
            yield from task.touch(area, write=False)
            yield from task.mprotect(area, 4 * P, READ_WRITE)
            assert not entry_of(task, area) & WRITABLE
            yield from task.store(area, b"new")
            areas.append(area)
        assert pfn_of(entry_of(task, areas[0])) != file.pages_in[0].pfn
        assert (yield from task.read(file, 0, 3)) == b"new"
        yield from task.mprotect(areas[1], 4 * P, NONE)
        yield from task.mprotect(areas[1], 4 * P, READ_WRITE)
        yield from task.store(areas[1], b"newer")
        assert (yield from task.read(file, 0, 5)) == b"newer"

    bench.run(program)


def test_a_moved_mapping_shows_the_same_pages_of_the_file(bench: VmBench) -> None:
    """mremap takes entries and offsets along; what it adds is what the file goes on with."""
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        for page in range(8):
            yield from task.write(file, page * P, bytes([65 + page]))
        area = yield from task.mmap(4 * P, file=file, offset=2 * P, shared=True)
        yield from task.touch(area, write=False)
        yield from task.mmap(P, address=area + 4 * P)  # no room to grow
        moved = yield from task.mremap(area, 4 * P, 6 * P)
        assert moved not in (area, ENOMEM)
        for page in range(6):
            assert (yield from task.load(moved + page * P, 1)) == bytes([67 + page])

    bench.run(program)


def test_a_child_finds_the_files_pages_by_its_own_faults(bench: VmBench) -> None:
    """Entries of an area without private pages are not copied; private copies are shared till written."""
    file = file_on(bench)
    seen = []

    def program(task: Task) -> Op[None]:
        yield from task.write(file, 0, b"file" + bytes(P - 4) + b"next")
        shared = yield from task.mmap(4 * P, file=file, shared=True)
        private = yield from task.mmap(4 * P, file=file)
        yield from task.touch(shared, write=False)
        yield from task.store(private, b"mine")
        yield from task.touch(private + P, write=False)

        def child(task: Task) -> Op[None]:
            assert not has(task, shared)
            assert has(task, private)
            assert has(task, private + P)
            seen.append((yield from task.load(private, 4)))
            seen.append((yield from task.load(private + P, 4)))
            yield from task.store(shared, b"mine too")
            yield from task.store(private, b"child's")

        yield from task.fork("child", child)
        yield from task.wait_for_children()
        assert (yield from task.load(private, 4)) == b"mine"
        assert (yield from task.load(shared, 8)) == b"mine too"

    bench.run(program)
    assert seen == [b"mine", b"next"]


def test_populate_faults_a_file_in_and_waits_for_the_device(bench: VmBench) -> None:
    """All pages are there when mmap returns."""
    file = file_on(bench, 40, is_sparse=False)

    def program(task: Task) -> Op[None]:
        area = yield from task.mmap(40 * P, file=file, populate=True, rights=READ)
        assert all(has(task, area + page * P) for page in range(40))

    bench.run(program)


def test_dirty_entries_are_flushed_once_per_table_before_its_lock_is_dropped() -> None:
    """Two tables with shared dirty pages: two flushes for the one munmap; private ones need only one."""
    for shared, flushes in ((True, 2), (False, 1)):
        bench = VmBench("linux-6.18")
        file = file_on(bench, 1024)

        def program(task: Task, file: File = file, shared: bool = shared, flushes: int = flushes) -> Op[None]:
            area = yield from task.mmap(1024 * P, address=1 << 30, file=file, shared=shared)
            for page in (0, 5, 512, 1000):
                yield from task.touch(area + page * P)
            before = task.kernel.policy.system.counts.flushes
            yield from task.mmap(P, address=area + 1024 * P)  # keeps the upper tables
            yield from task.mmap(P, address=area - P)
            yield from task.munmap(area, 1024 * P)
            freed_tables = 1 if shared else 0
            assert task.kernel.policy.system.counts.flushes == before + flushes + freed_tables

        bench.run(program)


@pytest.mark.parametrize("by_vma", ["on", "off"])
def test_faults_on_files_hold_the_areas_lock_since_6_6(by_vma: str) -> None:
    """Before that they took the lock of the process, as do private writes before the first copy."""
    bench = VmBench("linux-6.18", {"file_faults_by_vma": by_vma})
    file = file_on(bench)

    def program(task: Task) -> Op[None]:
        yield from read_in(task, file)
        area = yield from task.mmap(64 * P, file=file)
        lock = task.process.space.mmap_lock.lock_class.read_stat
        assert lock is not None
        before = lock.row().acquisitions
        yield from task.touch(area, write=False)
        yield from task.touch(area + 20 * P, write=True)  # no anon_vma yet
        yield from task.touch(area + 21 * P, write=True)
        yield from task.cpu.sync()
        assert lock.row().acquisitions - before == (1 if by_vma == "on" else 3)
        assert vpn_of(area)

    bench.run(program)


@pytest.mark.parametrize("shared", [False, True])
def test_each_fault_of_many_at_one_file_ends_once(shared: bool) -> None:
    """Four tasks read and write the same pages, in step: who comes late is counted as that, and only so."""
    bench = VmBench()
    file = file_on(bench, 32)
    areas: list[int] = []

    def program(task: Task) -> Op[None]:
        if not areas:
            areas.append((yield from task.mmap(32 * P, file=file, shared=shared)))
        yield from task.cpu.look()
        yield from task.compute(1_000_000_000 - task.cpu.clock)
        for write in (False, True):
            for page in range(32):
                yield from task.touch(areas[0] + page * P, write=write or page % 3 == 0)

    bench.run(*[program] * 4)
    faults, files = bench.counts, bench.kernel.cache.counts
    done = sum(getattr(faults, name) for name in faults.OUTCOMES)
    done += sum(getattr(files, name) for name in files.OUTCOMES)
    assert done == faults.faults
    assert faults.lost_races > 0
