"""Processes: fork and what it shares, exit and what it returns, sleeping, waking and spinning."""

import pytest
from vm_bench import VmBench, at, entry_of, maps, vpn_of

from coalsim.engine.clock import Op
from coalsim.errors import DeadlockError
from coalsim.mm.paging.entry import WRITABLE, pfn_of
from coalsim.mm.virt.area import READ, READ_WRITE, Area
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Body, Task
from coalsim.units import MS, PAGE_SIZE, US, Time, Vpn

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

LITTLE_MEMORY = "pack:1 numa:1(memory=24MB) core:1 pu:1"


# -- fork --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1, 3])
def test_parent_and_child_do_not_see_each_others_stores(bench: VmBench, where: int) -> None:
    """Isolation both ways, page by page, whichever writes first and wherever the child runs."""
    seen: dict[str, list[bytes]] = {}
    base: list[int] = []

    def look(task: Task, name: str) -> Op[None]:
        seen[name] = []
        for page in range(4):
            seen[name].append((yield from task.load(base[0] + page * PAGE_SIZE, 6)))

    def child(task: Task) -> Op[None]:
        yield from look(task, "child at first")
        yield from task.store(base[0], b"CHILD!")
        yield from task.store(base[0] + PAGE_SIZE, b"CHILD!")
        yield from at(task, 20 * MS)
        yield from look(task, "child")

    def parent(task: Task) -> Op[None]:
        base.append((yield from task.mmap(4 * PAGE_SIZE)))
        for page in range(3):
            yield from task.store(base[0] + page * PAGE_SIZE, b"before")
        yield from task.fork("child", child, where)
        yield from at(task, 10 * MS)
        yield from task.store(base[0] + PAGE_SIZE, b"parent")
        yield from task.store(base[0] + 2 * PAGE_SIZE, b"parent")
        yield from task.wait_for_children()
        yield from look(task, "parent")

    bench.run(parent)
    zeros = bytes(6)
    assert seen["child at first"] == [b"before", b"before", b"before", zeros]
    assert seen["child"] == [b"CHILD!", b"CHILD!", b"before", zeros]
    assert seen["parent"] == [b"before", b"parent", b"parent", zeros]


def test_fork_takes_the_right_to_write_away_on_both_sides(bench: VmBench) -> None:
    """No frame is taken for pages, every entry of a private area is read-only until its copy is made."""

    def parent(task: Task) -> Op[None]:
        base = yield from task.mmap(3 * PAGE_SIZE, populate=True)
        frames = [pfn_of(entry_of(task, base + page * PAGE_SIZE)) for page in range(3)]

        def child(other: Task) -> Op[None]:
            yield from other.cpu.sync()
            for page in range(3):
                entry = entry_of(other, base + page * PAGE_SIZE)
                assert pfn_of(entry) == frames[page]
                assert not entry & WRITABLE

        yield from task.fork("child", child, 1)
        assert bench.kernel.frames.shares == dict.fromkeys(frames, 2)
        assert not any(entry_of(task, base + page * PAGE_SIZE) & WRITABLE for page in range(3))
        assert not task.touch_now(base, True)
        yield from task.wait_for_children()
        assert not bench.kernel.frames.shares

    bench.run(parent)


def test_shared_pages_stay_common(bench: VmBench) -> None:
    """Stores go both ways at once, without faults for copies, also after rights have come and gone."""

    def parent(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE, shared=True)
        yield from task.store(base, b"one")

        def child(other: Task) -> Op[None]:
            assert (yield from other.load(base, 3)) == b"one"
            yield from other.store(base, b"two")
            yield from other.mprotect(base, PAGE_SIZE, READ)
            yield from at(other, 10 * MS)
            assert (yield from other.load(base, 3)) == b"six"
            yield from other.mprotect(base, PAGE_SIZE, READ_WRITE)
            yield from other.store(base, b"ten")

        yield from task.fork("child", child, 1)
        yield from at(task, 5 * MS)
        assert (yield from task.load(base, 3)) == b"two"
        yield from task.store(base, b"six")
        yield from task.wait_for_children()
        assert (yield from task.load(base, 3)) == b"ten"

    bench.run(parent)
    assert bench.counts.cow_copies == 0


