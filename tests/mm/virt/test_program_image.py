"""What exec leaves a process: text, data, a stack, and the tables of what it wrote."""

import pytest
from vm_bench import MODES, VmBench, maps, vpn_of

from coalsim.engine.clock import Op
from coalsim.mm.virt.area import READ_EXECUTE
from coalsim.mm.virt.image import stack_gap
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE

GEOMETRIES = ("x86-32", "pae", "x86-64", "x86-64-5")
MIB_PAGES = MIB // PAGE_SIZE


def started(bench: VmBench, *bodies: object) -> VmBench:
    """A process with an image, and everything checked at its end."""
    process = bench.vm.new_process("program")
    for cpu, body in enumerate(bodies):
        bench.start(process, cpu, body)  # type: ignore[arg-type]
    return bench.finish()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_process_begins_with_text_data_and_a_stack(geometry: str) -> None:
    """In this order; two pages have been written, in simulated time, and nothing else."""
    seen: list[list[tuple[int, int, str]]] = []

    def body(task: Task) -> Op[None]:
        seen.append(maps(task))
        space = task.process.space
        assert space.counts.resident == 2
        assert task.cpu.clock > 0
        yield from ()

    bench = started(VmBench("linux-6.18", {"geometry": geometry}), body)
    top = bench.kernel.geometry.user_pages
    assert seen == [[(1024, 64, "r-x"), (1088, 16, "rw-"), (top - 33, 33, "rw-")]]
    assert bench.counts.anonymous == bench.counts.faults == 2
    assert bench.kernel.operations.kinds["exec"].latencies.count == 1


@pytest.mark.parametrize(("first", "tables"), [("image", 1), ("bare", 3)])
def test_a_first_munmap_frees_the_leaf_table_only(first: str, tables: int) -> None:
    """The stack keeps the upper ones; in an empty address space they go too."""
    freed: list[int] = []

    def body(task: Task) -> Op[None]:
        counts = task.process.space.kernel.counts
        base = yield from task.mmap(PAGE_SIZE)
        yield from task.touch(base)
        before = counts.tables_freed
        yield from task.munmap(base, PAGE_SIZE)
        freed.append(counts.tables_freed - before)

    bench = VmBench("linux-6.18")
    started(bench, body) if first == "image" else bench.run(body)
    assert freed == [tables]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_mappings_leave_the_stack_its_room(geometry: str) -> None:
    """mmap stays 128 MiB below the end, so the stack grows to its 8 MiB and no further."""
    bases: list[int] = []

    def body(task: Task) -> Op[None]:
        top = task.process.space.kernel.geometry.user_pages
        bases.append(top - vpn_of((yield from task.mmap(PAGE_SIZE))))
        for pages in (40, 1000, 2048):
            yield from task.touch((top - pages) * PAGE_SIZE)
        assert task.process.space.areas.find(top - 2048) is not None
        yield from task.touch((top - 2049) * PAGE_SIZE)

    bench = started(VmBench("linux-6.18", {"geometry": geometry}), body)
    assert bases == [128 * MIB_PAGES + 1]
    assert bench.counts.stack_growths == 3
    assert "SEGV_MAPERR" in bench.tasks[0].signal


def test_the_gap_is_the_stack_s_limit_and_guard_clamped_as_linux_does() -> None:
    """128 MiB at least, five sixths of the user's side at most; a guard that is larger counts."""
    assert stack_gap(1 << 35, 256) == 128 * MIB_PAGES
    assert stack_gap(1 << 35, 200_000) == 2048 + 200_000
    assert stack_gap(60_000, 200_000) == 50_000


def test_the_heap_begins_behind_the_data() -> None:
    """brk gives the next page, which shares its tables with the data."""
    made: list[int] = []

    def body(task: Task) -> Op[None]:
        counts = task.process.space.kernel.counts
        before = counts.tables_made
        end = yield from task.brk(PAGE_SIZE)
        assert vpn_of(end) == 1088 + 16 + 1
        yield from task.store(end - PAGE_SIZE, b"x")
        made.append(counts.tables_made - before)

    started(VmBench("linux-6.18"), body)
    assert made == [0]


def test_text_may_not_be_written_and_a_child_has_the_image_too() -> None:
    """fork copies it and does not write it again."""
    signals: list[str] = []

    def child(task: Task) -> Op[None]:
        space = task.process.space
        assert space.areas.find(1024).rights == READ_EXECUTE  # type: ignore[union-attr]
        assert space.mmap_base == task.process.parent.space.mmap_base  # type: ignore[union-attr]
        assert space.counts.resident == 2
        yield from task.touch(4 * MIB)

    def body(task: Task) -> Op[None]:
        yield from task.fork("child", child)
        yield from task.wait_for_children()
        signals.append(task.process.children[0].tasks[0].signal)

    bench = started(VmBench("linux-6.18"), body)
    assert "SEGV_ACCERR" in signals[0]
    assert bench.kernel.operations.kinds["exec"].latencies.count == 1


def test_threads_that_begin_together_load_one_image() -> None:
    """Whoever comes first writes it; the others begin."""

    def body(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE)
        yield from task.touch(base)

    bench = started(VmBench("linux-6.18"), body, body, body, body)
    assert bench.kernel.operations.kinds["exec"].latencies.count == 1
    assert bench.counts.anonymous == 2 + 4


def test_a_program_that_does_not_fit_is_killed() -> None:
    """Two frames are left: enough for the root, not for the stack and its tables; the program never runs."""
    bench = VmBench("linux-6.18", {"hz": "0"}, machine="pack:1 numa:1(memory=24MB) core:1 pu:1")
    pages = bench.system.memory.pages

    def hog(task: Task) -> Op[None]:
        address = yield from task.mmap(32 * MIB)
        while sum(zone.source.free_frames for zone in pages.zones) + pages.listed_pages() > 2:
            yield from task.touch(address)
            yield from task.cpu.sync()
            address += PAGE_SIZE
        yield from task.sleep_until_woken()

    def late(_: Task) -> Op[None]:
        raise AssertionError("it has no memory for its stack")
        yield

    def waker(task: Task) -> Op[None]:
        yield from task.wake(bench.tasks[0])

    bench.start(bench.process("hog"), 0, hog)
    task = bench.start(bench.vm.new_process("late"), 0, late)
    bench.start(bench.process("waker"), 0, waker)
    bench.finish()
    assert "out of memory" in task.signal
    assert not bench.tasks[0].signal


@pytest.mark.parametrize("mode", range(1, len(MODES)))
def test_programs_begin_alike_in_all_modes(mode: int) -> None:
    """Threads and processes, to the picosecond."""

    def body(task: Task) -> Op[None]:
        base = yield from task.mmap(3 * PAGE_SIZE)
        yield from task.sequential(base, 3 * PAGE_SIZE, write=True)

    def spent(number: int) -> list[dict[str, int]]:
        bench = VmBench("linux-6.0", mode=MODES[number])
        for name in ("one", "two"):
            process = bench.vm.new_process(name)
            for cpu in range(3):
                bench.start(process, cpu, body)
        bench.finish()
        return [{cause: time for cause, time in cpu.spent.items() if time} for cpu in bench.system.cpus]

    assert spent(mode) == spent(0)
