"""What locks share whose waiters sleep: optimistic spinning, parking, waking, handing off.

    arrive --free--> holds
           --owner runs--> spins --granted--> holds
                                 --owner parks--> sleeps
           --else--> sleeps --woken, free--> holds
                            --woken, taken--> may ask to be handed the lock; spins or sleeps

A waiter spins while the owner runs on a processor and nobody else wants its own;
spinners queue (the kernel's OSQ, an MCS queue), and a release passes the lock to
the first at one line transfer.  Others park their thread: the processor runs other
threads or idles, so that time is not the lock's.  A release wakes the first sleeper,
which tries again and may find that a spinner or a newcomer was faster; a sleeper
that has lost often or long enough asks for a hand-off: the next release gives the
lock to it and to nobody else.
The waker pays `wake_up` per thread; the woken thread runs `wake_latency` later if
its processor is idle, else when its turn comes.  If a spinner has that processor, it stops
spinning then and sleeps: what was woken may have been given the lock on whose holder the
spinner's owner waits.  Linux lets it stop when the scheduler wants the processor back.

Every thread holds its own list of locks: it takes it along when it parks.
Waittime ends and holdtime begins when the thread itself sees that it has the lock,
as in the kernel, so a hand-off's wake-up is waiting.
Source: Linux kernel/locking/mutex.c, rwsem.c and osq_lock.c.

Invariant: a sleeper is in `_sleepers` until it has the lock; a lock that is free
and has sleepers but no spinners has one that is on its way.
"""

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import Agent, check_for_deadlock
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.locks.base import Body, Lock, LockSetup, Span, Ticket
from coalsim.locks.lockdep import Held, LockClass, check_acquire, check_may_sleep, forget
from coalsim.units import Time


class Sleeper(Ticket):
    """One thread's way through a lock that sleeps."""

    __slots__ = ("asleep", "is_reader", "thread")

    def __init__(self, cpu: Cpu, site: str, *, is_reader: bool = False) -> None:
        super().__init__(cpu, site)
        assert cpu.current is not None, "only threads sleep"
        self.thread: Thread = cpu.current
        self.is_reader = is_reader
        self.asleep = False  # parked, and nobody has woken it


