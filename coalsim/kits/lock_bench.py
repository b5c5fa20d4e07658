"""A bench for locks: a small machine whose processors take two locks, over and over.

    think -> take a lock -> hold it -> release it -> think ...      so many rounds, then end

The processors stand on two nodes, so lines cost near or far; some programs have timer
ticks, which stretch waits and holds.  A program is a handful of numbers drawn from a
seed; it can be played in every mode of the engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Engine, Op
from coalsim.engine.probes import Probes
from coalsim.engine.streams import Streams
from coalsim.kits.verdicts import Broken
from coalsim.locks.base import Lock, LockSetup, SpinLock
from coalsim.locks.lockstat import LockRow
from coalsim.locks.registry import make_lock
from coalsim.units import MS, NS, US, CpuId, NodeId, Time

Taking = Literal["section", "by hand", "plain section"]
"""How a lock is taken: by `section`, by `acquire` and `release`, or by the section that `SpinLock` has."""

LONGEST = 1 * US
END: Time = 2 * MS
"""By then every program is over by far."""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """Which short cuts the engine takes; none may show in a result."""

    run_ahead: bool
    fast_paths: bool
    tick_events: bool


REFERENCE = Mode(run_ahead=False, fast_paths=False, tick_events=True)
FASTEST = Mode(run_ahead=True, fast_paths=True, tick_events=False)
OTHERS = (
    FASTEST,
    Mode(run_ahead=False, fast_paths=True, tick_events=False),
    Mode(run_ahead=True, fast_paths=False, tick_events=False),
    Mode(run_ahead=True, fast_paths=True, tick_events=True),
)


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run; times in ps."""

    seed: int
    cpus: int
    rounds: int
    think: Time
    hold: Time
    ticks: Time
    near: Time

    @classmethod
    def draw(cls, seed: int, *, ticks: bool) -> "Program":
        """A small program in which waiters abound."""
        draw = Random(seed)
        return cls(
            seed=seed,
            cpus=draw.choice([2, 3, 5, 8]),
            rounds=draw.choice([8, 15]),
            think=draw.choice([20 * NS, 200 * NS, 1500 * NS]),
            hold=draw.choice([50 * NS, 150 * NS]),
            ticks=draw.choice([3 * US, 5 * US]) if ticks else 0,
            near=draw.choice([1 * NS, 20 * NS, 50 * NS]),
        )


@dataclass(frozen=True)
class Passage:
    """One acquisition, as the lock itself told it; absolute ps."""

    lock: str
    cpu: CpuId
    arrived: Time
    granted: Time
    released: Time


@dataclass(frozen=True)
class Played:
    """What came out of a program; all of it is the same in every mode."""

    rows: tuple[LockRow, ...]
    passages: tuple[Passage, ...]
    spans: tuple[tuple[Time, Time], ...]
    accounts: tuple[dict[str, Time], ...]


