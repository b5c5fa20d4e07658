"""Copies between kernel and user memory, and pointers that lead nowhere."""

import pytest
from vm_bench import VmBench, entry_of

from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.paging import layout
from coalsim.mm.paging.entry import pfn_of
from coalsim.mm.virt.area import NONE, READ
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SHIFT, PAGE_SIZE

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

GEOMETRIES = ("x86-32", "pae", "x86-64", "x86-64-5")
TEXT = bytes(range(1, 251)) * 60  # 15,000 bytes, none of them zero


@pytest.fixture(params=["coal", "linux-6.18", "sv6"])
def bench(request: pytest.FixtureRequest) -> VmBench:
    """Kernels with the three kinds of locks."""
    return VmBench(request.param)


def test_bytes_get_to_user_memory_and_back(bench: VmBench) -> None:
    """Over page borders, at crooked addresses, faulting in what is missing."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(5 * PAGE_SIZE)
        assert (yield from task.copy_to_user(base + 100, TEXT)) == 0
        assert (yield from task.load(base + 100, len(TEXT))) == TEXT
        assert (yield from task.load(base, 100)) == bytes(100)
        yield from task.store(base + 4000, b"changed")
        left, found = yield from task.copy_from_user(base + 3990, 30)
        assert left == 0
        assert found == TEXT[3890:3900] + b"changed" + TEXT[3907:3920]

    bench.run(program)


def test_a_copy_stops_at_a_page_that_is_not_there(bench: VmBench) -> None:
    """The middle of three pages is unmapped: what could not be copied is counted, no signal is sent."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(3 * PAGE_SIZE)
        yield from task.munmap(base + PAGE_SIZE, PAGE_SIZE)
        left = yield from task.copy_to_user(base + 1000, TEXT[: 2 * PAGE_SIZE])
        assert left == 2 * PAGE_SIZE - (PAGE_SIZE - 1000)
        assert (yield from task.load(base + 1000, PAGE_SIZE - 1000)) == TEXT[: PAGE_SIZE - 1000]
        assert (yield from task.load(base + 2 * PAGE_SIZE, PAGE_SIZE)) == bytes(PAGE_SIZE)
        left, found = yield from task.copy_from_user(base + 1000, 2 * PAGE_SIZE)
        assert (left, found) == (PAGE_SIZE + 1000, TEXT[: PAGE_SIZE - 1000])

    bench.run(program)
    assert not bench.tasks[0].signal
    assert bench.counts.signals == 0


def test_a_copy_respects_the_rights_of_the_area(bench: VmBench) -> None:
    """Nothing goes into a read-only page, nothing comes out of one without rights."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(2 * PAGE_SIZE)
        yield from task.store(base, b"kept")
        yield from task.mprotect(base, PAGE_SIZE, READ)
        assert (yield from task.copy_to_user(base, b"lost")) == 4
        assert (yield from task.copy_from_user(base, 4)) == (0, b"kept")
        yield from task.mprotect(base, PAGE_SIZE, NONE)
        assert (yield from task.copy_from_user(base, 4)) == (4, b"")
        assert (yield from task.copy_to_user(base + PAGE_SIZE, b"fine")) == 0

    bench.run(program)
    assert not bench.tasks[0].signal


def test_a_copy_to_a_forked_page_copies_the_page(bench: VmBench) -> None:
    """The kernel's stores break sharing as the program's do."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE)
        yield from task.store(base, b"before")

        def child(other: Task) -> Op[None]:
            assert (yield from other.copy_to_user(base, b"child!")) == 0
            assert (yield from other.load(base, 6)) == b"child!"

        yield from task.fork("child", child, 1)
        yield from task.wait_for_children()
        assert (yield from task.load(base, 6)) == b"before"

    bench.run(program)
    assert bench.counts.cow_copies == 1


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_pointers_to_the_kernels_side_copy_nothing(geometry: str) -> None:
    """Wholly or in part beyond user memory, below it, or wrapping around: all bytes are left, no fault."""
    bench = VmBench("coal", {"geometry": geometry})

    def program(task: Task) -> Op[None]:
        start, end = layout.region(bench.kernel.geometry, "user")[1:]
        kernel = bench.kernel.geometry.kernel_first << PAGE_SHIFT
        yield from task.mmap(PAGE_SIZE, address=end - PAGE_SIZE)
        assert (yield from task.copy_to_user(end - 8, b"12345678")) == 0
        for address in (end - 4, end, kernel, kernel + 5 * PAGE_SIZE, start - 4, 0, -8, -4, 1 << 64):
            assert (yield from task.copy_to_user(address, b"12345678")) == 8
            assert (yield from task.copy_from_user(address, 8)) == (8, b"")
        assert bench.counts.faults == 1

    bench.run(program)
    assert not bench.tasks[0].signal


