"""LATR: write down what to flush, and let every processor do it at its own next tick.

    munmap, madvise   local flush -> a record (pages, space, processors) in the own ring
    tick, switch      each processor reads the records of all rings, flushes what names it,
                      and clears its bit
    later             all bits are clear and `latr_ticks` ticks have passed: frames, and the
                      addresses, are given back

Nobody is interrupted and nobody waits.  Calls that must be seen at once (mprotect,
copy-on-write, mremap), or that free page tables, go the way of `concurrent`, and so does
everything while the ring is full.
Reuse: when every processor of the record has swept it and the ticks have passed.  Up to
then processors may use what died, by contract: no frame and no address has a new owner.
Source: Kumar, Maass, Kashyap, Vesely, Yan, Kim, Bhattacharjee, Krishna, "LATR: Lazy
translation coherence", ASPLOS 2018.

Model: a tick runs ahead of global time and may look at nothing that is shared.  But the times
of a processor's ticks are known, so whoever writes a record sends each target a message
that arrives with its next tick (the next but one, if that is nearer than any message can
be) and sweeps there; the tick itself pays for the interrupt.  A processor that passes the
kernel's border after a tick or a switch sweeps then (`left_user`).  Without a tick nothing
is put off.
A processor that is lazy, or has loaded another space, uses no page of this one: its bit is
cleared by whoever looks at the record, and its generation makes it flush when it comes
back.  Records of a processor that idles are given back by whoever sweeps.

Shared state: `sync` before every look at rings and records.
"""

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.mm.paging.context import Context
from coalsim.mm.shootdown.causes import HANDLER, LOCAL
from coalsim.mm.shootdown.linux import ConcurrentShootdown
from coalsim.mm.shootdown.request import Flush, Release
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.units import CpuId, Time

RECORD = "shootdown:record"
SWEEP = "shootdown:sweep"
DRAIN = "shootdown:drain"
DEFERRED = ("munmap", "madvise")
"""What frees pages and may be seen late."""


class Record:
    """A flush that has been put off."""

    __slots__ = ("due", "line", "owner", "release", "request", "waiting")

    def __init__(
        self, owner: CpuId, request: Flush, release: Release, targets: list[Cpu], due: Time, line: CacheLine
    ) -> None:
        self.owner = owner
        self.request = request
        self.release = release
        self.waiting: dict[CpuId, None] = {target.id: None for target in targets}  # have not swept it
        self.due = due
        self.line = line


