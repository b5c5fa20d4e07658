"""A processor's own clock, and how far it may run ahead of global time.

`charge` moves the clock and never waits.  Before a look at private state (own
magazine, own page list, own counters) comes `yield from cpu.look()`, which nearly
always returns at once; before a look at anything another processor can touch
comes `yield from cpu.sync()`, which waits until global time has caught up.

A private look at own time p is allowed iff p == now or p < limit, where

    hard  = min(now + lookahead, earliest message in flight to me, next barrier,
                start of a handler that can still take further requests)
    limit = hard while interrupts are off, else min(hard, own next tick)

A sender enters its message into the target's inbox when it sends, so `hard`
knows it; a message sent later arrives at now + lookahead or after.  Hence nobody
can notice that the processor ran ahead: results equal those of the plain mode
(`limit == now`) to the byte.

Invariants: clock >= now and clock >= handler_until while running; the sum of
`spent` is the clock (while waiting: the time at which the wait began plus what
handlers have stolen since).
What is spent goes to `account`: the processor's own, or that of the operation that its
thread is in (`cpus/operation.py`).
Timer ticks cost no event: their times are known and only their own processor
sees them, so they are taken when the clock passes them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from heapq import heappush

from coalsim.engine.clock import RANK_TICK, Alarm, Engine, Op
from coalsim.errors import DeadlockError
from coalsim.units import FOREVER, CpuId, Time

HANDLER = "handler"
TICK = "tick"


def _nothing() -> None:
    """There is nothing to enter."""


class Account(defaultdict[str, Time]):
    """Cause to ps: where a processor's time went, but for what went to accounts opened in it."""

    __slots__ = ("opened",)

    def __init__(self) -> None:
        super().__init__(int)
        self.opened: list[Account] = []

    def everything(self) -> "Iterator[Account]":
        """This account, and all that were opened in it or in those."""
        yield self
        for account in self.opened:
            yield from account.everything()


