"""An OOM storm: processes that together ask for much more memory than there is.

    every process: map a chunk -> write all of it -> compute -> ... until it has what it is after
                   -> hold it for a while -> unmap everything -> again, or end

How much each is after is drawn from a range, so the OOM killer has to choose.  Some processes
cannot be killed; the first of them stand for the system's own daemons and ask for little.
Some threads work in one process, so that a victim's threads are on several CPUs, holding or
waiting for its `mmap_lock` while others of them ask for memory.

An operation is a chunk that has been written.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coalsim.engine.clock import Op
from coalsim.mm.reclaim.victims import UNKILLABLE
from coalsim.mm.virt.task import Body, Task
from coalsim.units import MIB, MS, PAGE_SIZE, CpuId
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.synthetic.places import Spread, choose_cpus

CHUNK = 64
"""Pages that a process maps and writes at a time."""
DAEMONS, DAEMON_CHUNKS = 2, 2
HOLD = 1 * MS
"""How long a process keeps what it has."""


@dataclass(frozen=True, kw_only=True)
class OomStorm:
    """The load.

    Args:
        cpus: that are used; processes are dealt out to them in turn.
        processes: how many.
        threads: of each process.
        mib: the most that a process is after; the least is a quarter of it.
        unkillable: how many of them have an adjustment of -1000.
        rounds: how often each process does all of it.
        spread: which CPUs are used.
    """

    cpus: int
    processes: int
    threads: int
    mib: int
    unkillable: int
    rounds: int
    spread: Spread
    headline: str = ""
    endless: bool = False

    def start(self, host: VirtualHost) -> None:
        """Processes with their threads."""
        cpus = choose_cpus(host.machine, self.cpus, self.spread)
        sizes = host.streams.stream("oom_storm sizes")
        turn = 0
        for number in range(self.processes):
            process = host.vm.new_process(f"storm{number}")
            chunks = int((0.25 + 0.75 * sizes.random()) * self.mib * MIB / PAGE_SIZE / CHUNK) or 1
            if number < self.unkillable:
                process.oom_score_adj = UNKILLABLE
                chunks = DAEMON_CHUNKS if number < DAEMONS else chunks
            for thread in range(self.threads):
                cpu = CpuId(cpus[turn % len(cpus)])
                turn += 1
                meter = host.meter.cpu(cpu, "")
                share = chunks // self.threads + (thread < chunks % self.threads)
                host.vm.run_task(process, cpu, process.name, self._body(meter, share))

    def _body(self, meter: CpuMeter, chunks: int) -> Body:
        def body(task: Task) -> Op[None]:
            for _ in range(self.rounds):
                held: list[int] = []
                for _ in range(chunks):
                    yield from task.cpu.look()
                    began = task.cpu.clock
                    area = yield from task.mmap(CHUNK * PAGE_SIZE)
                    if area < 0:
                        meter.failed += 1
                        break
                    yield from task.sequential(area, CHUNK * PAGE_SIZE, write=True)
                    held.append(area)
                    yield from task.cpu.look()
                    meter.done(task.cpu.clock - began)
                yield from task.compute(HOLD)
                for area in held:
                    yield from task.munmap(area, CHUNK * PAGE_SIZE)

        return body

    def results(self) -> Mapping[str, object]:
        """Nothing beside what the kernel says."""
        return {}
