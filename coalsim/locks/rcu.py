"""Read-copy-update: readers touch nothing shared, writers wait until all of them are gone.

    acquire/release    a read section: private to its processor, nests, may not sleep
    synchronize        sleep until every read section that had begun is over
    defer              run a callback after that, without waiting

A grace period begins when somebody asks and none is under way; who asks meanwhile
shares the next one.  It asks every processor that is not idle, and ends when each
has passed a quiescent state: at its next timer tick outside a read section, or, if
the tick falls into one, at the end of that.  (A context switch is reported by the
tick after it, as in the kernel, and so needs no rule of its own.  A processor
without ticks is interrupted one lookahead later, as an expedited period does.)
The ticks are asked for by messages that arrive when they fall due, so a processor
that has run ahead is asked at the same point of its work; interrupts-off sections
are passed over like read sections, because a message waits for their end.

Readers do not exclude anybody: `section` is a read section, and a lock that must
exclude is another policy.
Statistics: `:R` counts read sections, which never wait; `:W` counts calls of
`synchronize`, whose waittime is that of the grace period.
Source: McKenney, "Is parallel programming hard, and, if so, what can you do about
it?", chapter 9; Linux kernel/rcu/tree.c.

Invariant: at most one grace period is under way; `_owed` says which processors will
report at the end of their read section.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import Agent, check_for_deadlock
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import RANK_MESSAGE, RANK_USER, Op
from coalsim.engine.messages import Shot
from coalsim.errors import LockMisuse
from coalsim.locks.base import Body, Lock, LockSetup, Span
from coalsim.locks.lockdep import UNRANKED, Held, LockClass, check_may_sleep, forget
from coalsim.units import CpuId, Time


class Deferred(NamedTuple):
    """A callback and what it takes from the processor that runs it, in ps."""

    run: Callable[[Cpu], None]
    cost: Time


class _Reader:
    """One processor's read section, and the callbacks that it has deferred; private to it."""

    __slots__ = ("began", "closed", "depth", "open", "owes", "site", "stolen")

    def __init__(self) -> None:
        self.depth = 0
        self.began: Time = 0
        self.site = ""
        self.stolen: Time = 0
        self.owes = False  # a tick found it reading: it reports when it stops
        self.open: list[Deferred] = []  # since the batch was closed
        self.closed: list[Deferred] = []  # waits for a grace period


class _Request(NamedTuple):
    """Somebody who waits for a grace period: a sleeping thread, or a batch of callbacks."""

    cpu: Cpu
    thread: Thread | None


