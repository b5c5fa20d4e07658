"""A number guarded by a lock that others read without the lock.

Computed lock sections make their changes on arrival, before the time at which
they hold the lock.  A section therefore notes (grant, cpu, delta), and a reader at
(time, cpu) sees only the notes before it, exactly what it would see if the section
had run by events.
Used for a zone's free pages, which watermark tests read without the zone lock.
"""

from collections import deque

from coalsim.cpus.cpu import Cpu
from coalsim.units import CpuId, Time


class GuardedCount:
    """A count with the changes that lie in the future of some reader."""

    __slots__ = ("_notes", "latest")

    def __init__(self, value: int) -> None:
        self.latest = value  # all computed changes included: for the lock's own holder
        self._notes: deque[tuple[Time, CpuId, int]] = deque()

    def add(self, grant: Time, cpu: Cpu, delta: int) -> None:
        """Change the count as of the time at which `cpu` gets the lock."""
        now = cpu.env._now
        notes = self._notes
        while notes and notes[0][0] < now:
            notes.popleft()
        self.latest += delta
        if grant >= now:
            notes.append((grant, cpu.id, delta))

    def read(self, cpu: Cpu) -> int:
        """The count as a reader sees it who does not hold the lock; synchronised."""
        now, value = cpu.env._now, self.latest
        assert cpu.clock == now, "a guarded count is shared state: sync before"
        me = (now, cpu.id)
        for grant, holder, delta in self._notes:
            if (grant, holder) > me:
                value -= delta
        return value

    def at_barrier(self, now: Time) -> int:
        """The count as a barrier at `now` sees it."""
        return self.latest - sum(delta for grant, _, delta in self._notes if grant >= now)


class LowestCount(GuardedCount):
    """The same for who wants to know the least that it ever was.

    Changes come in the order in which the lock is held, so none of the values between them is missed.
    """

    __slots__ = ("lowest",)

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.lowest = value

    def add(self, grant: Time, cpu: Cpu, delta: int) -> None:
        """Change the count as of the time at which `cpu` gets the lock."""
        super().add(grant, cpu, delta)
        self.lowest = min(self.lowest, self.latest)
