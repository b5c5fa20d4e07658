"""Frames and addresses that wait for a lazy flush: a shortage ends the wait, and nobody gets them before."""

from collections.abc import Callable

import pytest
from vm_bench import MODES, VmBench, vpn_of

from coalsim.engine.clock import Op
from coalsim.mm.virt.area import Area
from coalsim.mm.virt.heap import Heap
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE, US, Vpn

FIXED = 0x4000_0000
PAGES = 8
LATR = {"shootdown": "latr", "geometry": "x86-32", "hz": "100", "zero_page": "off"}
LITTLE_MEMORY = "pack:1 numa:1(memory=24MB) core:2 pu:1"

Program = Callable[[Task], Op[None]]


def beside_a_user(
    program: Program, address: int = FIXED, *, changes: dict[str, str] | None = None
) -> VmBench:
    """A program maps pages at an address; another thread uses them and then goes on spinning.

    What the program unmaps there waits for the spinner's tick, 10 ms later.
    """
    mapped, used, over = SpinFlag("mapped"), SpinFlag("used"), SpinFlag("over")

    def first(task: Task) -> Op[None]:
        yield from task.mmap(PAGES * PAGE_SIZE, address=address)
        yield from task.mmap(PAGE_SIZE, address=address + 16 * PAGE_SIZE)  # keeps the table
        yield from task.touch(address + 16 * PAGE_SIZE)
        yield from task.store(address, b"old")
        yield from mapped.set(task.cpu)
        yield from task.spin(used)
        yield from program(task)
        yield from over.set(task.cpu)

    def second(task: Task) -> Op[None]:
        yield from task.spin(mapped)
        assert (yield from task.load(address, 3)) == b"old"
        yield from used.set(task.cpu)
        yield from task.spin(over)

    return VmBench("linux-6.18", {**LATR, **(changes or {})}).run(first, second)


def waits(task: Task) -> bool:
    """Whether some addresses wait."""
    return bool(task.process.space.areas._free.reserved)


