"""The table of page faults, row by row, whatever lock the fault holds."""

from collections.abc import Mapping

import pytest
from vm_bench import VmBench, at, entry_of, maps, vpn_of

from coalsim.engine.clock import Op
from coalsim.mm.paging.entry import DIRTY, PRESENT, WRITABLE, pfn_of
from coalsim.mm.virt.area import NONE, READ, READ_WRITE, WRITE, Area, Rights
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Body, Task
from coalsim.units import MS, NS, PAGE_SHIFT, PAGE_SIZE, US, Time, Vpn

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

STACK_TOP = 0x80000
LOCKS: dict[str, Mapping[str, str]] = {
    "rwsem": {"mmap_lock": "rwsem"},
    "per_vma": {"mmap_lock": "per_vma", "madvise_lock": "vma"},
    "range": {"mmap_lock": "range"},
}
PARTLY = ("lazy", "per_cpu")
"""Copies of page tables that get their entries by faults."""


@pytest.fixture(params=LOCKS)
def bench(request: pytest.FixtureRequest) -> VmBench:
    """The seed kernel with each kind of lock."""
    return VmBench("coal", LOCKS[request.param])


def stack(task: Task, pages: int) -> int:
    """Give the task a stack of so many pages; its lowest address."""
    area = Area(first=Vpn(STACK_TOP - pages), last=Vpn(STACK_TOP), kind="stack", grows_down=True)
    task.process.space.areas.insert(area)
    return area.first << PAGE_SHIFT


# -- legal cases -------------------------------------------------------------------------------


def test_a_first_read_maps_the_page_of_zeros(bench: VmBench) -> None:
    """not present, read: no frame is taken, whatever page it is."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(2 * PAGE_SIZE)
        taken = None
        for page in (0, 1):
            yield from task.touch(base + page * PAGE_SIZE, write=False)
            taken = taken or bench.kernel.frames.taken
            entry = entry_of(task, base + page * PAGE_SIZE)
            assert pfn_of(entry) == bench.kernel.frames.zero_frame
            assert entry & PRESENT
            assert not entry & WRITABLE
        assert bench.kernel.frames.taken == taken
        assert (yield from task.load(base, 2 * PAGE_SIZE)) == bytes(2 * PAGE_SIZE)

    bench.run(program)
    assert (bench.counts.zero_page, bench.counts.anonymous, bench.counts.faults) == (2, 0, 2)


def test_a_kernel_without_a_page_of_zeros_takes_a_frame_for_a_read() -> None:
    """not present, read, `zero_page` off: a frame that is writable, but clean until a store."""
    bench = VmBench("coal", {"zero_page": "off"})

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE)
        yield from task.touch(base, write=False)
        entry = entry_of(task, base)
        assert entry & WRITABLE
        assert not entry & DIRTY
        faults = bench.counts.faults
        yield from task.touch(base, write=True)
        assert entry_of(task, base) & DIRTY
        assert bench.counts.faults == faults  # the hardware sets D by itself

    bench.run(program)
    assert (bench.counts.zero_page, bench.counts.anonymous) == (0, 1)


def test_a_first_write_maps_a_frame_of_its_own_and_zeroes_it(bench: VmBench) -> None:
    """not present, write: zeros around what is written, although the frame had another owner before."""

    def program(task: Task) -> Op[None]:
        old = yield from task.mmap(4 * PAGE_SIZE)
        yield from task.store(old, b"\xff" * 4 * PAGE_SIZE)
        frames = {pfn_of(entry_of(task, old + page * PAGE_SIZE)) for page in range(4)}
        yield from task.munmap(old, 4 * PAGE_SIZE)
        new = yield from task.mmap(4 * PAGE_SIZE)
        for page in range(4):
            yield from task.store(new + page * PAGE_SIZE + 5, b"x")
        assert pfn_of(entry_of(task, new)) in frames, "the test wants a used frame"
        content = b"\0" * 5 + b"x" + b"\0" * (PAGE_SIZE - 6)
        assert (yield from task.load(new, 4 * PAGE_SIZE)) == content * 4

    bench.run(program)
    assert bench.counts.anonymous == 8


def test_a_write_to_the_page_of_zeros_gets_a_frame(bench: VmBench) -> None:
    """present without W: the zeros of everybody else stay zeros."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(2 * PAGE_SIZE)
        yield from task.touch(base, write=False)
        yield from task.touch(base + PAGE_SIZE, write=False)
        yield from task.store(base, b"mine")
        assert (yield from task.load(base, 6)) == b"mine\0\0"
        assert (yield from task.load(base + PAGE_SIZE, 4)) == bytes(4)
        assert bench.kernel.ram.read(bench.kernel.frames.zero_frame, 0, 4) == bytes(4)

    bench.run(program)
    assert (bench.counts.cow_copies, bench.counts.cow_reuses, bench.counts.anonymous) == (1, 0, 0)


