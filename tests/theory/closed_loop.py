"""The ideal machine for queueing theory: nothing costs anything but thinking and holding.

Nothing may cross between processors in no time, so acquiring and handing over take
1 ps each and a hold of S is charged as S - 1 ps.  Times are in any unit; `UNIT` ps
make one, so that whole picoseconds are fine enough.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Engine, Op
from coalsim.engine.laws import Law, Sampler
from coalsim.engine.streams import Streams
from coalsim.locks.base import Lock, LockSetup
from coalsim.locks.lockstat import LockRow
from coalsim.locks.registry import LOCKS
from coalsim.units import US, CpuId, NodeId, Time

UNIT: Time = 1 * US


def exponential(mean: float) -> Law:
    return Law(kind="exp", mean=round(mean * UNIT))


def constant(mean: float) -> Law:
    return Law(kind="const", mean=round(mean * UNIT))


def uniform(mean: float) -> Law:
    return Law(kind="uniform", mean=round(mean * UNIT), low=0, high=round(2 * mean * UNIT))


def hyperexponential(mean: float, variation: float) -> Law:
    return Law(kind="hyper", mean=round(mean * UNIT), shape=variation)


class FreeLine:
    """A lock word whose read-modify-write always takes 1 ps: no queue, no distance."""

    def rmw(self, cpu: Cpu) -> Time:
        return cpu.clock + 1


def processors(
    count: int,
    *,
    transfer: Callable[[int, int], Time] = lambda a, b: 1,
    occupancy: Callable[[int, int], Time] = lambda a, b: 0,
    nodes: int = 1,
) -> tuple[Engine, list[Cpu]]:
    env = Engine(lookahead=100 * UNIT)
    return env, [
        Cpu(
            env,
            CpuId(me),
            node=NodeId(me % nodes),
            transfer=[transfer(me, other) for other in range(count)],
            occupancy=[occupancy(me, other) for other in range(count)],
        )
        for me in range(count)
    ]


def make_lock(policy: type[Lock] | str, streams: Streams, name: str = "lock", winner: str = "random") -> Lock:
    chosen = LOCKS[policy] if isinstance(policy, str) else policy
    setup = LockSetup(streams=streams, tas_winner=winner)
    return chosen(chosen.make_class(name, 1), name, setup)


def run_to(env: Engine, until: Time) -> None:
    end = Event(env)

    def stop() -> None:
        end.callbacks = None  # type: ignore[assignment]

    env.declare_barrier(until, stop)
    env.run_to(end)


@dataclass
class Measured:
    """What one lock did after the warm-up; times in units."""

    throughput: float
    responses: list[float]  # wait + hold, per operation
    row: LockRow
    by_cpu: list[int]
    order: list[int] = field(repr=False)  # processors in the order of their grants

    @property
    def wait(self) -> float:
        """Mean wait per acquisition, those that found the lock free included."""
        return self.row.waittime_total / self.row.acquisitions / UNIT

    def slower_than(self, time: float) -> float:
        """Share of operations whose wait + hold took longer."""
        return sum(response > time for response in self.responses) / len(self.responses)


def closed_loop(
    policy: type[Lock] | str,
    cpus: int,
    think: Law | None,
    hold: Law,
    ops: int,
    *,
    seed: int = 1,
    expected_rate: float = 1.0,
    machine: tuple[Engine, list[Cpu]] | None = None,
    line: object | None = None,
    winner: str = "random",
) -> Measured:
    """N processors that think, take the lock, hold it, for about `ops` operations.

    The first tenth of the time is dropped from everything but the lock's own row.
    """
    env, made = machine or processors(cpus)
    streams = Streams(seed)
    lock = make_lock(policy, streams, winner=winner)
    if line is not None:
        lock.line = line  # type: ignore[assignment]
    span = round(ops / expected_rate * UNIT)
    begin = span // 10
    spans: list[tuple[Time, Time, int]] = []
    order: list[int] = []

    def load(cpu: Cpu) -> Op[None]:
        holds = hold.sampler(streams.stream("hold", cpu.id))
        thinks: Sampler | None = think.sampler(streams.stream("think", cpu.id)) if think else None
        while True:
            if thinks is not None:
                cpu.charge(thinks(), "think")
            held = max(0, holds() - 1)

            def body(_: Time, held: Time = held) -> Time:
                order.append(cpu.id)
                return held

            asked, released = yield from lock.section(cpu, body, held, "loop")
            spans.append((asked, released, cpu.id))

    for cpu in made:
        cpu.start([Thread(f"load {cpu.id}", load(cpu))])
    run_to(env, span)
    counted = [(asked, released, cpu) for asked, released, cpu in spans if begin <= released < span]
    by_cpu = [0] * cpus
    for _, _, cpu in counted:
        by_cpu[cpu] += 1
    return Measured(
        throughput=len(counted) / ((span - begin) / UNIT),
        responses=[(released - asked) / UNIT for asked, released, _ in counted],
        row=lock.stat.row(),
        by_cpu=by_cpu,
        order=order,
    )


def jain(shares: list[int]) -> float:
    """Jain's fairness index."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
