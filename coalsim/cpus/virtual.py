"""A processor of a guest: it makes no progress while the host has taken it away.

    runs ----| taken: clock += time away |---- runs ----    whatever it was doing, interrupts off or not

The times are known (`cpus/vcpu.py`) and only their own processor sees them, so they are taken
like timer ticks: no events, when the clock passes them.  Time away lengthens the charge in
which it falls, delays what was woken, and whatever comes from outside meanwhile is handled
when the vCPU runs again.  Holders of locks and waiters in queues are taken away too.

Unlike a tick, it does not ask whether interrupts are on.  So it bounds `hard`: no look, of
whatever kind, lies in a time away or behind one that has not been taken.  Hence

    while now lies in a time away of a vCPU, nothing looks at its private state before the
    vCPU is given back: what is changed there now is changed as if at that moment.

That is what paravirtual flushing rests on, in a guest and here.

Model: a handler that has begun, or is queued behind one, is finished first.  One timer tick
waits for the vCPU, further ones are lost.  Lock sections of such a guest are played by events:
their ends are not known when they begin.
"""

from collections.abc import Iterable

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.cpus.vcpu import NEVER, Stolen, VcpuSchedule
from coalsim.engine.clock import Alarm, Op
from coalsim.engine.messages import Shot
from coalsim.units import Time

STEAL = "steal"


class VirtualCpu(Cpu):
    """One vCPU; made like any processor, then given its host by `run_by`."""

    __slots__ = ("_away", "_late_tick", "_runs_again", "_vcpus")

    _vcpus: VcpuSchedule
    _away: Stolen  # the first time away that has not been taken
    _runs_again: Time  # end of the last one that has
    _late_tick: Time  # `_runs_again` of the time away in which a tick waits

    def run_by(self, vcpus: VcpuSchedule) -> None:
        """Let the host schedule it; before it starts."""
        self._vcpus = vcpus
        self._runs_again = self._late_tick = -1
        self._away = vcpus.stolen_after(self.id, 0) if vcpus.steals else NEVER

    def start(self, threads: Iterable[Thread]) -> None:
        """As any processor, but it may be away from the very beginning."""
        if self._away.taken <= self.env._now:
            self._go_away(self.env._now)
        super().start(threads)

    def _go_away(self, until: Time) -> None:
        """Take all times away that have begun at `until`."""
        while self._away.taken <= until:
            taken, given_back = self._away
            begins = max(taken, self.handler_until)
            if begins < given_back:
                self.steal(begins, given_back - begins, STEAL)
            self._runs_again = given_back
            self._away = self._vcpus.stolen_after(self.id, given_back)

    # -- wherever time has come to a moment, and wherever a limit is set ------------------

    def take_ticks(self, until: Time) -> None:
        """Ticks and times away, each in its turn."""
        super().take_ticks(until)  # a tick takes the times away that began before it
        if self._away.taken <= until:
            self._go_away(until)

    def _take_tick(self, due: Time) -> None:
        if self._away.taken <= due:
            self._go_away(due)
        if due < self._runs_again:
            if self._late_tick == self._runs_again:
                self.ticks_lost += 1
                return
            self._late_tick = self._runs_again
        super()._take_tick(due)

    def deliver(self, at: Time, shot: Shot[Cpu]) -> None:
        """An interrupt for a vCPU that is away waits until it runs."""
        if self._away.taken <= at:
            self.take_ticks(at)
        super().deliver(at, shot)

    def sync(self) -> Op[None]:
        """As any processor's; time away moves the clock on."""
        if self._away.taken <= self.env._now:
            self.take_ticks(self.env._now)
        yield from super().sync()

    def until_look(self) -> Alarm | None:
        """As any processor's; time away moves the clock on where it has to synchronise."""
        env = self.env
        if self._away.taken <= env._now < self.clock and (self.clock >= self.hard or env.tick_events):
            self.take_ticks(env._now)
        return super().until_look()

    def resume(self) -> None:
        """As any processor's."""
        if self._away.taken <= self.env._now:
            self.take_ticks(self.env._now)
        super().resume()
        self._bound()

    def new_limit(self) -> None:
        """As any processor's."""
        super().new_limit()
        self._bound()

    def _bound(self) -> None:
        taken = self._away.taken
        if self.hard > taken:
            self.hard = taken
            if self.limit > taken:
                self.limit = taken