def test_a_family_of_three_generations(bench: VmBench) -> None:
    """A grandchild has what its parent had when it was made, whatever happens to the others."""
    seen: dict[str, bytes] = {}
    base: list[int] = []

    def grandchild(task: Task) -> Op[None]:
        yield from at(task, 30 * MS)
        seen["grandchild"] = yield from task.load(base[0], 5)
        yield from task.store(base[0], b"GRAND")

    def child(task: Task) -> Op[None]:
        yield from task.store(base[0], b"child")
        yield from task.fork("grandchild", grandchild, 2)
        yield from task.store(base[0], b"later")
        yield from task.wait_for_children()
        seen["child"] = yield from task.load(base[0], 5)

    def parent(task: Task) -> Op[None]:
        base.append((yield from task.mmap(PAGE_SIZE)))
        yield from task.store(base[0], b"first")
        yield from task.fork("child", child, 1)
        yield from task.munmap(base[0], PAGE_SIZE)
        yield from task.wait_for_children()

    bench.run(parent)
    assert seen == {"grandchild": b"child", "child": b"later"}
    assert bench.counts.forks == 2


def test_a_child_may_outlive_its_parent(bench: VmBench) -> None:
    """The parent's space goes; the frames that the child maps stay."""
    seen: list[bytes] = []

    def parent(task: Task) -> Op[None]:
        base = yield from task.mmap(8 * PAGE_SIZE)
        for page in range(8):
            yield from task.store(base + page * PAGE_SIZE, bytes([65 + page]))

        def child(other: Task) -> Op[None]:
            yield from at(other, 20 * MS)
            seen.append((yield from other.load(base, 8 * PAGE_SIZE))[::PAGE_SIZE])
            yield from other.store(base, b"z")

        yield from task.fork("child", child, 1)

    bench.run(parent)
    assert seen == [b"ABCDEFGH"]
    assert bench.counts.cow_copies == 0
    assert bench.counts.cow_reuses == 1


def test_the_heap_and_the_areas_of_a_child_are_its_own(bench: VmBench) -> None:
    """Copied at the fork; brk and munmap of one do not touch the other."""

    def parent(task: Task) -> Op[None]:
        start = yield from task.brk(2 * PAGE_SIZE)
        base = yield from task.mmap(4 * PAGE_SIZE)
        yield from task.mprotect(base, PAGE_SIZE, READ)
        before = maps(task)

        def child(other: Task) -> Op[None]:
            assert maps(other) == before
            assert (yield from other.brk(0)) == start
            yield from other.brk(-PAGE_SIZE)
            yield from other.munmap(base, 2 * PAGE_SIZE)
            assert maps(other) != before

        yield from task.fork("child", child, 1)
        yield from task.wait_for_children()
        assert maps(task) == before
        assert (yield from task.brk(PAGE_SIZE)) == start + PAGE_SIZE

    bench.run(parent)


def test_each_fork_flushes_once(bench: VmBench) -> None:
    """dup_mmap ends in flush_tlb_mm, whether or not the fork before left anything to protect."""
    found = []

    def parent(task: Task) -> Op[None]:
        yield from task.mmap(3 * PAGE_SIZE, populate=True)

        def child(other: Task) -> Op[None]:
            yield from at(other, 6 * MS)

        for _ in range(3):
            before = bench.flushes.flushes
            yield from task.fork("child", child, 1)
            found.append(bench.flushes.flushes - before)

    bench.run(parent)
    assert found == [1, 1, 1]


def test_a_store_of_another_thread_during_a_fork_is_in_both_or_in_the_parent(bench: VmBench) -> None:
    """Threads of the parent go on; what they wrote before the fork is the child's, too."""
    flag, base, seen = SpinFlag(), list[int](), dict[str, bytes]()

    def parent(task: Task) -> Op[None]:
        base.append((yield from task.mmap(64 * PAGE_SIZE, populate=True)))
        yield from flag.set(task.cpu)
        yield from at(task, 2 * MS)

        def child(other: Task) -> Op[None]:
            yield from other.cpu.sync()
            seen["child"] = yield from other.load(base[0] + 63 * PAGE_SIZE, 4)
            yield from at(other, 6 * MS)
            seen["child later"] = yield from other.load(base[0] + 63 * PAGE_SIZE, 4)

        yield from task.fork("child", child, 2)
        yield from task.wait_for_children()
        seen["parent"] = yield from task.load(base[0] + 63 * PAGE_SIZE, 4)

    def thread(task: Task) -> Op[None]:
        yield from task.spin(flag)
        number = 0
        while task.cpu.clock < 3 * MS:
            number += 1
            yield from task.store(base[0] + 63 * PAGE_SIZE, number.to_bytes(4, "little"))
            yield from task.compute(1 * US)
            yield from task.cpu.sync()
        seen["thread"] = number.to_bytes(4, "little")

    bench.run(parent, thread)
    assert seen["parent"] == seen["thread"]
    assert seen["child"] == seen["child later"]
    values = {name: int.from_bytes(data, "little") for name, data in seen.items()}
    assert 0 < values["child"] < values["thread"]


