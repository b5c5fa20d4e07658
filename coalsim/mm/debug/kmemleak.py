"""kmemleak: a thread that scans memory for objects that nothing points to.

    asleep --every `kmemleak_scan`--> visits all objects --> marks from the roots --> reports --> asleep

An object is reported when a scan finds nobody who points to it and it was at least `kmemleak_min_age`
old when that scan began: until then the thread that made it may have its pointer in a register
only.  Everything is reported once.  An object that leaks at some moment is found after
`kmemleak_min_age` at the earliest and one period later at the latest, and the scan's own duration.

Where no load has registered roots, nothing is reported: its pointers are where no scan looks.

Scans begin at fixed times, so that no sleeping thread keeps a dead system looking alive.  A scan
that is due while the last one is under way is left out.  The thread runs on a processor that idles, if
there is any, else on the last, where it has its turn when the thread there gives way.
Locking: `kmemleak_lock` around every block of 4 KiB that is read, as in Linux; allocations and
frees of all processors wait for it.
Costs: `scan_object` for each live object, `scan_kib` for each KiB read, under `kmemleak scan`.
Source: Linux mm/kmemleak.c (kmemleak_scan, scan_block, unreferenced_object).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.locks.base import SpinLock
from coalsim.mm.debug.marking import Marking
from coalsim.mm.debug.roots import WORD, Pointers
from coalsim.mm.debug.tracking import Tracked, Tracking
from coalsim.profiles.costs import KernelCosts
from coalsim.units import KIB, Time

SCAN: Final = "kmemleak scan"
VISITED_AT_A_TIME = 64
SHOWN = 32
"""Bytes of an object that a report shows."""
MOST_REPORTS = 10_000
"""Reports that are kept whole; further ones are only counted."""


@dataclass(frozen=True, kw_only=True)
class Unreferenced:
    """A report: an object, when a scan found it, its first bytes and the checksum of all."""

    tracked: Tracked
    found: Time
    content: bytes
    checksum: int


@dataclass(slots=True)
class ScanCounts:
    """What all scans did."""

    scans: int = 0
    skipped: int = 0  # were due while another was under way
    objects: int = 0  # visited
    bytes: int = 0  # read, roots included
    reported: int = 0
    longest: Time = 0  # duration


class Kmemleak:
    """The scanner.

    Args:
        tracking: who knows the objects.
        pointers: where pointers are.
        lock: of the records.
        cpus: the processors.
        costs: kernel costs.
        min_age: of an object at the start of the scan that reports it.
        wake_latency: from a wake-up to the thread's first step on an idle processor.
    """

    def __init__(
        self,
        tracking: Tracking,
        pointers: Pointers,
        lock: SpinLock,
        cpus: Sequence[Cpu],
        costs: KernelCosts,
        min_age: Time,
        wake_latency: Time,
    ) -> None:
        self._tracking = tracking
        self._pointers = pointers
        self._lock = lock
        self._cpus = cpus
        self._per_object = costs.scan_object
        self._per_kib = costs.scan_kib
        self._min_age = min_age
        self._wake_latency = wake_latency
        self._is_running = False
        self.counts = ScanCounts()
        self.reports: list[Unreferenced] = []

    def wake(self, now: Time) -> None:
        """A scan is due; at a barrier."""
        if self._is_running:
            self.counts.skipped += 1
            return
        self._is_running = True
        target = next((cpu for cpu in reversed(self._cpus) if cpu.is_idle), self._cpus[-1])
        target.enqueue(Thread("kmemleak", self._scan(target)), now + self._wake_latency)

    def _scan(self, cpu: Cpu) -> Op[None]:
        """One scan."""
        yield from self._enter(cpu)
        began = cpu.clock
        marking = Marking(self._tracking.objects.values(), self._root_words())
        self._pointers.watcher = marking.reach
        yield from self._leave(cpu, self._price(self._root_bytes()))
        yield from self._visit(cpu, len(marking))
        while True:
            yield from self._enter(cpu)
            if not marking.has_grey:
                break
            read = marking.read_block(self._pointers)
            self.counts.bytes += read
            yield from self._leave(cpu, self._price(read))
            yield from cpu.preempt_point()
        self._pointers.watcher = None
        for tracked in marking.white() if self.has_roots else ():
            if tracked.born + self._min_age <= began and not tracked.is_reported:
                self._report(tracked, cpu.clock)
        self.counts.scans += 1
        self.counts.objects += len(marking)
        self.counts.bytes += self._root_bytes()
        self.counts.longest = max(self.counts.longest, cpu.clock - began)
        self._is_running = False
        yield from self._leave(cpu, 0)

    def _visit(self, cpu: Cpu, objects: int) -> Op[None]:
        """Make every object white, which takes time, and give way in between."""
        for first in range(0, objects, VISITED_AT_A_TIME):
            cpu.charge(self._per_object * min(VISITED_AT_A_TIME, objects - first), SCAN)
            yield from cpu.preempt_point()

    def _report(self, tracked: Tracked, now: Time) -> None:
        tracked.is_reported = True
        self.counts.reported += 1
        if len(self.reports) < MOST_REPORTS:
            content = self._pointers.read(tracked.address, tracked.size)
            self.reports.append(
                Unreferenced(tracked=tracked, found=now, content=content[:SHOWN], checksum=checksum(content))
            )

    @property
    def has_roots(self) -> bool:
        """Somebody writes pointers where a scan sees them.

        Else nothing can be told: every object looks lost.
        """
        return bool(self._pointers.roots)

    def _root_words(self) -> list[int]:
        return [word for roots in self._pointers.roots for word in roots.words]

    def _root_bytes(self) -> int:
        return WORD * sum(len(roots.words) for roots in self._pointers.roots)

    def _price(self, read: int) -> Time:
        return read * self._per_kib // KIB

    def _enter(self, cpu: Cpu) -> Op[None]:
        """What follows happens at one instant: the grant of the lock."""
        yield from cpu.irq_off()
        yield from self._lock.acquire(cpu, SCAN)
        yield from cpu.sync()

    def _leave(self, cpu: Cpu, cost: Time) -> Op[None]:
        cpu.charge(cost, SCAN)
        yield from self._lock.release(cpu)
        yield from cpu.irq_on()


def checksum(content: bytes) -> int:
    """The kernel's crc32 with seed 0, which neither begins nor ends with an inversion.

    >>> checksum(bytes(64)), f"{checksum(b'123456789'):08x}"
    (0, '2dfd2d88')
    """
    return zlib.crc32(content, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
