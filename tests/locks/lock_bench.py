"""Random programs of locks, interrupts and ticks, run in any mode of the engine.

A program is a handful of numbers; `run` plays it and returns everything that may
be compared between modes: operations and each processor's accounts at four
barriers, the lock statistics, and every latency.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Engine, Op
from coalsim.engine.laws import parse_law
from coalsim.engine.messages import Shot
from coalsim.engine.streams import Streams
from coalsim.locks.base import Lock, LockSetup
from coalsim.locks.lockstat import LockRow
from coalsim.locks.rcu import Deferred, Rcu
from coalsim.locks.registry import LOCKS, make_lock
from coalsim.units import NS, US, CpuId, NodeId, Time


@dataclass(frozen=True)
class Mode:
    """Which short cuts the engine takes."""

    run_ahead: bool
    fast_paths: bool
    tick_events: bool


REFERENCE = Mode(run_ahead=False, fast_paths=False, tick_events=True)
OTHER_MODES = [
    Mode(run_ahead=False, fast_paths=False, tick_events=False),
    Mode(run_ahead=False, fast_paths=True, tick_events=False),
    Mode(run_ahead=True, fast_paths=False, tick_events=False),
    Mode(run_ahead=True, fast_paths=True, tick_events=False),
    Mode(run_ahead=True, fast_paths=True, tick_events=True),
]


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run."""

    policy: str
    seed: int
    cpus: int
    threads: int  # per processor
    span: Time
    think: str
    hold: str
    ticks: Time
    lookahead: Time
    near: Time  # line transfer on one node; twice as much between nodes
    interrupts: bool
    by_hand: bool  # some operations acquire and release with interrupts on
    reads: bool

    @classmethod
    def draw(cls, policy: str, seed: int) -> "Program":
        """A small program in which ties and coincidences abound."""
        draw = Random(seed)
        return cls(
            policy=policy,
            seed=seed,
            cpus=draw.choice([2, 3, 5, 8]),
            threads=draw.choice([1, 1, 2]),
            span=draw.choice([30 * US, 50 * US]),
            think=draw.choice(["const:100ns", "exp:200ns", "uniform:0ns:3us"]),
            hold=draw.choice(["const:50ns", "exp:100ns"]),
            ticks=draw.choice([0, 700 * NS, 1 * US, 5 * US]),
            lookahead=draw.choice([200 * NS, 400 * NS, 800 * NS]),
            near=draw.choice([1 * NS, 20 * NS, 50 * NS]),
            interrupts=draw.random() < 0.7,
            by_hand=draw.random() < 0.5,
            reads=draw.random() < 0.7,
        )


@dataclass(frozen=True)
class Outcome:
    """What may not depend on the mode."""

    samples: list[tuple[list[int], list[dict[str, Time]]]]
    rows: tuple[LockRow, ...]
    latencies: list[Time]