def test_copying_nothing_is_no_mistake(bench: VmBench) -> None:
    """Zero bytes, from and to anywhere."""

    def program(task: Task) -> Op[None]:
        assert (yield from task.copy_to_user(0, b"")) == 0
        assert (yield from task.copy_from_user(-1, 0)) == (0, b"")

    bench.run(program)


# -- the kernel's own pointers -------------------------------------------------------------------


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_kernel_uses_its_own_window(geometry: str) -> None:
    """Frame 0 and the last one of the window, for loads and stores."""
    bench = VmBench("coal", {"geometry": geometry})

    def program(task: Task) -> Op[None]:
        window = layout.window(bench.kernel.geometry)
        for frame in (0, 4095):
            yield from task.kernel_access(window + frame * PAGE_SIZE + 8)
            yield from task.kernel_access(window + frame * PAGE_SIZE + 8, write=True)

    bench.run(program)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("where", ["null", "user", "behind the window", "hole"])
@pytest.mark.parametrize("write", [False, True])
def test_a_bad_pointer_of_the_kernel_is_a_panic_with_a_report(
    geometry: str, where: str, *, write: bool
) -> None:
    """Nobody fixes it up: address, kind, processor, task, entry and last operations are in the report."""
    bench = VmBench("coal", {"geometry": geometry})
    address = {
        "null": 8,
        "user": 0,  # set below
        "behind the window": layout.window(bench.kernel.geometry) + 4096 * PAGE_SIZE,
        "hole": 0x0123_4567_8900_0000,
    }[where]
    used: list[int] = []

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE)
        yield from task.touch(base)
        used.append(address or base)
        yield from task.kernel_access(used[0], write=write)

    with pytest.raises(KernelPanic) as caught:
        bench.run(program)
    report = str(caught.value)
    assert f"address: {used[0]:#x}" in report
    assert f"supervisor {'write' if write else 'read'} access" in report
    assert f"error_code({2 if write else 0:#06x}) - not-present page" in report
    assert f"CPU: 0 PID: {bench.vm.processes[0].pid} Comm: one/0" in report
    assert "fault from " in report
    assert "mmap from " in report
    assert "Kernel panic" in report


def test_the_kernel_does_not_write_what_it_maps_read_only() -> None:
    """A store to a page whose entry lacks W is a panic that says so, with the entry."""
    bench = VmBench("coal", {"geometry": "x86-32"})
    window = layout.window(bench.kernel.geometry)
    table = bench.kernel.kernel_space.table
    vpn = (window >> PAGE_SHIFT) + 7

    def program(task: Task) -> Op[None]:
        table.set(vpn, table.lookup(vpn) & ~2)  # type: ignore[arg-type]
        yield from task.kernel_access(window + 7 * PAGE_SIZE)
        yield from task.kernel_access(window + 7 * PAGE_SIZE, write=True)

    with pytest.raises(KernelPanic, match="permissions violation") as caught:
        bench.run(program)
    assert "error_code(0x0003)" in str(caught.value)


def test_the_kernel_sees_user_pages_only_through_the_window(bench: VmBench) -> None:
    """What a program stored can be read in the frame, at the kernel's address of that frame."""

    def program(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE)
        yield from task.store(base + 17, b"seen")
        pfn = pfn_of(entry_of(task, base))
        assert bench.kernel.ram.read(pfn, 17, 4) == b"seen"

    bench.run(program)