class Rcu(Lock):
    """Readers that cost nothing; updates that wait for a grace period."""

    excludes: ClassVar[bool] = False
    type: ClassVar[str] = "rcu"
    readers: ClassVar[bool] = True

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self._readers: dict[CpuId, _Reader] = {}
        self._period: _GracePeriod | None = None
        self._next: list[_Request] = []  # for the grace period after this one
        self.periods = 0  # that have ended

    @classmethod
    def make_class(cls, name: str, rank: int) -> LockClass:
        """A class without a rank: a read section may hold any lock, and any lock a read section."""
        return super().make_class(name, UNRANKED)

    # -- reading -------------------------------------------------------------------------

    def acquire(self, cpu: Cpu, site: str) -> Op[None]:
        """Begin a read section, or one more inside it."""
        yield from cpu.look()
        reader = self.reader(cpu)
        reader.depth += 1
        if reader.depth == 1:
            cpu.preempt_depth += 1
            reader.site, reader.began, reader.stolen = site, cpu.clock, cpu.time_stolen
            cpu.locks_held.append(Held(self, self.lock_class, site))

    def release(self, cpu: Cpu) -> Op[None]:
        """End a read section; the outermost one reports if a grace period waits for it."""
        yield from cpu.look()
        reader = self.reader(cpu)
        if not reader.depth:
            raise LockMisuse(f"CPU {cpu.id} ends a read of {self.lock_class.name} that it has not begun")
        reader.depth -= 1
        if reader.depth:
            return
        forget(cpu, self, self.lock_class)
        stat = self.lock_class.read_stat
        assert stat is not None, "the class of an RCU domain is made by Rcu.make_class"
        stat.usage(reader.site).held(cpu.clock - reader.began, False)
        stat.stolen += cpu.time_stolen - reader.stolen
        cpu.preempt_depth -= 1
        if reader.owes:
            reader.owes = False
            yield from cpu.sync()
            if self._period is not None:
                self._period.passed(cpu, cpu.clock)

    def section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """Read: nobody is kept out."""
        yield from cpu.look()
        asked = cpu.clock
        yield from self.acquire(cpu, site)
        cpu.charge(body(cpu.clock), self.hold_cause)
        yield from self.release(cpu)
        return asked, cpu.clock

    def reader(self, cpu: Cpu) -> _Reader:
        """The state that is private to a processor."""
        reader = self._readers.get(cpu.id)
        if reader is None:
            reader = self._readers[cpu.id] = _Reader()
        return reader

    # -- updating ------------------------------------------------------------------------

    def synchronize(self, cpu: Cpu, site: str) -> Op[None]:
        """Sleep until every read section that has begun is over.

        Raises:
            LockMisuse: in a read section, under a spinlock or with interrupts off.
        """
        check_may_sleep(cpu, site)
        yield from cpu.sync()
        asked, thread = cpu.clock, cpu.current
        assert thread is not None, "only threads sleep"
        mine, cpu.locks_held = cpu.locks_held, []
        self._ask(_Request(cpu, thread))
        thread.blocked_on = self
        check_for_deadlock(thread)
        yield from cpu.park()
        thread.blocked_on = None
        cpu.locks_held = mine
        yield from cpu.sync()
        usage = self.stat.usage(site)
        usage.waited(cpu.lock_waits, cpu.clock - asked, False, "")
        if self.waited.listeners:
            row = self.stat.name, self.stat.type
            self.waited.fire(cpu.clock, cpu.id, row, self.name, site, "", asked, cpu.clock)
        usage.held(0, False)

    def defer(self, cpu: Cpu, callback: Deferred) -> Op[None]:
        """Run a callback on this processor once every read section that has begun is over.

        It runs as a handler: it changes this processor's private state only.  Callbacks
        deferred while a batch of this processor waits form its next batch.
        """
        yield from cpu.look()
        reader = self.reader(cpu)
        reader.open.append(callback)
        if not reader.closed:
            reader.closed, reader.open = reader.open, []
            yield from cpu.sync()
            self._ask(_Request(cpu, None))

    # -- grace periods -------------------------------------------------------------------

    def _ask(self, request: _Request) -> None:
        self._next.append(request)
        if self._period is None:
            self._begin(request.cpu)

    def _begin(self, sender: Cpu) -> None:
        requests, self._next = self._next, []
        self._period = _GracePeriod(self, sender, requests)
        self._period.ask()

    def period_over(self, period: "_GracePeriod") -> None:
        """Let everybody go on who waited for it; begin the next one if somebody asked."""
        env = period.sender.env
        self._period = None
        self.periods += 1
        for request in period.requests:
            cpu, thread = request
            if thread is not None:
                cpu.enqueue(thread, env._now + max(1, self.setup.wake_latency))
            else:
                self._invoke(cpu)
        if self._next:
            self._begin(self._next[0].cpu)

    def _invoke(self, cpu: Cpu) -> None:
        """Run the closed batch of callbacks of a processor, as one handler."""
        reader = self.reader(cpu)
        cost = sum(callback.cost for callback in reader.closed)

        def run(target: Cpu) -> None:
            batch, reader.closed, reader.open = reader.closed, reader.open, []
            for callback in batch:
                callback.run(target)
            if reader.closed:
                target.env.post_event(
                    max(target.handler_until, target.env._now) + 1,
                    RANK_MESSAGE + target.id,
                    lambda _: self._ask(_Request(target, None)),
                )

        interrupt(cpu, cpu, next_chance(cpu, cpu.env._now), cost, run)

    # -- for deadlock reports ------------------------------------------------------------

    def blockers(self) -> Sequence[Agent]:
        """The processors whose read sections hold the grace period up."""
        return self._period.readers if self._period is not None else []

    def describe(self) -> str:
        """What holds the grace period up."""
        names = [
            f"CPU {cpu.id} since {self.reader(cpu).site}"
            for cpu in (self._period.readers if self._period is not None else ())
        ]
        readers = f"readers: {', '.join(names)}" if names else "no tick has found a reader yet"
        return f"a grace period of {self.name} ({readers})"


class _GracePeriod:
    """One grace period: whom it asks, and who waits for it."""

    def __init__(self, domain: Rcu, sender: Cpu, requests: list[_Request]) -> None:
        self.sender = sender
        self.requests = requests
        self.readers: list[Cpu] = []  # found reading: they will report
        self._domain = domain
        self._left = 0
        self._last: Time = sender.env._now  # the latest quiescent state so far

    def ask(self) -> None:
        """Ask every processor that is not idle to report at its next tick."""
        busy = [cpu for cpu in self._domain.setup.cpus if cpu.current is not None]
        self._left = len(busy) + 1
        now = self.sender.env._now
        for cpu in busy:
            interrupt(self.sender, cpu, next_chance(cpu, now), 0, self._asked)
        self.passed(self.sender, now)  # the one too many: for a machine that is idle

    def _asked(self, cpu: Cpu) -> None:
        reader = self._domain.reader(cpu)
        if reader.depth:
            reader.owes = True
            self.readers.append(cpu)
        else:
            self.passed(cpu, cpu.handler_until)

    def passed(self, cpu: Cpu, at: Time) -> None:
        """A processor is known to be quiescent at `at`, which may lie ahead of now."""
        if cpu in self.readers:
            self.readers.remove(cpu)
        self._left -= 1
        self._last = max(self._last, at)
        if not self._left:
            # Not an event of a processor's class: who asks at that very instant is late.
            self.sender.env.post_event(self._last + 1, RANK_USER, self._over)

    def _over(self, _: Event) -> None:
        self._domain.period_over(self)


def next_chance(cpu: Cpu, now: Time) -> Time:
    """The next tick of `cpu` that a message sent now can meet; without ticks, its earliest arrival."""
    soonest = now + max(1, cpu.env.lookahead)
    if not cpu.tick_period:
        return soonest
    # `next_tick` depends on how far the processor has run; its remainder by the period does not.
    return soonest + (cpu.next_tick - soonest) % cpu.tick_period


def interrupt(sender: Cpu, target: Cpu, at: Time, cost: Time, effect: Callable[[Cpu], None]) -> None:
    """Let a handler run on `target` at `at`; unlike `Cpu.send`, from any event and to oneself."""
    shot = Shot[Cpu](None, sender.env._now, 1, cost, effect, lambda _: 0)
    target.inbox.append(at)
    target.env.post_event(at, RANK_MESSAGE + sender.id, lambda _: target.deliver(at, shot))