def machine(program: Program, mode: Mode) -> tuple[Engine, list[Cpu]]:
    """Processors on two nodes; a line within a node costs `near`, between them twice as much."""
    near, ticks = program.near, program.ticks
    env = Engine(
        lookahead=program.lookahead,
        run_ahead=mode.run_ahead,
        fast_paths=mode.fast_paths,
        tick_events=mode.tick_events,
    )

    def cost(a: int, b: int, own: Time) -> Time:
        return own if a == b else near * (1 + (a % 2 != b % 2))

    made = [
        Cpu(
            env,
            CpuId(me),
            node=NodeId(me % 2),
            transfer=[cost(me, other, near // 2) for other in range(program.cpus)],
            occupancy=[cost(me, other, 1) for other in range(program.cpus)],
            tick_period=ticks,
            tick_cost=ticks // 50,
            first_tick=ticks and ticks + me * 7,
            switch_cost=near,
        )
        for me in range(program.cpus)
    ]
    return env, made


def setup(streams: Streams, cpus: list[Cpu]) -> LockSetup:
    """Costs on a coarse grid."""
    return LockSetup(
        taking=1 * NS,
        releasing=1 * NS,
        pause=10 * NS,
        wake_up=100 * NS,
        wake_latency=50 * NS,
        streams=streams,
        cpus=cpus,
    )


def run(program: Program, mode: Mode) -> Outcome:
    """Play a program."""
    env, cpus = machine(program, mode)
    streams = Streams(program.seed)
    policy = LOCKS[program.policy]
    lock_class = policy.make_class("bench", 1)
    locks = [make_lock(policy, lock_class, f"bench{number}", setup(streams, cpus)) for number in range(2)]
    ops, latencies = [0] * program.cpus, list[Time]()
    for cpu in cpus:
        threads = [
            _Load(program, streams, cpu, cpus, locks, ops, latencies, number)
            for number in range(program.threads)
        ]
        cpu.start([Thread(f"{cpu.id}.{load.number}", load.main()) for load in threads])
    samples: list[tuple[list[int], list[dict[str, Time]]]] = []
    end = Event(env)

    def sample() -> None:
        samples.append((list(ops), [split_at(cpu, env._now) for cpu in cpus]))

    def stop() -> None:
        sample()
        end.callbacks = None  # type: ignore[assignment]

    for quarter in range(1, 4):
        env.declare_barrier(program.span * quarter // 4, sample)
    env.declare_barrier(program.span, stop)
    env.run_to(end)
    return Outcome(samples, lock_class.rows(), sorted(latencies))


class _Load:
    """One thread of a program."""

    def __init__(
        self,
        program: Program,
        streams: Streams,
        cpu: Cpu,
        cpus: list[Cpu],
        locks: list[Lock],
        ops: list[int],
        latencies: list[Time],
        number: int,
    ) -> None:
        index = cpu.id * 16 + number
        self.program, self.cpu, self.cpus, self.locks, self.number = program, cpu, cpus, locks, number
        self.ops, self.latencies = ops, latencies
        self.think = parse_law(program.think).sampler(streams.stream("think", index))
        self.hold = parse_law(program.hold).sampler(streams.stream("hold", index))
        self.choose = streams.stream("choose", index)

    def main(self) -> Op[None]:
        while True:
            self.cpu.charge(self.think(), "user")
            lock = self.locks[self.choose.random() < 0.2]
            yield from self._operate(lock, self.choose.random())
            if self.program.interrupts and self.choose.random() < 0.2:
                yield from self._interrupt_others()
            yield from self.cpu.preempt_point()

    def _operate(self, lock: Lock, chance: float) -> Op[None]:
        cpu, hold = self.cpu, self.hold()
        if self.program.by_hand and chance < 0.3:
            quiet = chance < 0.15 and not lock.sleeps
            if quiet:
                yield from cpu.irq_off()
            yield from lock.acquire(cpu, "by hand")
            cpu.charge(hold, "inside")
            yield from lock.release(cpu)
            if quiet:
                yield from cpu.irq_on()
        elif isinstance(lock, Rcu) and chance > 0.95:
            yield from lock.synchronize(cpu, "synchronize")
        elif isinstance(lock, Rcu) and chance > 0.9:
            yield from lock.defer(cpu, Deferred(self._count, 30 * NS))
        elif self.program.reads and chance > 0.5:
            yield from self._timed(lock.read_section(cpu, lambda _: hold, hold, "read"))
        else:
            yield from self._timed(lock.section(cpu, lambda _: hold, hold, "write"))

    def _timed(self, section: Op[tuple[Time, Time]]) -> Op[None]:
        asked, released = yield from section
        self.latencies.append(released - asked)
        self._count(self.cpu)

    def _count(self, cpu: Cpu) -> None:
        self.ops[cpu.id] += 1

    def _interrupt_others(self) -> Op[None]:
        cpu = self.cpu
        yield from cpu.sync()
        targets = [other for other in self.cpus if other is not cpu and self.choose.random() < 0.5]
        if targets:
            shot = Shot[Cpu](cpu, cpu.clock, len(targets), 3 * NS, lambda _: None, lambda _: 50 * NS)
            soonest = cpu.clock + self.program.lookahead
            cpu.send([(soonest + target.id % 2 * NS, target) for target in targets], shot)
            yield from cpu.wait_for_answers(shot, "answers")


def plain_machine(
    cpus: int, *, nodes: int = 1, own: Time = 10, line: Time = 10, occupancy: Time = 20, ticks: Time = 0
) -> tuple[Engine, list[Cpu]]:
    """Processors for tests with numbers: a swap takes `line`, a transfer blocks its line for `occupancy`."""
    env = Engine(lookahead=800)
    return env, [
        Cpu(
            env,
            CpuId(me),
            node=NodeId(me % nodes),
            transfer=[own if me == other else line for other in range(cpus)],
            occupancy=[1 if me == other else occupancy for other in range(cpus)],
            tick_period=ticks,
        )
        for me in range(cpus)
    ]


def plain_lock(
    policy: type[Lock] | str, *, name: str = "zone", rank: int = 1, cpus: Sequence[Cpu] = (), **costs: Any
) -> Lock:
    """A lock with a class of its own that costs nothing but its lines, unless `costs` say so."""
    chosen = LOCKS[policy] if isinstance(policy, str) else policy
    return make_lock(
        chosen, chosen.make_class(name, rank), name, LockSetup(streams=Streams(1), cpus=cpus, **costs)
    )


def play(env: Engine, threads: Sequence[tuple[Cpu, Op[None]]], until: Time = 1_000_000) -> None:
    """Run threads, in the order of their names on each processor, up to a barrier."""
    by_cpu: dict[Cpu, list[Thread]] = {}
    for number, (cpu, body) in enumerate(threads):
        by_cpu.setdefault(cpu, []).append(Thread(f"t{number}", body))
    for cpu, own in by_cpu.items():
        cpu.start(own)
    end = Event(env)

    def stop() -> None:
        end.callbacks = None  # type: ignore[assignment]

    env.declare_barrier(until, stop)
    env.run_to(end)


def at(cpu: Cpu, time: Time) -> Op[None]:
    """Be busy until `time`."""
    cpu.charge(time - cpu.clock, "user")
    yield from cpu.sync()


def programs(policy: str, seeds: range) -> Iterator[Program]:
    """Random programs of one policy."""
    for seed in seeds:
        yield Program.draw(policy, seed)
