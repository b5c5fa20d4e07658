"""What every lock shares: the interface, its use by events, and the statistics.

    acquire(cpu, site)        wait until this processor has it
    release(cpu)              give it up
    section(cpu, body)        run a short body under it, interrupts off
    read_section(cpu, body)   run a short body that only reads what the lock guards

A spinlock's waiters keep their processors, and its sections run with interrupts off.

A policy is a subclass that says how to get in and how to pass on:

    class MyLock(SpinLock):
        def enter(self, cpu, ticket) -> Op[None]: ...   # set ticket.arrived, .granted ...
        def leave(self, cpu) -> Op[None]: ...           # let the next one in

`enter` begins and ends synchronised, swaps the lock word with `self.line.rmw(cpu)`
and, if it must wait, ends when somebody has armed its alarm (`cpu.wait`).
A `body` changes only what the lock guards and returns how long that takes; it gets
the time of the grant and must not wait.  Policies with a constant hand-over
override `section` with the short cut of `queued.py`.

Invariant: at most one holder; `holder` is None iff the lock is free by events.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import Agent, check_for_deadlock
from coalsim.engine.clock import Op
from coalsim.engine.probes import Probes
from coalsim.engine.streams import Streams
from coalsim.errors import LockMisuse
from coalsim.locks.lockdep import Held, LockClass, check_acquire, forget, note_irqs_off
from coalsim.locks.lockstat import LockStat
from coalsim.units import CpuId, Time

NOBODY = CpuId(-1)

Body = Callable[[Time], Time]
"""What runs under a lock: gets the time of the grant, returns how long it holds."""


Span: TypeAlias = tuple[Time, Time]
"""When a lock was asked for and when it was released, in absolute ps."""


@dataclass(frozen=True, kw_only=True)
class LockSetup:
    """What a lock needs from the system.

    Args:
        taking: instructions of taking a free lock, in ps.
        releasing: instructions of releasing it, in ps.
        pause: one spin-wait hint, in ps.
        wake_up: what waking a sleeping thread takes from the waker, in ps.
        wake_latency: from waking to running on an idle processor, in ps, at least 1.
        tas_winner: who wins a test-and-set race: `random` or `nearest`.
        streams: the run's random numbers.
        cpus: the machine's processors, for locks that must ask all of them.
        probes: where `lock:released` can be listened to: each acquisition that is over, with
            release time, processor, lock, call site, arrival and grant (times in ps).  Those played
            by events that had to wait are heard at `lock:waited`: release time, processor, name and
            type of the class, lock, call site, the one right ahead, arrival and grant.
    """

    taking: Time = 0
    releasing: Time = 0
    pause: Time = 1
    wake_up: Time = 0
    wake_latency: Time = 1
    tas_winner: str = "random"
    streams: Streams
    cpus: Sequence[Cpu] = ()
    probes: Probes = field(default_factory=Probes)


class Ticket:
    """One processor's way through a lock."""

    __slots__ = (
        "ahead",
        "arrived",
        "body",
        "contended",
        "cpu",
        "ends",
        "granted",
        "hold",
        "last",
        "longest",
        "passing",
        "site",
        "stolen",
        "waiting",
    )

    def __init__(self, cpu: Cpu, site: str) -> None:
        self.cpu = cpu
        self.site = site
        self.arrived: Time = 0  # its swap of the lock word was done
        self.granted: Time = 0  # lock time at which it had the lock
        self.contended = False
        self.waiting = False  # it waits for its alarm
        self.last = NOBODY  # the last holder when it came
        self.passing: Time = 0  # the part of its wait that was the hand-over to it
        self.stolen: Time = 0  # by handlers from its processor, up to the arrival
        self.body: Body | None = None  # what runs under the lock, where that is known beforehand
        self.longest: Time = 0  # no hold of that body is longer
        self.hold: Time = 0  # its hold, once computed
        self.ends: Time = 0  # its release, once computed
        self.ahead = ""  # call site of whoever was right ahead


