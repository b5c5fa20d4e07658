"""Context switches: address-space tags, lazy processors, and the mask of those that may hold entries."""

import pytest
from vm_bench import VmBench, at

from coalsim.engine.clock import Op
from coalsim.mm.virt.area import READ, READ_WRITE
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Body, Task
from coalsim.units import MS, PAGE_SIZE, US

FIXED = 0x4000_0000
TAGS = {
    "six tags": {"asid_slots": "6"},
    "two tags": {"asid_slots": "2"},
    "one tag": {"asid_slots": "1"},
    "no tags": {"asid_slots": "0"},
    "no generations": {"asid_slots": "0", "tlb_generations": "off", "lazy_tlb_skips": "off"},
    "sticky mask": {"cpumask_sticky": "on"},
}


@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("processes", [2, 5, 9])
def test_processes_on_one_processor_see_their_own_memory(tags: str, processes: int) -> None:
    """All use one address: with fewer tags than processes, or none, nobody finds another's page."""
    bench = VmBench("linux-6.18", TAGS[tags] | {"hz": "0"})
    turns = 6

    def body(number: int) -> Body:
        def program(task: Task) -> Op[None]:
            yield from task.mmap(2 * PAGE_SIZE, address=FIXED)
            yield from task.store(FIXED, bytes([number, 0]))
            for turn in range(turns):
                yield from task.wake(bench.tasks[(number + 1) % processes])
                yield from task.sleep_until_woken()
                assert (yield from task.load(FIXED, 2)) == bytes([number, turn])
                yield from task.store(FIXED + 1, bytes([turn + 1]))
            yield from task.wake(bench.tasks[(number + 1) % processes])

        return program

    for number in range(processes):
        bench.start(bench.process(f"process {number}"), 0, body(number))
    bench.finish()
    assert bench.kernel.oracle is not None
    assert bench.kernel.oracle.stale == 0
    assert bench.kernel.switching.switches >= processes * turns


