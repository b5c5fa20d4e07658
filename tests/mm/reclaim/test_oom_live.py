"""The OOM killer on a live machine: whom it kills, what victims do then, when the next one goes."""

from collections.abc import Callable, Mapping
from functools import partial

import pytest
from pressure_bench import MODES, PressureBench, give_all, take_all, waited_for

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.locks.nap import nap
from coalsim.locks.rwsem import RwSemaphore
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.reclaim.oom import Need
from coalsim.mm.reclaim.oom_report import row_of
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Body, Task
from coalsim.mm.virt.user_mode import KILLED
from coalsim.units import MIB, MS, PAGE_SIZE, US, NodeId, Pfn, Time

pytestmark = pytest.mark.fast_one_in(2, in_turn=True)

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


@pytest.mark.fast_one_in(2)
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


@pytest.mark.fast_one_in(2)
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
    assert (
        "oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,nodemask=1,cpuset=/,mems_allowed=0-1,global_oom,"
        in kills[0].report
    )
    assert " elsewhere" not in kills[0].report


def _large(task: Task, size: int) -> Op[None]:
    yield from hold(task, size)
    yield from task.compute(60 * MS)


def test_nobody_is_killed_for_pages_that_are_read_ahead() -> None:
    """There is memory for the page that is wanted and for no other: the window ends there."""
    bench = bench_of(machine="core:2 pu:1")
    file = bench.system.vm.kernel.cache.new_file("data", 64)
    reader, other = bench.process("reader"), bench.process("other", 500)
    seen: list[int] = []

    def reads(task: Task) -> Op[None]:
        frames, cpu, held = task.kernel.frames, task.cpu, list[Pfn]()
        yield from task.compute(20 * MS)
        while (pfn := (yield from frames.take(cpu, "fill", context=AllocContext.ATOMIC))) >= 0:
            held.append(pfn)
        yield from frames.release(cpu, [held.pop()], "fill", on_lru=False)
        assert len((yield from task.read(file, 10 * PAGE_SIZE, PAGE_SIZE))) == PAGE_SIZE
        yield from cpu.sync()
        seen.extend(file.pages_in)
        yield from frames.release(cpu, held, "fill", on_lru=False)

    bench.task(reader, 0, reads)
    bench.task(other, 1, partial(_large, size=HALF))
    bench.run()
    assert seen == [10]
    assert not bench.pressure.oom.kills
    assert bench.pressure.counts.allocstall == 1
    assert not other.tasks[0].signal


def test_the_report_tells_pages_of_files_and_of_shared_memory_apart() -> None:
    """In the table of tasks and in the verdict: 6 anonymous, 4 of a file, 3 of shared memory."""
    bench = bench_of(machine="core:1 pu:1", rss_batch=1)
    file = bench.system.vm.kernel.cache.new_file("data", 4, is_sparse=True)
    process, texts = bench.process("mixed"), list[str]()

    def body(task: Task) -> Op[None]:
        cpu, oom = task.cpu, bench.pressure.oom
        yield from hold(task, 6 * PAGE_SIZE)
        for pages, backing in ((4, file), (3, None)):
            area = yield from task.mmap(pages * PAGE_SIZE, shared=True, file=backing)
            yield from task.sequential(area, pages * PAGE_SIZE, write=True)
        yield from cpu.sync()
        need = Need(order=0, nodes=(NodeId(0),), context=AllocContext.USER, site="test")
        texts.append((yield from oom.report(cpu, need, victim=row_of(process))))

    bench.task(process, 0, body)
    bench.run()
    row = next(line for line in reversed(texts[0].splitlines()) if line.endswith(" mixed"))
    assert row.split()[6:11] == ["13", "13", "6", "4", "3"]
    assert "anon-rss:24kB, file-rss:16kB, shmem-rss:12kB, UID:0" in texts[0]


def test_who_gives_its_memory_back_already_is_not_chosen() -> None:
    """Its exit waits for a lock: it is in no table any more, and the next largest goes."""
    bench = bench_of(machine="core:3 pu:1", mmap_lock="rwsem")
    leaver, hungry = bench.process("leaver", 900), bench.process("hungry")

    def holds_up(cpu: Cpu) -> Op[None]:
        yield from nap(cpu, 10 * MS, "later")
        yield from leaver.space.lock_read(cpu, 0, 1, "holds up")
        yield from nap(cpu, 60 * MS, "holds up")
        yield from leaver.space.unlock_read(cpu)

    bench.task(leaver, 1, wants(4 * HALF, then=15 * MS))
    bench.task(hungry, 0, wants(5 * HALF, after=25 * MS))
    bench.thread(2, holds_up)
    bench.run()
    kills = bench.pressure.oom.kills
    assert [kill.name for kill in kills] == ["hungry"]
    assert kills[0].at < 70 * MS
    assert "leaver" not in kills[0].report
    assert not leaver.is_victim


