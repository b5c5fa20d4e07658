"""One flush whose circumstances are known, under any policy.

All tasks of a process touch the pages; then the first one discards them, while the
others compute, or keep interrupts off, or have left.
"""

from collections.abc import Callable
from dataclasses import dataclass

from coalsim.boot import System, SystemConfig
from coalsim.cpus.oracle import Oracle
from coalsim.engine.clock import Op
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.system import FlushCounts
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.task import Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import MS, PAGE_SIZE, US, CpuId, Time

TICK = 1 * MS
LATER = 200 * US
"""When the first task discards; everybody has touched by then."""
KEPT_PAGES = 1
"""A page that stays mapped, so that its page table does too."""

Doing = Callable[[Task], Op[None]]


def compute(task: Task) -> Op[None]:
    """Work in short pieces, with a look into the kernel now and then."""
    for _ in range(60):
        yield from task.compute(100 * US)
        yield from task.brk(0)


def keep_interrupts_off(task: Task) -> Op[None]:
    """The same, deaf."""
    yield from task.cpu.irq_off()
    task.cpu.charge(600 * US, "interrupts off")
    yield from task.cpu.irq_on()


def leave(task: Task) -> Op[None]:
    """End, so that the processor idles with the space loaded."""
    yield from ()


@dataclass
class Flushed:
    """What the one flush did."""

    took: Time  # the discarding call
    counts: dict[str, int]  # of shootdowns, in that call
    freed: list[int]  # frames that had come back: after the call, and after each further tick
    oracle: Oracle
    spent: list[dict[str, Time]]  # by processor and cause, up to the end


def one_flush(
    policy: type[Shootdown],
    *,
    cpus: int = 4,
    pages: int = 3,
    earlier: int = 0,
    touch_by: Callable[[int], bool] = lambda _: True,
    doing: Doing = compute,
    changes: dict[str, str] | None = None,
) -> Flushed:
    """Discard pages that the tasks for which `touch_by` is true have in their TLBs.

    Args:
        policy: by which they are flushed.
        cpus: how many processors, on two nodes.
        pages: how many pages.
        earlier: so many calls discard a page each right before.
        touch_by: which processors use the pages.
        doing: what the other tasks do afterwards.
        changes: of the kernel's switches.
    """
    system = _system(policy, cpus, changes or {})
    vm, flag = system.vm, SpinFlag()
    process, frames = vm.new_bare_process("one"), vm.kernel.frames
    places: list[int] = []
    took: list[Time] = []
    counts: list[dict[str, int]] = []
    freed: list[int] = []

    def touch(task: Task) -> Op[None]:
        for page in range(pages + earlier):
            yield from task.touch(places[0] + page * PAGE_SIZE)

    def first(task: Task) -> Op[None]:
        cpu = task.cpu
        places.append((yield from task.mmap((pages + earlier + KEPT_PAGES) * PAGE_SIZE)))
        yield from task.touch(places[0] + (pages + earlier) * PAGE_SIZE)
        if touch_by(0):
            yield from touch(task)
        yield from flag.set(cpu)
        yield from cpu.sync()
        yield from cpu.wait_until(LATER, "user")
        for page in range(pages, pages + earlier):
            yield from task.madvise_dontneed(places[0] + page * PAGE_SIZE, PAGE_SIZE)
        yield from cpu.sync()
        began, before, taken = cpu.clock, _read(vm.flush_counts), frames.taken
        yield from task.madvise_dontneed(places[0], pages * PAGE_SIZE)
        yield from cpu.sync()
        took.append(cpu.clock - began)
        counts.append({key: value - before[key] for key, value in _read(vm.flush_counts).items()})
        for _ in range(5):
            freed.append(taken - frames.taken)
            yield from task.compute(TICK)
            yield from task.brk(0)
            yield from cpu.sync()

    def other(task: Task) -> Op[None]:
        yield from task.spin(flag)
        if touch_by(task.cpu.id):
            yield from touch(task)
        yield from doing(task)

    for cpu in range(cpus):
        vm.run_task(process, CpuId(cpu), f"task {cpu}", other if cpu else first)
    system.boot()
    system.run(system.finished)
    vm.judge_all()
    oracle = vm.kernel.oracle
    assert oracle is not None
    return Flushed(took[0], counts[0], freed, oracle, [dict(cpu.spent) for cpu in system.cpus])


def _read(counts: FlushCounts) -> dict[str, int]:
    return {key: getattr(counts, key) for key in counts.FIELDS}


def _system(policy: type[Shootdown], cpus: int, changes: dict[str, str]) -> System:
    settings = {"hz": "1000", "geometry": "x86-32", **changes}
    if policy.replication:
        settings["table_replication"] = policy.replication
    return System(
        SystemConfig(
            machine=machine_from_synthetic(f"pack:2 numa:1 core:{cpus // 2} pu:1"),
            profile=load_profile("linux-6.18").with_overrides(settings),
            lock=QueuedSpinLock,
            recorder=Histogram,
            shootdown=policy,
        )
    )