def test_copy_on_write_copies_for_the_first_and_reuses_for_the_last(bench: VmBench) -> None:
    """present without W, after a fork: the first writer copies, the other takes the frame over."""
    frames: list[int] = []

    def child(task: Task) -> Op[None]:
        yield from at(task, 5 * MS)
        yield from task.store(base[0], b"child")
        frames.append(pfn_of(entry_of(task, base[0])))

    base: list[int] = []

    def parent(task: Task) -> Op[None]:
        base.append((yield from task.mmap(PAGE_SIZE)))
        yield from task.store(base[0], b"first")
        frames.append(pfn_of(entry_of(task, base[0])))
        yield from task.fork("child", child, 1)
        yield from task.store(base[0], b"parent")
        frames.append(pfn_of(entry_of(task, base[0])))
        yield from task.wait_for_children()

    bench.run(parent)
    original, of_parent, of_child = frames
    assert of_child == original != of_parent
    assert (bench.counts.cow_copies, bench.counts.cow_reuses) == (1, 1)


def test_a_fault_that_lost_the_race_is_spurious_or_gives_its_frame_back(bench: VmBench) -> None:
    """present and allowed: two threads write to one new page at once; it gets one frame."""
    flag, base = SpinFlag(), []

    def first(task: Task) -> Op[None]:
        base.append((yield from task.mmap(2 * PAGE_SIZE)))
        yield from task.touch(base[0] + PAGE_SIZE)
        yield from flag.set(task.cpu)
        yield from at(task, 1 * MS)
        yield from task.store(base[0], b"0")
        yield from at(task, 2 * MS)
        assert (yield from task.load(base[0], 2)) == b"01"

    def second(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from at(task, 1 * MS)
        yield from task.store(base[0] + 1, b"1")

    bench.run(first, second)
    assert bench.counts.anonymous == 2
    assert bench.counts.faults == 3


def test_every_fault_is_counted_under_what_came_of_it() -> None:
    """Threads that fault the same pages in: one maps each, the others lose or find it mapped."""
    bench, flag, base = VmBench("linux-6.18", machine="pack:1 numa:1 core:4 pu:1"), SpinFlag(), list[int]()

    def first(task: Task) -> Op[None]:
        base.append((yield from task.mmap(64 * PAGE_SIZE)))
        yield from task.compute(50 * US)
        yield from flag.set(task.cpu)
        yield from task.sequential(base[0], 64 * PAGE_SIZE, write=True)

    def other(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from task.sequential(base[0], 64 * PAGE_SIZE, write=True)

    counts = bench.run(first, other, other, other).counts
    assert counts.lost_races > 0
    assert counts.anonymous == 64
    assert counts.faults == counts.anonymous + counts.spurious + counts.lost_races


def test_a_copy_on_write_charges_the_cgroup() -> None:
    """As for a new page: the frame is the process's."""
    bench = VmBench("linux-6.18", {"hz": "0"})

    def parent(task: Task) -> Op[None]:
        base = yield from task.mmap(4 * PAGE_SIZE, populate=True)

        def child(other: Task) -> Op[None]:
            yield from at(other, 5 * MS)

        yield from task.fork("child", child, 1)
        bench.kernel.operations.reset()
        yield from task.sequential(base, 4 * PAGE_SIZE, write=True)

    bench.run(parent)
    assert bench.counts.cow_copies == 4
    charged = bench.kernel.operations.kind("fault").by_cause["memcg"]
    assert charged == 4 * bench.kernel.costs.memcg_charge > 0


@pytest.mark.parametrize(("name", "waits"), [("other", False), ("busy", True)])
def test_a_new_area_disturbs_faults_only_in_areas_that_it_joins(name: str, waits: bool) -> None:
    """Linux writes a neighbour only to merge with it; else its faults go on under its own lock."""
    bench, flag = VmBench("linux-6.18", {"hz": "0"}), SpinFlag()
    base, pages = 0x4000_0000, 100

    def faults(task: Task) -> Op[None]:
        yield from task.mmap(pages * PAGE_SIZE, address=base, name="busy")
        yield from task.touch(base)
        yield from flag.set(task.cpu)
        yield from task.sequential(base, pages * PAGE_SIZE, write=True)

    def maps_beside(task: Task) -> Op[None]:
        yield from task.spin(flag)
        for page in range(30):
            address = base + (pages + page) * PAGE_SIZE
            yield from task.mmap(PAGE_SIZE, address=address, name=name)

    assert (bench.run(faults, maps_beside).counts.vma_fallbacks > 0) is waits


def test_a_fault_that_finds_the_page_mapped_is_spurious() -> None:
    """present and allowed: the other thread was faster by as much as from the walk to the lock."""
    spurious = 0
    for delay in range(0, 1500, 50):
        bench = VmBench("coal", {"zero_page": "off"})
        flag, base = SpinFlag(), []

        def first(task: Task, flag: SpinFlag = flag, base: list[int] = base) -> Op[None]:
            base.append((yield from task.mmap(2 * PAGE_SIZE)))
            yield from task.touch(base[0] + PAGE_SIZE)
            yield from flag.set(task.cpu)
            yield from at(task, 1 * MS)
            yield from task.touch(base[0])

        def second(task: Task, flag: SpinFlag = flag, base: list[int] = base, delay: int = delay) -> Op[None]:
            yield from task.spin(flag)
            yield from at(task, 1 * MS + delay * NS)
            yield from task.touch(base[0])

        bench.run(first, second)
        assert bench.counts.faults <= 3
        spurious += bench.counts.spurious
    assert spurious > 0


@pytest.mark.parametrize("copies", PARTLY)
def test_a_page_that_is_mapped_elsewhere_only_is_filled(copies: str) -> None:
    """elsewhere only: a fault copies the entry, one page at a time, and takes no frame."""
    bench = VmBench("coal", {"table_replication": copies})
    flag, base = SpinFlag(), []

    def first(task: Task) -> Op[None]:
        base.append((yield from task.mmap(3 * PAGE_SIZE)))
        for page in range(3):
            yield from task.store(base[0] + page * PAGE_SIZE, b"data")
        yield from flag.set(task.cpu)
        yield from at(task, 1 * MS)

    def second(task: Task) -> Op[None]:
        yield from task.spin(flag)
        for page in range(3):
            assert (yield from task.load(base[0] + page * PAGE_SIZE, 4)) == b"data"
        yield from task.store(base[0], b"more")

    process = bench.process()
    bench.start(process, 0, first)
    bench.start(process, 3, second)  # another processor and another node
    bench.finish()
    assert (bench.counts.anonymous, bench.counts.fills, bench.counts.spurious) == (3, 3, 0)


def test_eager_copies_need_no_fill() -> None:
    """Every place has the entry as soon as one of them faulted for it."""
    bench = VmBench("coal", {"table_replication": "eager"})
    flag, base = SpinFlag(), []

    def first(task: Task) -> Op[None]:
        base.append((yield from task.mmap(PAGE_SIZE)))
        yield from task.store(base[0], b"data")
        yield from flag.set(task.cpu)
        yield from at(task, 1 * MS)

    def second(task: Task) -> Op[None]:
        yield from task.spin(flag)
        assert (yield from task.load(base[0], 4)) == b"data"

    process = bench.process()
    bench.start(process, 0, first)
    bench.start(process, 3, second)
    bench.finish()
    assert bench.counts.faults == 1


# -- signals -----------------------------------------------------------------------------------


def killed(bench: VmBench, word: str) -> None:
    """The only task dies of a signal that says so; its memory goes all the same."""
    assert bench.tasks[0].signal.startswith("SIGSEGV"), bench.tasks[0].signal
    assert word in bench.tasks[0].signal
    assert bench.counts.signals == 1


@pytest.mark.parametrize("write", [False, True])
def test_an_access_outside_of_all_areas_ends_the_task(bench: VmBench, *, write: bool) -> None:
    """No area: SEGV_MAPERR with the address; what comes after it does not run."""
    after: list[str] = []

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE)
        yield from task.touch(base)
        yield from task.touch(base - 5 * PAGE_SIZE + 12, write=write)
        after.append("alive")

    bench.run(program)
    killed(bench, "SEGV_MAPERR")
    assert not after
    assert bench.counts.bad_area == 1


def test_the_null_page_is_never_mapped(bench: VmBench) -> None:
    """Address 0 faults, even when the rest of the address space is full."""

    def program(task: Task) -> Op[None]:
        size = bench.kernel.geometry.user_pages * PAGE_SIZE
        while size >= PAGE_SIZE:
            if (yield from task.mmap(size)) < 0:
                size //= 2
        lowest = min(first for first, _, _ in maps(task)) << PAGE_SHIFT
        assert lowest >= 64 * 1024
        assert (yield from task.munmap(lowest, PAGE_SIZE)) == 0  # what mmap gives, munmap takes
        yield from task.touch(0)

    bench.run(program)
    killed(bench, "SEGV_MAPERR")


@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize(
    ("rights", "write"), [(READ, True), (NONE, False), (NONE, True)], ids=["store to r", "load -", "store -"]
)
def test_an_access_that_the_area_does_not_allow_ends_the_task(
    bench: VmBench, rights: Rights, *, write: bool, present: bool
) -> None:
    """without that right: SEGV_ACCERR, whether or not the page is there."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE)
        if present:
            yield from task.store(base, b"data")
        assert (yield from task.mprotect(base, PAGE_SIZE, rights)) == 0
        yield from task.touch(base, write=write)

    bench.run(program)
    killed(bench, "SEGV_ACCERR")
    assert bench.counts.bad_rights == 1


@pytest.mark.parametrize("present", [False, True])
def test_a_page_that_may_be_written_may_be_read(bench: VmBench, *, present: bool) -> None:
    """x86 has no write-only pages: a load from such an area works, present or not."""
    seen: list[bytes] = []

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE, rights=WRITE)
        if present:
            yield from task.touch(base, write=True)
        seen.append((yield from task.load(base, 1)))

    bench.run(program)
    assert not bench.tasks[0].signal
    assert seen == [b"\0"]


def test_user_code_may_not_touch_the_kernel() -> None:
    """The kernel's half is refused for loads and stores, on every geometry, mapped there or not."""
    for geometry in ("x86-32", "pae", "x86-64", "x86-64-5"):
        for offset in (0, 16 * PAGE_SIZE, 1 << 29):
            for write in (False, True):
                bench = VmBench("coal", {"geometry": geometry})
                where = (bench.kernel.geometry.kernel_first << PAGE_SHIFT) + offset

                def program(task: Task, where: int = where, write: bool = write) -> Op[None]:
                    yield from task.touch(where, write=write)

                bench.run(program)
                killed(bench, f"{where:#x}")


def test_a_task_that_dies_leaves_the_other_threads_alone(bench: VmBench) -> None:
    """The others go on in the same space, and the last of them tears it down."""
    flag, base, seen = SpinFlag(), [], []

    def first(task: Task) -> Op[None]:
        base.append((yield from task.mmap(PAGE_SIZE)))
        yield from task.store(base[0], b"kept")
        yield from flag.set(task.cpu)
        yield from task.touch(base[0] + 100 * PAGE_SIZE)

    def second(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from at(task, 1 * MS)
        seen.append((yield from task.load(base[0], 4)))

    bench.run(first, second)
    assert seen == [b"kept"]
    assert [bool(task.signal) for task in bench.tasks] == [True, False]


# -- stacks ------------------------------------------------------------------------------------


def test_a_stack_grows_down_to_the_page_that_is_used(bench: VmBench) -> None:
    """None, above a page, is a stack that may grow: the area becomes larger, one page is mapped."""

    def program(task: Task) -> Op[None]:
        low = stack(task, 4)
        yield from task.store(low - 10 * PAGE_SIZE, b"deep")
        assert (yield from task.load(low - 10 * PAGE_SIZE, 4)) == b"deep"
        assert [(first, pages) for first, pages, _ in maps(task)] == [(STACK_TOP - 14, 14)]

    bench.run(program)
    assert (bench.counts.stack_growths, bench.counts.anonymous) == (1, 1)


def test_two_threads_grow_one_stack(bench: VmBench) -> None:
    """Both faults come below the stack at one time: it grows for both, and both pages are there."""

    def first(task: Task) -> Op[None]:
        stack(task, 4)
        yield from at(task, 1 * MS)
        yield from task.store((STACK_TOP - 9) * PAGE_SIZE, b"one")

    def second(task: Task) -> Op[None]:
        yield from at(task, 1 * MS)
        yield from task.store((STACK_TOP - 20) * PAGE_SIZE, b"two")
        yield from at(task, 2 * MS)
        assert (yield from task.load((STACK_TOP - 9) * PAGE_SIZE, 3)) == b"one"

    bench.run(first, second)
    assert not any(task.signal for task in bench.tasks)


@pytest.mark.parametrize("start", [4, 2040])
def test_a_stack_does_not_grow_beyond_8_mib(bench: VmBench, start: int) -> None:
    """2048 pages in all, however large it is already."""
    grown: list[int] = []

    def program(task: Task) -> Op[None]:
        stack(task, start)
        yield from task.touch((STACK_TOP - 2048) * PAGE_SIZE)
        grown.append(maps(task)[0][1])
        yield from task.touch((STACK_TOP - 2049) * PAGE_SIZE)

    bench.run(program)
    assert grown == [2048]
    killed(bench, "SEGV_MAPERR")


@pytest.mark.parametrize(("guard", "fits"), [("1", True), ("256", False)])
def test_a_stack_keeps_away_from_what_is_below(guard: str, *, fits: bool) -> None:
    """Ten pages of room: enough with a guard gap of one page, not with Linux's 256."""
    bench = VmBench("coal", {"stack_guard_pages": guard})

    def program(task: Task) -> Op[None]:
        low = stack(task, 4)
        below = yield from task.mmap(PAGE_SIZE, address=low - 11 * PAGE_SIZE)
        assert below == low - 11 * PAGE_SIZE
        yield from task.touch(low - PAGE_SIZE)
        yield from task.touch(low - 9 * PAGE_SIZE)  # leaves one page
        yield from task.touch(low - 10 * PAGE_SIZE)

    bench.run(program)
    assert bench.counts.stack_growths == (2 if fits else 0)
    killed(bench, "SEGV_MAPERR")


def test_mmap_leaves_the_guard_gap_free() -> None:
    """What mmap finds by itself ends at least the gap below a stack."""
    bench = VmBench("coal", {"stack_guard_pages": "256", "geometry": "x86-32"})

    def program(task: Task) -> Op[None]:
        stack(task, 4)
        top = bench.kernel.geometry.user_pages
        rest = yield from task.mmap((top - STACK_TOP) * PAGE_SIZE)
        assert vpn_of(rest) == STACK_TOP
        next_one = yield from task.mmap(PAGE_SIZE)
        assert vpn_of(next_one) + 1 == STACK_TOP - 4 - 256

    bench.run(program)


# -- where a fault comes from --------------------------------------------------------------------


def test_a_fault_falls_back_when_its_area_is_being_written() -> None:
    """per_vma: faults in an area that mprotect has marked wait for mmap_lock instead, and then succeed."""
    bench = VmBench("coal", LOCKS["per_vma"])
    flag, base, times = SpinFlag(), [], {}

    def first(task: Task) -> Op[None]:
        base.append((yield from task.mmap(600 * PAGE_SIZE, populate=True)))
        yield from flag.set(task.cpu)
        yield from at(task, 5 * MS)
        yield from task.mprotect(base[0], 500 * PAGE_SIZE, READ)
        yield from task.cpu.sync()
        times["protected"] = task.cpu.clock

    def second(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from task.madvise_dontneed(base[0] + 450 * PAGE_SIZE, PAGE_SIZE)
        yield from at(task, 5 * MS + 2 * US)
        yield from task.touch(base[0] + 450 * PAGE_SIZE, write=False)
        yield from task.cpu.sync()
        times["touched"] = task.cpu.clock

    bench.run(first, second)
    assert bench.counts.vma_fallbacks == 1
    assert times["touched"] > times["protected"] - 5 * US


def test_faults_in_one_process_run_side_by_side(bench: VmBench) -> None:
    """Readers of mmap_lock, of the area's lock, or of other pages do not wait for each other."""
    flag, base, took = SpinFlag(), list[int](), dict[int, Time]()
    pages = 100

    def body(number: int) -> Body:
        def program(task: Task) -> Op[None]:
            if number == 0:
                base.append((yield from task.mmap(2 * pages * PAGE_SIZE)))
                yield from flag.set(task.cpu)
            else:
                yield from task.spin(flag)
            yield from at(task, 1 * MS)
            for page in range(pages):
                yield from task.touch(base[0] + (number * pages + page) * PAGE_SIZE)
            yield from task.cpu.sync()
            took[number] = task.cpu.clock - 1 * MS

        return program

    bench.run(body(0), body(1))
    together = max(took.values())
    VmBench("coal", {"mmap_lock": bench.system.switches.mmap_lock}).run(body(0))
    assert together < 1.5 * took[0]


def test_every_fault_is_one_operation(bench: VmBench) -> None:
    """The latencies of faults are counted once per fault, and by cause without remainder."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(8 * PAGE_SIZE)
        for page in range(8):
            yield from task.touch(base + page * PAGE_SIZE, write=page % 2 == 0)
        for page in range(8):
            yield from task.touch(base + page * PAGE_SIZE, write=True)

    bench.run(program)
    fault = bench.kernel.operations.kinds["fault"]
    assert fault.latencies.count == bench.counts.faults == 12
    assert fault.by_cause["zeroing"] > 0


def test_rights_are_those_of_now(bench: VmBench) -> None:
    """A page loses the right to write and gets it back, any number of times."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE)
        for number in range(5):
            yield from task.store(base, bytes([number]))
            yield from task.mprotect(base, PAGE_SIZE, READ)
            assert not task.touch_now(base, True)
            assert (yield from task.load(base, 1)) == bytes([number])
            yield from task.mprotect(base, PAGE_SIZE, READ_WRITE)

    bench.run(program)
    assert bench.counts.anonymous == 1
