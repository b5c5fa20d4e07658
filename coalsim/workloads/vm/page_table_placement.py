"""page_table_placement: random accesses to more pages than the TLB holds.

Before anything is measured a loader on one CPU of the data's node writes every page, so
that the pages are there; their tables are too, unless kernel.table_placement says where
tables go.  Then the team's tasks read pages drawn at random.  Pages may lie apart, so
that each has a line of the page table, or a table, to itself.

An operation is a batch of reads, and its latency that of the mean read: the rate counts
batches.  Reading the data itself costs a hit in the cache; what differs is the walk.
Source: Achermann and others, "Mitosis: transparently self-replicating page-tables for
large-memory machines", ASPLOS 2020, whose GUPS is of this kind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.errors import ConfigError, Problem
from coalsim.mm.virt.task import Task
from coalsim.topology.machine import Machine
from coalsim.units import PAGE_SHIFT, PAGE_SIZE, CpuId
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.gates import Barrier
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import TeamLoad


@dataclass(frozen=True, kw_only=True)
class PageTablePlacement(TeamLoad):
    """Threads of one process; the team's mode is `threads`.

    Args:
        working_set: pages that are read.
        stride: pages from one of them to the next.
        data_node: where they are; None = the node of the team's first CPU.
        batch: reads of an operation.
    """

    working_set: int = 16_384
    stride: int = 8
    data_node: int | None = None
    batch: int = 100

    def start(self, host: VirtualHost) -> None:
        """The loader, and one thread per CPU.

        Raises:
            ConfigError: the machine has no such node.
        """
        size = self.working_set * PAGE_SIZE
        check_memory(host.machine, self.working_set, "workload.working_set", size)
        check_addresses(host, self.working_set * self.stride, "workload.working_set", size)
        process = host.vm.new_process("page_table_placement")
        chosen = self.team.chosen(host.machine)
        loaded = Barrier(len(chosen) + 1, "sleep")  # the loader may share its CPU with one of them
        pages: list[int] = []

        def load(task: Task) -> Op[None]:
            return self._load(task, pages, loaded)

        host.vm.run_task(process, self._loader_cpu(host.machine, chosen[0]), "loader", load)
        for cpu_id in chosen:
            meter = host.meter.cpu(cpu_id)
            uniform = host.streams.stream("page_table_placement", cpu_id).random

            def read(task: Task, meter: CpuMeter = meter, uniform: Callable[[], float] = uniform) -> Op[None]:
                return self._read(task, meter, uniform, pages, loaded)

            host.vm.run_task(process, cpu_id, "reader", read)

    def _load(self, task: Task, pages: list[int], loaded: Barrier) -> Op[None]:
        span = self.working_set * self.stride
        area = yield from task.mmap(span * PAGE_SIZE)
        if area >= 0:
            pages += range(area >> PAGE_SHIFT, (area >> PAGE_SHIFT) + span, self.stride)
            yield from task.touch_pages(pages, write=True)
        yield from loaded.meet(task)

    def _read(
        self, task: Task, meter: CpuMeter, uniform: Callable[[], float], pages: list[int], loaded: Barrier
    ) -> Op[None]:
        cpu, batch, count = task.cpu, self.batch, self.working_set
        yield from loaded.meet(task)
        if not pages:  # the address space is too small for them
            self.give_up(task, meter)
            return
        began = cpu.clock
        for _ in self.team.turns():
            yield from task.touch_pages([pages[int(uniform() * count)] for _ in range(batch)])
            yield from cpu.look()
            meter.done((cpu.clock - began) // batch)
            began = cpu.clock

    def _loader_cpu(self, machine: Machine, first: CpuId) -> CpuId:
        if self.data_node is None:
            return first
        for node in machine.nodes:
            if node.node == self.data_node and (there := machine.cpus_of_node(node.node)):
                return there[0]
        problem = Problem(
            key="workload.data_node",
            value=str(self.data_node),
            message=f"machine {machine.name} has no such node with CPUs",
            remedy=f"use {_listed([node.node for node in machine.nodes if machine.cpus_of_node(node.node)])}",
        )
        raise ConfigError([problem])


def _listed(nodes: Sequence[int]) -> str:
    """`0 to 3` where none is missing, else each."""
    first, last = nodes[0], nodes[-1]
    if len(nodes) > 1 and last - first == len(nodes) - 1:
        return f"{first} to {last}"
    return ", ".join(map(str, nodes))
