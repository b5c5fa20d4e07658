"""A process's counter of pages: counted apart, written now and then, and its line is paid for."""

import pytest
from vm_bench import MODES, SMALL, VmBench, at, run

from coalsim.engine.clock import Op
from coalsim.mm.virt.rss import RSS_LINE, Resident
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Task
from coalsim.units import MS, PAGE_SIZE, US

FIXED = 0x4000_0000


def written_after(faults: int, changes: dict[str, str]) -> tuple[int, int]:
    """What the process's counter says after so many faults of one thread, and after two pages less."""
    seen: list[int] = []

    def body(task: Task) -> Op[None]:
        rss = task.process.space.rss
        yield from task.mmap(faults * PAGE_SIZE, address=FIXED)
        yield from task.sequential(FIXED, faults * PAGE_SIZE, write=True)
        yield from task.cpu.sync()
        assert rss.total == faults
        seen.append(rss.written)
        yield from task.madvise_dontneed(FIXED, 2 * PAGE_SIZE)
        yield from task.cpu.sync()
        assert rss.total == faults - 2
        seen.append(rss.written)

    run(body, "linux-6.18", changes)
    return seen[0], seen[1]


@pytest.mark.parametrize("batch", [1, 16, 64])
def test_a_thread_writes_the_counter_after_a_batch_and_at_every_clearing(batch: int) -> None:
    """100 faults: whole batches are written, and unmapping writes the rest with its own pages."""
    assert written_after(100, {"rss_batch": str(batch)}) == (100 // batch * batch, 98)


def test_a_processor_writes_the_counter_when_its_part_is_large() -> None:
    """`0` on 4 CPUs is max(32, 8): 100 faults write 96, and two pages less stay apart."""
    assert written_after(100, {"rss_batch": "0"}) == (96, 96)


def test_the_batch_grows_with_the_machine() -> None:
    """20 CPUs make it 40."""
    seen: list[int] = []

    def body(task: Task) -> Op[None]:
        yield from task.mmap(64 * PAGE_SIZE, address=FIXED)
        for pages in (39, 40):
            yield from task.touch(FIXED, write=True)
            yield from task.sequential(FIXED, pages * PAGE_SIZE, write=True)
            yield from task.cpu.sync()
            seen.append(task.process.space.rss.written)

    VmBench("linux-6.18", {"rss_batch": "0"}, machine=SMALL.format(10)).run(body)
    assert seen == [0, 40]


def test_a_kernel_without_the_counter_never_writes_it() -> None:
    """sv6: no line, no time."""
    assert written_after(500, {"rss_batch": "-1"}) == (0, 0)


def test_the_page_of_zeros_does_not_count_and_its_copy_does() -> None:
    """Reads map zeros; the first write of each gets a frame, which counts; a copy of a frame does not."""
    seen: list[int] = []

    def child(task: Task) -> Op[None]:
        rss = task.process.space.rss
        yield from task.cpu.sync()
        assert (rss.total, rss.written) == (3, 3)  # written when the table was copied
        yield from task.touch(FIXED, write=True)
        yield from task.cpu.sync()
        assert rss.total == 3

    def body(task: Task) -> Op[None]:
        rss = task.process.space.rss
        yield from task.mmap(8 * PAGE_SIZE, address=FIXED)
        yield from task.sequential(FIXED, 8 * PAGE_SIZE)
        yield from task.cpu.sync()
        seen.append(rss.total)
        yield from task.sequential(FIXED, 3 * PAGE_SIZE, write=True)
        yield from task.cpu.sync()
        seen.append(rss.total)
        yield from task.fork("child", child)
        yield from task.wait_for_children()

    run(body, "linux-6.0")
    assert seen == [0, 3]


def test_a_thread_that_ends_hands_its_part_over() -> None:
    """The other thread sees it in the process's counter without having written it."""
    flag, seen = SpinFlag(), list[int]()

    def short(task: Task) -> Op[None]:
        yield from task.mmap(8 * PAGE_SIZE, address=FIXED)
        yield from task.sequential(FIXED, 5 * PAGE_SIZE, write=True)
        yield from task.cpu.sync()
        seen.append(task.process.space.rss.written)
        yield from flag.set(task.cpu)

    def long(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from at(task, 1 * MS)
        seen.append(task.process.space.rss.written)

    VmBench("linux-6.0", {"hz": "0"}).run(short, long)
    assert seen == [0, 5]


def faulting_together(batch: str) -> int:
    """Four threads of a process fault their own parts; the time that the counter's line took, in ps."""
    pages = 128

    def body(number: int, task: Task) -> Op[None]:
        base = FIXED + number * 512 * PAGE_SIZE
        yield from task.mmap(pages * PAGE_SIZE, address=base)
        yield from task.sequential(base, pages * PAGE_SIZE, write=True)
        yield from task.compute(50 * US)

    bench = VmBench("linux-6.0", {"rss_batch": batch, "hz": "0"})
    bench.run(*(lambda task, number=number: body(number, task) for number in range(4)))
    return sum(cpu.spent[RSS_LINE] for cpu in bench.system.cpus)


def test_threads_that_write_it_with_every_fault_meet_on_its_line() -> None:
    """512 hand-overs cost far more than those of every 64th fault; without the counter there is none."""
    each, seldom, never = (faulting_together(batch) for batch in ("1", "64", "-1"))
    assert each > 20 * seldom > 0
    assert never == 0


@pytest.mark.parametrize("batch", ["1", "0"])
def test_the_counter_is_the_same_in_all_modes(batch: str) -> None:
    """Times by cause, to the picosecond."""

    def body(task: Task) -> Op[None]:
        base = yield from task.mmap(80 * PAGE_SIZE)
        yield from task.sequential(base, 80 * PAGE_SIZE, write=True)
        yield from task.munmap(base, 80 * PAGE_SIZE)

    def spent(number: int) -> list[dict[str, int]]:
        bench = VmBench("linux-6.0", {"rss_batch": batch}, mode=MODES[number])
        bench.run(body, body, body)
        return [{cause: time for cause, time in cpu.spent.items() if time} for cpu in bench.system.cpus]

    first = spent(0)
    assert all(spent(number) == first for number in range(1, len(MODES)))


@pytest.mark.parametrize("batch", ["1", "64", "0"])
def test_pages_are_counted_by_kind(batch: str) -> None:
    """A private copy of a file's page is anonymous; a child shares frames and finds files by itself."""
    bench = VmBench("linux-6.18", {"rss_batch": batch})
    written, copied = (bench.kernel.cache.new_file(name, 8, is_sparse=True) for name in ("written", "copied"))
    seen: list[Resident] = []

    def look(task: Task) -> Op[None]:
        yield from task.cpu.sync()
        task.space.validate()
        seen.append(task.space.rss.total_by_kind)

    def child(task: Task) -> Op[None]:
        yield from look(task)
        yield from task.munmap(FIXED, 5 * PAGE_SIZE)
        yield from look(task)

    def body(task: Task) -> Op[None]:
        yield from task.mmap(5 * PAGE_SIZE, address=FIXED, shared=True)
        yield from task.touch(FIXED, write=False)  # zeros, which count from the write on
        yield from task.sequential(FIXED, 5 * PAGE_SIZE, write=True)
        own = yield from task.mmap(10 * PAGE_SIZE)
        yield from task.sequential(own, 10 * PAGE_SIZE, write=True)
        common = yield from task.mmap(7 * PAGE_SIZE, file=written, shared=True)
        yield from task.sequential(common, 7 * PAGE_SIZE, write=True)
        private = yield from task.mmap(3 * PAGE_SIZE, file=copied)
        yield from task.sequential(private, 3 * PAGE_SIZE)
        yield from task.sequential(private, 2 * PAGE_SIZE, write=True)
        yield from look(task)
        if batch == "1":
            assert task.space.rss.written_by_kind == seen[0]
        yield from task.fork("child", child)
        yield from task.wait_for_children()
        yield from task.munmap(common, 7 * PAGE_SIZE)
        yield from look(task)

    bench.run(body)
    assert seen == [Resident(12, 8, 5), Resident(12, 1, 5), Resident(12, 1, 0), Resident(12, 1, 5)]
