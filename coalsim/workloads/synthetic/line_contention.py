"""Line contention: CPUs read or write one cache line as fast as they can.

    ww   all write one line            rw   the first CPU writes a line, the others read it
    rr   all read one line             wx, rx   each writes or reads a line of its own

Each CPU has at most one access under way.  CPUs begin at random times within
`start`, because under constant costs the order in which they first ask for the line
is the order in which they get it ever after, and on real machines that is not the
order of their numbers.  An operation is one access; reads and writes are phases.
Source: the sharing benchmark of Clements, "The scalable commutativity rule", PhD
thesis, MIT 2014.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.laws import Law, Sampler
from coalsim.units import Time
from coalsim.workloads.base import CpuMeter, Host
from coalsim.workloads.synthetic.places import Spread, choose_cpus

Mode = Literal["ww", "rw", "rr", "wx", "rx"]
USER = "user"
LINE = "line:shared"


@dataclass(frozen=True, kw_only=True)
class LineContention:
    """N CPUs on one line, or on one each.

    Args:
        cpus: how many.
        mode: see above.
        think: time between two accesses of a CPU.
        start: when a CPU begins.
        spread: which CPUs.
    """

    cpus: int
    mode: Mode
    think: Law
    start_at: Law
    spread: Spread = "compact"

    endless = True

    @property
    def headline(self) -> str:
        """Writes where all write, else reads; a lone CPU of `rw` has only writes."""
        return "write" if self.mode in ("ww", "wx") or (self.mode == "rw" and self.cpus == 1) else "read"

    def start(self, host: Host) -> None:
        """One thread per CPU."""
        shared = CacheLine("shared")
        for number, cpu_id in enumerate(choose_cpus(host.machine, self.cpus, self.spread)):
            cpu = host.cpus[cpu_id]
            line = CacheLine(f"own line of CPU {cpu_id}") if self.mode.endswith("x") else shared
            writes = self.mode in ("ww", "wx") or (self.mode == "rw" and not number)
            meter = host.meter.cpu(cpu_id, "write" if writes else "read")
            think = self.think.sampler(host.streams.stream("line_contention think", cpu_id))
            first = self.start_at.sampler(host.streams.stream("line_contention start", cpu_id))()
            access = line.rmw if writes else line.read
            host.run_thread(cpu_id, "line_contention", _accesses(cpu, meter, access, think, first))

    def results(self) -> Mapping[str, object]:
        """Nothing beyond the meter."""
        return {}


def _accesses(
    cpu: Cpu, meter: CpuMeter, access: Callable[[Cpu], Time], think: Sampler, first: Time
) -> Op[None]:
    cpu.charge(first, USER)
    while True:
        yield from cpu.sync()
        began = cpu.clock
        cpu.charge(access(cpu) - began, LINE)
        yield from cpu.sync()
        meter.done(cpu.clock - began)
        cpu.charge(think(), USER)
