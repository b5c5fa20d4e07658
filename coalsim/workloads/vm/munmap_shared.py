"""munmap_shared: all CPUs touch the same pages, then one of them takes them away.

    first task:  mmap -> barrier -> touch all -> barrier -> munmap, timed -> ...
    the others:          barrier -> touch all -> barrier -> (next barrier) ...

An operation is the munmap, or the madvise(MADV_DONTNEED), and nothing else.  Meanwhile
the others wait in the next round's barrier: asleep, as the original has it, so that
idle CPUs may be skipped; or spinning, so that none can be.

Unlike the original, the task that unmaps also touches; there it shares its CPU with the
first of those that do.

What is unmapped is seldom alone in its leaf table: libraries, stacks and other mappings lie
beside it, so no table is freed and a policy may put the flush off.  The task that unmaps
therefore keeps a page of its own in each leaf table that the area lies in but does not fill;
`table="own"` leaves that out, so that every munmap frees a table.  Copies of the tables, for
each CPU or node, are no exception: what keeps a table is an area in its span, not an entry.
Source: Kumar and others, "LATR: Lazy translation coherence", ASPLOS 2018; its
microbenchmark mmap_micro.
"""

from dataclasses import dataclass, field
from typing import Literal

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SHIFT, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.gates import Barrier, Waiting
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import TeamLoad

Call = Literal["munmap", "madvise"]
Table = Literal["shared", "own"]

LEAF_SPAN = 2 * MIB
"""What a leaf table of 512 entries maps; one of x86-32 maps two of these."""


@dataclass
class _Shared:
    """What the tasks know of each other."""

    gate: Barrier
    area: int = field(default=-1)
    kept: dict[int, None] = field(default_factory=dict)  # leaf tables that have a page of the leader's


@dataclass(frozen=True, kw_only=True)
class MunmapShared(TeamLoad):
    """The team's first thread unmaps; its mode is `threads`.

    Args:
        pages: that all touch.
        call: what is timed.
        barrier: how tasks wait in it.
        table: whether something else stays mapped in the pages' leaf tables; madvise frees none.
    """

    pages: int = 1
    call: Call = "munmap"
    barrier: Waiting = "sleep"
    table: Table = "shared"

    def start(self, host: VirtualHost) -> None:
        """One thread per CPU."""
        check_memory(host.machine, self.pages, "workload.pages", self.pages)
        check_addresses(host, self.pages, "workload.pages", self.pages)
        first = self.team.chosen(host.machine)[0]
        shared = _Shared(Barrier(self.team.cpus, self.barrier))

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._lead(task, meter, shared) if task.cpu.id == first else self._follow(task, shared)

        self.team.start(host, "munmap_shared", loop)

    def _lead(self, task: Task, meter: CpuMeter, shared: _Shared) -> Op[None]:
        cpu, length = task.cpu, self.pages * PAGE_SIZE
        for _ in self.team.turns():
            if shared.area < 0:
                shared.area = yield from task.mmap(length)
                if shared.area < 0:
                    self.give_up(task, meter)
                elif self.call == "munmap" and self.table == "shared":
                    yield from self._keep_tables(task, shared)
            if not (yield from self._touch(task, shared)):
                return
            yield from cpu.look()
            began = cpu.clock
            if self.call == "munmap":
                yield from task.munmap(shared.area, length)
                shared.area = -1
            else:
                yield from task.madvise_dontneed(shared.area, length)
            yield from cpu.look()
            meter.done(cpu.clock - began)

    def _keep_tables(self, task: Task, shared: _Shared) -> Op[None]:
        """Map and touch a page beside the area in each of its leaf tables that has none yet.

        What lies there already, a part of the program's image, is not replaced but read: that
        keeps the table, too.  Only this task maps, so what it asks about the areas stays true.
        """
        area, end = shared.area, shared.area + self.pages * PAGE_SIZE
        for number in range(area // LEAF_SPAN, (end - 1) // LEAF_SPAN + 1):
            low, high = number * LEAF_SPAN, (number + 1) * LEAF_SPAN
            fills_it = area <= low and high <= end
            if number not in shared.kept and not fills_it:
                shared.kept[number] = None
                beside = low if low < area else high - PAGE_SIZE
                is_there = task.space.areas.find(beside >> PAGE_SHIFT) is not None
                if not is_there and (yield from task.mmap(PAGE_SIZE, address=beside, name="neighbour")) < 0:
                    continue  # no room there for a mapping: the table goes with the area
                yield from task.touch(beside, write=not is_there)

    def _follow(self, task: Task, shared: _Shared) -> Op[None]:
        for _ in self.team.turns():
            if not (yield from self._touch(task, shared)):
                return

    def _touch(self, task: Task, shared: _Shared) -> Op[bool]:
        """All together; False: there is nothing to touch, and the load is over."""
        yield from shared.gate.meet(task)
        if shared.area < 0:
            return False
        yield from task.sequential(shared.area, self.pages * PAGE_SIZE, write=True)
        yield from shared.gate.meet(task)
        return True
