"""Lock loop: think, take a lock, hold it; nothing else.  The test bench for theory.

An operation lasts from asking for the lock to releasing it.  With several locks an
operation takes each in turn, one after the other, or, given weights, one of them
drawn by weight; then it lasts from the first question to the last release.
`reads` percent of all sections only read, which matters to locks that let readers in
together.

The hold is drawn before the lock is asked for, so that a computed section knows its
longest hold; its span is final, so an operation is counted without another look: one
event per contended operation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.laws import Law, Sampler
from coalsim.locks.base import Body, Lock, Span
from coalsim.units import Time
from coalsim.workloads.base import CpuMeter, Host
from coalsim.workloads.synthetic.places import Spread, choose_cpus

USER = "user"
SITE = "lock_loop"

Section = Callable[[Cpu, Body, Time, str], Op[Span]]


@dataclass(frozen=True, kw_only=True)
class LockLoop:
    """N CPUs in a closed loop.

    Args:
        cpus: how many.
        think: time between two operations.
        hold: of each lock, one law or more.
        weights: of the locks, relative; empty: every operation takes all of them.
        reads: percent of the sections that only read.
        spread: which CPUs.
    """

    cpus: int
    think: Law
    hold: tuple[Law, ...]
    weights: tuple[int, ...] = ()
    reads: int = 0
    spread: Spread = "compact"

    endless = True
    headline = ""

    def start(self, host: Host) -> None:
        """One thread per CPU."""
        count = len(self.hold)
        names = ["lock_loop"] if count == 1 else [f"lock_loop_{number}" for number in range(count)]
        locks = [host.make_lock(name, name) for name in names]
        for cpu_id in choose_cpus(host.machine, self.cpus, self.spread):
            cpu, meter = host.cpus[cpu_id], host.meter.cpu(cpu_id)
            think = self.think.sampler(host.streams.stream("lock_loop think", cpu_id))
            holds = [
                law.sampler(host.streams.stream(f"{name} hold", cpu_id))
                for law, name in zip(self.hold, names, strict=True)
            ]
            if count == 1 and not self.reads:
                body = _one_lock(cpu, meter, locks[0], think, holds[0])
            else:
                uniform = host.streams.stream("lock_loop choice", cpu_id).random
                body = self._some_locks(cpu, meter, list(zip(locks, holds, strict=True)), think, uniform)
            host.run_thread(cpu_id, "lock_loop", body)

    def _some_locks(
        self,
        cpu: Cpu,
        meter: CpuMeter,
        stops: Sequence[tuple[Lock, Sampler]],
        think: Sampler,
        uniform: Callable[[], float],
    ) -> Op[None]:
        held: Time = 0

        def body(_: Time) -> Time:
            return held

        # index of the lock by a number drawn below the sum of all weights
        by_number = [index for index, weight in enumerate(self.weights) for _ in range(weight)]
        while True:
            cpu.charge(think(), USER)
            tour = [stops[by_number[int(uniform() * len(by_number))]]] if by_number else stops
            began: Time = -1
            ended: Time = 0
            for lock, draw in tour:
                held = draw()
                reads = bool(self.reads) and uniform() * 100 < self.reads
                section = lock.read_section if reads else lock.section
                asked, ended = yield from section(cpu, body, held, SITE)
                began = asked if began < 0 else began
            meter.done(ended - began)

    def results(self) -> Mapping[str, object]:
        """Nothing beyond the meter and the lock's statistics."""
        return {}


def _one_lock(cpu: Cpu, meter: CpuMeter, lock: Lock, think: Sampler, hold: Sampler) -> Op[None]:
    """The loop over a single lock, as short as it can be: it is run for its speed too."""
    held: Time = 0

    def body(_: Time) -> Time:
        return held

    section, charge, done = lock.section, cpu.charge, meter.done
    while True:
        charge(think(), USER)
        held = hold()
        asked, released = yield from section(cpu, body, held, SITE)
        done(released - asked)