def test_a_fork_without_memory_for_tables_fails_as_a_whole() -> None:
    """None, and no child that lacks pages: the parent goes on with everything that it had."""
    results: list[bool] = []
    for spare in (1, 9):
        bench = VmBench("coal", {"geometry": "x86-64"}, machine=LITTLE_MEMORY)

        kept: dict[int, bytes] = {}

        def child(task: Task, kept: dict[int, bytes] = kept) -> Op[None]:
            for address, content in kept.items():
                assert (yield from task.load(address, 1)) == content

        def parent(
            task: Task, bench: VmBench = bench, spare: int = spare, kept: dict[int, bytes] = kept
        ) -> Op[None]:
            sparse = yield from task.mmap(16 * 512 * PAGE_SIZE)
            for table in range(16):  # sixteen leaf tables, which a child needs as well
                address = sparse + table * 512 * PAGE_SIZE
                yield from task.store(address, b"s")
                kept[address] = b"s"
            dense = yield from task.mmap(8000 * PAGE_SIZE)
            count = 0
            while not (yield from task.copy_to_user(dense + count * PAGE_SIZE, b"d")):
                count += 1
            yield from task.munmap(dense + (count - spare) * PAGE_SIZE, spare * PAGE_SIZE)
            kept[dense] = b"d"
            made = yield from task.fork("child", child)
            results.append(made is not None)
            yield from task.wait_for_children()
            for address, content in kept.items():
                assert (yield from task.load(address, 1)) == content
            yield from task.store(sparse, b"x")

        bench.run(parent)
        assert bench.counts.forks == results[-1]
    assert not any(results)


# -- exit --------------------------------------------------------------------------------------


def test_exit_gives_back_every_frame(bench: VmBench) -> None:
    """Pages, page tables, roots, and what was shared: the bench compares with what was taken at boot."""

    def child(task: Task) -> Op[None]:
        yield from task.store(base[0], b"mine")

    base: list[int] = []

    def program(task: Task) -> Op[None]:
        base.append((yield from task.mmap(1500 * PAGE_SIZE)))
        for page in range(0, 1500, 7):
            yield from task.touch(base[0] + page * PAGE_SIZE, write=page % 2 == 0)
        yield from task.brk(10 * PAGE_SIZE)
        yield from task.mprotect(base[0], 300 * PAGE_SIZE, READ)
        yield from task.fork("child", child, 1)
        yield from task.leave()

    bench.run(program)


def test_exit_ends_the_task_there() -> None:
    """Nothing behind it runs; others of the process do."""
    bench, steps = VmBench(), []

    def first(task: Task) -> Op[None]:
        steps.append("first")
        yield from task.leave()
        steps.append("never")

    def second(task: Task) -> Op[None]:
        yield from at(task, 1 * MS)
        steps.append("second")

    bench.run(first, second)
    assert steps == ["first", "second"]
    assert not any(task.signal for task in bench.tasks)


def test_only_the_last_task_tears_the_space_down(bench: VmBench) -> None:
    """Tasks end one after the other; there is one exit, at the last."""
    alive: list[bool] = []

    def body(number: int) -> Body:
        def program(task: Task) -> Op[None]:
            base = yield from task.mmap(4 * PAGE_SIZE)
            yield from at(task, (number + 1) * MS)
            alive.append(task.process.space.is_dead)
            yield from task.touch(base)

        return program

    process = bench.process()
    for number in range(4):
        bench.start(process, number, body(number))
    bench.finish()
    assert alive == [False] * 4
    assert bench.kernel.operations.kinds["exit"].latencies.count == 1


