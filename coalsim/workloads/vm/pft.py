"""pft: many tasks fault one large mapping in, each its share, once.

An operation is one write to a page that nobody has touched.  The result `faults_per_s`
is all of them by the wall time from the common start to the last one's end, as the
original prints it; the teardown at exit is not in it.

Whether all shares lie in one area or each in its own decides what a lock per area can
do, so it is a parameter.  Processes always have areas of their own.
Source: Lameter's page fault test (pft) as mmtests runs it; one mapping there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from coalsim.engine.clock import Op
from coalsim.mm.virt.area import READ_WRITE
from coalsim.mm.virt.task import Task
from coalsim.units import MIB, PAGE_SIZE, SEC, Time
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.gates import Barrier
from coalsim.workloads.vm.room import check_addresses, check_memory
from coalsim.workloads.vm.team import TeamLoad

Areas = Literal["shared", "own"]


@dataclass(frozen=True, kw_only=True)
class Pft(TeamLoad):
    """A team that faults once.

    Args:
        mib: of all shares; each task gets the same, at least a page.
        areas: `shared`: one for all, of threads; `own`: one for each.
    """

    mib: int = 64
    areas: Areas = "shared"
    spans: list[tuple[Time, Time]] = field(default_factory=list, init=False, repr=False)
    mapped: list[int] = field(default_factory=list, init=False, repr=False)

    @property
    def endless(self) -> bool:
        """Each task goes once through its share, whatever the team's rounds."""
        return False

    @property
    def share(self) -> int:
        """Bytes of one task."""
        return max(PAGE_SIZE, self.mib * MIB // self.team.cpus // PAGE_SIZE * PAGE_SIZE)

    def start(self, host: VirtualHost) -> None:
        """One task per CPU."""
        pages = self.share // PAGE_SIZE
        check_memory(host.machine, self.team.cpus * pages, "workload.mib", self.mib)
        check_addresses(host, self.team.sharers * pages, "workload.mib", self.mib)
        gate = Barrier(self.team.cpus)
        number_of = {cpu: number for number, cpu in enumerate(self.team.chosen(host.machine))}

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._once(task, meter, number_of[task.cpu.id], gate)

        self.team.start(host, "pft", loop)

    def _once(self, task: Task, meter: CpuMeter, number: int, gate: Barrier) -> Op[None]:
        cpu, share, done = task.cpu, self.share, meter.done
        if self.areas == "shared" and self.team.mode == "threads":
            if not number:
                self.mapped.append((yield from task.mmap(share * self.team.cpus)))
            yield from gate.meet(task)
            begin = self.mapped[0] + number * share if self.mapped[0] >= 0 else self.mapped[0]
        else:
            # a name of its own keeps an area from merging with its neighbours
            begin = yield from task.mmap(share, rights=READ_WRITE, name=f"share {number}")
        yield from gate.meet(task)
        if begin < 0:
            self.give_up(task, meter)
            share = 0  # nothing to touch; the others still wait for this task
        began = started = cpu.clock
        for address in range(begin, begin + share, PAGE_SIZE):
            yield from task.touch(address)
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            done(cpu.clock - began)
            began = cpu.clock
        self.spans.append((started, began))
        yield from gate.meet(task)

    def results(self) -> Mapping[str, object]:
        """The rate by wall time."""
        told = super().results()
        if self.gave_up or len(self.spans) < self.team.cpus:
            return told
        wall = max(end for _, end in self.spans) - min(begin for begin, _ in self.spans)
        faults = self.team.cpus * (self.share // PAGE_SIZE)
        return {
            **told,
            "pft": {"faults": faults, "wall_ns": wall / 1000, "faults_per_s": faults * SEC / wall},
        }