class Clocked:
    """A clock that may run ahead, its timer ticks, and where its time went.

    Args:
        env: the engine.
        cpu: the processor's id, which orders it within an instant.
        tick_period: time between timer ticks in ps; 0 for no ticks.
        tick_cost: what a tick takes from the processor, in ps.
        first_tick: time of the first tick.
    """

    __slots__ = (
        "_tick_window",
        "account",
        "alarm",
        "clock",
        "env",
        "handler_tail",
        "handler_until",
        "hard",
        "id",
        "inbox",
        "irq_depth",
        "join_until",
        "limit",
        "next_tick",
        "off_until",
        "own_account",
        "settle",
        "stolen",
        "tail",
        "tick_cost",
        "tick_pending",
        "tick_period",
        "ticks",
        "ticks_lost",
        "time_stolen",
        "wait_began",
        "wait_cause",
        "waiting",
    )

    def __init__(
        self, env: Engine, cpu: CpuId, *, tick_period: Time = 0, tick_cost: Time = 0, first_tick: Time = 0
    ) -> None:
        self.env = env
        self.id = cpu
        self.alarm = Alarm(env, cpu)
        self.clock: Time = 0
        self.limit: Time = 0  # private looks at clock < limit are allowed
        self.hard: Time = 0  # the limit but for the own tick
        self.account = self.own_account = Account()
        self.settle: Callable[[], None] = _nothing  # enter what has been noted of the time spent
        self.tail: list[tuple[str, Time]] = []  # charges that end beyond `limit`: a barrier may cut them
        self.inbox: list[Time] = []  # arrival times of messages in flight to here
        self.join_until: Time = 0  # start of the latest handler that takes further requests
        # interrupts
        self.irq_depth = 0
        self.off_until: Time = 0  # end of the latest computed section
        self.handler_until: Time = 0
        self.handler_tail: list[tuple[str, Time]] = []  # handlers that run back to back up to handler_until
        self.waiting = False
        self.wait_cause = ""
        self.wait_began: Time = 0
        self.stolen: Time = 0  # by handlers from the wait that goes on
        self.time_stolen: Time = 0  # by handlers in all
        # timer
        self.tick_period = tick_period
        self.tick_cost = tick_cost
        self.next_tick: Time = (first_tick or tick_period) if tick_period else FOREVER
        self.tick_pending = False
        self.ticks = 0
        self.ticks_lost = 0
        self._tick_window: Time = -1  # off_until of the last computed section that had a tick
        if env.tick_events and tick_period:
            self._schedule_tick_event()

    # -- time ---------------------------------------------------------------

    def charge(self, cost: Time, cause: str) -> None:
        """Move this processor's clock by `cost` ps, for `cause`.  Never waits."""
        self.clock = clock = self.clock + cost
        self.account[cause] += cost
        if clock > self.limit:
            self.tail.append((cause, cost))

    def charge_both(self, cost: Time, cause: str, then: Time, next_cause: str) -> None:
        """Two charges, one after the other, with no look between them."""
        clock = self.clock + cost
        self.clock = end = clock + then
        account, limit = self.account, self.limit
        account[cause] += cost
        account[next_cause] += then
        if end > limit:
            if clock > limit:
                self.tail.append((cause, cost))
            self.tail.append((next_cause, then))

    @property
    def spent(self) -> Mapping[str, Time]:
        """Cause to ps, of all its time; made anew at each call."""
        self.settle()
        total: defaultdict[str, Time] = defaultdict(int)
        for account in self.own_account.everything():
            for cause, cost in account.items():
                total[cause] += cost
        return total

    def move_time(self, source: str, target: str, amount: Time) -> None:
        """Name another cause for time that has been accounted for."""
        self.account[source] -= amount
        self.account[target] += amount

    def look(self) -> Op[None]:
        """Before a look at private state: wait only if the clock has run too far ahead."""
        while self.clock >= self.limit and (alarm := self.until_look()):
            yield alarm
            self.resume()
        if self.tail:
            self.tail.clear()

    def until_look(self) -> Alarm | None:
        """What a `look` waits for, as `until_clock` is for a `sync`; None: the look is allowed.

        while cpu.clock >= cpu.limit and (alarm := cpu.until_look()):  # look, in line
            yield alarm
            cpu.resume()
        """
        env = self.env
        while self.clock >= self.limit:
            if self.clock < self.hard and not env.tick_events:
                self.take_ticks(self.clock)
                self.limit = self.hard if self.irq_depth else min(self.hard, self.next_tick)
            elif self.clock > env._now:
                if self.next_tick <= env._now:
                    self.take_ticks(env._now)
                if alarm := self.until_clock():
                    return alarm
            else:
                break  # the plain mode: limit == now
        if self.tail:
            self.tail.clear()
        return None

    def sync(self) -> Op[None]:
        """Before a look at shared state: wait until global time is this processor's time."""
        env = self.env
        if self.next_tick <= env._now:
            self.take_ticks(env._now)
        if self.clock == env._now:
            if self.tail:
                self.tail.clear()
            self.new_limit()
            return
        while self.clock > env._now and (alarm := self.until_clock()):
            yield alarm
            self.resume()

    def until_clock(self) -> Alarm | None:
        """What a `sync` waits for; `resume` comes after it.  Hot paths write that out:

            while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
                yield alarm
                cpu.resume()

        None: nobody else is due before, so the alarm would be the next event served, and time
        has been moved to the clock without it.
        It may stand where this processor has synchronised before in the same resumption, or
        has waited: then a `sync` at clock == now would change nothing.
        """
        clock, alarm = self.clock, self.alarm
        queue = alarm.queue
        if (not queue or queue[0][0] >= clock) and self._moves_time():
            return None
        assert not alarm.armed, "a processor has at most one entry in the heap"
        alarm.armed = True  # Alarm.arm, in line
        heappush(queue, (self.clock, alarm.rank, 0, alarm))
        return alarm

    def _moves_time(self) -> bool:
        """Move global time to the clock, as long as nobody else is due before; False: somebody is."""
        env, queue, rank = self.env, self.alarm.queue, self.alarm.rank
        while env.fast_paths and not env.ending:
            clock = self.clock
            if queue and queue[0][:3] < (clock, rank, 0):  # the entry that `arm` would make
                return False
            env._now = clock
            env.events += 1
            self.resume()
            if self.clock == clock:  # else a tick has moved it
                return True
        return False

    def resume(self) -> None:
        """Global time has come to where the clock was; a handler may have moved the clock meanwhile."""
        env = self.env
        now = env._now
        if self.alarm.callbacks is None:
            self.alarm.reset()  # type: ignore[unreachable]  # as in `Alarm.reset`
        if self.next_tick <= now:
            self.take_ticks(now)
        if self.clock != now:  # a handler has moved it
            return
        if self.tail:
            self.tail.clear()
        if self.inbox or now < self.join_until:
            self.new_limit()
            return
        hard = now + env.reach  # the rest of `new_limit`, in line
        if hard > env.next_barrier:
            hard = env.next_barrier
        self.hard = self.limit = hard
        if hard > self.next_tick and not self.irq_depth:
            self.limit = self.next_tick

    def new_limit(self) -> None:
        """Compute how far this processor may run ahead; at every resume."""
        env = self.env
        now = env._now
        if not env.run_ahead:
            self.hard = self.limit = now
            return
        hard = now + env.lookahead
        if hard > env.next_barrier:
            hard = env.next_barrier
        if self.inbox:
            hard = min(hard, *self.inbox)
        if now < self.join_until < hard:
            hard = self.join_until
        self.hard = self.limit = hard
        if hard > self.next_tick and not self.irq_depth:
            self.limit = self.next_tick

    def wait(self, cause: str) -> Op[None]:
        """Wait, synchronised, until somebody arms the alarm at least 1 ps later.

        Handlers that run meanwhile overlap the wait: the clock afterwards is the
        later of the wake-up and the end of the last handler.
        """
        assert self.clock == self.env._now, "wait needs sync before it"
        began, self.stolen, self.waiting = self.clock, 0, True
        self.wait_cause, self.wait_began = cause, began
        yield self.alarm
        self.alarm.reset()
        self.take_ticks(self.env._now)
        self.waiting = False
        self.clock = max(self.env._now, self.handler_until)
        self.account[cause] += self.clock - began - self.stolen
        self.new_limit()

    def wait_until(self, at: Time, cause: str) -> Op[None]:
        """Wait, synchronised, until global time `at`; in the past means not at all."""
        if at > self.env._now:
            self.alarm.arm(at)
            yield from self.wait(cause)

    # -- interrupts of the own timer ------------------------------------------

    def take_ticks(self, until: Time) -> None:
        """Take the timer ticks due at or before `until`, unless they are events."""
        if self.env.tick_events:
            return
        while self.next_tick <= until:
            due = self.next_tick
            self.next_tick = due + self.tick_period
            self._take_tick(due)

    def _take_tick(self, due: Time) -> None:
        if self.irq_depth:
            if self.tick_pending:
                self.ticks_lost += 1
            else:
                self.tick_pending = True
                self.defer_tick(due)
        elif due <= self.off_until:  # a tick at the end still finds interrupts off
            if self._tick_window == self.off_until:
                self.ticks_lost += 1
            else:
                self._tick_window = self.off_until
                self.tick_in_window(due)
        else:
            self.run_tick(due)

    def tick_in_window(self, due: Time) -> None:
        """A tick fell due in a computed section: it runs at its end."""
        self.run_tick(self.off_until)

    def run_tick(self, at: Time) -> None:
        """Run the tick handler, not before `at`."""
        self.settle()  # a run of accesses ends: the slice may be over
        self.ticks += 1
        self.steal(at, self.tick_cost, TICK)

    def steal(self, at: Time, cost: Time, cause: str) -> None:
        """A handler takes `cost` from this processor, at `at` or after the handlers before it."""
        until = self.handler_until
        if at > until:
            until = at
            self.handler_tail.clear()
        self.handler_until = until + cost
        self.handler_tail.append((cause, cost))
        self.account[cause] += cost
        self.time_stolen += cost
        if self.waiting:
            self.stolen += cost
        else:
            self.clock += cost

    def defer_tick(self, due: Time) -> None:
        """Interrupts are off: keep the tick; `Cpu` keeps it in order with messages."""
        raise AssertionError("a processor without interrupt control cannot turn them off")

    def _schedule_tick_event(self) -> None:
        def fired(_: object) -> None:
            due, self.next_tick = self.next_tick, self.next_tick + self.tick_period
            self._schedule_tick_event()
            self._take_tick(due)
            if not self.id and (stuck := self.env.stuck()):
                raise DeadlockError(stuck)

        self.env.post_event(self.next_tick, RANK_TICK + self.id, fired)