class SleepingLock(Lock):
    """Base of mutex and rwsem: one exclusive owner, spinners and sleepers."""

    sleeps: ClassVar[bool] = True

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self._owner: Sleeper | None = None  # who has it exclusively, or is being given it
        self._spinners: deque[Sleeper] = deque()
        self._sleepers: deque[Sleeper] = deque()
        self._handoff = False  # the first sleeper is to be handed the lock
        self.wake_cause = f"lock:{lock_class.name}:wake-up"

    # -- to be written by a policy -------------------------------------------------------

    @property
    def is_free(self) -> bool:
        """Nobody has it, and nobody is being given it."""
        return self._owner is None

    def wants_handoff(self, sleeper: Sleeper) -> bool:
        """A sleeper that has found the lock taken again asks to be handed it."""
        raise NotImplementedError(f"{type(self).__name__} does not say who is handed the lock")

    # -- for everybody -----------------------------------------------------------------------

    def acquire(self, cpu: Cpu, site: str) -> Op[None]:
        """Wait until the running thread has the lock; `site` names the caller in reports."""
        me = yield from self.arrive(cpu, site)
        if self.is_free:
            self._owner = me
        else:
            me.contended = True
            yield from self._wait_in_line(me)
        self.note_entered(me)
        cpu.charge(self.setup.taking, self.hold_cause)

    def release(self, cpu: Cpu) -> Op[None]:
        """Give the lock up; only its holder may."""
        yield from self.write_word(cpu)
        self.note_left(cpu)
        self._owner = None
        yield from self._wake(cpu, self.pass_on(cpu))

    def section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """Run `body` under the lock, with interrupts on."""
        yield from cpu.sync()
        asked = cpu.clock
        yield from self.acquire(cpu, site)
        yield from cpu.sync()
        cpu.charge(body(self.granted_at), self.hold_cause)
        yield from self.release(cpu)
        yield from cpu.sync()
        return asked, cpu.clock

    # -- for policies ------------------------------------------------------------------------

    def arrive(self, cpu: Cpu, site: str, *, is_reader: bool = False) -> Op[Sleeper]:
        """Check the rules of use and swap the lock word.

        Raises:
            LockMisuse: a lock that forbids sleep is held, or interrupts are off, or the order is wrong.
        """
        if cpu.locks_held:
            check_acquire(cpu, self, self.lock_class, site)
        if cpu.locks_held or cpu.irq_depth:
            check_may_sleep(cpu, site)
        env = cpu.env
        while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
            yield alarm
            cpu.resume()
        me = Sleeper(cpu, site, is_reader=is_reader)
        cpu.charge(self.line.rmw(cpu) - cpu.clock, self.line_cause)  # swap, in line
        while cpu.clock > env._now and (alarm := cpu.until_clock()):
            yield alarm
            cpu.resume()
        self.note_arrived(me)
        return me

    def write_word(self, cpu: Cpu) -> Op[None]:
        """The release's read-modify-write of the lock word; still part of the hold."""
        env = cpu.env
        cpu.charge(self.setup.releasing, self.hold_cause)
        while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
            yield alarm
            cpu.resume()
        forget(cpu, self, self.lock_class)
        cpu.charge(self.line.rmw(cpu) - cpu.clock, self.hold_cause)
        while cpu.clock > env._now and (alarm := cpu.until_clock()):
            yield alarm
            cpu.resume()

    def pass_on(self, cpu: Cpu) -> list[Sleeper]:
        """The lock is free now: give it to whoever is next.

        Returns:
            Whom the releaser has to wake.
        """
        if self._handoff:
            self._handoff = False
            return self._hand_to(self._sleepers.popleft(), cpu)
        if self._spinners:
            self._owner = self._spinners.popleft()
            self.grant(self._owner, self._owner.cpu.transfer[cpu.id])
        return self._rouse(self._sleepers[0]) if self._sleepers else []

    def sleep(self, me: Sleeper) -> Op[None]:
        """Park the thread until somebody wakes it."""
        cpu, thread = me.cpu, me.thread
        stolen = cpu.time_stolen
        me.asleep = True
        thread.blocked_on = self
        check_for_deadlock(thread)
        yield from park_holding(cpu)
        thread.blocked_on = None
        me.stolen += cpu.time_stolen - stolen  # from others, while this thread slept
        yield from cpu.sync()

    def send_spinners_to_sleep(self, cpu: Cpu) -> None:
        """The owner does not run: spinning for it is in vain."""
        for spinner in self._spinners:
            spinner.cpu.alarm.arm(cpu.env._now + max(1, spinner.cpu.transfer[cpu.id]))
        self._spinners.clear()

    def give_way(self, cpu: Cpu, at: Time) -> None:
        """A thread is ready on a spinner's processor at `at`; one that has been granted the lock goes on."""
        for spinner in self._spinners:
            if spinner.cpu is cpu:
                self._spinners.remove(spinner)
                cpu.alarm.arm(at)
                return

    # -- waiting -----------------------------------------------------------------------------

    def _wait_in_line(self, me: Sleeper) -> Op[None]:
        if self._may_spin(me) and (yield from self._spin_for(me)):
            return
        if not self._takes(me):
            self._sleepers.append(me)
            yield from self._sleep_for(me)
        me.granted = me.cpu.clock

    def _sleep_for(self, me: Sleeper) -> Op[None]:
        cpu = me.cpu
        while True:
            yield from self.sleep(me)
            cpu.charge(self.line.rmw(cpu) - cpu.clock, self.wait_cause)
            yield from cpu.sync()
            if self._takes(me):
                return
            if me is self._sleepers[0] and self.wants_handoff(me):
                self._handoff = True
                if self._may_spin(me) and (yield from self._spin_for(me)):
                    return

    def _takes(self, me: Sleeper) -> bool:
        """Take the lock if it is free, or has been handed over."""
        if self._owner is not me:
            if not self.is_free:
                return False
            self._owner = me
            if me in self._sleepers:
                self._handoff = self._handoff and me is not self._sleepers[0]
                self._sleepers.remove(me)
        return True

    def _may_spin(self, me: Sleeper) -> bool:
        """The owner runs, and nobody else wants this processor."""
        owner = self._owner
        return owner is not None and owner.thread.cpu is not None and me.cpu.queue.is_empty

    def _spin_for(self, me: Sleeper) -> Op[bool]:
        """Spin until granted the lock (True) or sent to sleep."""
        self._spinners.append(me)
        me.cpu.blocked_on = self
        yield from self.spin(me.cpu, me)
        me.cpu.blocked_on = None
        yield from me.cpu.sync()
        return self._owner is me

    # -- waking ------------------------------------------------------------------------------

    def _hand_to(self, heir: Sleeper, cpu: Cpu) -> list[Sleeper]:
        """The lock goes to `heir` and to nobody else."""
        self._owner = heir
        if heir.waiting:
            if heir in self._spinners:  # else it has just given way, and sees what it has got when it wakes
                self._spinners.remove(heir)
                self.grant(heir, heir.cpu.transfer[cpu.id])
            return []
        self.send_spinners_to_sleep(cpu)
        return self._rouse(heir)

    def _rouse(self, sleeper: Sleeper) -> list[Sleeper]:
        """The sleeper in a list of those to be woken, unless it is on its way already."""
        if not sleeper.asleep:
            return []
        sleeper.asleep = False
        return [sleeper]

    def _wake(self, cpu: Cpu, sleepers: Sequence[Sleeper]) -> Op[None]:
        for sleeper in sleepers:
            cpu.charge(self.setup.wake_up, self.wake_cause)
            yield from cpu.sync()
            ready_at = cpu.clock + max(1, self.setup.wake_latency)
            sleeper.cpu.enqueue(sleeper.thread, ready_at)
            if isinstance(spun_for := sleeper.cpu.blocked_on, SleepingLock):
                spun_for.give_way(sleeper.cpu, ready_at)

    # -- for deadlock reports ------------------------------------------------------------

    @property
    def is_passing_on(self) -> bool:
        """Its next owner is known and on the way."""
        return self._owner is not None

    def blockers(self) -> Sequence[Agent]:
        """The thread that holds it."""
        return [self.holder.thread] if isinstance(self.holder, Sleeper) else []

    def describe(self) -> str:
        """Which lock, and who has it."""
        if not isinstance(self.holder, Sleeper):
            return f"{self.type} {self.name} (nobody holds it)"
        return f"{self.type} {self.name} (held by {self.holder.thread.label} since {self.holder.site})"


def park_holding(cpu: Cpu) -> Op[None]:
    """Park the running thread with the locks that it holds, until somebody enqueues it; synchronised."""
    for held in cpu.locks_held:
        assert isinstance(held, Held)
        if isinstance(held.lock, SleepingLock):
            held.lock.send_spinners_to_sleep(cpu)
    mine, cpu.locks_held = cpu.locks_held, []
    yield from cpu.park()
    cpu.locks_held = mine
