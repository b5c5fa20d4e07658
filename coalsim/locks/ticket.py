"""The ticket lock: first come, first served, but everybody watches one word.

An arrival draws a ticket (one read-modify-write of the word); a release writes the
number that is served now.  That takes the copy of every waiter away, and the line
hands the copies out again one at a time, in any order, so the one whose turn it is
gets its copy after half of them on average.  The model charges that mean:

    hand-over = sum over waiters of occupancy / 2,  at least 1 ps

(occupancies of lines coming to the releaser; k waiters at one cost c: c k/2).  The
waiters are counted at the release, so a late one still slows the hand-over that it
arrives before; for that reason its sections cannot be computed on arrival.
Source: Boyd-Wickizer, Kaashoek, Morris, Zeldovich, "Non-scalable locks are
dangerous", Ottawa Linux Symposium 2012, whose model charges the same c k/2.

Invariant: `_queue` is in the order of the tickets; its first entry is the holder or
whoever gets the lock next.
"""

from collections import deque

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import LockSetup, SpinLock, Ticket
from coalsim.locks.lockdep import LockClass
from coalsim.units import Time


class TicketLock(SpinLock):
    """Fair; its hand-over grows with the number of waiters."""

    in_order = True

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self._queue: deque[Ticket] = deque()

    def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Draw a ticket; wait until it is served."""
        done = self.line.rmw(cpu)
        self._queue.append(ticket)
        cpu.charge(done - cpu.clock, self.line_cause)
        yield from cpu.sync()
        self.note_arrived(ticket)
        if self._queue[0] is not ticket:
            yield from self.spin(cpu, ticket)

    def leave(self, cpu: Cpu) -> Op[None]:
        """Serve the next ticket; whoever has drawn it without having seen the word yet finds it served."""
        self._queue.popleft()
        if self._queue and self._queue[0].waiting:
            self.grant(self._queue[0], self._handover(cpu))
        yield from ()

    def _handover(self, cpu: Cpu) -> Time:
        return sum(cpu.occupancy[ticket.cpu.id] for ticket in self._queue if ticket.waiting) // 2