class _Play:
    """One program under way."""

    def __init__(self, policy: type[Lock], program: Program, mode: Mode, taking: Taking) -> None:
        self.program, self.taking = program, taking
        self.env, self.cpus = _machine(program, mode)
        probes, streams = Probes(), Streams(program.seed)
        setup = LockSetup(
            taking=1 * NS,
            releasing=1 * NS,
            pause=10 * NS,
            wake_up=100 * NS,
            wake_latency=50 * NS,
            streams=streams,
            cpus=self.cpus,
            probes=probes,
        )
        self.lock_class = policy.make_class("kit", 1)
        self.locks = [make_lock(policy, self.lock_class, f"kit{number}", setup) for number in range(2)]
        self.passages: list[Passage] = []
        self.spans: list[tuple[Time, Time]] = []
        self.inside: dict[str, CpuId] = {}
        self.left = program.cpus
        self.excludes = policy.excludes
        self.streams = streams
        probes.listen("lock:released", self._released)

    def _released(self, at: Time, cpu: CpuId, lock: str, site: str, arrived: Time, granted: Time) -> None:
        self.passages.append(Passage(lock, cpu, arrived, granted, at))

    def worker(self, cpu: Cpu) -> Op[None]:
        """One thread."""
        program, draw = self.program, self.streams.stream("kit", cpu.id)
        for _ in range(program.rounds):
            cpu.charge(int(draw.random() * 2 * program.think), "user")
            lock = self.locks[draw.random() < 0.2]
            hold = 1 + int(draw.random() * 2 * program.hold)
            if self.taking == "by hand":
                yield from self._by_hand(cpu, lock, hold)
                continue
            section = SpinLock.section if self.taking == "plain section" else type(lock).section
            span = yield from section(lock, cpu, lambda _, hold=hold: hold, LONGEST, "kit")  # type: ignore[arg-type, misc]
            self.spans.append(span)
            if span[1] - span[0] < hold:
                said = f"a section of CPU {cpu.id} that holds {hold} ps took from {span[0]} to {span[1]} ps"
                raise Broken(said, _again(program))
        yield from cpu.sync()
        self.left -= 1

    def _by_hand(self, cpu: Cpu, lock: Lock, hold: Time) -> Op[None]:
        yield from lock.acquire(cpu, "kit")
        yield from cpu.sync()
        other = self.inside.get(lock.name)
        if self.excludes and other is not None:
            said = f"CPU {cpu.id} got lock {lock.name} at {cpu.clock} ps while CPU {other} had it"
            raise Broken(said, _again(self.program))
        self.inside[lock.name] = cpu.id
        cpu.charge(hold, "inside")
        yield from cpu.sync()
        self.inside.pop(lock.name, None)
        yield from lock.release(cpu)


def play(policy: type[Lock], program: Program, mode: Mode, taking: Taking) -> Played:
    """Play a program to its end.

    Raises:
        Broken: somebody has never got the lock, or two have had it.
        KernelBug: a locking rule was broken, or everybody waits.
    """
    run = _Play(policy, program, mode, taking)
    for cpu in run.cpus:
        cpu.start([Thread(f"kit{cpu.id}", run.worker(cpu))])
    end = Event(run.env)
    accounts: list[dict[str, Time]] = []

    def over() -> None:
        accounts.extend(split_at(cpu, END) for cpu in run.cpus if not run.left)
        run.env.stop(end)

    run.env.declare_barrier(END, over)
    run.env.run_to(end)
    if run.left:
        waits = [f"CPU {cpu.id}" for cpu in run.cpus if cpu.blocked_on is not None or cpu.waiting]
        raise Broken(
            f"{run.left} of {program.cpus} processors have not done their {program.rounds} rounds after "
            f"{END // US} us; {', '.join(waits) or 'none'} waits, and "
            f"{len(run.passages)} acquisitions were completed",
            _again(program),
        )
    passages = sorted(run.passages, key=lambda one: (one.lock, one.granted, one.released, one.cpu))
    return Played(run.lock_class.rows(), tuple(passages), tuple(sorted(run.spans)), tuple(accounts))


def _again(program: Program) -> str:
    return f"seeds=({program.seed},)"


def _machine(program: Program, mode: Mode) -> tuple[Engine, Sequence[Cpu]]:
    """Processors on two nodes; a line within a node costs `near`, between them twice as much."""
    near, ticks = program.near, program.ticks
    env = Engine(
        lookahead=400 * NS,
        run_ahead=mode.run_ahead,
        fast_paths=mode.fast_paths,
        tick_events=mode.tick_events,
    )

    def cost(a: int, b: int, own: Time) -> Time:
        return own if a == b else near * (1 + (a % 2 != b % 2))

    cpus = range(program.cpus)
    return env, [
        Cpu(
            env,
            CpuId(me),
            node=NodeId(me % 2),
            transfer=[cost(me, other, near // 2) for other in cpus],
            occupancy=[cost(me, other, 1) for other in cpus],
            tick_period=ticks,
            tick_cost=ticks // 50,
            first_tick=ticks and ticks + me * 7,
            switch_cost=near,
        )
        for me in cpus
    ]
