"""Queued spinlocks: first come, first served, with a constant hand-over.

Each arrival swaps itself onto the queue's tail (one read-modify-write of the lock
word); the holder writes the line that its successor spins on, so hand-over costs
one cache-line transfer between the two, whatever the number of waiters.

The short cut (`section`): with interrupts off from before the arrival to the
release, and a body that touches only what the lock guards, everything about the
section is known on arrival: it is granted when the last section before it ends
plus the hand-over, or at once.  So the change is made on arrival and the clock is
moved, without waiting: one event instead of four.  It is exact only if

    interrupts go off before the swap,   nobody uses this lock by events now,
    grant + longest < next barrier,      hand-over >= 1 ps;

else the section is played by events.  The other way round, an arrival by events
waits until the computed sections are over.  A swap under way counts as a user by
events from its start.
Source: Mellor-Crummey and Scott, "Algorithms for scalable synchronization on
shared-memory multiprocessors", ACM TOCS 9(1), 1991.

Invariant: `free_at` is the end of the last hold that is known; `queue` holds the
users by events in the order in which the line served their swaps.
"""

from collections import deque

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Body, LockSetup, Span, SpinLock, Ticket
from coalsim.locks.lockdep import LockClass, check_acquire, note_irqs_off
from coalsim.units import Time


