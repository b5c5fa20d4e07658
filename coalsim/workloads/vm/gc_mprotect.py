"""gc_mprotect: a garbage collector takes the write right from parts of a heap in use.

    collector:  announce a region -> safepoint -> mprotect it, read it, mprotect it back
    mutators:   work, write random pages outside the region, look for a safepoint -> ...

A mutator that has passed the safepoint no longer writes the announced region, so no
write faults; but its CPU may still hold translations with the right to write, which is
what the collector's mprotect has to flush while all mutators run.  The phases are
`protect` and `unprotect`, the two calls, and `write`, a mutator's batch.

The collector is the team's first thread.  Real ones may instead catch the fault and
mark the page; that needs signal handlers, which this kernel's programs do not have.
Source of the technique: Appel, Ellis, Li, "Real-time concurrent collection on stock
multiprocessors", PLDI 1988.
"""

from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.engine.laws import Law
from coalsim.mm.virt.area import READ, READ_WRITE
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SHIFT, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.gates import Barrier
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import TeamLoad


@dataclass
class _Heap:
    """What collector and mutators know of each other."""

    safepoint: Barrier
    first: int = 0  # page number
    announced: int = -1  # the region that mutators must leave: its number
    requests: int = 0  # safepoints asked for; each is passed before the next one is
    is_over: bool = False


@dataclass(frozen=True, kw_only=True)
class GcMprotect(TeamLoad):
    """The team's first thread collects; its mode is `threads`.

    Args:
        pages: of a region.
        regions: of the heap, at least two.
        think: a mutator's work before each batch of writes.
        batch: writes between two looks for a safepoint.
    """

    pages: int = 64
    regions: int = 16
    think: Law
    batch: int = 10

    headline = "protect"

    def start(self, host: VirtualHost) -> None:
        """One thread per CPU."""
        pages = self.pages * self.regions
        check_memory(host.machine, pages, "workload.pages", self.pages)
        check_addresses(host, pages, "workload.pages", self.pages)
        first = self.team.chosen(host.machine)[0]
        heap = _Heap(Barrier(self.team.cpus))

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            if task.cpu.id == first:
                return self._collect(task, meter, host.meter.cpu(first, "unprotect"), heap)
            return self._mutate(task, host, heap)

        self.team.start(host, "gc_mprotect", loop, "protect")

    def _collect(self, task: Task, protect: CpuMeter, unprotect: CpuMeter, heap: _Heap) -> Op[None]:
        cpu, length = task.cpu, self.pages * PAGE_SIZE
        mapped = yield from task.mmap(self.regions * length, name="heap")
        if mapped < 0:
            self.give_up(task, protect)
            heap.is_over = True
            yield from heap.safepoint.meet(task)  # where the mutators learn it
            return
        yield from task.sequential(mapped, self.regions * length, write=True)
        heap.first = mapped >> PAGE_SHIFT
        yield from heap.safepoint.meet(task)
        for turn in self.team.turns():
            yield from cpu.sync()
            heap.announced = turn % self.regions
            heap.requests += 1
            yield from heap.safepoint.meet(task)
            region = mapped + heap.announced * length
            yield from _timed(task, protect, task.mprotect(region, length, READ))
            yield from task.sequential(region, length)
            yield from _timed(task, unprotect, task.mprotect(region, length, READ_WRITE))
        yield from cpu.sync()
        heap.is_over = True
        heap.requests += 1
        yield from heap.safepoint.meet(task)

    def _mutate(self, task: Task, host: VirtualHost, heap: _Heap) -> Op[None]:
        cpu = task.cpu
        uniform = host.streams.stream("gc_mprotect", cpu.id).random
        meter = host.meter.cpu(cpu.id, "write")
        think = self.think.sampler(host.streams.stream("gc_mprotect think", cpu.id))
        usable, passed = (self.regions - 1) * self.pages, 0
        yield from heap.safepoint.meet(task)
        while passed < heap.requests or not heap.is_over:  # who comes late has the last one still to pass
            # Pages behind the announced region move up by its size; before the first announcement the
            # last region is left out.
            hole = heap.announced * self.pages if heap.announced >= 0 else usable
            drawn = (int(uniform() * usable) for _ in range(self.batch))
            pages = [heap.first + page + (self.pages if page >= hole else 0) for page in drawn]
            yield from task.compute(think())
            yield from cpu.look()
            began = cpu.clock
            yield from task.touch_pages(pages, write=True)
            yield from cpu.sync()
            meter.done(cpu.clock - began)
            if passed < heap.requests:
                passed += 1
                yield from heap.safepoint.meet(task)


def _timed(task: Task, meter: CpuMeter, call: Op[int]) -> Op[None]:
    yield from task.cpu.look()
    began = task.cpu.clock
    yield from call
    yield from task.cpu.look()
    meter.done(task.cpu.clock - began)
