"""A noisy neighbour: one thread needs its memory now, others read a file that fills everybody's.

    neighbour   map a few pages -> write them -> unmap; what it waits for is what is measured
    hogs        read a file, larger than memory, from end to end, again and again

The hogs' pages fill their node, so its reclaimer runs all the time, on a CPU of that node, and
requests that find no page above the low mark go to the next node or reclaim by themselves.  They may
be on the neighbour's node, on the farthest other one, or not there.

An operation is one round of the neighbour; phase "hog" counts the chunks that the hogs have read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from coalsim.engine.clock import Op
from coalsim.errors import ConfigError, Problem
from coalsim.mm.cache.file import File
from coalsim.mm.virt.task import Body, Task
from coalsim.units import KIB, MIB, PAGE_SIZE, CpuId, NodeId, Time
from coalsim.workloads.base import CpuMeter, VirtualHost

Where = Literal["none", "same", "other"]
CHUNK = 128 * KIB
"""Bytes of one read call."""


@dataclass(frozen=True, kw_only=True)
class NoisyNeighbour:
    """The load.

    Args:
        where: on which node the hogs are, seen from the neighbour, which is on the first CPU.
        cpus: that have work: the neighbour's, and one for each hog as long as the hogs' node has others.
        mib: length of the file of each hog.
        pages: that the neighbour maps.
        think: what it computes between two rounds, in ps.
    """

    where: Where
    cpus: int
    mib: int
    pages: int
    think: Time

    headline = "neighbour"
    endless = True

    def start(self, host: VirtualHost) -> None:
        """The neighbour on the first CPU, the hogs on the last ones of their node.

        Raises:
            ConfigError: there is no other CPU, or no other node.
        """
        machine, here = host.machine, host.machine.node_of(CpuId(0))
        process = host.vm.new_process("neighbour")
        meter = host.meter.cpu(CpuId(0), "neighbour")
        host.vm.run_task(process, CpuId(0), "neighbour", self._neighbour(meter))
        if self.where == "none":
            return
        others = [
            node for node in machine.nodes_by_distance(here) if node != here and machine.cpus_of_node(node)
        ]
        if self.where == "other" and not others:
            problem = Problem(
                key="workload.where",
                value="other",
                message=f"machine {machine.name} has one node with CPUs",
                remedy="use same or none, or a machine with more nodes",
            )
            raise ConfigError([problem])
        self._start_hogs(host, here if self.where == "same" else others[-1])

    def _start_hogs(self, host: VirtualHost, node: NodeId) -> None:
        cpus = [cpu for cpu in host.machine.cpus_of_node(node) if cpu != CpuId(0)]
        if not cpus:
            problem = Problem(
                key="workload.where",
                value=self.where,
                message=f"node {node} has no CPU for hogs but the neighbour's",
                remedy="use other or none, or a machine with more CPUs on a node",
            )
            raise ConfigError([problem])
        for number in range(self.cpus - 1):
            cpu = cpus[-1 - number % len(cpus)]
            pages = self.mib * MIB // PAGE_SIZE
            file = host.vm.kernel.cache.new_file(f"/data/hog{number}", pages, is_sparse=False)
            process = host.vm.new_process(f"hog{number}")
            meter = host.meter.cpu(cpu, "hog")
            host.vm.run_task(process, cpu, process.name, self._hog(file, meter))

    def _neighbour(self, meter: CpuMeter) -> Body:
        def body(task: Task) -> Op[None]:
            cpu = task.cpu
            while True:
                yield from task.compute(self.think)
                yield from cpu.look()
                began = cpu.clock
                area = yield from task.mmap(self.pages * PAGE_SIZE)
                if area < 0:
                    meter.failed += 1
                    continue
                yield from task.sequential(area, self.pages * PAGE_SIZE, write=True)
                yield from task.munmap(area, self.pages * PAGE_SIZE)
                yield from cpu.look()
                meter.done(cpu.clock - began)

        return body

    def _hog(self, file: File, meter: CpuMeter) -> Body:
        def body(task: Task) -> Op[None]:
            length = file.pages * PAGE_SIZE
            while True:
                for offset in range(0, length, CHUNK):
                    yield from task.cpu.look()
                    began = task.cpu.clock
                    yield from task.read(file, offset, min(CHUNK, length - offset))
                    yield from task.cpu.look()
                    meter.done(task.cpu.clock - began)

        return body

    def results(self) -> Mapping[str, object]:
        """Nothing beside the meter."""
        return {}
