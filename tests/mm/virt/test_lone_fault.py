"""Faults in a space that one task has to itself: fewer events, and nothing else that differs."""

from collections.abc import Mapping

import pytest
from vm_bench import MODES, PLAIN, VmBench

from coalsim.engine.clock import Op
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Body, Task
from coalsim.units import PAGE_SIZE, US

pytestmark = pytest.mark.fast_one_in(2, in_turn=True)

PAGES = 200
AHEAD = {"run_ahead": True, "fast_paths": True, "tick_events": False}
EXACT = {"run_ahead": True, "fast_paths": False, "tick_events": False}
LINUX = {"hz": "10000", "lru_batch": "7", "rss_batch": "9"}
"""Ticks come often, and batches fill and counters are written in the middle of a run."""


def touching(task: Task) -> Op[None]:
    """Map, write to every page and unmap, twice: the second time with frames that are warm."""
    for _ in range(2):
        base = yield from task.mmap(PAGES * PAGE_SIZE)
        for page in range(PAGES):
            yield from task.touch(base + page * PAGE_SIZE)
        yield from task.munmap(base, PAGES * PAGE_SIZE)


def flushing(task: Task) -> Op[None]:
    """Make the other threads of the process serve interrupts."""
    base = yield from task.mmap(PAGE_SIZE)
    for _ in range(60):
        yield from task.touch(base)
        yield from task.madvise_dontneed(base, PAGE_SIZE)
        yield from task.compute(3 * US)


def results(bench: VmBench) -> tuple[object, ...]:
    """All that a fault leaves behind."""
    kernel = bench.kernel
    return (
        bench.system.env.now,
        bench.system.time_by_cause(bench.system.env.now),
        [(c.name, c.rows()) for c in bench.system.lock_classes],
        {name: getattr(kernel.counts, name) for name in kernel.counts.FIELDS},
        {name: (kind.latencies.total, kind.by_cause) for name, kind in kernel.operations.kinds.items()},
        [(unit.walks, unit.misses, unit.hits_l1) for unit in kernel.units],
    )


def processes(mode: Mapping[str, bool], *bodies: Body) -> VmBench:
    """Each program in a process of its own, on a processor of its own."""
    bench = VmBench("linux-6.18", LINUX, mode=mode)
    for cpu, body in enumerate(bodies):
        bench.start(bench.process(f"p{cpu}"), cpu, body)
    return bench.finish()


@pytest.mark.parametrize("mode", MODES[1:])
def test_every_mode_leaves_the_same_behind(mode: Mapping[str, bool]) -> None:
    """Times by cause, lock statistics, counts and walks are those of the plain mode."""
    assert results(processes(mode, touching, touching)) == results(processes(PLAIN, touching, touching))


def test_most_faults_wait_for_memory_only() -> None:
    """The page-table lock, the area's lock and the walks cost no event, so less than half are left."""
    bench, exact = (processes(mode, touching, touching) for mode in (AHEAD, EXACT))

    assert bench.counts.faults == exact.counts.faults == 4 * PAGES
    assert bench.system.env.events < 0.5 * exact.system.env.events


def test_a_second_thread_ends_the_privacy() -> None:
    """With another thread alive, even one that does nothing, every fault synchronises."""
    lone = VmBench("linux-6.18", LINUX, mode=AHEAD).run(touching)
    flag = SpinFlag()

    def first(task: Task) -> Op[None]:
        yield from touching(task)
        yield from flag.set(task.cpu)

    def second(task: Task) -> Op[None]:
        yield from task.spin(flag)

    both = VmBench("linux-6.18", LINUX, mode=AHEAD).run(first, second)
    assert both.counts.anonymous == lone.counts.anonymous == 2 * PAGES
    assert both.system.env.events > 2 * lone.system.env.events


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("mode", MODES[1:])
def test_privacy_may_begin_while_interrupts_come(mode: Mapping[str, bool]) -> None:
    """A sibling flushes and ends before the other has touched everything."""

    def run(mode: Mapping[str, bool]) -> tuple[object, ...]:
        bench = VmBench("linux-6.18", LINUX, mode=mode)
        process = bench.process()
        bench.start(process, 0, touching)
        bench.start(process, 1, flushing)
        bench.start(bench.process("other"), 2, touching)
        return results(bench.finish())

    assert run(mode) == run(PLAIN)