class QueuedLock(SpinLock):
    """The MCS lock, and the part of the qspinlock that is like it."""

    in_order = True

    def __init_subclass__(cls, **kwargs: object) -> None:
        """A policy with ways of its own in or out plays them: the short cuts know only ours."""
        super().__init_subclass__(**kwargs)
        if not vars(cls).keys().isdisjoint(("enter", "leave", "handover")):
            for name in ("section", "is_near"):
                if name not in vars(cls):
                    setattr(cls, name, getattr(SpinLock, name))

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self.queue: deque[Ticket] = deque()
        self.free_at: Time = 0

    def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Swap onto the tail; wait behind whoever is ahead."""
        ticket.arrived = self.line.rmw(cpu)
        yield from self._queue_up(cpu, ticket)

    def _queue_up(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """The swap is under way until `ticket.arrived`."""
        ticket.ahead, ticket.last = (
            (self.queue[-1].site, self.queue[-1].cpu.id) if self.queue else (self.last_site, self.last)
        )
        self.queue.append(ticket)
        cpu.charge(ticket.arrived - cpu.clock, self.line_cause)
        env = cpu.env
        while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
            yield alarm
            cpu.resume()
        if ticket.ends:  # computed meanwhile
            cpu.alarm.arm(ticket.ends)
            yield from cpu.wait(self.wait_cause)
            return
        now = cpu.clock
        ticket.arrived = ticket.granted = now  # a handler may have made it later
        ticket.stolen = cpu.time_stolen
        if self.queue[0] is not ticket:
            ticket.contended = ticket.waiting = True
            yield from self._spin(cpu, ticket)
        elif (self.free_at, self.last) > (now, cpu.id):  # behind computed sections
            ticket.contended = True
            self._grant(ticket, self.free_at)
            yield from self._spin(cpu, ticket)

    def _spin(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        before = cpu.account[self.wait_cause]
        yield from self.block(cpu)
        if not ticket.ends:
            waited = cpu.account[self.wait_cause] - before
            cpu.move_time(self.wait_cause, self.pass_cause, min(waited, self.handover(ticket)))

    def handover(self, ticket: Ticket) -> Time:
        """From the release by the last holder to the ticket's grant: one line transfer."""
        return ticket.cpu.transfer[self.last]

    def _grant(self, ticket: Ticket, released: Time) -> None:
        ticket.granted = released + self.handover(ticket)
        ticket.cpu.alarm.arm(ticket.granted)

    def leave(self, cpu: Cpu) -> Op[None]:
        """Write the successor's line, if it waits already; one that still swaps will see the lock free."""
        self.queue.popleft()
        self.free_at = cpu.clock
        if self.queue and not self._compute_queue() and self.queue[0].waiting:
            self._grant(self.queue[0], cpu.clock)
        yield from ()

    def _compute_queue(self) -> bool:
        """Compute the sections of everybody queued, if the short cut is exact for all of them.

        Without this a saturated lock that was once used by events would be so for ever.
        """
        ends, last = self.free_at, self.last
        for ticket in self.queue:
            passing = ticket.cpu.transfer[last]
            if ticket.body is None or not passing:
                return False
            ends = max(ends, ticket.arrived) + passing + ticket.longest + self.overhead
            last = ticket.cpu.id
        env = ticket.cpu.env
        if not env.fast_paths or ends >= env.next_barrier:
            return False
        for ticket in self.queue:
            assert ticket.body is not None
            cpu, free_at = ticket.cpu, self.free_at
            ticket.contended = (free_at, self.last) > (ticket.arrived, cpu.id)
            ticket.granted = free_at + self.handover(ticket) if ticket.contended else ticket.arrived
            ticket.hold = ticket.body(ticket.granted) + self.overhead
            ticket.ends = ticket.granted + ticket.hold
            usage = self.stat.usage(ticket.site)
            if ticket.contended:
                usage.waited(
                    cpu.lock_waits, ticket.granted - ticket.arrived, ticket.last != cpu.id, ticket.ahead
                )
            usage.held(ticket.hold, self.last != cpu.id)
            self.free_at, self.last, self.last_site = ticket.ends, cpu.id, ticket.site
            if self.released.listeners:
                self.released.fire(
                    ticket.ends, cpu.id, self.name, ticket.site, ticket.arrived, ticket.granted
                )
            if ticket.waiting:
                cpu.alarm.arm(ticket.ends)
        self.queue.clear()
        return True

    def is_near(self, cpu: Cpu) -> bool:
        """Nobody has it, and its last holder was this processor."""
        return not self.queue and self.line.is_near(cpu)

    def note_passed(self, cpu: Cpu, site: str, granted: Time, stolen: Time) -> None:
        """As at a release by events; there was nobody to pass it on to."""
        usage = self.stat.sites.get(site) or self.stat.usage(site)
        usage.held(cpu.clock - granted, self.last != cpu.id)
        self.stat.stolen += cpu.time_stolen - stolen
        self.last, self.last_site, self.free_at = cpu.id, site, cpu.clock
        if self.released.listeners:
            self.released.fire(cpu.clock, cpu.id, self.name, site, granted, granted)

    def section(self, cpu: Cpu, body: Body, longest: Time, site: str) -> Op[Span]:
        """As in the base class, in one event where the short cut is exact."""
        env = cpu.env
        if cpu.next_tick <= cpu.clock or not env.fast_paths:
            yield from cpu.sync()  # also the look that turning interrupts off needs
        else:  # the same in line
            while cpu.clock > env._now:
                alarm = cpu.alarm
                alarm.arm(cpu.clock)
                yield alarm
                alarm.reset()
                if cpu.next_tick <= env._now:
                    cpu.take_ticks(env._now)
            if cpu.tail:
                cpu.tail.clear()
            cpu.new_limit()
        if cpu.locks_held:
            check_acquire(cpu, self, self.lock_class, site)
        cpu.irq_depth += 1
        cpu.limit = cpu.hard
        now, me, last = cpu.clock, cpu.id, self.last
        swapped = self.line.rmw(cpu)
        free_at = self.free_at
        contended = free_at > swapped or (free_at == swapped and last > me)
        grant = free_at + cpu.transfer[last] if contended else swapped
        if (
            self.queue
            or not env.fast_paths
            or grant + longest + self.overhead >= env.next_barrier
            or (contended and grant == free_at)
        ):
            ticket = Ticket(cpu, site)
            ticket.arrived, ticket.body, ticket.longest = swapped, body, longest
            released = yield from self._section_by_events(cpu, ticket)
            return now, released
        if not self.lock_class.taken_irqs_off_at:
            note_irqs_off(self.lock_class, site)
        hold = body(grant) + self.overhead
        assert hold <= longest + self.overhead, "a body holds the lock longer than it said"
        # The charges in line: they end before the next barrier, so `tail` need not know them.
        spent = cpu.account
        if contended:
            spent[self.wait_cause] += free_at - swapped
            spent[self.pass_cause] += grant - free_at
        spent[self.line_cause] += swapped - now
        spent[self.hold_cause] += hold
        try:
            usage = self.stat.sites[site]
        except KeyError:
            usage = self.stat.usage(site)
        usage.section(cpu.lock_waits, grant - swapped, hold, contended, last != me, self.last_site)
        released = cpu.clock = self.free_at = grant + hold
        self.last, self.last_site = me, site
        if self.released.listeners:
            self.released.fire(released, me, self.name, site, swapped, grant)
        cpu.irq_depth -= 1
        if not cpu.irq_depth:  # then nothing is pending: interrupts were on when it arrived
            cpu.off_until = released
            cpu.limit = cpu.hard if cpu.hard < cpu.next_tick else cpu.next_tick
        return now, released

    def _section_by_events(self, cpu: Cpu, ticket: Ticket) -> Op[Time]:
        """The section played out; interrupts are off and the swap is under way.  Returns the release."""
        assert ticket.body is not None
        note_irqs_off(self.lock_class, ticket.site)
        cpu.preempt_depth += 1
        last = self.queue[-1].cpu.id if self.queue else self.last
        cpu.blocked_on = self
        yield from self._queue_up(cpu, ticket)
        cpu.blocked_on = None
        if ticket.ends:
            if ticket.contended:
                cpu.move_time(self.wait_cause, self.pass_cause, cpu.transfer[last])
            cpu.move_time(self.wait_cause, self.hold_cause, ticket.hold)
            cpu.preempt_depth -= 1
        else:
            self.note_entered(ticket)
            cpu.charge(ticket.body(ticket.granted), self.hold_cause)
            yield from self.release(cpu)
        released = cpu.clock
        yield from cpu.irq_on()
        return released
