"""RadixVM: page tables for each processor, so those who faulted a page are known exactly.

    local flush -> per target, one after the other: its queue's lock, one interrupt
                -> targets count one shared counter down -> wait until it is zero

Nothing of the address space is written: no generation and no mask, only queues of targets
and the shootdown's own counter, whose line goes from target to target.  An operation on
pages that nobody else has used sends nothing and shares no line with anybody.
Reuse: when all who faulted the page have answered.  Where tables are freed, all whose
own tables are among them.
Source: Clements, Kaashoek, Zeldovich, "RadixVM: Scalable address spaces for
multithreaded applications", EuroSys 2013; sv6 kernel/hwvm.cc, kernel/ipi.cc.

Model: the processor bits of a page are kept by incarnation (`Walkers`) and set at each
fill; processors that are lazy are left out or not as the kernel's switch says, and catch
up by a generation that is not priced.  That frames come back two epochs later (Refcache)
is left to whoever frees them.
"""

from bisect import bisect_right
from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.shootdown.causes import ENQUEUE, HANDLER, SEND, SETUP
from coalsim.mm.shootdown.filtered import FilteredShootdown, Walkers
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.sending import parties_of
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.units import CpuId, Time, Vpn


class Countdown:
    """The counter of one shootdown: its line goes to one target after the other.

    Targets say when they will want it in the order in which their handlers are queued, which
    is not that in which they want it: the writes so far are kept in order of time, and
    each new one goes into the first gap.
    """

    __slots__ = ("_begins", "_ends", "_owners")

    def __init__(self, initiator: CpuId, now: Time) -> None:
        self._begins: list[Time] = [now]
        self._ends: list[Time] = [now]
        self._owners: list[CpuId] = [initiator]

    def decrement(self, target: Cpu, at: Time) -> Time:
        """Time at which a target that wants the line at `at` has written it."""
        begins, place = at, bisect_right(self._ends, at)
        while True:
            ends = begins + target.transfer[self._owners[place - 1]]
            if place == len(self._ends) or ends <= self._begins[place]:
                break
            begins = self._ends[place]
            place += 1
        self._begins.insert(place, begins)
        self._ends.insert(place, ends)
        self._owners.insert(place, target.id)
        return ends


class RadixVmShootdown(FilteredShootdown):
    """Exact targets, one interrupt each, one counter for all."""

    name: ClassVar[str] = "radixvm"
    source: ClassVar[str] = "Clements and others, EuroSys 2013; sv6"
    replication: ClassVar[str] = "per_cpu"

    def __init__(self, system: ShootdownSystem) -> None:
        super().__init__(system)
        self._walkers = Walkers()

    def filled(self, cpu: Cpu, context: Context, vpn: Vpn) -> None:
        """The page's bit of this processor is set."""
        self._walkers.note(cpu, context, vpn)

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """The own tables first, then those of whoever faulted the pages."""
        began = yield from self.begin(cpu, request)
        cpu.charge(self.system.costs.flush_fixed, SETUP)
        yield from cpu.sync()
        targets = self.choose_targets(cpu, request)
        yield from self.flush_here(cpu, request)
        if targets:
            shot = yield from self._send_one_by_one(cpu, targets, request)
            yield from self.wait_for(cpu, shot, request.reason)
        yield from self.record(cpu, began, len(targets))

    def choose_targets(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        """From the pages' bits, which were read with their entries: no line to read."""
        return self.candidates(cpu, request)

    def is_ranged(self, request: Flush) -> bool:
        """There is no ceiling: each entry that was set is invalidated, or all where tables are freed."""
        return not (request.full or request.freed_tables)

    def invalidate_pages(self, cpu: Cpu, loaded: Loaded, request: Flush) -> Time:
        """The entries that were set, not the span between them."""
        for vpn in request.vpns:
            self.system.units[cpu.id].invalidate(vpn, vpn + 1, loaded.asid)
        return self.system.times.pages(len(request.vpns))

    def holders(self, request: Flush) -> int:
        """Those who have faulted one of the pages, or whose own tables are freed."""
        bits = self.sharers(request) if request.freed_tables else 0
        for one in self._walkers.take(request.dead):
            bits |= one
        return bits

    def _send_one_by_one(self, cpu: Cpu, targets: list[Cpu], request: Flush) -> Op[Shot[Cpu]]:
        """Take each target's queue and interrupt it, unless its queue is active already."""
        system, way_back = self.system, cpu.transfer
        yield from cpu.irq_off()
        yield from cpu.sync()
        countdown = Countdown(cpu.id, cpu.clock)
        shot: Shot[Cpu] = Shot(
            cpu,
            cpu.clock,
            len(targets),
            0,
            lambda target: self._run_counted(target, request, countdown),
            lambda target: max(1, way_back[target]),
        )
        queueing = sending = 0
        called: list[tuple[Time, Cpu]] = []
        for target in targets:
            queueing += system.costs.csd_fill + cpu.transfer[target.id]
            if not system.queues[target.id].joins(cpu, shot):
                sends = system.delivery.send_times(cpu, [target])
                called.append((cpu.clock + queueing + sending + sends.arrivals[0][0], target))
                sending += sends.busy
        system.counts.targets += len(targets)
        system.counts.interrupts += len(called)
        system.counts.joined += len(targets) - len(called)
        for _, target in called:
            system.queues[target.id].claim(shot)
        if called:
            self.interrupt(cpu, 0, parties_of(called, system.queues, way_back), shot)
        cpu.charge(queueing, ENQUEUE)
        cpu.charge(sending, SEND)
        yield from cpu.irq_on()
        return shot

    def _run_counted(self, target: Cpu, request: Flush, countdown: Countdown) -> None:
        self.run_handler(target, request)
        done = countdown.decrement(target, target.handler_until)
        cost = done - target.handler_until + self.system.costs.counter_dec
        target.steal(target.handler_until, cost, HANDLER)
