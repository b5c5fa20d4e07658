"""The OOM killer on a live machine: whom it kills, what victims do then, when the next one goes."""

from collections.abc import Callable, Mapping
from functools import partial

import pytest
from pressure_bench import MODES, PressureBench, waited_for

from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.locks.nap import nap
from coalsim.locks.rwsem import RwSemaphore
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Body, Task
from coalsim.mm.virt.user_mode import KILLED
from coalsim.units import MIB, MS, PAGE_SIZE, US, NodeId, Time

HALF = MIB // 2
bench_of = partial(PressureBench, memory="4MiB")


def hold(task: Task, size: int) -> Op[int]:
    """Map so much and write all of it."""
    area = yield from task.mmap(size)
    yield from task.sequential(area, size, write=True)
    return area


def wants(size: int, after: Time = 0, then: Time = 0) -> Body:
    """A program that takes its memory in small pieces, keeps it for a while and ends."""

    def body(task: Task) -> Op[None]:
        yield from task.compute(after)
        for _ in range(size // (16 * PAGE_SIZE)):
            yield from hold(task, 16 * PAGE_SIZE)
        yield from task.compute(then)

    return body


def sleeps(task: Task) -> Op[None]:
    """Sleeps for ever, whoever wakes it."""
    while True:
        yield from task.sleep_until_woken()


def spins(task: Task) -> Op[None]:
    """Spins on a flag that nobody sets."""
    yield from task.spin(SpinFlag())


def computes(task: Task) -> Op[None]:
    """Computes in user mode for a long time without a look at the world."""
    yield from task.compute(500 * MS)


def waits_for_children(task: Task) -> Op[None]:
    """Waits for a child that sleeps for ever."""
    yield from task.wait_for_children()


def sleeps_a_while(task: Task) -> Op[None]:
    """Computes in small steps."""
    for _ in range(200):
        yield from task.compute(MS)


WAYS: dict[str, Callable[[Task], Op[None]]] = {
    "sleeps": sleeps,
    "spins": spins,
    "computes": computes,
    "waits for children": waits_for_children,
}


def victim_and_hungry(way: str, mode: Mapping[str, bool], **switches: str) -> tuple[PressureBench, Process]:
    """A process of 4 MiB that is busy in some way, and one that wants as much, on a machine of 8 MiB."""
    bench = bench_of(machine="core:3 pu:1", mode=mode, **switches)
    victim, hungry = bench.process("victim", 500), bench.process("hungry")

    def body(task: Task) -> Op[None]:
        if way == "waits for children":
            yield from task.fork("child", sleeps_a_while)
        yield from hold(task, 4 * HALF)
        yield from WAYS[way](task)

    bench.task(victim, 1, body)
    bench.task(hungry, 0, wants(5 * HALF, after=20 * MS))
    return bench.run(check_every=500 * US, checks=60), victim


@pytest.mark.parametrize("locking", ["rwsem", "per_vma"])
@pytest.mark.parametrize("way", WAYS)
def test_a_victim_gives_its_memory_back_whatever_it_does(way: str, locking: str) -> None:
    """It dies by the signal, the one that was short of memory gets it, and nobody else has to die."""
    bench, victim = victim_and_hungry(way, {}, mmap_lock=locking)
    kills = bench.pressure.oom.kills
    assert [kill.name for kill in kills] == ["victim"]
    assert all(task.signal == KILLED for task in victim.tasks)
    hungry = next(process for process in bench.system.vm.processes if process.name == "hungry")
    assert not hungry.tasks[0].signal
    assert all(process.is_over for process in bench.system.vm.processes)
    nobody_holds_anything(bench)


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_is_the_same_in_every_mode(way: str) -> None:
    """Signals arrive like settings, whatever the victim's processor does meanwhile."""
    first, *others = (victim_and_hungry(way, mode)[0].outcome() for mode in MODES)
    for other in others:
        assert other == first


def test_a_victim_that_is_stuck_in_the_kernel_is_reaped() -> None:
    """It sleeps where no signal wakes it: the hungry process gets its memory and ends long before it does."""
    bench = bench_of(machine="core:2 pu:1")
    victim, hungry = bench.process("victim", 500), bench.process("hungry")

    def stuck(task: Task) -> Op[None]:
        yield from hold(task, 4 * HALF)
        running = yield from task.system_call("stuck")
        yield from nap(task.cpu, 500 * MS, "stuck")
        yield from task.system_return(running)

    bench.task(victim, 1, stuck)
    bench.task(hungry, 0, wants(5 * HALF, after=20 * MS))
    bench.run()
    assert bench.pressure.oom_reaper.reaped == 512
    assert victim.tasks[0].signal == KILLED
    assert bench.system.env._now > 500 * MS
    assert bench.system.cpus[0].wait_began < 100 * MS


def test_a_victim_whose_space_cannot_be_locked_is_given_up() -> None:
    """After ten tries, a tenth of a second apart, the next one may go."""
    bench = bench_of(machine="core:2 pu:1", mmap_lock="rwsem")
    victim, hungry = bench.process("victim", 500), bench.process("hungry")

    def stuck(task: Task) -> Op[None]:
        yield from hold(task, 4 * HALF)
        running = yield from task.system_call("stuck")
        yield from task.space.lock_write(task.cpu, 0, 1, "stuck")
        yield from nap(task.cpu, 3000 * MS, "stuck")
        yield from task.space.unlock_write(task.cpu)
        yield from task.system_return(running)

    bench.task(victim, 1, stuck)
    bench.task(hungry, 0, wants(5 * HALF, after=20 * MS))
    bench.run()
    kills = bench.pressure.oom.kills
    assert [kill.name for kill in kills] == ["victim", "hungry"]
    assert 900 * MS < kills[1].at - kills[0].at < 1100 * MS
    assert bench.pressure.oom_reaper.given_up == 1
    assert "oom_reaper: unable to reap pid:1 (victim)" in [text for _, text in bench.system.kernel_log]


def nobody_holds_anything(bench: PressureBench) -> None:
    """No lock of a process's space is left taken."""
    for process in bench.system.vm.processes:
        lock = process.space.mmap_lock
        assert isinstance(lock, RwSemaphore)
        assert lock.is_free
        assert not process.space.faults_to_end
    for zone in bench.pages.zones:
        assert zone.lock.holder is None


@pytest.mark.parametrize("locking", ["rwsem", "per_vma"])
@pytest.mark.parametrize("by", ["remote", "work"])
def test_threads_that_hold_and_wait_for_mmap_lock_while_memory_is_short_all_die(
    locking: str, by: str
) -> None:
    """One thread of the victim waits for memory in a fault, others want to change the address space."""
    bench = bench_of(machine="core:4 pu:1", mmap_lock=locking, pcp_drain_by=by)
    victim, other = bench.process("victim", 900), bench.process("other")

    def changes(task: Task) -> Op[None]:
        while True:
            area = yield from task.mmap(PAGE_SIZE)
            yield from task.compute(5 * US)
            yield from task.munmap(area, PAGE_SIZE)

    bench.task(victim, 0, wants(9 * HALF))
    bench.task(victim, 1, changes)
    bench.task(victim, 2, changes)
    bench.task(other, 3, wants(2 * HALF, then=20 * MS))
    bench.run(check_every=500 * US, checks=60)
    assert [kill.name for kill in bench.pressure.oom.kills] == ["victim"]
    assert all(task.signal for task in victim.tasks)
    assert not other.tasks[0].signal
    nobody_holds_anything(bench)
    bench.system.memory.validate()


def test_threads_that_are_made_after_the_kill_die_too() -> None:
    """A victim that multiplies as fast as it can still ends."""
    bench = bench_of(machine="core:3 pu:1", oom_reaper_delay="50ms")
    victim, hungry = bench.process("victim", 900), bench.process("hungry")

    def endless(task: Task) -> Op[None]:
        while True:
            yield from task.compute(MS)

    def multiplies(task: Task) -> Op[None]:
        yield from hold(task, 4 * HALF)
        while True:
            yield from task.spawn(1, "more", endless)
            yield from task.compute(2 * MS)

    bench.task(victim, 0, multiplies)
    bench.task(hungry, 2, wants(5 * HALF, after=5 * MS))
    bench.run()
    assert len(victim.tasks) > 3
    assert all(task.has_ended for task in victim.tasks)


@pytest.mark.parametrize("delay", ["0", "40ms"])
@pytest.mark.parametrize("seed", range(3))
def test_nobody_dies_while_a_victim_is_on_its_way(delay: str, seed: int) -> None:
    """A watch at every 20 us sees at most one victim that has neither gone nor lost its memory."""
    bench = bench_of(machine="core:4 pu:1", oom_reaper_delay=delay, pcp_drain_by="work")
    for number in range(8):
        process = bench.process(f"p{number}", 100 * ((number + seed) % 3))
        bench.task(process, number % 4, wants((2 + number % 3) * HALF, after=number * MS, then=60 * MS))
    dying: list[int] = []

    def watch() -> None:
        dying.append(
            sum(one.is_victim and not one.is_over and not one.is_spent for one in bench.system.vm.processes)
        )

    for number in range(1, 4000):
        bench.system.env.declare_barrier(number * 20 * US, watch)
    bench.run()
    assert len(bench.pressure.oom.kills) >= 2
    assert max(dying) == 1
    waited_for(bench)


def test_an_unkillable_process_never_dies() -> None:
    """The largest has an adjustment of -1000: somebody smaller goes, though that helps little."""
    bench = bench_of(machine="core:2 pu:1")
    large, small = bench.process("large", -1000), bench.process("small")
    bench.task(large, 0, wants(5 * HALF, then=200 * MS))
    bench.task(small, 1, wants(4 * HALF, after=5 * MS))
    bench.run()
    assert [kill.name for kill in bench.pressure.oom.kills] == ["small"]
    assert not large.tasks[0].signal


@pytest.mark.parametrize("locking", ["rwsem", "per_vma"])
def test_the_kernel_panics_when_nobody_can_be_killed(locking: str) -> None:
    """Everybody is unkillable: the report names nobody, and no frame is lost at that moment."""
    mode = {"run_ahead": False, "fast_paths": False}
    bench = bench_of(machine="core:2 pu:1", mode=mode, mmap_lock=locking)
    for number in range(2):
        bench.task(bench.process(f"p{number}", -1000), number, wants(6 * HALF))
    with pytest.raises(KernelPanic, match="System is deadlocked on memory") as panic:
        bench.run()
    assert "Killed" not in str(panic.value)
    assert "Out of memory and no killable processes..." in str(panic.value)
    bench.count_frames()


def test_a_kernel_told_to_panic_does_so_even_if_nobody_could_be_killed() -> None:
    """vm.panic_on_oom is looked at before a victim is chosen."""
    bench = bench_of(machine="core:1 pu:1", oom="panic")
    bench.task(bench.process("one", -1000), 0, wants(9 * HALF))
    with pytest.raises(KernelPanic, match="system-wide panic_on_oom is enabled"):
        bench.run()


@pytest.mark.parametrize("oom", ["kill", "panic"])
def test_a_shortage_of_some_nodes_kills_who_may_use_them(oom: str) -> None:
    """Bound processes ask for more than their node has: one of them goes, and never a panic of the system."""
    bench = bench_of(machine="pack:2 numa:1 core:2 pu:1", memory="3MiB", oom=oom)
    elsewhere = bench.process("elsewhere")
    elsewhere.bind(NodeId(0))
    bench.task(elsewhere, 0, partial(_large, size=2 * HALF))
    for number in range(2):
        process = bench.process(f"bound{number}")
        process.bind(NodeId(1))
        bench.task(process, 2 + number, wants(3 * HALF, after=10 * MS, then=5 * MS))
    bench.run()
    kills = bench.pressure.oom.kills
    assert len(kills) == 1
    assert kills[0].name.startswith("bound")
    assert "oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,nodemask=1," in kills[0].report
    assert " elsewhere" not in kills[0].report


def _large(task: Task, size: int) -> Op[None]:
    yield from hold(task, size)
    yield from task.compute(60 * MS)
