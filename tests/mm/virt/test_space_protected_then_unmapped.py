"""The oracle and pages that first lose the right to write, and then their frame."""

from collections.abc import Mapping

import pytest
from vm_bench import MODES, VmBench, at

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.oracle import Oracle
from coalsim.cpus.translation import Moment, Translation
from coalsim.engine.clock import Op
from coalsim.mm.paging.context import FORGET_AT, Context
from coalsim.mm.shootdown.linux import LinuxShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE, US, CpuId, Pfn, Vpn

PAGES = 3
ROUNDS = 20


class ForgetsCpu1(LinuxShootdown):
    """Broken: one processor is never asked."""

    def candidates(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        """All but processor 1."""
        return [target for target in super().candidates(cpu, request) if target.id != 1]


def found(mode: Mapping[str, bool], *, forks: bool) -> list[tuple[object, ...]]:
    """What a processor does wrong that reads pages through its TLB while they are unmapped and reused."""
    bench = VmBench("linux-6.18", policy=ForgetsCpu1, mode=mode, machine="pack:1 numa:1 core:4 pu:1")
    places: list[int] = []

    def touch(task: Task, start: int, *, write: bool = True) -> Op[None]:
        for page in range(PAGES):
            yield from task.touch(start + page * PAGE_SIZE, write=write)

    def child(task: Task) -> Op[None]:
        yield from task.compute(1 * US)

    def first(task: Task) -> Op[None]:
        places.append((yield from task.mmap((PAGES + 1) * PAGE_SIZE)))
        yield from touch(task, places[0])
        yield from at(task, 200 * US)
        if forks:
            yield from task.fork("child", child, 2)
        yield from at(task, 600 * US)
        yield from task.munmap(places[0], PAGES * PAGE_SIZE)
        again = yield from task.mmap(PAGES * PAGE_SIZE)
        yield from touch(task, again)
        yield from at(task, 1500 * US)

    def second(task: Task) -> Op[None]:
        yield from at(task, 100 * US)
        yield from touch(task, places[0])
        yield from at(task, 900 * US)
        for _ in range(ROUNDS):
            yield from task.compute(20 * US)
            yield from touch(task, places[0], write=False)

    process = bench.process()
    bench.start(process, 0, first)
    bench.start(process, 1, second)
    bench.system.boot()
    bench.system.run(bench.system.finished)
    bench.vm.judge_all()
    oracle = bench.kernel.oracle
    assert oracle is not None
    return [tuple(one) for one in oracle.findings()]


@pytest.mark.parametrize("forks", [False, True])
def test_reads_of_a_frame_with_a_new_owner_are_found_whether_or_not_a_fork_protected_it(forks: bool) -> None:
    """The policy forgets the reader at the fork and at the unmapping: each of its reads is a finding."""
    plain, *others = (found(mode, forks=forks) for mode in MODES)
    assert len(plain) == PAGES * ROUNDS
    assert all(one == plain for one in others)


def test_what_nobody_can_use_any_more_is_forgotten() -> None:
    """A page that is protected again and again leaves nothing behind, unless a TLB was forgotten."""
    oracle = Oracle(1)
    context = Context(1, oracle)
    for time in range(3 * FORGET_AT):
        one = context.translations[7] = Translation(1, Vpn(7), Pfn(9), writable=True)
        one.cached = int(time == 5)
        context.end_translation(7, Moment(time, CpuId(0), "mprotect"), "flush", lost_frame=False)
    assert context.protections < FORGET_AT
    assert sum(one.cached for one in context.protected[7]) == 1
    context.end_translation(7, Moment(3 * FORGET_AT, CpuId(0), "munmap"), "flush")
    assert (context.protections, context.protected) == (0, {})
