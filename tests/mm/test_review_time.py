"""What looks at shared memory sees it as of its own time, in every mode."""

import pytest
from live_memory import KERNELS, live_system, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.study.memory_outcome import memory

MODES: tuple[dict[str, bool], ...] = (
    {},
    {"fast_paths": False},
    {"run_ahead": False},
    {"run_ahead": False, "fast_paths": False, "tick_events": True},
)


def drained_in_the_middle(kernel: str, mode: dict[str, bool]) -> object:
    """Some CPUs work, two drain what is shared all the time; everything that can be seen afterwards."""
    system = live_system(kernel, mode=mode)
    manager = system.memory

    def worker(cpu: Cpu) -> Op[None]:
        uniform = system.streams.stream("test", cpu.id).random
        for _ in range(6):
            taken: list[int] = []
            for _ in range(40 + int(uniform() * 300)):
                one = yield from manager.kmalloc(cpu, 64, "take")
                taken.append(one)
            for address in taken:
                yield from manager.kfree(cpu, address, "give")

    def drainer(cpu: Cpu) -> Op[None]:
        uniform = system.streams.stream("test", cpu.id).random
        for _ in range(60):
            cpu.charge(int(uniform() * 2_000_000), "user")
            yield from manager.drain_shared(cpu, "drain")

    play(system, drainer, *([worker] * 12), drainer)
    manager.validate()
    rows = [row for lock_class in system.lock_classes for row in lock_class.rows()]
    return system.env._now, rows, memory(manager), system.time_by_cause(system.env._now)


@pytest.mark.fast_one_in(4)
@pytest.mark.parametrize("kernel", KERNELS)
def test_draining_while_others_work_is_the_same_in_the_reference(kernel: str) -> None:
    """Depots, barns and lists are emptied as of the drain's time, not as computed for later."""
    assert drained_in_the_middle(kernel, MODES[0]) == drained_in_the_middle(kernel, MODES[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
def test_draining_while_others_work_is_the_same_in_all_modes(kernel: str) -> None:
    """With each short cut left out by itself."""
    reference = drained_in_the_middle(kernel, MODES[0])
    for mode in MODES[1:]:
        assert drained_in_the_middle(kernel, mode) == reference
