"""A small machine for litmus tests: constant costs, and every mode of the engine.

The tests' own time 0 is `START`, late enough for a message that arrives at 100 to
have been sent before it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from simpy.events import Event

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Shot
from coalsim.engine.streams import Streams
from coalsim.locks.base import LockSetup
from coalsim.locks.lockdep import LockClass
from coalsim.locks.queued import QueuedLock
from coalsim.units import CpuId, NodeId, Time

START: Time = 10_000
HANDLER: Time = 100
LOOKAHEAD: Time = 800
WAY_BACK: Time = 50
HANDOVER: Time = 20
SWAP: Time = 10

Program = Callable[[Cpu], Op[None]]


@dataclass(frozen=True)
class Mode:
    """One way to run the engine; all must give the same numbers."""

    run_ahead: bool
    fast_paths: bool
    tick_events: bool

    def __str__(self) -> str:
        names = ("ahead", "short-cuts", "tick-events")
        on = [name for name, value in zip(names, vars(self).values(), strict=True) if value]
        return "+".join(on) or "plain"


REFERENCE = Mode(run_ahead=False, fast_paths=False, tick_events=True)
MODES = (
    REFERENCE,
    Mode(run_ahead=False, fast_paths=False, tick_events=False),
    Mode(run_ahead=True, fast_paths=False, tick_events=False),
    Mode(run_ahead=False, fast_paths=True, tick_events=False),
    Mode(run_ahead=True, fast_paths=True, tick_events=False),
    Mode(run_ahead=True, fast_paths=True, tick_events=True),
)


class FlatLine(CacheLine):
    """A line whose write takes the same time, whoever wrote it before."""

    def rmw(self, cpu: Cpu) -> Time:
        assert cpu.clock == cpu.env._now
        return cpu.clock + SWAP


class Bench:
    """Some processors, one thread on each, and one more processor that sends messages.

    Args:
        mode: how the engine runs.
        cpus: number of processors under test; the sender has the next id.
        lookahead: of the engine, in ps.
        handover: ps of moving a line between two processors.
        ticks: (period, cost, first) of the timer of every processor under test, in test time.
    """

    def __init__(
        self,
        mode: Mode,
        cpus: int,
        *,
        lookahead: Time = LOOKAHEAD,
        handover: Time = HANDOVER,
        ticks: tuple[Time, Time, Time] = (0, 0, 0),
    ) -> None:
        self.env = Engine(
            lookahead=lookahead,
            run_ahead=mode.run_ahead,
            fast_paths=mode.fast_paths,
            tick_events=mode.tick_events,
        )
        self.cpus = [self._make_cpu(CpuId(n), cpus + 1, handover, ticks) for n in range(cpus)]
        self._sender = self._make_cpu(CpuId(cpus), cpus + 1, handover, (0, 0, 0))
        self._messages: list[tuple[Time, Callable[[], None]]] = []
        self._threads: list[tuple[Cpu, Thread]] = []
        self.end = Event(self.env)

    def _make_cpu(self, cpu: CpuId, total: int, handover: Time, ticks: tuple[Time, Time, Time]) -> Cpu:
        row = [SWAP if other == cpu else handover for other in range(total)]
        period, cost, first = ticks
        return Cpu(
            self.env,
            cpu,
            node=NodeId(0),
            transfer=row,
            occupancy=row,
            tick_period=period,
            tick_cost=cost,
            first_tick=START + first if period else 0,
        )

    def lock(self, name: str = "zone", rank: int = 1) -> QueuedLock:
        """A queued lock whose swap takes 10 ps and whose hand-over takes a line transfer."""
        lock = QueuedLock(LockClass(name, rank), name, LockSetup(streams=Streams(1)))
        lock.line = FlatLine(name)
        return lock

    def run_on(self, cpu: int, program: Program, at: Time = 0, space: object | None = None) -> None:
        """Run `program` on a processor from test time `at` on; a second one shares the processor.

        Args:
            cpu: which.
            program: what it does.
            at: when.
            space: whose thread it is; None: the kernel's.
        """
        target = self.cpus[cpu]

        def body() -> Op[None]:
            yield from target.wait_until(START + at, "start")
            yield from program(target)

        thread = Thread(f"thread{cpu}", body())
        thread.space = space
        self._threads.append((target, thread))

    def ipi(
        self, at: Time, cpu: int, *, cost: Time = HANDLER, effect: Callable[[Cpu], None] = lambda _: None
    ) -> Shot[Cpu]:
        """Let an interrupt reach a processor at test time `at`; sent one lookahead before."""
        arrival, target = START + at, self.cpus[cpu]
        sent = arrival - self.env.lookahead
        shot = Shot[Cpu](None, sent, 1, cost, effect, lambda _: WAY_BACK)
        self._messages.append((sent, lambda: self._sender.send([(arrival, target)], shot)))
        return shot

    def _send_all(self) -> Op[None]:
        for sent, send in sorted(self._messages, key=lambda message: message[0]):
            yield from self._sender.wait_until(sent, "pause")
            send()

    def at_barrier(self, at: Time, action: Callable[[], None]) -> None:
        """Call `action` at a barrier at test time `at`."""
        self.env.declare_barrier(START + at, action)

    def run(self, until: Time = 20_000) -> None:
        """Run to test time `until`."""
        self._threads.append((self._sender, Thread("sender", self._send_all())))
        for cpu in [*self.cpus, self._sender]:
            cpu.start([thread for home, thread in self._threads if home is cpu])
        self.env.declare_barrier(START + until, lambda: self.env.stop(self.end))
        self.env.run_to(self.end)


def time_of(cpu: Cpu) -> Time:
    """The processor's clock in test time."""
    return cpu.clock - START


def touches(cpu: Cpu, every: Time, while_true: Callable[[], bool], seen: list[Time]) -> Op[None]:
    """Look at private state every so often, for as long as the look says so."""
    while True:
        yield from cpu.look()
        if not while_true():
            return
        seen.append(time_of(cpu))
        cpu.charge(every, "touch")
