"""The lock of a range of pages: what it costs, with whom it is shared, and what sv6 takes with it."""

import pytest
from vm_bench import SMALL, VmBench, at

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.mm.virt.vma_lock import RANGE_HOLD, RangeLock
from coalsim.units import PAGE_SIZE, US, Time

FIXED = 0x4000_0000
FREE = {"hz": "0"}


def holds(*ranges: tuple[int, int, int], after: Time = 100 * US) -> list[Time]:
    """Processors take ranges of pages, one after the other; what each spent with the lock itself."""
    bench, lock, spent = VmBench("sv6", FREE, machine=SMALL.format(2)), RangeLock(), list[Time]()

    def body(task: Task) -> Op[None]:
        costs = bench.kernel.costs
        for turn, (cpu, first, last) in enumerate(ranges):
            if cpu == task.cpu.id:
                yield from at(task, (turn + 1) * after)
                before = task.cpu.spent[RANGE_HOLD]
                yield from lock.acquire(task.cpu, first, last, costs.lock_uncontended)
                yield from lock.release(task.cpu, costs.lock_release)
                spent.append(task.cpu.spent[RANGE_HOLD] - before)

    bench.run(*[body] * 4)
    return spent


def prices() -> tuple[Time, Time, Time]:
    """Instructions of taking and giving back, a line of one's own, and one from the other socket."""
    bench = VmBench("sv6", FREE, machine=SMALL.format(2))
    costs, transfer = bench.kernel.costs, bench.system.machine.transfer_row(bench.system.cpus[0].id)
    return costs.lock_uncontended + costs.lock_release, transfer[0], transfer[3]


def test_a_page_s_slot_is_written_twice() -> None:
    """Taken and given back: both by the processor that has it."""
    fixed, own, _ = prices()
    assert holds((0, 5, 6), (0, 5, 6)) == [fixed + 2 * own] * 2


def test_the_slot_comes_from_whoever_wrote_it_last() -> None:
    """The first write moves the line, the second finds it."""
    fixed, own, far = prices()
    assert holds((0, 5, 6), (3, 5, 6), (3, 5, 6)) == [
        fixed + 2 * own,
        fixed + far + own,
        fixed + 2 * own,
    ]


def test_ranges_apart_share_nothing() -> None:
    """However near they are."""
    fixed, own, _ = prices()
    assert holds((0, 5, 6), (3, 6, 7), (0, 5, 6), (3, 6, 7)) == [fixed + 2 * own] * 4


def test_a_long_range_is_priced_by_its_ends() -> None:
    """Its first slot when it is taken, its last when it is given back."""
    fixed, own, far = prices()
    assert holds((0, 5, 6), (3, 5, 1000), (0, 999, 1000)) == [
        fixed + 2 * own,
        fixed + far + own,
        fixed + far + own,
    ]


def test_operations_on_pages_apart_write_no_line_in_common() -> None:
    """Four threads map, write and unmap pages of their own: none waits, none counts for the space."""

    def body(task: Task) -> Op[None]:
        base = FIXED + task.cpu.id * 512 * PAGE_SIZE
        yield from at(task, 100 * US)
        for _ in range(5):
            yield from task.mmap(PAGE_SIZE, address=base)
            yield from task.touch(base)
            yield from task.munmap(base, PAGE_SIZE)

    together = VmBench("sv6", FREE).run(*[body] * 4)
    alone = VmBench("sv6", FREE).run(body)
    for kind in ("mmap", "munmap"):
        latencies = [bench.kernel.operations.kinds[kind].latencies for bench in (together, alone)]
        assert latencies[0].mean == pytest.approx(latencies[1].mean)
    assert "line:tlb_flush_pending" not in together.kernel.operations.kinds["munmap"].by_cause


def test_sv6_takes_what_was_measured_inside_its_calls() -> None:
    """mmap, fault and munmap of a page at a fixed address on one core: 1,199, 3,613 and 1,814 cycles."""
    rounds = 300

    def body(task: Task) -> Op[None]:
        for _ in range(rounds):
            yield from task.mmap(PAGE_SIZE, address=FIXED)
            yield from task.touch(FIXED)
            yield from task.munmap(FIXED, PAGE_SIZE)

    bench = VmBench("sv6", FREE, machine="wex8").run(body)
    for name, measured in (("mmap", 1199), ("fault", 3613), ("munmap", 1814)):
        kind = bench.kernel.operations.kinds[name]
        inside = kind.latencies.total - kind.by_cause.get("syscall", 0)
        assert inside / rounds * 2.4 / 1000 == pytest.approx(measured, rel=0.006), name


@pytest.mark.parametrize(("profile", "switches"), [("sv6", FREE), ("linux-6.18", {"mmap_lock": "range"})])
def test_addresses_are_given_out_again_when_their_pages_are_gone(
    profile: str, switches: dict[str, str]
) -> None:
    """Threads that map wherever there is room, write and unmap: each first write of a page is a fault."""
    cpus, rounds, pages = 16, 30, 2
    bench = VmBench(profile, switches, machine=SMALL.format(cpus // 2))

    def body(task: Task) -> Op[None]:
        for turn in range(rounds):
            where = yield from task.mmap(pages * PAGE_SIZE)
            for page in range(pages):
                yield from task.store(where + page * PAGE_SIZE, bytes([task.cpu.id, turn, page]))
            for page in range(pages):
                found = yield from task.load(where + page * PAGE_SIZE, 3)
                assert found == bytes([task.cpu.id, turn, page])
            yield from task.munmap(where, pages * PAGE_SIZE)

    bench.run(*[body] * cpus)
    assert bench.kernel.counts.anonymous == cpus * rounds * pages
