"""Random programs on random small machines, and everything about a run that can be seen.

All costs are small multiples of one unit, and the periods of ticks and samples share
factors with them, so that nearly everything happens at the same instant as something
else.  What a program does next depends on what it has read, so one wrong read spoils
all that follows.

A program decides by its own random stream and by what it sees, never by the mode.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from typing import ClassVar

from bench import MODES, REFERENCE, Mode
from one_request import request
from simpy.events import Event

from coalsim.cpus.bandwidth import Pipe
from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.ipi import CallQueue
from coalsim.cpus.runqueue import Thread
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Shot
from coalsim.engine.streams import Streams
from coalsim.locks.base import LockSetup, SpinLock
from coalsim.locks.cna import CnaLock
from coalsim.locks.lockdep import LockClass
from coalsim.locks.lockstat import LockRow
from coalsim.locks.mcs import McsLock
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.locks.tas import TasLock
from coalsim.locks.ticket import TicketLock
from coalsim.locks.ttas import TtasLock
from coalsim.locks.view import GuardedCount
from coalsim.units import CpuId, NodeId, Time

LOCKS = 3
POLICIES: tuple[type[SpinLock], ...] = (TicketLock, CnaLock, TasLock, TtasLock)
QUEUED: tuple[type[SpinLock], ...] = (McsLock, QueuedSpinLock)
PAGES = 12

Record = tuple[object, ...]


@dataclass(frozen=True)
class Sample:
    """What a barrier sees."""

    at: Time
    time: list[dict[str, Time]]
    counters: list[Record]
    guarded: list[int]
    locks: list[LockRow]
    lines: list[Record]
    more: Record


@dataclass
class Seen:
    """Everything about a run that can be seen, equal in all modes."""

    logs: list[list[Record]]
    samples: list[Sample] = field(default_factory=list)

    def first_difference(self, other: "Seen") -> str:
        """Where two runs part, for the message of a failed test; empty if they do not."""
        for cpu, (mine, theirs) in enumerate(zip(self.logs, other.logs, strict=True)):
            for number, (a, b) in enumerate(zip(mine, theirs, strict=False)):
                if a != b:
                    return (
                        f"CPU {cpu}, record {number}: {a} and {b} after {mine[max(0, number - 3) : number]}"
                    )
            if len(mine) != len(theirs):
                return f"CPU {cpu}: {len(mine)} and {len(theirs)} records"
        for sample, same in zip(self.samples, other.samples, strict=True):
            for name, value in vars(sample).items():
                if value != getattr(same, name):
                    return f"sample at {sample.at}, {name}: {value} and {getattr(same, name)}"
        return ""

    def record_kinds(self) -> Iterator[str]:
        """The kind of every record, log by log."""
        for log in self.logs:
            for record in log:
                yield str(record[0] if isinstance(record[0], str) else record[2])


class Shape:
    """The machine and the loads of one seed.

    Args:
        seed: which.
        worker: what threads can do.
    """

    def __init__(self, seed: int, worker: "type[Worker] | None" = None) -> None:
        random = self.random = Random(f"shape {seed}")
        self.worker = worker or Worker
        pick = random.choice
        self.seed = seed
        self.unit: Time = pick((1, 10, 50))
        self.cpus = pick((2, 2, 3, 3, 4, 4, 5, 6, 8, 12, 16, 32))
        self.lookahead = self.unit * pick((4, 5, 6, 8, 12, 16))
        self.tick_period = self.unit * pick((0, 0, 5, 6, 12, 20, 24, 60, 120))
        self.tick_cost = self.unit * (pick((0, 1, 2, 5)) if self.tick_period > 6 * self.unit else 1)
        self.ticks_together = random.random() < 0.5
        self.sample_period = self.unit * pick((20, 60, 120, 360))
        self.duration = self.unit * pick((600, 1200, 2400)) * 8 // (self.cpus + 6)
        self.threads_per_cpu = pick((1, 1, 2, 3))
        self.switch_cost = self.unit * pick((0, 1, 3))
        self.taking = self.unit * pick((0, 0, 1))
        self.releasing = self.unit * pick((0, 0, 1))
        self.longest = pick((2, 4, 12))
        # the locks that can be computed are the point, the others are there to be mixed with them
        self.policies = [pick(QUEUED if random.random() < 0.75 else POLICIES) for _ in range(LOCKS + 2)]
        far = [[self.unit * random.randint(1, 4) for _ in range(self.cpus)] for _ in range(self.cpus)]
        hit = self.unit * pick((0, 1, 1, 2))
        same = random.random() < 0.5  # one distance for all: more ties
        self.transfer = [
            [hit if a == b else (2 * self.unit if same else far[a][b]) for a in range(self.cpus)]
            for b in range(self.cpus)
        ]
        busy = pick((1, 2))  # a transfer may keep the line for less than it takes
        self.occupancy = [[cost // busy for cost in row] for row in self.transfer]
        kinds = list(self.worker.OPERATIONS)
        # half of the seeds mix everything, the others try a few operations on each other at length
        self.kinds = kinds if random.random() < 0.5 else random.sample(kinds, random.randint(2, 5))


class CheckedCpu(Cpu):
    """A processor that checks every look against the rules by itself."""

    def check_private(self) -> None:
        """A private look now is allowed: nothing that could change its outcome lies before it."""
        env, clock = self.env, self.clock
        assert clock >= env._now
        assert clock >= self.handler_until or self.irq_depth
        assert all(arrival > clock for arrival in self.inbox)
        if clock > env._now:
            assert env.run_ahead
            assert clock < env._now + env.lookahead
            assert clock < env.next_barrier
        if not self.irq_depth:
            assert self.next_tick > clock
            assert not self.pending

    def check_shared(self) -> None:
        """A shared look now is allowed."""
        assert self.clock == self.env._now
        assert not self.alarm.armed
        self.check_private()


class World:
    """One seed's machine in one mode."""

    def __init__(self, shape: Shape, mode: Mode) -> None:
        self.shape = shape
        self.env = env = Engine(
            lookahead=shape.lookahead,
            run_ahead=mode.run_ahead,
            fast_paths=mode.fast_paths,
            tick_events=mode.tick_events,
        )
        setup = LockSetup(streams=Streams(shape.seed), taking=shape.taking, releasing=shape.releasing)
        self.classes = [LockClass(f"short{n}", 10 + n) for n in range(LOCKS)]
        self.classes += [LockClass("outer", 1), LockClass("answers", 0)]
        locks = [
            policy(each, each.name, setup) for policy, each in zip(shape.policies, self.classes, strict=True)
        ]
        self.short, self.outer, self.answers = locks[:LOCKS], locks[LOCKS], locks[LOCKS + 1]
        self.counts = [GuardedCount(1000) for _ in range(LOCKS)]
        self.guarded = [0 for _ in range(LOCKS)]
        self.lines = [CacheLine(f"line{n}") for n in range(2)]
        self.pipe = Pipe("pipe", Fraction(1000, 3 * shape.unit))
        self.word = 0
        self.parked: list[tuple[Thread, CpuId]] = []
        self.bell = env.event()
        self.cpus = [self._make_cpu(CpuId(n)) for n in range(shape.cpus)]
        self.calls = [CallQueue(cpu) for cpu in self.cpus]
        # private state of each processor, by id
        self.present = [[True] * PAGES for _ in self.cpus]
        self.high = [1 for _ in self.cpus]
        self.flushes = [0 for _ in self.cpus]
        self.done = [0 for _ in self.cpus]
        self.seen = Seen(logs=[[] for _ in self.cpus])
        self.end = Event(env)

    def _make_cpu(self, cpu: CpuId) -> CheckedCpu:
        shape = self.shape
        offset = 0 if shape.ticks_together else cpu * shape.unit
        return CheckedCpu(
            self.env,
            cpu,
            node=NodeId(cpu % 2),
            transfer=shape.transfer[cpu],
            occupancy=shape.occupancy[cpu],
            tick_period=shape.tick_period,
            tick_cost=shape.tick_cost,
            first_tick=shape.tick_period and shape.tick_period + offset,
            switch_cost=shape.switch_cost,
        )

    def run(self) -> Seen:
        """Run to the end."""
        shape = self.shape
        for cpu in self.cpus:
            workers = [shape.worker(self, number) for number in range(shape.threads_per_cpu)]
            threads = []
            for worker in workers:
                worker.thread = Thread(f"{cpu.id}.{worker.number}", worker.main(cpu))
                worker.thread.space = self.space_of(worker, cpu)
                threads.append(worker.thread)
            cpu.start(threads)
        self.env.process(self._ring())
        self.env.declare_barrier(shape.duration, self._stop)
        self.env.declare_barrier(min(shape.sample_period, shape.duration), self._sample_on)
        assert self.env.run_to(self.end)
        return self.seen

    def space_of(self, worker: "Worker", cpu: Cpu) -> object | None:
        """The address space of a thread; None: the kernel's."""
        return None

    def more_to_see(self) -> Record:
        """What a sample shows beside all that every program has."""
        return ()

    def _ring(self) -> Op[None]:
        """A user's own SimPy process."""
        random = Random(f"bell {self.shape.seed}")
        number = 0
        while True:
            yield self.env.timeout(self.shape.unit * random.choice((2, 4, 6, 12)))
            bell, self.bell = self.bell, self.env.event()
            bell.succeed(number)
            number += 1

    def _sample_on(self) -> None:
        self._sample()
        at = self.env._now + self.shape.sample_period
        if at < self.shape.duration:
            self.env.declare_barrier(at, self._sample_on)

    def _stop(self) -> None:
        self._sample()
        self.env.stop(self.end)

    def _sample(self) -> None:
        now = self.env._now
        time = [split_at(cpu, now) for cpu in self.cpus]
        self.seen.samples.append(
            Sample(
                at=now,
                time=time,
                counters=[
                    (
                        cpu.ticks,
                        cpu.ticks_lost,
                        cpu.switches,
                        self.done[cpu.id],
                        self.flushes[cpu.id],
                        self.high[cpu.id],
                        tuple(self.present[cpu.id]),
                        self.calls[cpu.id].interrupts,
                    )
                    for cpu in self.cpus
                ],
                guarded=[count.at_barrier(now) for count in self.counts],
                locks=[each.stat.row() for each in self.classes],
                lines=[(line.owner, line.transfers) for line in self.lines] + [(self.pipe.bytes_moved,)],
                more=self.more_to_see(),
            )
        )


