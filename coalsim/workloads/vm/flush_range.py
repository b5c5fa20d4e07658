"""flush_range: one CPU takes translations of 1 to 64 pages away, and then uses them again.

A round is one call on a range of pages that are all there (phase `call`), and what the
flush costs afterwards: reads of other pages, whose translations only a flush of
everything has lost (phase `refill`), and writes to the range itself (phase `again`).

    madvise    the pages go; writing them again takes a fault with a frame for each
    munmap     so does the mapping; it is made anew, untimed, where it was, or where there is room
               if threads share the addresses: another may have taken that place meanwhile
    mprotect   the pages stay but cannot be written; their rights are given back, untimed

Source: Hansen, "x86: mm: set TLB flush tunable to sane value (33)", linux-mm, 2014, who
measured flushes by their number of pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coalsim.engine.clock import Op
from coalsim.mm.virt.area import READ, READ_WRITE
from coalsim.mm.virt.task import Task
from coalsim.units import PAGE_SHIFT, PAGE_SIZE
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import TeamLoad

Call = Literal["madvise", "munmap", "mprotect"]


@dataclass(frozen=True, kw_only=True)
class FlushRange(TeamLoad):
    """Each task by itself; usually there is one.

    Args:
        pages: of the range.
        call: what takes the translations away.
        others: pages that are read again after each call.
    """

    pages: int = 1
    call: Call = "madvise"
    others: int = 64

    headline = "call"

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        pages = self.pages + self.others
        check_memory(host.machine, self.team.cpus * pages, "workload.pages", self.pages)
        check_addresses(host, self.team.sharers * pages, "workload.pages", self.pages)

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            meters = [host.meter.cpu(task.cpu.id, phase) for phase in ("refill", "again")]
            return self._loop(task, [meter, *meters])

        self.team.start(host, "flush_range", loop, "call")

    def _loop(self, task: Task, meters: Sequence[CpuMeter]) -> Op[None]:
        call, refill, again = meters
        cpu, length = task.cpu, self.pages * PAGE_SIZE
        other = yield from task.mmap(self.others * PAGE_SIZE, name="others") if self.others else _none()
        area = yield from task.mmap(length, name="range")
        if min(area, other) < 0:
            self.give_up(task, call)
            return
        others = [(other >> PAGE_SHIFT) + number for number in range(self.others)]
        yield from task.touch_pages(others, write=True)
        yield from task.sequential(area, length, write=True)
        for _ in self.team.turns():
            yield from cpu.look()
            began = cpu.clock
            yield from self._take_away(task, area)
            yield from cpu.look()
            call.done(cpu.clock - began)
            area = yield from self._give_back(task, area)
            if area < 0:
                self.give_up(task, call)
                return
            yield from cpu.look()
            began = cpu.clock
            yield from task.touch_pages(others)
            yield from cpu.look()
            refill.done(cpu.clock - began)
            began = cpu.clock
            yield from task.sequential(area, length, write=True)
            yield from cpu.look()
            again.done(cpu.clock - began)

    def _take_away(self, task: Task, area: int) -> Op[int]:
        length = self.pages * PAGE_SIZE
        if self.call == "madvise":
            return task.madvise_dontneed(area, length)
        if self.call == "munmap":
            return task.munmap(area, length)
        return task.mprotect(area, length, READ)

    def _give_back(self, task: Task, area: int) -> Op[int]:
        """The range as it was before the call; its address, negative: there was no room."""
        length = self.pages * PAGE_SIZE
        if self.call == "munmap":
            place = area if self.team.sharers == 1 else None
            return (yield from task.mmap(length, address=place, name="range"))
        if self.call == "mprotect":
            yield from task.mprotect(area, length, READ_WRITE)
        return area


def _none() -> Op[int]:
    """Nothing to do."""
    yield from ()
    return 0