def test_who_is_exiting_with_its_memory_is_waited_for_without_a_word() -> None:
    """It has the most points and goes by itself: no kill, no report, and nobody else goes meanwhile."""
    changes = {"oom_reaper_delay": "1s", "cost.exit_fixed": "60000us"}
    bench = bench_of(machine="core:3 pu:1", **changes)  # type: ignore[arg-type]
    leaver, other = bench.process("leaver", 900), bench.process("other")
    bench.task(leaver, 1, wants(4 * HALF, then=5 * MS))
    bench.task(other, 0, wants(HALF, then=100 * MS))
    oom, may_kill = bench.pressure.oom, list[bool]()
    need = Need(order=0, nodes=(NodeId(0),), context=AllocContext.USER, site="test")

    def is_short(cpu: Cpu) -> Op[None]:
        yield from nap(cpu, 20 * MS, "later")
        may_kill.append((yield from oom.begin(cpu, need)))
        assert (yield from oom.out_of_memory(cpu, need))
        may_kill.append((yield from oom.begin(cpu, need)))
        while not leaver.is_over:
            yield from nap(cpu, 10 * MS, "waits")
            yield from cpu.sync()
        may_kill.append((yield from oom.begin(cpu, need)))
        oom.never_mind()

    bench.thread(2, is_short)
    bench.run()
    assert may_kill == [True, False, True]
    assert oom.let_go == [leaver.pid]
    assert not oom.kills
    assert not bench.system.kernel_log
    assert not other.tasks[0].signal


def test_a_shortage_of_one_node_does_not_wait_for_a_victim_of_another() -> None:
    """The victim on node 0 is stuck for a long time; node 1 gets a victim of its own meanwhile."""
    bench = bench_of(
        machine="pack:2 numa:1 core:2 pu:1", memory="3MiB", mmap_lock="rwsem", oom_reaper_delay="500ms"
    )
    stuck, names = bench.process("stuck", 500), ("hungry0", "bound", "hungry1")
    others = [bench.process(name) for name in names]
    for process, number in zip((stuck, *others), (0, 0, 1, 1), strict=True):
        process.bind(NodeId(number))

    def is_stuck(task: Task) -> Op[None]:
        yield from hold(task, 3 * HALF)
        running = yield from task.system_call("stuck")
        yield from nap(task.cpu, 300 * MS, "stuck")
        yield from task.system_return(running)

    bench.task(stuck, 0, is_stuck)
    bench.task(others[0], 1, wants(3 * HALF, after=10 * MS))
    bench.task(others[1], 2, wants(3 * HALF, then=100 * MS))
    bench.task(others[2], 3, wants(3 * HALF, after=40 * MS))
    bench.run()
    first, second = bench.pressure.oom.kills
    assert first.name == "stuck"
    assert second.name in names[1:]
    assert second.at < 100 * MS


@pytest.mark.parametrize("context", [AllocContext.KERNEL, AllocContext.USER])
def test_nobody_is_killed_for_a_page_of_one_node(context: AllocContext) -> None:
    """As __GFP_THISNODE: when the node has no more, the request fails."""
    bench = bench_of(machine="pack:2 numa:1 core:1 pu:1")
    other, taken = bench.process("other", 500), list[Pfn]()

    def takes(cpu: Cpu) -> Op[None]:
        yield from take_all(bench.pages, cpu, taken, node=NodeId(1), context=context)
        yield from give_all(bench.pages, cpu, taken)

    bench.task(other, 0, partial(_large, size=HALF))
    bench.thread(1, takes)
    bench.run()
    assert {bench.pages.zone_of(pfn).node for pfn in taken} == {1}
    assert not bench.pressure.oom.kills
    assert not other.tasks[0].signal


def test_a_switch_that_gets_no_page_table_is_a_panic_that_says_so() -> None:
    """It cannot wait for memory, and there is no frame left at all."""
    bench = bench_of(machine="core:1 pu:1")
    taken: list[Pfn] = []
    bench.thread(0, lambda cpu: take_all(bench.pages, cpu, taken, context=AllocContext.RESERVE))
    bench.task(bench.process("late"), 0, wants(PAGE_SIZE))
    with pytest.raises(KernelPanic, match=r"^Kernel panic - not syncing: no memory for the page tables of"):
        bench.run()
