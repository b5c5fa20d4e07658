"""radixvm_pipeline: every thread maps memory and hands it on to the next one, which unmaps it.

    thread i:  fill    if channel i+1 is empty: map its region, write it, publish
               drain   if channel i is full: write its region, unmap it, publish
               else    spin until a neighbour publishes

Each page is written by two threads, so an unmapping has one other CPU to reach, and all
threads do so at once.  A channel holds one region, always at the same address.
Source: as in `mapbench.py`, mode pipeline.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from coalsim.cpus.coherence import CacheLine
from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.gates import Bell, write
from coalsim.workloads.vm.mapbench import BASE, write_pages
from coalsim.workloads.vm.room import check_end, check_memory
from coalsim.workloads.vm.team import TeamLoad


@dataclass
class _Channel:
    """One region, between a thread and the next."""

    region: int
    filler: Bell
    drainer: Bell
    line: CacheLine = field(default_factory=lambda: CacheLine("channel"))
    is_full: bool = False

    def publish(self, task: Task, *, full: bool) -> Op[None]:
        """Say that it is full, or empty, and let who waits for that go on."""
        yield from write(task, self.line)
        self.is_full = full
        yield from (self.drainer if full else self.filler).ring(task)


@dataclass(frozen=True, kw_only=True)
class RadixvmPipeline(TeamLoad):
    """Threads of one process in a ring; the one CPU of a team of one is its own neighbour.

    Args:
        pages: of a region.
        apart: bytes from one region to the next, for each page that they have.
    """

    pages: int = 1
    apart: int = 256 * MIB

    def start(self, host: VirtualHost) -> None:
        """One thread per CPU, one channel into each."""
        chosen = self.team.chosen(host.machine)
        check_memory(host.machine, len(chosen) * self.pages, "workload.pages", self.pages)
        last = BASE + (len(chosen) - 1) * self.pages * self.apart
        check_end(host, last + self.pages * PAGE_SIZE, "workload.apart", self.apart)
        bells = [Bell() for _ in chosen]
        channels = [
            _Channel(BASE + number * self.pages * self.apart, bells[number - 1], bell)
            for number, bell in enumerate(bells)
        ]
        number_of = {cpu: number for number, cpu in enumerate(chosen)}

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            number = number_of[task.cpu.id]
            outward = channels[(number + 1) % len(channels)]
            return self._loop(task, meter, channels[number], outward, bells, number)

        self.team.start(host, "radixvm_pipeline", loop)

    def _loop(
        self,
        task: Task,
        meter: CpuMeter,
        inward: _Channel,
        outward: _Channel,
        bells: Sequence[Bell],
        number: int,
    ) -> Op[None]:
        length = self.pages * PAGE_SIZE
        filled = drained = 0
        rounds = self.team.rounds or -1
        while min(filled, drained) != rounds:
            yield from task.cpu.sync()
            if self.gave_up:  # the ring is broken: soon nothing more would come
                return
            worked = False
            if not outward.is_full and filled != rounds:
                mapped = yield from task.mmap(length, address=outward.region)
                if mapped < 0:
                    yield from self._stop_all(task, meter, bells)
                    return
                yield from write_pages(task, meter, outward.region, self.pages)
                yield from outward.publish(task, full=True)
                filled, worked = filled + 1, True
            if inward.is_full:
                yield from write_pages(task, meter, inward.region, self.pages)
                yield from task.munmap(inward.region, length)
                yield from inward.publish(task, full=False)
                drained, worked = drained + 1, True
            if not worked:
                yield from bells[number].listen(task)

    def _stop_all(self, task: Task, meter: CpuMeter, bells: Sequence[Bell]) -> Op[None]:
        """A thread finds no room: the others would wait for it at their bells."""
        yield from task.cpu.sync()
        self.give_up(task, meter)
        for bell in bells:
            yield from bell.ring(task)  # takes no time, so the next one is rung synchronised, too
