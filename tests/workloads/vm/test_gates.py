"""How tasks wait for each other: barriers that are used again, bells that are not missed."""

from collections.abc import Callable
from typing import Any

import pytest
from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.mm.virt.task import Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import MS, US, CpuId
from coalsim.workloads.vm.gates import Barrier, Bell, Waiting

MODES: tuple[dict[str, bool], ...] = ({"run_ahead": False, "fast_paths": False, "tick_events": True}, {})


def run(mode: dict[str, bool], *bodies: Callable[[Task], Op[None]]) -> System:
    """One process, a task on each CPU in turn, to the end of all."""
    system = System(
        SystemConfig(
            machine=load_machine("coal"),
            profile=load_profile("coal").with_overrides({"hz": "0"}),
            lock=QueuedSpinLock,
            recorder=Histogram,
            **mode,
        )
    )
    process = system.vm.new_process("gates")
    for number, body in enumerate(bodies):
        system.vm.run_task(process, CpuId(number % 4), f"task {number}", body)
    system.boot()
    end = Event(system.env)
    system.when_finished(lambda: system.env.stop(end))
    system.run(end)
    return system


@pytest.mark.parametrize("waiting", ["sleep", "spin"])
def test_nobody_goes_on_before_all_have_come(waiting: Waiting) -> None:
    """Round after round, whoever is last; the same in every mode."""

    def once(mode: dict[str, bool]) -> list[tuple[int, int, int]]:
        gate, passed = Barrier(3, waiting), list[tuple[int, int, int]]()
        came = [0] * 8

        def body(number: int) -> Callable[[Task], Op[None]]:
            def rounds(task: Task) -> Op[None]:
                for turn in range(8):
                    yield from task.compute((1 + (number + turn) % 3) * 5 * US)
                    yield from task.cpu.sync()
                    came[turn] += 1
                    yield from gate.meet(task)
                    assert came[turn] == 3
                    passed.append((turn, number, task.cpu.clock))

            return rounds

        run(mode, *(body(number) for number in range(3)))
        return passed

    first, *others = [once(mode) for mode in MODES]
    assert len(first) == 24
    assert all(other == first for other in others)


def test_tasks_that_sleep_at_a_barrier_share_a_cpu() -> None:
    """Five tasks on four CPUs: one that spun would keep the fifth from coming."""
    gate, over = Barrier(5, "sleep"), list[str]()

    def body(task: Task) -> Op[None]:
        yield from gate.meet(task)
        over.append(task.name)

    run({}, *[body] * 5)
    assert len(over) == 5


def test_waiting_for_long_makes_no_events() -> None:
    """Three spin while one computes for 50 ms in pieces of a microsecond."""

    def spins(gate: Barrier) -> Callable[[Task], Op[None]]:
        return gate.meet

    def events(pieces: int) -> Any:
        gate = Barrier(4)

        def computes(task: Task) -> Op[None]:
            for _ in range(pieces):
                yield from task.compute(50 * MS // pieces)
            yield from gate.meet(task)

        return run({}, *[spins(gate)] * 3, computes).env.events

    assert events(1) < 100
    assert events(5000) < 100 + 2 * 5000  # the one that works may need a look for each piece


def test_a_ring_before_the_listener_comes_is_not_lost() -> None:
    """Nor is one that comes while it listens; each is heard once at least."""
    bell, heard = Bell(), list[int]()
    rung = [0]

    def listener(task: Task) -> Op[None]:
        yield from task.compute(20 * US)
        while rung[0] < 3:
            yield from bell.listen(task)
            heard.append(rung[0])

    def ringer(task: Task) -> Op[None]:
        for _ in range(3):
            yield from task.compute(10 * US)
            yield from task.cpu.sync()
            rung[0] += 1
            yield from bell.ring(task)

    run({}, listener, ringer)
    assert heard[-1] == 3