# -- tasks -------------------------------------------------------------------------------------


def test_threads_share_one_space(bench: VmBench) -> None:
    """What one maps and writes, another that it made reads and unmaps."""
    seen: list[bytes] = []

    def first(task: Task) -> Op[None]:
        base = yield from task.mmap(2 * PAGE_SIZE)
        yield from task.store(base, b"common")

        def second(other: Task) -> Op[None]:
            seen.append((yield from other.load(base, 6)))
            yield from other.store(base + PAGE_SIZE, b"back")

        thread = yield from task.spawn(1, "second", second)
        assert thread.process is task.process
        yield from at(task, 5 * MS)
        seen.append((yield from task.load(base + PAGE_SIZE, 4)))

    bench.run(first)
    assert seen == [b"common", b"back"]


def test_a_parent_waits_for_all_its_children() -> None:
    """Three that end at different times, one of them before the wait begins."""
    bench, ended = VmBench(), list[Time]()

    def child(until: Time) -> Body:
        def program(task: Task) -> Op[None]:
            yield from at(task, until)

        return program

    def parent(task: Task) -> Op[None]:
        for cpu, until in ((1, 1), (2, 9), (3, 6)):
            yield from task.fork(f"child {cpu}", child(until * MS), cpu)
        yield from at(task, 3 * MS)
        yield from task.wait_for_children()
        yield from task.cpu.sync()
        ended.append(task.cpu.clock)
        yield from task.wait_for_children()  # at once
        yield from task.cpu.sync()
        ended.append(task.cpu.clock)

    bench.run(parent)
    assert 9 * MS < ended[0] < 10 * MS
    assert ended[1] == ended[0]
    assert [process.is_over for process in bench.vm.processes] == [True] * 4


def test_a_wake_up_for_something_else_does_not_end_the_wait() -> None:
    """Who waits for children and is woken by a friend goes on waiting, and is woken once by the child."""
    bench, times = VmBench(), list[Time]()

    def child(task: Task) -> Op[None]:
        yield from at(task, 8 * MS)

    def parent(task: Task) -> Op[None]:
        yield from task.fork("child", child, 2)
        yield from task.wait_for_children()
        yield from task.cpu.sync()
        times.append(task.cpu.clock)
        yield from task.sleep_until_woken()
        yield from task.cpu.sync()
        times.append(task.cpu.clock)

    def friend(task: Task) -> Op[None]:
        for when in (2, 4, 20):
            yield from at(task, when * MS)
            yield from task.wake(bench.tasks[0])

    bench.run(parent, friend)
    assert 8 * MS < times[0] < 9 * MS
    assert 20 * MS < times[1] < 21 * MS


def test_sleepers_are_woken_and_early_wake_ups_count() -> None:
    """Sleep, then wake; wake, then sleep: neither is lost, and a second sleep needs a second wake."""
    bench, times = VmBench(), list[Time]()

    def sleeper(task: Task) -> Op[None]:
        for _ in range(3):
            yield from task.sleep_until_woken()
            yield from task.cpu.sync()
            times.append(task.cpu.clock)
            if len(times) == 1:
                yield from at(task, 3 * MS)

    def waker(task: Task) -> Op[None]:
        for when in (1, 2, 5):
            yield from at(task, when * MS)
            yield from task.wake(bench.tasks[0])

    bench.run(sleeper, waker)
    latency = bench.kernel.wake_latency
    assert times[0] >= 1 * MS + latency
    assert times[1] == 3 * MS
    assert 5 * MS + latency <= times[2] < 5 * MS + 50 * US


def test_a_sleeping_task_leaves_its_processor_to_others() -> None:
    """Two tasks on one processor: while one sleeps the other computes; times of both add up."""
    bench, order = VmBench(), list[str]()

    def sleeper(task: Task) -> Op[None]:
        order.append("sleeps")
        yield from task.sleep_until_woken()
        order.append("woken")

    def worker(task: Task) -> Op[None]:
        order.append("works")
        yield from task.compute(1 * MS)
        yield from task.wake(bench.tasks[0])
        order.append("done")

    process = bench.process()
    bench.start(process, 0, sleeper)
    bench.start(process, 0, worker)
    bench.finish()
    assert order == ["sleeps", "works", "done", "woken"]


