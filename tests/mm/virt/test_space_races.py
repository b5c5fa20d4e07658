"""Two threads change one address space at once: every order has a right outcome, and no other may show.

Each race is tried with many delays between the two, a few tens of nanoseconds apart.
"""

from collections.abc import Callable, Mapping

import pytest
from vm_bench import VmBench, at

from coalsim.engine.clock import Op
from coalsim.mm.virt.area import READ, READ_WRITE
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Task
from coalsim.units import MS, NS, PAGE_SIZE, US, Pfn, Time

ONE_NODE = "pack:1 numa:1 core:4 pu:1"
START = 1 * MS
FIXED = 0x4000_0000
LOCKS: dict[str, tuple[str, dict[str, str]]] = {
    "rwsem": ("coal", {}),
    "per_vma": ("linux-6.18", {}),
    "range": ("sv6", {}),
}

DELAYS = range(-900, 900, 130)
"""Of the second thread, in ns."""

Race = Callable[[Task, int], Op[None]]


@pytest.fixture(params=LOCKS)
def kernel(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """Kernels with each kind of lock, without ticks."""
    name, changes = LOCKS[request.param]
    return name, changes | {"hz": "0"}


def nothing(task: Task, base: int) -> Op[None]:
    """No preparation."""
    yield from ()


def race(
    kernel: tuple[str, Mapping[str, str]],
    delays: range,
    first: Race,
    second: Race,
    prepare: Race = nothing,
) -> list[VmBench]:
    """The first prepares, both touch a page; then the second does its part so many ns after the first."""
    benches = []
    for delay in delays:
        bench = VmBench(*kernel, machine=ONE_NODE)
        flag, base = SpinFlag(), list[int]()

        def one(task: Task, flag: SpinFlag = flag, base: list[int] = base) -> Op[None]:
            base.append((yield from task.mmap(2 * PAGE_SIZE)))
            yield from task.store(base[0], b"xy")
            yield from prepare(task, base[0])
            yield from flag.set(task.cpu)
            yield from at(task, START)
            yield from first(task, base[0])

        def two(task: Task, flag: SpinFlag = flag, base: list[int] = base, delay: int = delay) -> Op[None]:
            yield from task.spin(flag)
            yield from task.touch(base[0], write=False)
            yield from at(task, START + delay * NS)
            yield from second(task, base[0])

        benches.append(bench.run(one, two))
    return benches


def frame_0(kernel: tuple[str, Mapping[str, str]]) -> bytes:
    """What frame 0, which no process has, holds since boot."""
    return VmBench(*kernel, machine=ONE_NODE).kernel.ram.read(Pfn(0), 0, PAGE_SIZE)


# -- contents --------------------------------------------------------------------------------


@pytest.mark.fast_one_in(2)
def test_a_store_while_the_page_is_discarded(kernel: tuple[str, dict[str, str]]) -> None:
    """It goes to the old frame, which is lost, or to a new one: never to a frame of somebody else."""
    seen: list[bytes] = []

    def store(task: Task, base: int) -> Op[None]:
        for _ in range(4):
            yield from task.store(base, b"z")
        yield from at(task, START + 100 * US)
        seen.append((yield from task.load(base, 2)))

    def discard(task: Task, base: int) -> Op[None]:
        yield from task.madvise_dontneed(base, PAGE_SIZE)
        yield from at(task, START + 100 * US)

    for bench in race(kernel, DELAYS, store, discard):
        assert bench.kernel.ram.read(Pfn(0), 0, PAGE_SIZE) == frame_0(kernel)
    assert set(seen) <= {b"\0\0", b"z\0"}


def test_a_load_while_the_page_is_discarded() -> None:
    """It finds what was there, or zeros: never bytes of a frame that is not the page's."""
    seen: list[bytes] = []

    def load(task: Task, base: int) -> Op[None]:
        for _ in range(4):
            seen.append((yield from task.load(base, 2)))  # noqa: PERF401
        yield from at(task, START + 100 * US)

    def discard(task: Task, base: int) -> Op[None]:
        task.process.space.kernel.ram.write(Pfn(0), 0, b"frame 0")
        yield from task.madvise_dontneed(base, PAGE_SIZE)

    race(LOCKS["per_vma"], DELAYS, load, discard)
    assert set(seen) <= {b"xy", b"\0\0"}


def test_a_copy_to_user_while_the_page_is_unmapped() -> None:
    """It is done, or it is not: no byte goes to a frame of somebody else, and none is lost silently."""

    def copy(task: Task, base: int) -> Op[None]:
        for _ in range(4):
            left = yield from task.copy_to_user(base, b"zz")
            assert left in (0, 2)
        yield from at(task, START + 100 * US)

    def unmap(task: Task, base: int) -> Op[None]:
        yield from task.munmap(base, PAGE_SIZE)

    kernel = LOCKS["rwsem"]
    for bench in race(kernel, DELAYS, copy, unmap):
        assert bench.kernel.ram.read(Pfn(0), 0, PAGE_SIZE) == frame_0(kernel)
        assert not bench.tasks[0].signal


def fork_a_child(task: Task, base: int) -> Op[None]:
    """It shares the page, and finds what was in it at the fork when the race is over."""

    def child(other: Task) -> Op[None]:
        yield from at(other, START + 2 * MS)
        assert (yield from other.load(base, 3)) == b"xy\0"

    yield from task.fork("child", child, 3)


def break_the_sharing(seen: list[bytes]) -> Race:
    """A store to a forked page, and what is in the page when the race is over."""

    def part(task: Task, base: int) -> Op[None]:
        yield from task.store(base, b"1")
        yield from at(task, START + 1 * MS)
        seen.append((yield from task.load(base, 3)))
        yield from task.wait_for_children()

    return part


@pytest.mark.fast_one_in(2)
def test_a_discard_while_the_page_is_copied_on_write(kernel: tuple[str, dict[str, str]]) -> None:
    """What the page had before is gone afterwards, though its entry is away while it is copied."""
    seen: list[bytes] = []

    def discard(task: Task, base: int) -> Op[None]:
        yield from task.madvise_dontneed(base, PAGE_SIZE)
        yield from at(task, START + 1 * MS)

    race(kernel, range(200, 3000, 200), break_the_sharing(seen), discard, fork_a_child)
    assert set(seen) <= {b"\0\0\0", b"1\0\0"}
    assert len(seen) > 10


def test_two_writers_of_one_forked_page(kernel: tuple[str, dict[str, str]]) -> None:
    """Two threads break the sharing at once: one copy, and the bytes of both are in it."""
    seen: list[bytes] = []

    def write(task: Task, base: int) -> Op[None]:
        yield from task.store(base + 2, b"2")
        yield from at(task, START + 1 * MS)

    for bench in race(kernel, range(-600, 1400, 250), break_the_sharing(seen), write, fork_a_child):
        assert bench.counts.cow_copies == 1
    assert set(seen) == {b"1y2"}


def test_a_frame_that_others_map_stays_taken_until_the_flush_is_done() -> None:
    """A parent unmaps slowly; the child, the last owner then, frees the frame, and somebody else gets it.

    Another thread of the parent goes on reading the page through its TLB meanwhile.
    """
    pages = 2000
    for delay in (0, 10, 20):
        bench = VmBench("linux-6.18", {"hz": "0"}, machine=ONE_NODE)
        flag, base = SpinFlag(), list[int]()

        def parent(task: Task, flag: SpinFlag = flag, base: list[int] = base, delay: int = delay) -> Op[None]:
            base.append((yield from task.mmap(pages * PAGE_SIZE, populate=True)))

            def child(other: Task) -> Op[None]:
                yield from at(other, 9 * MS + delay * US)
                yield from other.munmap(base[0], 8 * PAGE_SIZE)
                new = yield from other.mmap(64 * PAGE_SIZE)
                yield from other.sequential(new, 64 * PAGE_SIZE, write=True)

            yield from task.fork("child", child, 2)
            yield from flag.set(task.cpu)
            yield from at(task, 9 * MS)
            yield from task.munmap(base[0], pages * PAGE_SIZE)
            yield from task.wait_for_children()

        def reader(task: Task, flag: SpinFlag = flag, base: list[int] = base) -> Op[None]:
            yield from task.spin(flag)
            yield from task.touch(base[0], write=False)
            yield from at(task, 9 * MS)
            while task.touch_now(base[0], False):
                yield from task.compute(200 * NS)
                yield from task.cpu.look()

        bench.run(parent, reader)  # finishes without a broken promise
        assert bench.kernel.oracle is not None
        assert bench.kernel.oracle.stale > 0


# -- areas -------------------------------------------------------------------------------------


@pytest.mark.fast_one_in(2)
def test_a_wild_access_to_where_a_mapping_is_moving(kernel: tuple[str, dict[str, str]]) -> None:
    """It waits, or finds nothing there: it never maps a page that the move then overwrites."""
    length = 64 * PAGE_SIZE
    survivors: list[Task] = []

    def map_before_a_wall(task: Task, base: int) -> Op[None]:
        yield from task.mmap(length, address=FIXED, populate=True)
        yield from task.mmap(PAGE_SIZE, address=FIXED + length, name="wall")

    def move(task: Task, base: int) -> Op[None]:
        assert (yield from task.mremap(FIXED, length, 2 * length)) > 0

    def touch(task: Task, base: int) -> Op[None]:
        yield from task.touch(base - 2 * length + 5 * PAGE_SIZE)
        survivors.append(task)

    benches = race(kernel, range(-1200, 2400, 160), move, touch, map_before_a_wall)
    for bench in benches:
        wild = bench.tasks[1]
        assert (wild in survivors) != bool(wild.signal)
    assert 0 < len(survivors) < len(benches)


def test_fixed_mappings_and_others_at_once(kernel: tuple[str, dict[str, str]]) -> None:
    """One thread replaces a mapping over and over, others map and unmap: it never loses its place."""
    bench = VmBench(*kernel, machine=ONE_NODE)
    flag, base = SpinFlag(), list[int]()

    def fixed(task: Task) -> Op[None]:
        base.append((yield from task.mmap(4 * PAGE_SIZE)))
        yield from flag.set(task.cpu)
        for _ in range(60):
            yield from task.store(base[0], b"old")
            assert (yield from task.mmap(4 * PAGE_SIZE, address=base[0])) == base[0]
            assert (yield from task.load(base[0], 3)) == bytes(3)

    def others(task: Task) -> Op[None]:
        yield from task.spin(flag)
        for number in range(60):
            where = yield from task.mmap(4 * PAGE_SIZE)
            assert where != base[0]
            yield from task.store(where, b"other")
            yield from task.compute(number * 70 * NS)
            yield from task.munmap(where, 4 * PAGE_SIZE)

    bench.run(fixed, others, others)
    assert not any(task.signal for task in bench.tasks)


def test_many_threads_change_neighbouring_pages(kernel: tuple[str, dict[str, str]]) -> None:
    """Each owns a few pages in the middle of the others'; areas split and join, tables come and go."""
    bench = VmBench(*kernel, machine="pack:2 numa:1 core:3 pu:1")
    pages = 5

    def body(task: Task) -> Op[None]:
        mine = FIXED + task.cpu.id * pages * PAGE_SIZE
        for number in range(12):
            content = bytes([task.cpu.id, number])
            assert (yield from task.mmap(pages * PAGE_SIZE, address=mine)) == mine
            for page in range(pages):
                yield from task.store(mine + page * PAGE_SIZE, content)
            yield from task.mprotect(mine + PAGE_SIZE, PAGE_SIZE, READ)
            yield from task.madvise_dontneed(mine + 2 * PAGE_SIZE, PAGE_SIZE)
            yield from task.mprotect(mine + PAGE_SIZE, PAGE_SIZE, READ_WRITE)
            for page in range(pages):
                found = yield from task.load(mine + page * PAGE_SIZE, 2)
                assert found == (bytes(2) if page == 2 else content)
            yield from task.munmap(mine, pages * PAGE_SIZE)

    bench.run(*[body] * 6)
    assert not any(task.signal for task in bench.tasks)


def test_faults_go_on_while_a_flush_is_waited_for() -> None:
    """munmap_downgrade: another thread's fault does not wait for the end of a long unmapping."""
    times: dict[str, Time] = {}
    for downgrade in ("on", "off"):
        bench = VmBench("linux-6.0", {"munmap_downgrade": downgrade, "hz": "0"}, machine=ONE_NODE)
        flag, base = SpinFlag(), list[int]()

        def first(task: Task, flag: SpinFlag = flag, base: list[int] = base) -> Op[None]:
            base.append((yield from task.mmap(3000 * PAGE_SIZE, populate=True)))
            base.append((yield from task.mmap(PAGE_SIZE, name="other")))
            yield from flag.set(task.cpu)
            yield from at(task, 9 * MS)
            yield from task.munmap(base[0], 3000 * PAGE_SIZE)

        def second(
            task: Task, flag: SpinFlag = flag, base: list[int] = base, downgrade: str = downgrade
        ) -> Op[None]:
            yield from task.spin(flag)
            yield from at(task, 9 * MS + 20 * US)
            yield from task.touch(base[1])
            yield from task.cpu.sync()
            times[downgrade] = task.cpu.clock - 9 * MS - 20 * US

        bench.run(first, second)
    assert times["on"] < 5 * US
    assert times["off"] > 50 * US


# -- gathers that overlap ------------------------------------------------------------------------


def test_who_found_nothing_left_flushes_while_another_gather_is_open() -> None:
    """Both discard one page: the one who comes too late may return only when nobody can have the page."""

    def discard(task: Task, base: int) -> Op[None]:
        yield from task.madvise_dontneed(base, PAGE_SIZE)

    flushes = {}
    for nested in ("off", "on"):
        kernel = ("linux-6.18", {"hz": "0", "nested_gather_full": nested})
        benches = race(kernel, range(-300, 301, 100), discard, discard)
        assert all(bench.counts.pages_zapped == 1 for bench in benches)
        flushes[nested] = [bench.flushes.flushes for bench in benches]
    assert all(some == flushes["off"][0] for some in flushes["off"])
    assert sum(flushes["on"]) > sum(flushes["off"])
    assert max(flushes["on"]) == flushes["off"][0] + 1
