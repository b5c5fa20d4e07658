"""Random programs of tasks: their memory is what it must be, and the engine's modes do not show.

`random_tasks.py` says what a program does.  Twelve seeds are one for each kernel; the slow
test runs many more.
"""

from collections.abc import Callable

import pytest
from random_tasks import KERNELS, Life, Program
from vm_bench import MODES, PLAIN, VmBench

from coalsim.engine.clock import Op
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.virt.area import READ, READ_WRITE
from coalsim.mm.virt.task import Task
from coalsim.units import NS, PAGE_SHIFT, PAGE_SIZE, US, Time

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

FEW = range(len(KERNELS))
MANY = range(len(KERNELS), len(KERNELS) + 200)
ALL_SHORT_CUTS = MODES[4]


def first_difference(one: tuple[object, ...], other: tuple[object, ...]) -> str:
    """Where two runs part, for the message of a failed test."""
    for mine, theirs in zip(one, other, strict=True):
        if mine != theirs:
            return f"{str(mine)[:1500]}\n--- and ---\n{str(theirs)[:1500]}"
    return ""


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize("seed", FEW)
def test_memory_is_what_it_must_be_and_modes_do_not_show(seed: int) -> None:
    """Each kernel: plain and with all short cuts."""
    plain = Program(seed).run(dict(PLAIN))
    assert not first_difference(plain, Program(seed).run(dict(ALL_SHORT_CUTS)))


def test_no_mode_shows() -> None:
    """All six on one seed."""
    plain = Program(3).run(dict(PLAIN))
    for mode in MODES[1:]:
        assert not first_difference(plain, Program(3).run(dict(mode))), mode


def in_bulk(task: Task, address: int) -> Op[None]:
    """Use one page 500 times."""
    yield from task.touch_pages([address >> PAGE_SHIFT] * 500)


def quickly(task: Task, address: int) -> Op[None]:
    """The same, one access at a time; what waits is called only where it may have to."""
    for _ in range(500):
        if not task.touch_now(address, False):
            yield from task.touch(address, write=False)


@pytest.mark.parametrize("begins", [100 * US - 200 * NS, 100 * US + 200 * NS])
@pytest.mark.parametrize("use", [in_bulk, quickly])
def test_hits_give_way_in_every_mode_when_the_slice_is_over(
    use: Callable[[Task, int], Op[None]], begins: Time
) -> None:
    """A tick at 100 us, among a task's hits or just before them, ends its slice; the other task is next."""
    starts: list[Time] = []
    for mode in MODES:
        bench = VmBench("coal", {"hz": "10000"}, mode=mode)

        def first(task: Task) -> Op[None]:
            base = yield from task.mmap(PAGE_SIZE)
            yield from task.touch(base)
            yield from task.cpu.sync()
            task.cpu.charge(begins - task.cpu.clock, "user")
            yield from task.cpu.sync()
            yield from use(task, base)

        def second(task: Task) -> Op[None]:
            yield from task.cpu.sync()
            starts.append(task.cpu.clock)

        process = bench.process()
        bench.start(process, 0, first)
        bench.start(process, 0, second)
        bench.finish()
    assert len(starts) == len(MODES)
    assert len(set(starts)) == 1, starts


def test_an_access_counts_once_in_every_mode() -> None:
    """A store to a page that was only read hits once, and walks to say that it is dirty."""
    counted: list[tuple[int, int, int]] = []
    for mode in MODES:
        bench = VmBench("coal", mode=mode)

        def program(task: Task) -> Op[None]:
            base = yield from task.mmap(PAGE_SIZE)
            yield from task.touch(base)
            yield from task.mprotect(base, PAGE_SIZE, READ)
            yield from task.touch(base, write=False)
            yield from task.mprotect(base, PAGE_SIZE, READ_WRITE)
            if not task.touch_now(base, True):
                yield from task.touch(base)

        bench.run(program)
        unit = bench.kernel.units[0]
        counted.append((unit.hits_l1, unit.misses, unit.walks))
    assert len(set(counted)) == 1, counted


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_many_more_programs(seed: int) -> None:
    """The same for programs that do what only one in hundreds does, in all modes."""
    plain = Program(seed).run(dict(PLAIN))
    for mode in MODES[1:]:
        difference = first_difference(plain, Program(seed).run(dict(mode)))
        assert not difference, f"{mode}: {difference}"


def check_policy(name: str, seed: int) -> None:
    """One policy on the kernel of a seed, plain and with all short cuts."""
    plain = Program(seed, SHOOTDOWNS[name]).run(dict(PLAIN))
    assert not first_difference(plain, Program(seed, SHOOTDOWNS[name]).run(dict(ALL_SHORT_CUTS)))


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_memory_is_what_it_must_be_under_every_policy(name: str) -> None:
    """Whenever a policy flushes, and however late it frees."""
    check_policy(name, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_memory_is_what_it_must_be_under_every_policy_on_every_kernel(name: str) -> None:
    """The same on all kernels but sv6, whose switches are for its own policy."""
    for seed in range(48):
        if KERNELS[seed % len(KERNELS)][0] != "sv6":
            check_policy(name, seed)


def test_the_programs_do_what_they_are_meant_to_try() -> None:
    """The fast seeds together use every operation, and meet every kind of fault that tasks can have."""
    done: dict[str, int] = {}
    for seed in FEW:
        program = Program(seed)
        counts = program.run(dict(ALL_SHORT_CUTS))[3]
        assert isinstance(counts, dict)
        for name, count in counts.items():
            done[name] = done.get(name, 0) + count
        for log in program.logs.values():
            for name, _ in log:  # type: ignore[misc]
                done[name] = done.get(name, 0) + 1
    for name in (*Life.OPERATIONS, "anonymous", "zero_page", "cow_copies", "cow_reuses", "forks", "signals"):
        assert done.get(name, 0) >= 3, (name, done)
    assert done["bad_rights"] > 0
    assert done["tables_freed"] > 0