def test_spinners_go_on_one_line_transfer_later_and_serve_interrupts() -> None:
    """Three spin while another flushes their TLBs: they answer at once, and see the flag when it is set."""
    bench, flag, base, seen = VmBench(), SpinFlag(), list[int](), dict[int, Time]()
    ready = SpinFlag()

    def first(task: Task) -> Op[None]:
        base.append((yield from task.mmap(3 * PAGE_SIZE, populate=True)))
        yield from ready.set(task.cpu)
        yield from at(task, 1 * MS)
        yield from task.munmap(base[0], PAGE_SIZE)
        assert bench.flushes.targets == 3
        yield from at(task, 2 * MS)
        yield from flag.set(task.cpu)
        yield from at(task, 3 * MS)

    def spinner(task: Task) -> Op[None]:
        yield from task.spin(ready)
        yield from task.touch(base[0], write=False)
        yield from task.spin(flag)
        yield from task.cpu.sync()
        seen[task.cpu.id] = task.cpu.clock
        yield from task.spin(flag)  # it is set: at once
        yield from task.cpu.sync()
        assert task.cpu.clock == seen[task.cpu.id]

    bench.run(first, spinner, spinner, spinner)
    for number, time in seen.items():
        assert time == 2 * MS + bench.system.cpus[number].transfer[0]


# -- time slices -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["compute", "touch", "touch_pages"])
def test_user_code_gives_its_processor_away_when_its_slice_is_over(way: str) -> None:
    """Two processes on one processor: the second starts after a tick, though the first makes no call."""
    bench, times = VmBench("coal", {"hz": "1000"}), dict[str, Time]()

    def greedy(task: Task) -> Op[None]:
        base = yield from task.mmap(PAGE_SIZE, populate=True)
        while task.cpu.clock < 12 * MS:
            if way == "compute":
                yield from task.compute(10 * US)
            elif way == "touch":
                yield from task.touch(base)
                task.cpu.charge(10 * US, "user")
            else:
                yield from task.touch_pages([vpn_of(base)] * 10_000)
            yield from task.cpu.look()

    def modest(task: Task) -> Op[None]:
        yield from task.cpu.sync()
        times["modest"] = task.cpu.clock

    bench.start(bench.process("greedy"), 0, greedy)
    bench.start(bench.process("modest"), 0, modest)
    bench.finish()
    assert times["modest"] < 4 * MS


def test_stacks_are_copied_at_a_fork(bench: VmBench) -> None:
    """A child's stack grows by itself, from the same contents."""

    def parent(task: Task) -> Op[None]:
        top = 0x80000
        task.process.space.areas.insert(
            Area(first=Vpn(top - 2), last=Vpn(top), kind="stack", grows_down=True)
        )
        yield from task.store((top - 1) * PAGE_SIZE, b"frame")

        def child(other: Task) -> Op[None]:
            yield from other.store((top - 8) * PAGE_SIZE, b"deep")
            assert (yield from other.load((top - 1) * PAGE_SIZE, 5)) == b"frame"
            assert maps(other)[0][1] == 8

        made: Process | None = yield from task.fork("child", child, 1)
        assert made is not None
        yield from task.wait_for_children()
        assert maps(task)[0][1] == 2

    bench.run(parent)


@pytest.mark.parametrize("hz", ["0", "1000"])
def test_a_run_that_spins_for_ever_names_the_flag(hz: str) -> None:
    """Nobody sets it: the report says who spins on what; one that was set is not named."""
    never, soon = SpinFlag("the second gate"), SpinFlag("the first gate")

    def waiter(task: Task) -> Op[None]:
        yield from task.spin(soon)
        yield from task.spin(never)

    def setter(task: Task) -> Op[None]:
        yield from at(task, 1 * MS)
        yield from soon.set(task.cpu)

    bench = VmBench(changes={"hz": hz})
    process = bench.process()
    for cpu, body in enumerate((waiter, waiter, setter)):
        bench.start(process, cpu, body)
    bench.system.boot()
    bench.system.env.declare_barrier(20 * MS, lambda: None)
    with pytest.raises(DeadlockError) as caught:
        bench.system.run(bench.system.finished)
    assert "CPU 0, CPU 1 wait for the second gate, spinning in user code" in str(caught.value)
    assert "first gate" not in str(caught.value)