class Worker:
    """One thread: random operations until the run ends."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.thread: Thread
        self.cpu: CheckedCpu
        self.random = Random()
        self.unit = world.shape.unit

    def main(self, cpu: CheckedCpu) -> Op[None]:
        self.cpu = cpu
        self.random = Random(f"worker {self.world.shape.seed} {cpu.id} {self.number}")
        kinds = self.world.shape.kinds
        for _ in range(self.random.choice((30, 100, 100_000))):
            yield from self.OPERATIONS[self.random.choice(kinds)](self)
            yield from self.private()
        yield from self.shared()
        self.log("end")

    # -- helpers --------------------------------------------------------------------

    def log(self, *what: object) -> None:
        """Record what this processor sees; right after a look."""
        self.world.seen.logs[self.cpu.id].append((self.cpu.clock, self.number, *what))

    def some(self, most: int) -> Time:
        return self.unit * self.random.randint(0, most)

    def shared(self) -> Op[None]:
        yield from self.cpu.sync()
        self.cpu.check_shared()

    def others(self) -> list[Cpu]:
        return [cpu for cpu in self.world.cpus if cpu is not self.cpu and self.random.random() < 0.5]

    def shot(self, waiter: Cpu | None, targets: int, page: int) -> Shot[Cpu]:
        world = self.world

        def flush(cpu: Cpu) -> None:
            world.present[cpu.id][page] = False
            world.flushes[cpu.id] += 1

        back = self.unit * self.random.randint(1, 4)
        return Shot(
            waiter, self.cpu.clock, targets, self.some(4), flush, lambda cpu: back + self.unit * (cpu % 2)
        )

    # -- private state ------------------------------------------------------------------

    def private(self) -> Op[None]:
        """Touch a page of one's own, as long as a setting says, that others may change."""
        cpu, world = self.cpu, self.world
        yield from cpu.look()
        cpu.check_private()
        page = self.random.randrange(PAGES)
        hit = world.present[cpu.id][page]
        self.log("touch", page, hit, world.high[cpu.id])
        world.done[cpu.id] += 1
        if not hit:
            world.present[cpu.id][page] = True
            cpu.charge(3 * self.unit, "fault")
        cpu.charge(self.some(world.high[cpu.id] + 1), "user")

    def many_private(self) -> Op[None]:
        for _ in range(self.random.randint(2, 12)):
            yield from self.private()

    def interrupts_off(self) -> Op[None]:
        cpu = self.cpu
        depth = self.random.choice((1, 1, 2, 3))
        for _ in range(depth):
            yield from cpu.irq_off()
            cpu.charge(self.some(3), "off")
        inside = self.random.choice(
            (Worker.many_private, Worker.section, Worker.hold, Worker.use_line, Worker.post, Worker.nothing)
        )
        yield from inside(self)
        if self.random.random() < 0.2:
            cpu.charge(self.world.shape.tick_period * 2, "off")
        for _ in range(depth):
            cpu.charge(self.some(2), "off")
            yield from cpu.irq_on()
        yield from cpu.look()
        self.log("on", cpu.ticks, cpu.ticks_lost)

    def nothing(self) -> Op[None]:
        yield from ()

    # -- locks ----------------------------------------------------------------------------

    def section(self, lowest: int = 0) -> Op[None]:
        which = self.random.randrange(lowest, LOCKS)
        longest = self.unit * self.world.shape.longest
        body = self._body(which, self.some(self.world.shape.longest))
        asked, released = yield from self.world.short[which].section(
            self.cpu, body, longest, f"site{self.random.randrange(2)}"
        )
        self.world.seen.logs[self.cpu.id].append(("section", which, asked, released))

    def _body(self, which: int, hold: Time) -> Callable[[Time], Time]:
        world, cpu = self.world, self.cpu

        def body(grant: Time) -> Time:
            world.guarded[which] = (world.guarded[which] * 5 + cpu.id + 1) % 97
            world.counts[which].add(grant, cpu, world.guarded[which] % 7 - 3)
            world.seen.logs[cpu.id].append(("body", which, grant, world.guarded[which]))
            return hold if world.guarded[which] % 3 else hold // 2

        return body

    def hold(self) -> Op[None]:
        """Take a short lock by events, with interrupts as they are."""
        cpu, which = self.cpu, self.random.randrange(LOCKS)
        lock = self.world.short[which]
        yield from lock.acquire(cpu, "hold")
        for _ in range(self.random.randint(0, 2)):
            cpu.charge(self.some(self.world.shape.longest), "held")
            yield from self.shared()
        yield from self.shared()
        self._body(which, 0)(cpu.clock)
        if which + 1 < LOCKS and self.random.random() < 0.3:
            yield from self.section(which + 1)
        cpu.charge(self.some(2), "held")
        yield from lock.release(cpu)

    def nested(self) -> Op[None]:
        """Sections, waits and sends inside a lock that is only ever taken by events."""
        cpu = self.cpu
        yield from self.world.outer.acquire(cpu, "nested")
        for _ in range(self.random.randint(1, 3)):
            inside = self.random.choice((Worker.section, Worker.private, Worker.pause, Worker.use_word))
            yield from inside(self)
        yield from self.world.outer.release(cpu)

    def read_count(self) -> Op[None]:
        yield from self.shared()
        which = self.random.randrange(LOCKS)
        value = self.world.counts[which].read(self.cpu)
        self.log("count", which, value)
        self.cpu.charge(self.unit * (value % 3), "user")

    # -- messages ---------------------------------------------------------------------------

    def shoot(self) -> Op[None]:
        yield from self.shared()
        targets = self.others()
        if not targets:
            return
        cpu, world = self.cpu, self.world
        waits = self.random.random() < 0.7
        shot = self.shot(cpu if waits else None, len(targets), self.random.randrange(PAGES))
        flight = cpu.clock + world.shape.lookahead
        spread = self.random.choice((0, 0, 2))
        cpu.send([(flight + self.some(spread), target) for target in targets], shot)
        if waits:
            if self.random.random() < 0.3:
                yield from self.many_private()
            yield from cpu.wait_for_answers(shot, "answers")
            yield from self.shared()
            self.log("answered", shot.done, shot.last)

    def shoot_under_lock(self) -> Op[None]:
        yield from self.world.answers.acquire(self.cpu, "shoot")
        yield from self.shoot()
        yield from self.world.answers.release(self.cpu)

    def call(self) -> Op[None]:
        yield from self.shared()
        targets = self.others()
        if not targets:
            return
        cpu, world = self.cpu, self.world
        shot = self.shot(cpu, len(targets), self.random.randrange(PAGES))
        for target in targets:
            arrival = cpu.clock + world.shape.lookahead + self.some(2)
            request(world.calls[target.id], cpu, arrival, shot)
        if self.random.random() < 0.7:
            yield from cpu.wait_for_answers(shot, "answers")
            yield from self.shared()
            self.log("called", shot.done, shot.last)

    def post(self) -> Op[None]:
        yield from self.shared()
        high = self.world.high
        value = self.random.randint(0, 4)
        for target in self.others()[:2]:
            self.cpu.post(target, lambda cpu: high.__setitem__(cpu.id, value))

    # -- other shared state ---------------------------------------------------------------

    def use_line(self) -> Op[None]:
        cpu = self.cpu
        line = self.random.choice(self.world.lines)
        for _ in range(self.random.randint(1, 4)):
            yield from self.shared()
            done = line.rmw(cpu) if self.random.random() < 0.6 else line.read(cpu)
            self.log(line.name, done)
            cpu.charge(done - cpu.clock, line.name)

    def use_word(self) -> Op[None]:
        """A shared word, read and written by everybody."""
        yield from self.shared()
        self.log("word", self.world.word)
        self.world.word = (self.world.word * 3 + self.cpu.id) % 1009
        self.cpu.charge(self.unit * (self.world.word % 3), "user")

    def move(self) -> Op[None]:
        yield from self.shared()
        cpu = self.cpu
        done = self.world.pipe.move(cpu, self.random.choice((1, 2, 3, 6)))
        self.log("moved", done)
        cpu.charge(done - cpu.clock, "bandwidth")

    # -- waiting --------------------------------------------------------------------------

    def pause(self) -> Op[None]:
        yield from self.shared()
        yield from self.cpu.wait_until(self.cpu.clock + self.some(12), "pause")
        yield from self.cpu.look()
        self.log("paused")

    def wait_for_bell(self) -> Op[None]:
        yield from self.shared()
        value = yield from self.cpu.wait_for(self.world.bell, "bell")
        yield from self.cpu.look()
        self.log("bell", value)

    def park(self) -> Op[None]:
        yield from self.shared()
        self.world.parked.append((self.thread, self.cpu.id))
        self.log("park")
        yield from self.cpu.park()
        assert isinstance(self.thread.cpu, CheckedCpu)
        self.cpu = self.thread.cpu
        yield from self.shared()
        self.log("unparked")

    def unpark(self) -> Op[None]:
        yield from self.shared()
        world = self.world
        if world.parked:
            thread, home = world.parked.pop(0)
            target = self.random.choice((home, self.random.randrange(len(world.cpus))))
            self.log("unpark", thread.name, target)
            world.cpus[target].enqueue(thread, self.cpu.clock + self.unit + self.some(3))

    def give_way(self) -> Op[None]:
        yield from self.cpu.preempt_point()
        yield from self.cpu.look()
        self.log("went on", self.cpu.switches)

    def section_then_give_way(self) -> Op[None]:
        yield from self.section()
        yield from self.give_way()

    OPERATIONS: ClassVar[Mapping[str, Callable[..., Op[None]]]] = {
        "many_private": many_private,
        "interrupts_off": interrupts_off,
        "section": section,
        "section_again": section,
        "hold": hold,
        "nested": nested,
        "read_count": read_count,
        "shoot": shoot,
        "shoot_under_lock": shoot_under_lock,
        "call": call,
        "call_again": call,
        "post": post,
        "use_line": use_line,
        "use_word": use_word,
        "move": move,
        "pause": pause,
        "wait_for_bell": wait_for_bell,
        "park": park,
        "unpark": unpark,
        "give_way": give_way,
        "section_then_give_way": section_then_give_way,
    }
    """What a thread may do, by name."""


def run_program(seed: int, mode: Mode) -> Seen:
    """Run the program of a seed."""
    return World(Shape(seed), mode).run()


def seen_in_all_modes(seed: int, run: Callable[[int, Mode], Seen]) -> Seen:
    """Run the program of a seed in every mode; what all of them show.

    Raises:
        AssertionError: a mode shows something else than the reference.
    """
    reference = run(seed, REFERENCE)
    for mode in MODES[1:]:
        other = run(seed, mode)
        difference = reference.first_difference(other)
        assert not difference, f"seed {seed}, {mode}: {difference}"
        assert repr(reference) == repr(other), f"seed {seed}, {mode}: equal, but not to the letter"
    return reference