class Lock:
    """Base of all locks: the interface, the statistics, and who is to blame in a deadlock.

    Args:
        lock_class: name, rank and statistics, shared by all instances.
        name: of this instance.
        setup: costs and random numbers.
    """

    sleeps: ClassVar[bool] = False
    """Waiters give their processors away, so it cannot be taken with interrupts off."""
    excludes: ClassVar[bool] = True
    """At most one body of `section` runs at a time."""
    in_order: ClassVar[bool] = False
    """It is granted in the order of arrival; the lock kit holds it to that."""
    type: ClassVar[str] = "spinlock"
    """perf's word for it."""
    readers: ClassVar[bool] = False
    """Readers are counted apart."""

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        self.lock_class = lock_class
        self.name = name
        self.setup = setup
        self.stat = lock_class.new_stat(name)
        self.released = setup.probes.probe("lock:released")
        self.waited = setup.probes.probe("lock:waited")
        self.line = CacheLine(name)
        self.holder: Ticket | None = None
        self.last = NOBODY  # the last processor that had it
        self.last_site = ""  # and where it had taken it
        self.line_cause = f"line:{lock_class.name}"
        self.wait_cause = f"lock:{lock_class.name}:wait"
        self.pass_cause = f"lock:{lock_class.name}:hand-over"
        self.hold_cause = f"lock:{lock_class.name}:hold"
        self.overhead = setup.taking + setup.releasing
        self._records: dict[str, Held] = {}  # by site: what a processor keeps of this lock while it holds it

    @classmethod
    def make_class(cls, name: str, rank: int) -> LockClass:
        """A class for locks of this policy, with the rows that its statistics need."""
        return LockClass(name, rank, type=cls.type, sleeps=cls.sleeps, readers=cls.readers)

    # -- to be written by each kind of lock ---------------------------------------------

    def acquire(self, cpu: Cpu, site: str) -> Op[None]:
        """Wait until this processor has the lock; `site` names the caller in reports."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to acquire it")

    def release(self, cpu: Cpu) -> Op[None]:
        """Give the lock up; only its holder may."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to release it")

    def section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """Run `body` under the lock.

        Args:
            cpu: the processor.
            body: changes what the lock guards; gets the grant's time, returns the hold in ps.
            longest: no hold is longer, in ps.
            site: the caller's name in reports.

        Returns:
            When it asked and when it released: both are final, whatever interrupts come,
            and lie before the next barrier, so an operation may be counted by them
            without a look.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to run a section")

    def read_section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """Run a body that changes nothing, beside other readers where the lock allows it."""
        return (yield from self.section(cpu, body, longest, site))

    # -- bookkeeping for policies ----------------------------------------------------------

    @property
    def granted_at(self) -> Time:
        """Lock time at which the holder got it."""
        assert self.holder is not None
        return self.holder.granted

    def swap(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Arrive: one read-modify-write of the lock word, after which its old value is known."""
        done = self.line.rmw(cpu)
        cpu.charge(done - cpu.clock, self.line_cause)
        yield from cpu.sync()
        self.note_arrived(ticket)

    def note_arrived(self, ticket: Ticket) -> None:
        """The ticket's processor has done its swap; a handler may have made it later."""
        cpu = ticket.cpu
        ticket.arrived = ticket.granted = cpu.clock
        ticket.stolen = cpu.time_stolen
        ticket.last = self.last
        ticket.ahead = self.holder.site if self.holder is not None else self.last_site

    def block(self, cpu: Cpu) -> Op[None]:
        """Spin until another processor arms the alarm."""
        check_for_deadlock(cpu)
        yield from cpu.wait(self.wait_cause)

    def spin(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Spin until granted; the last part of the wait is the hand-over."""
        ticket.contended = ticket.waiting = True
        before = cpu.account[self.wait_cause]
        yield from self.block(cpu)
        ticket.waiting = False
        waited = cpu.account[self.wait_cause] - before
        cpu.move_time(self.wait_cause, self.pass_cause, min(waited, ticket.passing))

    def grant(self, ticket: Ticket, passing: Time) -> None:
        """Pass the lock, `passing` ps from now, to a ticket whose processor spins."""
        ticket.passing = max(1, passing)  # nothing crosses between processors in no time
        ticket.granted = ticket.cpu.env._now + ticket.passing
        ticket.cpu.alarm.arm(ticket.granted)

    def note_entered(self, ticket: Ticket) -> None:
        """The ticket's processor has the lock.

        Raises:
            LockMisuse: so has another one.
        """
        if (other := self.holder) is not None:
            raise LockMisuse(
                f"lock {self.name} lets CPU {ticket.cpu.id} in at {ticket.site} although "
                f"CPU {other.cpu.id} has had it since {other.site}"
            )
        self.holder = ticket
        self.note_granted(ticket)

    def note_granted(self, ticket: Ticket) -> None:
        """The ticket's processor holds the lock."""
        ticket.cpu.locks_held.append(Held(self, self.lock_class, ticket.site))

    def note_left(self, cpu: Cpu) -> None:
        """The holder releases now."""
        ticket = self.holder
        assert ticket is not None
        self.note_released(ticket, self.stat)
        self.holder = None

    def note_released(self, ticket: Ticket, stat: LockStat) -> None:
        """Record a ticket whose hold ends now, wait and hold at once: no wait without its acquisition."""
        cpu = ticket.cpu
        usage = stat.sites.get(ticket.site) or stat.usage(ticket.site)
        if ticket.contended:
            usage.waited(cpu.lock_waits, ticket.granted - ticket.arrived, ticket.last != cpu.id, ticket.ahead)
            if self.waited.listeners:
                self.tell_waited(ticket, stat)
        usage.held(cpu.clock - ticket.granted, self.last != cpu.id)
        stat.stolen += cpu.time_stolen - ticket.stolen
        self.last, self.last_site = cpu.id, ticket.site
        if self.released.listeners:
            self.released.fire(cpu.clock, cpu.id, self.name, ticket.site, ticket.arrived, ticket.granted)

    def tell_waited(self, ticket: Ticket, stat: LockStat) -> None:
        """Tell the probe of a wait whose hold ends now."""
        cpu, row = ticket.cpu, (stat.name, stat.type)
        facts = (self.name, ticket.site, ticket.ahead, ticket.arrived, ticket.granted)
        self.waited.fire(cpu.clock, cpu.id, row, *facts)

    # -- for deadlock reports ------------------------------------------------------------

    @property
    def is_passing_on(self) -> bool:
        """Nobody holds it, but an event that is due will say who does: its waiters are not lost."""
        return False

    def blockers(self) -> Sequence[Agent]:
        """The holder."""
        return [self.holder.cpu] if self.holder is not None else []

    def describe(self) -> str:
        """Which lock, and who has it."""
        if self.holder is None:
            return f"lock {self.name} (nobody holds it: it was never passed on)"
        return f"lock {self.name} (held by CPU {self.holder.cpu.id} since {self.holder.site})"


class SpinLock(Lock):
    """Base of all spinning policies."""

    # -- to be written by a policy ------------------------------------------------

    def is_near(self, cpu: Cpu) -> bool:
        """Taking it would be a hit in the processor's cache, if nobody else came first.

        Then whoever knows that nobody else can come may pass through it on its own time:
        charge the swap, look, charge `overhead` after the body, look, and call `note_passed`.
        """
        return False

    def note_passed(self, cpu: Cpu, site: str, granted: Time, stolen: Time) -> None:
        """The end of such a passage; `stolen` is what handlers had taken from the processor at the grant."""
        raise NotImplementedError(f"{type(self).__name__} is never near")

    def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Get the lock; set the ticket's arrived, granted, contended and stolen."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to enter")

    def leave(self, cpu: Cpu) -> Op[None]:
        """Pass the lock on or leave it free."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to leave")

    # -- for everybody ------------------------------------------------------------------

    def acquire(self, cpu: Cpu, site: str) -> Op[None]:
        """Spin until this processor has the lock; `site` names the caller in reports."""
        if cpu.locks_held:
            check_acquire(cpu, self, self.lock_class, site)
        if cpu.irq_depth:
            note_irqs_off(self.lock_class, site)
        cpu.preempt_depth += 1
        env = cpu.env
        while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
            yield alarm
            cpu.resume()
        ticket = Ticket(cpu, site)
        ticket.last = self.last
        cpu.blocked_on = self
        yield from self.enter(cpu, ticket)
        cpu.blocked_on = None
        if self.holder is not None:
            self.note_entered(ticket)  # an error
        self.holder = ticket  # the rest of it, in line
        held = self._records.get(site)
        if held is None:
            held = self._records[site] = Held(self, self.lock_class, site)
        cpu.locks_held.append(held)

    def release(self, cpu: Cpu) -> Op[None]:
        """Give the lock up; only its holder may.

        The instructions of taking it are charged here too, so that the holder may look at what
        the lock guards at the instant of the grant: an event less per section.
        """
        cpu.charge(self.overhead, self.hold_cause)
        env = cpu.env
        while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
            yield alarm
            cpu.resume()
        ticket, held = self.holder, cpu.locks_held
        if ticket is not None and held and held[-1] is self._records.get(ticket.site):
            held.pop()  # forget, in line, where the last lock taken is released first
        else:
            forget(cpu, self, self.lock_class)
        assert ticket is not None, "only the holder releases it"
        self.note_released(ticket, self.stat)
        self.holder = None
        yield from self.leave(cpu)
        cpu.preempt_depth -= 1

    def section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """Run `body` under the lock with interrupts off from before the arrival to the release."""
        yield from cpu.sync()
        yield from cpu.irq_off()
        span = yield from self.interruptible_section(cpu, body, longest, site)
        yield from cpu.irq_on()
        return span

    def interruptible_section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """As `section`, but interrupts stay as they are: handlers may stretch it, so it is never computed."""
        yield from cpu.sync()
        asked = cpu.clock
        yield from self.acquire(cpu, site)
        yield from cpu.sync()
        cpu.charge(body(self.granted_at), self.hold_cause)
        yield from self.release(cpu)
        return asked, cpu.clock
