"""A page of a file in memory.

    being read --ready_at--> clean --set_dirty--> dirty --write back--> being written --written_at--> clean

Reading and writing end at a time that is known when the request is handed to the device, so
both states are times: nobody has to be told.

    mapped      entries of page tables that lead here
    pins        who uses the page without an entry: it stays while there are any
    is_locked   one user changes its state; others sleep, or, in reclaim, leave it alone
    referenced, is_hot    used once, used again since the reclaimer looked last

The count of references and that of entries are one line here, shared by all who map the file.
Invariant: a page that is mapped, pinned, locked or dirty is not removed from its file.
Shared state: `sync` before every use.
Source: Linux include/linux/mm_types.h (`folio`), mm/filemap.c (`folio_lock`).
"""

from typing import TYPE_CHECKING

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.nap import Bell, nap
from coalsim.units import NodeId, Pfn, Time

if TYPE_CHECKING:
    from coalsim.mm.cache.file import File

FOLIO_LINE = "line:folio"
PAGE_WAIT = "page lock"


class CachedPage:
    """One page of one file.

    Args:
        file, index: which.
        pfn: where it is.
        node: of that frame.
    """

    __slots__ = (
        "_bells",
        "_line",
        "dirty",
        "file",
        "index",
        "is_hot",
        "is_locked",
        "mapped",
        "node",
        "pfn",
        "pins",
        "ready_at",
        "referenced",
        "written_at",
    )

    def __init__(self, file: "File", index: int, pfn: Pfn, node: NodeId) -> None:
        self.file = file
        self.index = index
        self.pfn = pfn
        self.node = node
        self.is_locked = True  # until its contents are there, or on their way
        self.dirty = False
        self.referenced = False
        self.is_hot = False
        self.mapped = 0
        self.pins = 0
        self.ready_at: Time = 0
        self.written_at: Time = 0
        self._line: CacheLine | None = None
        self._bells: list[Bell] = []

    # -- references ------------------------------------------------------------------------

    def count(self, cpu: Cpu) -> Time:
        """What one change of its counts takes; synchronised."""
        line = self._line
        if line is None:
            line = self._line = CacheLine("folio")
        return line.rmw(cpu) - cpu.clock

    def pin(self, cpu: Cpu) -> None:
        """Keep it; synchronised."""
        self.pins += 1
        cpu.charge(self.count(cpu), FOLIO_LINE)

    def unpin(self, cpu: Cpu) -> Op[None]:
        """Let it go."""
        yield from cpu.sync()
        self.pins -= 1
        cpu.charge(self.count(cpu), FOLIO_LINE)

    def mark_accessed(self) -> None:
        """Somebody has used it; a second use makes it hot."""
        self.is_hot |= self.referenced
        self.referenced = True

    # -- states -----------------------------------------------------------------------------

    def is_usable(self, now: Time) -> bool:
        """Its contents are there and nobody has it locked."""
        return not self.is_locked and self.ready_at <= now

    def is_being_written(self, now: Time) -> bool:
        """The device has yet to read it."""
        return self.written_at > now

    def is_idle(self) -> bool:
        """Nobody but its file knows it, and the device has what it holds."""
        return not (self.mapped or self.pins or self.dirty)

    # -- the lock ----------------------------------------------------------------------------

    def try_lock(self, cpu: Cpu, cost: Time) -> bool:
        """Lock it if it is usable; synchronised."""
        cpu.charge(self.count(cpu) + cost, FOLIO_LINE)
        if not self.is_usable(cpu.env._now):
            return False
        self.is_locked = True
        return True

    def lock(self, cpu: Cpu, cost: Time) -> Op[None]:
        """Wait for it and lock it; it is pinned."""
        yield from cpu.sync()
        while not self.try_lock(cpu, cost):
            yield from self.wait(cpu)

    def unlock(self, cpu: Cpu, cost: Time, wake_latency: Time) -> Op[None]:
        """Let others at it."""
        yield from cpu.sync()
        self.is_locked = False
        cpu.charge(self.count(cpu) + cost, FOLIO_LINE)
        self.wake(cpu.env._now + wake_latency)

    def wake(self, at: Time) -> None:
        """Whoever waits looks again; synchronised."""
        if self._bells:
            bells, self._bells = self._bells, []
            for bell in bells:
                bell.ring(at)

    def wait(self, cpu: Cpu) -> Op[None]:
        """Sleep until it is usable, and nobody knows for how long; it is pinned.  Returns synchronised."""
        yield from cpu.sync()
        while not self.is_usable(cpu.env._now):
            if self.is_locked:
                bell = Bell()
                self._bells.append(bell)
                yield from bell.wait(cpu, PAGE_WAIT)
            else:
                yield from nap(cpu, self.ready_at - cpu.env._now, PAGE_WAIT)
