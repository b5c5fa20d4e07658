"""fork_cow: a server forks children; both sides write memory that they share until then.

In each round the server forks a child onto every other CPU of the team (onto its own,
if it has no other), writes a share of its heap after each fork, and then waits for all
children.  A child writes a share of the heap and exits.  Which pages: a window that
moves on by its own size each time.  So the phases are

    fork     the call: page tables copied, the heap made read-only, and flushed
    parent   a write of the server: a copy while a child still shares the page
    child    a write of a child: a copy, or none if all others have left the page
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SIZE, CpuId
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class ForkCow(TeamLoad):
    """The server runs on the team's first CPU.

    Args:
        pages: of the heap.
        parent_share: percent of the heap that the server writes after each fork.
        child_share: percent of the heap that a child writes.
    """

    pages: int = 256
    parent_share: int = 10
    child_share: int = 50

    headline = "fork"

    def start(self, host: VirtualHost) -> None:
        """The server; its children come and go.

        How many copies of pages are there at once depends on how soon children end, so that
        is not checked: who finds no memory then is killed, which hangs nobody and is told.
        """
        check_memory(host.machine, self.pages, "workload.pages", self.pages)
        check_addresses(host, self.pages, "workload.pages", self.pages)
        first, *others = self.team.chosen(host.machine)

        def server(task: Task) -> Op[None]:
            return self._serve(task, host, others or [first])

        host.vm.run_task(host.vm.new_process("server"), first, "server", server)

    def _serve(self, task: Task, host: VirtualHost, places: list[CpuId]) -> Op[None]:
        cpu = task.cpu
        forks, writes = host.meter.cpu(cpu.id, "fork"), host.meter.cpu(cpu.id, "parent")
        heap = yield from task.mmap(self.pages * PAGE_SIZE, name="heap")
        if heap < 0:
            self.give_up(task, forks)
            return
        yield from task.sequential(heap, self.pages * PAGE_SIZE, write=True)
        own, theirs = self._count(self.parent_share), self._count(self.child_share)
        served = 0
        for _ in self.team.turns():
            for place in places:

                def child(started: Task, begin: int = served * theirs) -> Op[None]:
                    return self._write(started, host.meter.cpu(started.cpu.id, "child"), heap, begin, theirs)

                yield from cpu.look()
                began = cpu.clock
                forked = yield from task.fork("child", child, place)
                yield from cpu.look()
                if forked is None:
                    forks.failed += 1
                else:
                    forks.done(cpu.clock - began)
                yield from self._write(task, writes, heap, served * own, own)
                served += 1
            yield from task.wait_for_children()

    def _write(self, task: Task, meter: CpuMeter, heap: int, begin: int, count: int) -> Op[None]:
        cpu = task.cpu
        yield from cpu.look()
        began = cpu.clock
        for number in range(begin, begin + count):
            yield from task.touch(heap + number % self.pages * PAGE_SIZE)
            yield from cpu.look()
            meter.done(cpu.clock - began)
            began = cpu.clock

    def _count(self, share: int) -> int:
        return self.pages * share // 100