def switch_back(changes: dict[str, str], others: int, *, discard: bool) -> tuple[bool, int]:
    """A process leaves its processor to others and comes back; whether its TLB entry still was there.

    Meanwhile a thread of it may discard the page on another processor.

    Returns:
        Whether the first access hit, and how many processors that thread's flush interrupted.
    """
    bench = VmBench("linux-6.18", changes | {"hz": "0"})
    flag, hits, targets = SpinFlag(), list[bool](), list[int]()

    def returner(task: Task) -> Op[None]:
        yield from task.mmap(4 * PAGE_SIZE, address=FIXED)
        yield from task.touch(FIXED + 2 * PAGE_SIZE)
        yield from task.touch(FIXED)
        yield from flag.set(task.cpu)
        for other in bench.tasks[2:]:
            yield from task.wake(other)
        yield from task.sleep_until_woken()
        hits.append(task.touch_now(FIXED, False))
        yield from at(task, 9 * MS)

    def discarder(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from task.touch(FIXED, write=False)
        yield from at(task, 3 * MS)
        before = bench.flushes.targets
        if discard:
            yield from task.madvise_dontneed(FIXED, PAGE_SIZE)
        targets.append(bench.flushes.targets - before)
        yield from at(task, 6 * MS)
        yield from task.wake(bench.tasks[0])
        yield from at(task, 8 * MS)

    def other(task: Task) -> Op[None]:
        yield from task.sleep_until_woken()
        base = yield from task.mmap(PAGE_SIZE)
        yield from task.touch(base)
        yield from task.sleep_until_woken()

    def ender(task: Task) -> Op[None]:
        yield from at(task, 10 * MS)
        for one in bench.tasks[2:-1]:
            yield from task.wake(one)

    process = bench.process()
    bench.start(process, 0, returner)
    bench.start(process, 1, discarder)
    for number in range(others):
        bench.start(bench.process(f"other {number}"), 0, other)
    bench.start(bench.process("ender"), 2, ender)
    bench.finish()
    return hits[0], targets[0]


def test_entries_are_kept_when_the_generation_is_current() -> None:
    """Five others on six tags: the process finds its entry when it returns; a sixth takes its tag."""
    assert switch_back({}, 0, discard=False)[0]
    assert switch_back({}, 5, discard=False)[0]
    assert not switch_back({}, 6, discard=False)[0]
    assert not switch_back({"asid_slots": "0"}, 1, discard=False)[0]


def test_entries_are_flushed_when_the_generation_is_old() -> None:
    """The page went while the process was away: no interrupt then, no hit later."""
    assert switch_back({"cpumask_sticky": "off"}, 3, discard=True) == (False, 0)


def test_a_sticky_mask_asks_who_is_there() -> None:
    """With a sticky mask the flush finds that the processor runs something else, and skips it."""
    for sticky in ("on", "off"):
        assert switch_back({"cpumask_sticky": sticky}, 2, discard=True) == (False, 0)


def test_the_mask_names_processors_that_run_the_process() -> None:
    """A bit is set by the first switch to it; it goes with a switch away unless the mask is sticky."""
    for sticky in ("on", "off"):
        bench = VmBench("linux-6.18", {"cpumask_sticky": sticky, "hz": "0"})
        seen: dict[str, list[int]] = {}

        def first(task: Task, seen: dict[str, list[int]] = seen) -> Op[None]:
            yield from task.cpu.sync()
            seen["begin"] = sorted(task.process.space.context.mask)
            yield from at(task, 2 * MS)
            seen["idle"] = sorted(task.process.space.context.mask)
            yield from at(task, 4 * MS)
            seen["other"] = sorted(task.process.space.context.mask)

        def second(task: Task) -> Op[None]:
            yield from at(task, 1 * MS)  # and then its processor idles with the space loaded

        def stranger(task: Task) -> Op[None]:
            yield from task.compute(1 * US)

        def starter(task: Task) -> Op[None]:
            yield from at(task, 3 * MS)
            yield from task.fork("stranger", stranger, 1)
            yield from task.wait_for_children()

        process = bench.process()
        bench.start(process, 0, first)
        bench.start(process, 1, second)
        bench.start(bench.process("starter"), 2, starter)
        bench.finish()
        assert seen["idle"] == [0, 1]
        assert seen["other"] == ([0, 1] if sticky == "on" else [0])


@pytest.mark.parametrize(("skips", "generations"), [("on", "on"), ("off", "on"), ("off", "off")])
def test_a_lazy_processor(skips: str, generations: str) -> None:
    """One idles with the space loaded: new kernels leave it alone, old ones interrupt it once.

    When its task comes back it has missed the change of rights, and catches up.
    """
    tags = "6" if generations == "on" else "0"
    bench = VmBench(
        "linux-6.18", {"lazy_tlb_skips": skips, "tlb_generations": generations, "asid_slots": tags, "hz": "0"}
    )
    flag, asked, hits = SpinFlag(), list[int](), list[bool]()

    def sleeper(task: Task) -> Op[None]:
        yield from task.mmap(2 * PAGE_SIZE, address=FIXED)
        yield from task.touch(FIXED)
        yield from flag.set(task.cpu)
        yield from task.sleep_until_woken()
        hits.append(task.touch_now(FIXED, True))
        assert (yield from task.load(FIXED, 1)) == b"\0"
        yield from task.touch(FIXED, write=True)

    def changer(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from at(task, 2 * MS)
        for rights in (READ, READ_WRITE, READ):
            before = bench.flushes.targets
            yield from task.mprotect(FIXED, PAGE_SIZE, rights)
            asked.append(bench.flushes.targets - before)
        yield from task.wake(bench.tasks[0])
        yield from at(task, 4 * MS)

    bench.run(sleeper, changer)
    assert asked == ([0, 0, 0] if skips == "on" else [1, 0, 0])
    assert (bench.flushes.skipped_lazy >= 2) == (skips == "on")
    assert hits == [False]
    assert "SEGV_ACCERR" in bench.tasks[0].signal


def test_a_lazy_processor_that_missed_nothing_keeps_its_entries() -> None:
    """A nap: the entry is still there, and nothing has been flushed."""
    bench = VmBench("linux-6.18", {"hz": "0"})
    hits: list[bool] = []

    def sleeper(task: Task) -> Op[None]:
        yield from task.mmap(PAGE_SIZE, address=FIXED)
        yield from task.touch(FIXED)
        yield from task.sleep_until_woken()
        hits.append(task.touch_now(FIXED, True))

    def waker(task: Task) -> Op[None]:
        yield from at(task, 1 * MS)
        yield from task.wake(bench.tasks[0])

    bench.run(sleeper, waker)
    assert hits == [True]


def test_freed_tables_reach_lazy_processors() -> None:
    """A walker could use a freed table by itself: lazy ones are interrupted, and let go of the space."""
    bench = VmBench("linux-6.18", {"hz": "0"})
    flag, asked = SpinFlag(), list[int]()

    def sleeper(task: Task) -> Op[None]:
        yield from task.mmap(PAGE_SIZE, address=FIXED)
        yield from task.touch(FIXED)
        yield from flag.set(task.cpu)
        yield from task.sleep_until_woken()

    def unmapper(task: Task) -> Op[None]:
        yield from task.spin(flag)
        yield from at(task, 1 * MS)
        before = bench.flushes.targets
        yield from task.munmap(FIXED, PAGE_SIZE)
        asked.append(bench.flushes.targets - before)
        assert sorted(task.process.space.context.mask) == [1]
        yield from task.wake(bench.tasks[0])

    bench.run(sleeper, unmapper)
    assert asked == [1]


def test_a_tag_of_a_dead_process_is_not_found_by_a_new_one() -> None:
    """Many short processes after each other, all at one address: each sees zeros first."""
    bench = VmBench("linux-6.18", {"hz": "0"})

    def short(number: int) -> Body:
        def program(task: Task) -> Op[None]:
            yield from task.mmap(PAGE_SIZE, address=FIXED)
            assert (yield from task.load(FIXED, 1)) == b"\0"
            yield from task.store(FIXED, bytes([number]))

        return program

    def mother(task: Task) -> Op[None]:
        for number in range(1, 21):
            yield from task.fork(f"short {number}", short(number), 1)
            yield from task.wait_for_children()

    bench.run(mother)
    unit = bench.kernel.units[1]
    assert unit.space is None
    assert bench.kernel.oracle is not None
    assert bench.kernel.oracle.stale == 0
    assert not any(process.space.context.translations for process in bench.vm.processes)


def test_a_longer_slice_means_fewer_switches() -> None:
    """Two tasks compute on one processor over 24 ticks of 1 ms: they change places after each slice."""
    switches: list[int] = []
    for ticks in ("1", "2", "4"):
        bench = VmBench("linux-6.18", {"hz": "1000", "time_slice_ticks": ticks})

        def body(task: Task) -> Op[None]:
            for _ in range(120):
                yield from task.compute(100 * US)

        for number in range(2):
            bench.start(bench.process(f"process {number}"), 0, body)
        bench.finish()
        switches.append(bench.kernel.switching.switches)
    assert switches[0] >= 22
    assert switches[0] // 2 - 1 <= switches[1] <= switches[0] // 2 + 2
    assert switches[0] // 4 - 1 <= switches[2] <= switches[0] // 4 + 2
