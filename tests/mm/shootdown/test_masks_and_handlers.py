"""Processors that left a space are asked once more at most; a policy's own handler runs in every mode."""

from collections.abc import Mapping
from typing import ClassVar

import pytest

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.queued import QueuedLock
from coalsim.mm.shootdown.linux import ConcurrentShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.virt.task import Body, Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import PAGE_SIZE, US, CpuId, Time

MORE = 500_000


class HandlesMore(ConcurrentShootdown):
    """Its handlers take longer than the usual ones."""

    name: ClassVar[str] = "handles_more"

    def run_handler(self, target: Cpu, request: Flush, *, early: bool = False) -> None:
        """The usual handler, and something behind it."""
        super().run_handler(target, request, early=early)
        target.steal(target.handler_until, MORE, "handler:more")


def system(policy: type[ConcurrentShootdown], mode: Mapping[str, bool]) -> System:
    """Two processors under a kernel whose masks are sticky."""
    return System(
        SystemConfig(
            machine=machine_from_synthetic("pack:1 numa:1 core:2 pu:1"),
            profile=load_profile("linux-6.18"),
            lock=QueuedLock,
            recorder=Histogram,
            shootdown=policy,
            **mode,
        )
    )


def compute(task: Task) -> Op[None]:
    """For a millisecond."""
    for _ in range(100):
        yield from task.compute(10 * US)


def map_and_unmap(times: int) -> Body:
    """Flushes with freed tables, late enough for the others to have left."""

    def body(task: Task) -> Op[None]:
        yield from task.compute(200 * US)
        for _ in range(times):
            address = yield from task.mmap(PAGE_SIZE)
            yield from task.touch(address)
            yield from task.munmap(address, PAGE_SIZE)

    return body


def test_a_processor_that_left_is_asked_by_one_flush_only() -> None:
    """The handler finds another space loaded and clears the processor's bit; ten flushes, one request."""
    under_test = system(ConcurrentShootdown, {})
    vm = under_test.vm
    left, other = vm.new_bare_process("left"), vm.new_bare_process("other")
    vm.run_task(left, CpuId(0), "unmaps", map_and_unmap(10))
    vm.run_task(left, CpuId(1), "leaves", lambda task: task.compute(10 * US))
    vm.run_task(other, CpuId(1), "stays", compute)
    under_test.boot()
    under_test.run(under_test.finished)
    assert vm.flush_counts.flushes >= 10
    assert vm.flush_counts.targets == 1


@pytest.mark.parametrize("fast_paths", [False, True])
def test_a_policys_own_handler_runs_whether_or_not_short_cuts_are_taken(fast_paths: bool) -> None:
    """One flush, one target: what `run_handler` adds is found in the target's account."""
    under_test = system(HandlesMore, {"fast_paths": fast_paths})
    vm = under_test.vm
    process = vm.new_bare_process("one")
    vm.run_task(process, CpuId(0), "unmaps", map_and_unmap(1))
    vm.run_task(process, CpuId(1), "computes", compute)
    under_test.boot()
    under_test.run(under_test.finished)
    spent: list[Time] = [cpu.spent.get("handler:more", 0) for cpu in under_test.cpus]
    assert spent == [0, MORE]