class LatrShootdown(ConcurrentShootdown):
    """Records instead of interrupts."""

    name: ClassVar[str] = "latr"
    source: ClassVar[str] = "Kumar and others, ASPLOS 2018"
    is_lazy: ClassVar[bool] = True

    def __init__(self, system: ShootdownSystem) -> None:
        super().__init__(system)
        self._rings: list[deque[Record]] = [deque() for _ in system.cpus]  # oldest first
        self._lines: list[list[CacheLine]] = [[] for _ in system.cpus]  # one per place of a ring
        self._posted = [0] * len(system.cpus)
        self._active: dict[Record, None] = {}  # somebody has yet to sweep them
        self._ending: dict[Record, None] = {}  # taken out of their rings, their frames are not free yet
        self._waiters: list[Cpu] = []  # for all that are ending
        self._coming: list[Time] = [-1] * len(system.cpus)  # the tick at which a sweep is on its way to each
        self._seen = [(0, 0)] * len(system.cpus)  # private to each: ticks and switches at its last sweep

    # -- putting off --------------------------------------------------------------------

    def defers(self, request: Flush) -> bool:
        """Only what frees pages, and no tables."""
        return request.reason in DEFERRED and not request.freed_tables and not request.keeps_frames

    def post(self, cpu: Cpu, request: Flush, release: Release) -> Op[None]:
        """Write a record; flush at once if nobody else is concerned, or the ring is full."""
        yield from cpu.sync()
        ring, switches = self._rings[cpu.id], self.system.switches
        is_full = len(ring) >= switches.latr_ring
        if is_full or not cpu.tick_period:
            self.system.counts.ring_full += is_full
            yield from self._finish(cpu, request, release)
            return
        began = yield from self.new_generation(cpu, request)
        yield from cpu.sync()
        targets = self.choose_targets(cpu, request)
        if targets:
            yield from cpu.sync()
            due = cpu.clock + switches.latr_ticks * cpu.tick_period
            record = Record(cpu.id, request, release, targets, due, self._line_of_next(cpu))
            ring.append(record)
            self._active[record] = None
            self.system.counts.deferred += 1
            for target in targets:
                self._sweep_at_tick(cpu, target)
            cpu.charge(record.line.rmw(cpu) - cpu.clock, RECORD)
            cpu.charge(self.system.costs.latr_record, RECORD)
            yield from self.flush_here(cpu, request)
            return
        yield from self.flush_here(cpu, request)
        yield from self.record(cpu, began, 0)
        yield from self._give_back(cpu, request, release)

    def _line_of_next(self, cpu: Cpu) -> CacheLine:
        lines, place = self._lines[cpu.id], self._posted[cpu.id] % self.system.switches.latr_ring
        self._posted[cpu.id] += 1
        if place == len(lines):
            lines.append(CacheLine("latr"))
        return lines[place]

    def _sweep_at_tick(self, cpu: Cpu, target: Cpu) -> None:
        """Let a target sweep when its next tick comes, unless that is on its way; synchronised."""
        now = cpu.clock
        if self._coming[target.id] > now:
            return
        soonest = now + cpu.env.lookahead
        at = soonest + (target.next_tick - soonest) % target.tick_period
        self._coming[target.id] = at
        shot: Shot[Cpu] = Shot(None, now, 1, 0, self._tick_sweeps, lambda _: 1, joinable=True)
        cpu.send([(at, target)], shot)

    def _tick_sweeps(self, target: Cpu) -> None:
        """In the tick's handler: flush what active records name, and clear the own bits."""
        system, loaded = self.system, self.system.loaded[target.id]
        cost = 0
        for record in list(self._active):
            cost += target.transfer[record.owner] + system.costs.latr_sweep_record
            if target.id in record.waiting:
                if loaded.context is record.request.context and not loaded.is_lazy:
                    cost += self.catch_up(target, loaded, record.request)
                self._clear_bit(record, target.id)
        target.steal(target.handler_until, cost, HANDLER)

    # -- sweeping -------------------------------------------------------------------------

    def left_user(self, cpu: Cpu) -> Op[None]:
        """After a tick or a switch: sweep all rings, then give back what is due."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if (cpu.ticks, cpu.switches) == self._seen[cpu.id]:
            return
        yield from cpu.sync()
        self._seen[cpu.id] = cpu.ticks, cpu.switches
        if self._active:
            yield from self._sweep(cpu)
        yield from self._give_back_due(cpu)

    def _sweep(self, cpu: Cpu) -> Op[None]:
        """Read every active record; flush and clear the own bit in those that name this processor."""
        yield from cpu.irq_off()
        yield from cpu.sync()
        loaded, now = self.system.loaded[cpu.id], cpu.clock
        reading = flushing = 0
        for record in list(self._active):
            reading += record.line.read(cpu) - now + self.system.costs.latr_sweep_record
            if cpu.id in record.waiting:
                if loaded.context is record.request.context:
                    flushing += self.catch_up(cpu, loaded, record.request)
                self._clear_bit(record, cpu.id)
                reading += record.line.rmw(cpu) - now
        cpu.charge(reading, SWEEP)
        cpu.charge(flushing, LOCAL)
        yield from cpu.irq_on()

    def _clear_bit(self, record: Record, cpu: CpuId) -> None:
        del record.waiting[cpu]
        if not record.waiting:
            self._active.pop(record, None)

    # -- giving back ------------------------------------------------------------------------

    def _give_back_due(self, cpu: Cpu) -> Op[None]:
        """What is due of the own ring, and of those whose processors idle."""
        for owner, ring in enumerate(self._rings):
            while ring:
                yield from cpu.sync()
                mine = owner == cpu.id or self._idles(owner)
                if not (ring and mine and ring[0].due <= cpu.clock and self._is_swept(ring[0])):
                    break
                record = ring.popleft()
                self._ending[record] = None
                cpu.charge(record.line.read(cpu) - cpu.clock, SWEEP)
                yield from self._give_back(cpu, record.request, record.release)
                yield from self._has_ended(cpu, record)

    def _idles(self, cpu: int) -> bool:
        loaded = self.system.loaded[cpu]
        return loaded.is_lazy or loaded.context is None

    def _is_swept(self, record: Record) -> bool:
        """Nobody has it to sweep any more who could use one of its pages; synchronised."""
        for number in list(record.waiting):
            loaded = self.system.loaded[number]
            if loaded.is_lazy or loaded.context is not record.request.context:
                self._clear_bit(record, number)
        return not record.waiting

    def _give_back(self, cpu: Cpu, request: Flush, release: Release) -> Op[None]:
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        request.promise(Moment(cpu.clock, cpu.id, request.reason))
        yield from release(cpu)

    # -- at once ----------------------------------------------------------------------------

    def drain(self, cpu: Cpu) -> Op[None]:
        """Memory is short: flush by interrupts what has been put off."""
        yield from cpu.sync()
        yield from self._end(cpu, [record for ring in self._rings for record in ring])

    def recall(self, cpu: Cpu, context: Context, first: int, last: int) -> Op[None]:
        """Addresses are needed: the same for the records of a space that name pages of a range.

        Finding out that there are none is free: a space could count its records.
        """
        yield from cpu.sync()
        found = []
        for ring in self._rings:
            for record in ring:
                request = record.request
                if request.context is context and request.first < last and first < request.last:
                    found.append(record)
        yield from self._end(cpu, found)

    def _end(self, cpu: Cpu, records: Sequence[Record]) -> Op[None]:
        """One flush for all records of a space; returns when their frames, and those of others, are free."""
        of_space: dict[Context, list[Record]] = {}
        for record in records:
            self._rings[record.owner].remove(record)
            self._active.pop(record, None)
            self._ending[record] = None
            of_space.setdefault(record.request.context, []).append(record)
        for together in of_space.values():
            yield from self.flush(cpu, _union([record.request for record in together]))
            for record in together:
                yield from self._give_back(cpu, record.request, record.release)
                yield from self._has_ended(cpu, record)
        while self._ending:
            self._waiters.append(cpu)
            yield from cpu.wait(DRAIN)
            yield from cpu.sync()

    def _has_ended(self, cpu: Cpu, record: Record) -> Op[None]:
        """The frames of a record are free; whoever waits for the last one goes on.  Returns synchronised."""
        yield from cpu.sync()
        del self._ending[record]
        if not self._ending:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.alarm.arm(cpu.clock + max(1, waiter.transfer[cpu.id]))

    def _finish(self, cpu: Cpu, request: Flush, release: Release) -> Op[None]:
        yield from self.flush(cpu, request)
        yield from self._give_back(cpu, request, release)


def _union(requests: Sequence[Flush]) -> Flush:
    """One request for what several of one space name; their pages were counted when they were put off."""
    whole = Flush(
        context=requests[0].context,
        first=min(request.first for request in requests),
        last=max(request.last for request in requests),
        reason=requests[0].reason,
    )
    whole.sharers = 0
    for request in requests:
        whole.dead += request.dead
        whole.sharers |= request.sharers  # -1, all bits: they are not tracked
    return whole