def test_addresses_wait_for_the_flush() -> None:
    """The premise: after munmap they are nobody's."""

    def program(task: Task) -> Op[None]:
        yield from task.munmap(FIXED, PAGES * PAGE_SIZE)
        yield from task.cpu.sync()
        assert waits(task)
        assert not task.process.space.areas.is_free(FIXED // PAGE_SIZE, FIXED // PAGE_SIZE + 1)

    bench = beside_a_user(program)
    assert bench.flushes.deferred == 1


@pytest.mark.parametrize("lock", ["rwsem", "per_vma", "range"])
@pytest.mark.parametrize("offset", [0, PAGES - 1, PAGES, -1])
def test_a_fixed_mapping_waits_for_the_addresses_that_it_wants(offset: int, lock: str) -> None:
    """It gets them, empty, and nobody's translation of before leads there."""

    def program(task: Task) -> Op[None]:
        yield from task.munmap(FIXED, PAGES * PAGE_SIZE)
        began = task.cpu.clock
        wanted = FIXED + offset * PAGE_SIZE
        assert (yield from task.mmap(2 * PAGE_SIZE, address=wanted)) == wanted
        yield from task.cpu.sync()
        assert waits(task) == (offset == PAGES)
        assert (yield from task.load(wanted, 3)) == bytes(3)
        assert task.cpu.clock < began + 5_000 * US  # it did not wait for a tick

    beside_a_user(program, changes={"mmap_lock": lock})


def test_a_mapping_over_one_whose_pages_were_given_up_flushes_them_first() -> None:
    """madvise put the flush off; a new mapping in the same place must not share its translations."""
    flushed: list[tuple[int, int]] = []

    def program(task: Task) -> Op[None]:
        counts = task.process.space.kernel.policy.system.counts
        yield from task.madvise_dontneed(FIXED, PAGES * PAGE_SIZE)
        yield from task.cpu.sync()
        deferred, before = counts.deferred, counts.targets
        yield from task.mmap(PAGES * PAGE_SIZE, address=FIXED)
        yield from task.cpu.sync()
        flushed.append((deferred, counts.targets - before))

    beside_a_user(program)
    assert flushed == [(1, 1)]


@pytest.mark.parametrize("call", ["munmap", "mremap", "brk"])
def test_pages_that_were_given_up_are_flushed_before_their_addresses_go(call: str) -> None:
    """Nothing is mapped there any more, so the call itself has nothing to flush."""
    seen: list[int] = []

    def program(task: Task) -> Op[None]:
        space = task.process.space
        counts = space.kernel.policy.system.counts
        yield from task.madvise_dontneed(FIXED, PAGES * PAGE_SIZE)
        if call == "brk":  # as if it were the heap
            space.heap.start, space.heap.end = vpn_of(FIXED), Vpn(vpn_of(FIXED) + PAGES)
        yield from task.cpu.sync()
        assert counts.deferred == 1
        before = counts.targets
        if call == "munmap":
            yield from task.munmap(FIXED, PAGES * PAGE_SIZE)
        elif call == "mremap":
            yield from task.mmap(PAGE_SIZE, address=FIXED + PAGES * PAGE_SIZE)  # it cannot grow in place
            moved = yield from task.mremap(FIXED, PAGES * PAGE_SIZE, 2 * PAGES * PAGE_SIZE)
            assert moved not in (FIXED, -12)
        else:
            yield from task.brk(-PAGES * PAGE_SIZE)
        yield from task.cpu.sync()
        assert task.process.space.areas.is_free(vpn_of(FIXED), vpn_of(FIXED) + PAGES)
        seen.append(counts.targets - before)

    beside_a_user(program)
    assert seen == [1]


def test_mremap_grows_elsewhere_while_the_next_addresses_wait() -> None:
    """It does not take them, nor wait for them."""

    def program(task: Task) -> Op[None]:
        half = PAGES // 2 * PAGE_SIZE
        yield from task.touch(FIXED + half)
        yield from task.munmap(FIXED + half, half)
        found = yield from task.mremap(FIXED, half, 2 * half)
        assert found not in (FIXED, -12)
        assert (yield from task.load(found, 3)) == b"old"
        yield from task.cpu.sync()

    beside_a_user(program)


def test_the_heap_grows_into_addresses_that_wait() -> None:
    """brk gets what was unmapped just above the break."""

    def program(task: Task) -> Op[None]:
        space = task.process.space
        yield from task.cpu.sync()
        space.heap = Heap(space.areas, vpn_of(FIXED))
        yield from task.munmap(FIXED, PAGES * PAGE_SIZE)
        assert (yield from task.brk(2 * PAGE_SIZE)) == FIXED + 2 * PAGE_SIZE
        assert (yield from task.load(FIXED, 3)) == bytes(3)

    beside_a_user(program)


def test_a_stack_grows_into_addresses_that_wait() -> None:
    """A fault below it is no bad access because somebody unmapped the pages a moment ago."""

    def program(task: Task) -> Op[None]:
        above = vpn_of(FIXED) + PAGES
        yield from task.munmap(FIXED, PAGES * PAGE_SIZE)
        yield from task.cpu.sync()
        task.process.space.areas.insert(
            Area(first=Vpn(above), last=Vpn(above + 4), kind="stack", grows_down=True)
        )
        assert waits(task)
        yield from task.touch(FIXED + (PAGES - 1) * PAGE_SIZE)
        assert not task.signal

    bench = beside_a_user(program)
    assert not any(task.signal for task in bench.tasks)
    assert bench.counts.stack_growths == 1


def test_addresses_come_back_when_there_are_no_others() -> None:
    """Most of a 32-bit space is unmapped and wanted again at once: mmap waits for the flush."""

    def program(task: Task) -> Op[None]:
        large = 2000 * MIB
        for _ in range(3):
            base = yield from task.mmap(large)
            assert base > 0
            for place in (base, base + large - PAGE_SIZE):
                yield from task.touch(place)
            half = large - 4 * MIB
            yield from task.munmap(base, half)
            yield from task.munmap(base + half, large - half)

    bench = beside_a_user(program, changes={"munmap_frees_tables": "off"})
    assert bench.flushes.deferred >= 3


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("mode", [0, 4])
def test_a_shortage_of_memory_ends_the_wait(mode: int) -> None:
    """Both threads use and give up a sixth of memory again and again; nobody is killed for it."""
    changes = {**LATR, "nested_gather_full": "off"}  # which puts nothing off while both unmap
    bench = VmBench("linux-6.18", changes, machine=LITTLE_MEMORY, mode=MODES[mode])
    pages = 4 * MIB // PAGE_SIZE

    def body(task: Task) -> Op[None]:
        base = FIXED + task.cpu.id * 64 * MIB
        yield from task.mmap((pages + 1) * PAGE_SIZE, address=base)
        for _ in range(6):
            yield from task.sequential(base, (pages + 1) * PAGE_SIZE, write=True)
            yield from task.madvise_dontneed(base, pages * PAGE_SIZE)

    bench.run(body, body)
    assert bench.flushes.deferred > 2
    assert not bench.counts.out_of_memory
    assert not any(task.signal for task in bench.tasks)


def test_a_shortage_that_a_flush_does_not_end_is_one() -> None:
    """A program that wants more than there is still ends as it did."""
    bench = VmBench("linux-6.18", LATR, machine=LITTLE_MEMORY)

    def body(task: Task) -> Op[None]:
        base = yield from task.mmap(32 * MIB)
        yield from task.sequential(base, 32 * MIB, write=True)

    bench.run(body)
    assert "out of memory" in bench.tasks[0].signal
