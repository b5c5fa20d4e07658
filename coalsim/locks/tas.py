"""Test-and-set: every waiter hammers the lock word with read-modify-writes.

    free --first swap--> held --release, nobody waits--> free
                         held --release--> race --the release's store gets through--> held

Waiters keep the line moving between them, so the release's store has to wait for
the swaps that are ahead of it: half of the waiters' on average, each moving the
line once.  Then the first swap to be served wins, and whoever wins costs one more
transfer, from the last holder:

    hand-over = sum over waiters of occupancy / 2  +  transfer(last holder -> winner)

It grows with the waiters (occupancies are those of lines coming to the releaser).
Who arrives before the store is through, the last holder included, takes part.
Which swap is served first is decided by the hardware's arbitration and not by the
kernel: `setup.tas_winner` says `random` (all alike) or `nearest` to the last holder
(equally near ones alike), drawn from a stream of the lock's own.
Source: Anderson, "The performance of spin lock alternatives for shared-memory
multiprocessors", IEEE TPDS 1(1), 1990.

Invariant: nobody waits while the lock is free.
"""

from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import RANK_USER, Op
from coalsim.locks.base import LockSetup, SpinLock, Ticket
from coalsim.locks.lockdep import LockClass
from coalsim.units import Time


class TasLock(SpinLock):
    """Unfair; its hand-over grows with the number of waiters."""

    def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
        super().__init__(lock_class, name, setup)
        self._taken = False  # held, or in a race
        self._waiters: list[Ticket] = []
        self._race: Time = 0  # how long the release's store needs
        self._races = False
        self._stream = setup.streams.stream(f"tas:{name}")

    def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        """Swap; keep swapping until it wins a race."""
        yield from self.swap(cpu, ticket)
        if self._taken:
            self._waiters.append(ticket)
            yield from self.spin(cpu, ticket)
        self._taken = True

    def leave(self, cpu: Cpu) -> Op[None]:
        """Store into the word, between the swaps of those who wait."""
        if self._waiters:
            self._race = max(1, sum(cpu.occupancy[waiter.cpu.id] for waiter in self._waiters) // 2)
            # An event of no processor's, before those of this instant: who comes then is late.
            cpu.env.post_event(cpu.clock + self._race, RANK_USER, self._stored)
            self._races = True
        else:
            self._taken = False
        yield from ()

    @property
    def is_passing_on(self) -> bool:
        """The release's store is on its way."""
        return self._races

    def _stored(self, _: Event) -> None:
        self._races = False
        winner = self._winner()
        self._waiters.remove(winner)
        self.line.owner = winner.cpu.id
        self.grant(winner, winner.cpu.transfer[self.last])
        winner.passing += self._race

    def _winner(self) -> Ticket:
        rivals = self._waiters
        if self.setup.tas_winner == "nearest":
            nearest = min(rival.cpu.transfer[self.last] for rival in rivals)
            rivals = [rival for rival in rivals if rival.cpu.transfer[self.last] == nearest]
        return rivals[int(self._stream.random() * len(rivals))]
