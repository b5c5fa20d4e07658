"""Global time: the order of an instant, barriers and alarms.

Everything that happens at one instant happens in the order of (class, id), never
in the order in which it was scheduled, because that order differs between the
plain mode and running ahead:

    barrier < user's own SimPy events < timer ticks (only when they are events)
            < messages, by sender < processors, by id

Invariant: a processor has at most one entry in SimPy's heap, its `Alarm`.
A barrier (a sample, the end of the warm-up, the end of the run) sees what began
before it and nothing that begins at its time or later; the next barrier bounds
how far any processor may run ahead, so declare barriers before the run starts or
from another barrier.
"""

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import TypeAlias, TypeVar

import simpy
from simpy.events import Event, EventPriority

from coalsim.engine.probes import Probe
from coalsim.units import FOREVER, CpuId, Time

T = TypeVar("T")
Op: TypeAlias = Generator[Event, None, T]
"""An operation that may wait; call it with `yield from`."""

_SPAN = 1 << 20  # more identifiers than any class needs
RANK_BARRIER = 0  # SimPy's URGENT: also process starts
RANK_USER = 1  # SimPy's NORMAL: every event that a user's own SimPy code makes
RANK_TICK = 2
RANK_MESSAGE = RANK_TICK + _SPAN
RANK_CPU = RANK_MESSAGE + _SPAN


class Engine(simpy.Environment):
    """SimPy's environment with the order of an instant and the barriers.

    Args:
        lookahead: shortest time from a synchronised send to its first visible
            effect, over all mechanisms by which one processor changes another's
            private state, in ps.  0 means that nobody may run ahead.
        run_ahead: processors may run ahead of global time.
        fast_paths: lock sections may be computed instead of played by events.
        tick_events: every timer tick is an event of its own.
    """

    _now: Time  # SimPy's own attribute: hot paths read it without the property `now`

    def __init__(
        self,
        *,
        lookahead: Time = 0,
        run_ahead: bool = True,
        fast_paths: bool = True,
        tick_events: bool = False,
    ) -> None:
        super().__init__(0)
        if lookahead < 0:
            raise ValueError("lookahead is a time from 0 up")
        self.lookahead = lookahead
        self.run_ahead = run_ahead and lookahead > 0
        self.reach = lookahead if run_ahead else 0  # how far processors run ahead at most
        self.fast_paths = fast_paths
        self.tick_events = tick_events
        self.next_barrier: Time = FOREVER
        self.events = 0  # heap entries served, and those that nobody needed to make (`Clocked.until_clock`)
        self.ending = False  # `run_to` is to return: nobody may move time any more
        self.at_barriers: Callable[[], None] | None = None  # asserts what must hold, after a barrier's action
        self.stuck: Callable[[], str] = str  # who can never go on; asked where ticks keep the heap full
        # sender, target, sent, handler's begin and end, answer seen: when a request by events is taken up
        self.answered = Probe("message:answered")
        # sender, targets, sent, arrival: when hardware begins to carry an effect
        self.broadcasts = Probe("message:broadcast")
        self._barriers: list[Time] = []
        self._last_barrier: Time = 0

    @property
    def only_time_passes(self) -> bool:
        """Nothing is to come but timer ticks and barriers: nobody will ever be woken."""
        barriers = len(self._barriers)
        for _, rank, _, _ in self._queue:
            if rank == RANK_BARRIER:
                barriers -= 1  # the start of a process has the same rank and is no barrier
            elif not RANK_TICK <= rank < RANK_MESSAGE:
                return False
        return barriers >= 0

    def declare_barrier(self, at: Time, action: Callable[[], None]) -> None:
        """Call `action` at time `at`, before anything else that happens then.

        Raises:
            ValueError: in the past, or in the middle of a run: processors may have run
                past it, and lock sections have been computed as if it were not there.
        """
        if at < self._now:
            raise ValueError(f"barrier at {at} ps lies in the past of {self._now} ps")
        if self._now not in (0, self._last_barrier):
            raise ValueError("declare barriers before the run or from another barrier")
        heappush(self._barriers, at)
        self.next_barrier = self._barriers[0]

        def reached(_: Event) -> None:
            self._last_barrier = heappop(self._barriers)
            self.next_barrier = self._barriers[0] if self._barriers else FOREVER
            action()
            if self.at_barriers is not None:
                self.at_barriers()

        self.post_event(at, RANK_BARRIER, reached)

    def post_event(self, at: Time, rank: int, action: Callable[[Event], None]) -> Event:
        """Put an entry of the given rank into the heap; `action` gets the event."""
        event = Event(self)
        event._ok, event._value = True, None
        event.callbacks = [action]
        self.schedule(event, EventPriority(rank), at - self._now)
        return event

    def post_before_cpu(self, at: Time, cpu: CpuId, action: Callable[[Event], None]) -> None:
        """Put an entry where the processor itself would act, right before its alarm."""
        event = Event(self)
        event._ok, event._value = True, None
        event.callbacks = [action]
        heappush(self._queue, (at, EventPriority(RANK_CPU + cpu), -1, event))

    def stop(self, end: Event) -> None:
        """Let `run_to(end)` return as soon as the present event has been served."""
        end.callbacks = None  # type: ignore[assignment]
        self.ending = True

    def run_to(self, end: Event) -> bool:
        """Serve events until `end` has been served; False if the heap ran empty before.

        This is `simpy.Environment.run` with `step` in line, and with a processor's process
        (`Alarm.wake_for_ever`) resumed directly: several Python calls less per event.
        """
        queue, pop = self._queue, heappop
        self.ending = end.callbacks is None
        while end.callbacks is not None:
            if not queue:
                return False
            now, _, _, event = pop(queue)
            self._now = now  # type: ignore[assignment]
            self.events += 1
            if event.__class__ is Alarm and event.go_on is not None:
                event.armed = False
                event.go_on(None)
                continue
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)
            if not event._ok and not event.defused:
                raise event._value
        return True  # type: ignore[unreachable]  # SimPy's types do not say that callbacks become None


class Alarm(Event):
    """What a processor waits on; one per processor, armed again and again.

    It is born triggered, so SimPy serves it like a timeout; its rank orders
    processors that wake at one instant by their id.
    """

    __slots__ = ("armed", "go_on", "queue", "rank")

    def __init__(self, env: Engine, cpu: CpuId) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        self.armed = False
        self.rank = EventPriority(RANK_CPU + cpu)
        self.queue = env._queue
        self.go_on: Callable[[None], object] | None = None

    def wake_for_ever(self, process: Op[None]) -> Callable[[Event], None]:
        """Resume this process whenever the alarm goes off; returns what begins it.

        The part of `simpy.Process` that a processor needs: its process never ends, nobody
        waits for it or interrupts it, and it waits for nothing but this alarm.
        """
        self.go_on = process.send

        def step(_: Event) -> None:  # where SimPy serves the alarm, and not `run_to`
            self.armed = False
            self.callbacks = steps
            process.send(None)

        steps: list[Callable[[Event], None]] = [step]
        self.callbacks = steps
        return step

    def arm(self, at: Time) -> None:
        """Wake the processor at time `at`.

        `Environment.schedule` in line; the serial number that SimPy adds is not needed,
        because no other entry has this rank.
        """
        assert not self.armed, "a processor has at most one entry in the heap"
        self.armed = True
        heappush(self.queue, (at, self.rank, 0, self))

    def reset(self) -> None:
        """Make ready for the next wait; on every resume, before anybody can arm it."""
        self.armed = False
        if self.callbacks is None:
            self.callbacks = []  # type: ignore[unreachable]  # SimPy leaves None behind
