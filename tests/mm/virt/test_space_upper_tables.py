"""Tables above the leaves: whoever may have a pointer to one is flushed before it is freed."""

import pytest
from vm_bench import VmBench, at

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.paging.context import Loaded
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.linux import ConcurrentShootdown
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.virt.task import Task
from coalsim.units import GIB, MIB, PAGE_SIZE, US, Time

AREA = 64 * GIB
OTHER = AREA + 8 * MIB  # behind another leaf table of the same directory
NOWHERE = AREA + 64 * MIB


class KeepsUpperDirectories(ConcurrentShootdown):
    """Broken: pages and pointers to leaf tables are dropped, those to the tables above stay."""

    def catch_up(self, cpu: Cpu, loaded: Loaded, request: Flush) -> Time:
        """Flush, but put back what the upper caches had."""
        unit = self.system.units[cpu.id]
        kept = [dict(cache) for cache in unit.structure_caches.levels[1:]]
        cost = super().catch_up(cpu, loaded, request)
        for cache, before in zip(unit.structure_caches.levels[1:], kept, strict=True):
            cache.update(before)
        return cost


def two_tasks(policy: type[Shootdown]) -> VmBench:
    """The first unmaps all of a directory; the second's walker has a pointer to it, and to no leaf below."""
    changes = {"geometry": "x86-64"}
    if policy.replication:
        changes["table_replication"] = policy.replication
    bench = VmBench("linux-6.18", changes, policy=policy)

    def first(task: Task) -> Op[None]:
        for address in (AREA, OTHER):
            yield from task.mmap(PAGE_SIZE, address=address)
        yield from task.touch(OTHER)
        yield from at(task, 200 * US)
        yield from task.munmap(AREA, PAGE_SIZE)
        yield from at(task, 400 * US)
        assert any(bench.kernel.units[1].structure_caches.levels[1:]), "the second's walker has pointers"
        yield from task.munmap(OTHER, PAGE_SIZE)
        yield from at(task, 600 * US)

    def second(task: Task) -> Op[None]:
        yield from at(task, 100 * US)
        yield from task.touch(AREA)
        yield from at(task, 300 * US)
        left, _ = yield from task.copy_from_user(NOWHERE, 1)  # fails at the directory
        assert left == 1
        yield from at(task, 500 * US)
        yield from task.mmap(PAGE_SIZE, address=NOWHERE)
        yield from task.touch(NOWHERE)

    process = bench.process()
    bench.start(process, 0, first)
    bench.start(process, 1, second)
    return bench


@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_no_walker_keeps_a_pointer_to_a_directory_that_is_freed(name: str) -> None:
    """Its processor is asked, though it has no leaf table below that directory; `finish` asks the oracle."""
    two_tasks(SHOOTDOWNS[name]).finish()


def test_the_oracle_judges_pointers_to_upper_tables_too() -> None:
    """A walk that begins at a directory which was freed is a broken promise."""
    with pytest.raises(AssertionError, match="page walk"):
        two_tasks(KeepsUpperDirectories).finish()
