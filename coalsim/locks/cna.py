"""The compact NUMA-aware lock: an MCS queue that prefers waiters of the holder's node.

    main:  holder -> w1 -> w2 -> w3 ...      tail, where arrivals go
    away:  v1 -> v2 ...                      waiters of other nodes, passed over

A release looks for the first waiter of its own node in the main queue; those
before it move to the end of the away queue.  If there is none, or `batch - 1`
hand-overs in a row stayed on the node, the away queue goes back in front of the
main queue and its first waiter is next.  So every `batch`-th hand-over at the
latest leaves the node, and nobody starves.
A hand-over costs one transfer, from holder to successor.  The search costs nothing:
the waiter at the head of the queue does it while it spins.  The choice falls at the
release, so sections cannot be computed on arrival.
Source: Dice and Kogan, "Compact NUMA-aware locks", EuroSys 2019; the bound on local
hand-overs as in Dice, Marathe, Shavit, "Lock cohorting", PPoPP 2012 (64).

Invariant: the first entry of `_main` is the holder or whoever gets the lock next;
`_away` is empty while `_main` is.
"""

from collections import deque
from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import LockSetup, SpinLock, Ticket
from coalsim.locks.lockdep import LockClass


class CnaLock(SpinLock):
    """Fair between nodes in the long run; most hand-overs stay on a node."""

    batch: ClassVar[int] = 64
    """Of so many hand-overs in a row at least one leaves the node, if somebody waits elsewhere."""

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self._main: deque[Ticket] = deque()
        self._away: deque[Ticket] = deque()
        self._local = 0  # hand-overs in a row that stayed on the node

    def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Swap onto the tail of the main queue; wait to be chosen."""
        done = self.line.rmw(cpu)
        self._main.append(ticket)
        cpu.charge(done - cpu.clock, self.line_cause)
        yield from cpu.sync()
        self.note_arrived(ticket)
        if self._main[0] is not ticket:
            yield from self.spin(cpu, ticket)

    def leave(self, cpu: Cpu) -> Op[None]:
        """Choose the successor and pass the lock on."""
        self._main.popleft()
        if not self._stay_on(cpu):
            self._local = 0
            self._main.extendleft(reversed(self._away))
            self._away.clear()
        if self._main and self._main[0].waiting:
            successor = self._main[0]
            self.grant(successor, successor.cpu.transfer[cpu.id])
        yield from ()

    def _stay_on(self, cpu: Cpu) -> bool:
        """Bring the first waiter of this node to the front, if there is one and it is allowed."""
        if self._local >= self.batch - 1:
            return False
        for place, ticket in enumerate(self._main):
            if ticket.waiting and ticket.cpu.node == cpu.node:
                self._away.extend(self._main.popleft() for _ in range(place))
                self._local += 1
                return True
        return False
