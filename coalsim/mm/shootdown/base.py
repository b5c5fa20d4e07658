"""What all shootdown policies share: the request, the system around them, and the interface.

    flush(cpu, request)       make sure that no TLB holds what the request names
    defers(request)           the policy may do so later, and frees the frames then
    post(cpu, request, ...)   such a later flush
    switched_in(cpu, ...)     a processor loads a context: catch up with what it missed

A policy is a subclass with a `flush`.  It is called with interrupts on, holding no lock
that anybody takes with interrupts off.  When `flush` returns, its promise holds: no
processor uses what died, so the caller frees the frames.  What a policy does earlier than
that, or forgets, the oracle finds.

Handlers run with interrupts off on the target, change its private state, and answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delivery import Delivery
from coalsim.cpus.ipi import CallQueue, Handler, Party, interrupt
from coalsim.cpus.oracle import Oracle
from coalsim.cpus.translation import Moment, Translation
from coalsim.cpus.vcpu import VcpuSchedule
from coalsim.cpus.walker import TranslationUnit
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.locks.lockdep import note_waiting_for_answers
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.shootdown.sending import Sender
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import Time, Vpn

SETUP = "shootdown:setup"
GENERATION = "line:tlb_gen"
MASK = "shootdown:mask"
ENQUEUE = "shootdown:enqueue"
SEND = "shootdown:send"
LOCAL = "shootdown:local flush"
WAIT = "shootdown:wait"
FLIGHT = "shootdown:flight"
PREEMPTED = "shootdown:preempted target"
OFF_DELAY = "shootdown:irq-off delay"
QUEUE = "shootdown:handler queue"
REMOTE = "shootdown:remote handler"
WAY_BACK = "shootdown:acknowledge"
HANDLER = "handler:tlb flush"

COW = "cow"
"""The reason of a single page's flush that is ranged whatever the ceiling is."""

Release = Callable[[Cpu], Op[None]]
"""Frees what a request's frames held; called once, when the policy's promise holds."""


@dataclass(frozen=True, kw_only=True)
class FlushTimes:
    """What the hardware's invalidations cost, in ps."""

    invlpg: Time
    invlpg_next: Time
    asid_flush: Time
    global_flush: Time
    interrupt_entry: Time
    interrupt_exit: Time
    broadcast_issue: Time
    broadcast_pages: int
    broadcast_flight: Time
    broadcast_sync: Time
    action: Time  # of microcode on the target, per remote action

    def pages(self, count: int) -> Time:
        """Invalidating so many pages one by one."""
        return self.invlpg + (count - 1) * self.invlpg_next if count else 0


class Recorder(Protocol):
    """Where latencies go: a histogram."""

    def record(self, value: int) -> None:
        """Count one value."""

    def clear(self) -> None:
        """Forget all values."""


class FlushCounts:
    """What shootdowns did; sums, so the order of counting cannot show."""

    FIELDS = (
        "flushes",
        "local",
        "remote",
        "targets",
        "interrupts",
        "joined",
        "skipped_lazy",
        "ranged",
        "full",
        "up_to_date",
        "pages",
        "deferred",
        "broadcasts",
        "left_to_host",
    )

    __slots__ = FIELDS

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        for name in self.FIELDS:
            setattr(self, name, 0)

    flushes: int  # calls
    local: int  # that reached no other processor
    remote: int  # that reached others
    targets: int  # processors asked, over all calls
    interrupts: int  # requests that found an empty queue, so that an interrupt was sent
    joined: int  # requests that joined a handler that was yet to start
    skipped_lazy: int  # processors left out because they were lazy, or ran something else
    ranged: int  # handlers, local ones included, that invalidated page by page
    full: int  # that flushed the whole ASID
    up_to_date: int  # that found nothing to do
    pages: int  # that were mapped and have to be flushed, over all calls; not the spans between them
    deferred: int  # calls whose flush was put off
    broadcasts: int  # invalidations issued to the fabric
    left_to_host: int  # preempted vCPUs that were not asked: the host flushes them before they run again


@dataclass(kw_only=True, eq=False)
class Flush:
    """A request: these pages of this context have died, or lost rights.

    Args:
        context: of the address space.
        first, last: the span of what was changed, in pages; `last` is exclusive.
        reason: the operation that asks, for reports: munmap, madvise, mprotect, cow, fork, mremap, exit.
        freed_tables: page tables are freed too, so processors that use no user page must flush as well.
        keeps_frames: nothing is freed: rights were lost, or pages moved.
        full: everything of the context, whatever the span.
        dead: translations that ended and that some TLB may hold.
        vpns: the pages of the span that were mapped and have to be flushed.
        sharers: bitmask of the places that have copies of the tables; -1: they are not tracked.
    """

    context: Context
    first: Vpn
    last: Vpn
    reason: str
    freed_tables: bool = False
    keeps_frames: bool = False
    full: bool = False
    dead: list[Translation] = field(default_factory=list)
    vpns: list[Vpn] = field(default_factory=list)
    sharers: int = -1
    generation: int = 0

    @property
    def pages(self) -> int:
        """Length of the span."""
        return self.last - self.first

    def promise(self, moment: Moment) -> None:
        """No processor uses any more what died."""
        if self.context.oracle is not None:
            self.context.oracle.promise(self.dead, moment)


@dataclass(kw_only=True)
class ShootdownSystem:
    """What policies work with; filled in by boot."""

    cpus: Sequence[Cpu]
    units: Sequence[TranslationUnit]
    loaded: Sequence[Loaded]
    queues: Sequence[CallQueue]
    delivery: Delivery
    times: FlushTimes
    switches: Switches
    costs: KernelCosts
    oracle: Oracle | None
    latencies: Recorder
    vcpus: VcpuSchedule | None = None  # when the host runs each processor; None: always
    counts: FlushCounts = field(default_factory=FlushCounts)


class Shootdown:
    """Base of all policies."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    replication: ClassVar[str] = ""
    """Which copies of page tables it needs (`kernel.table_replication`); empty: any will do."""

    uses_broadcast: ClassVar[bool] = False
    """It changes other processors' TLBs without interrupting them, in `FlushTimes.broadcast_flight`."""
    is_lazy: ClassVar[bool] = False
    """It puts flushes off, so addresses that are unmapped have to wait for them too."""

    def __init__(self, system: ShootdownSystem) -> None:
        self.system = system
        own, usual = type(self), ("handle", "catch_up", "invalidate_pages", "suffices")
        self._handles_as_usual = all(getattr(own, name) is getattr(Shootdown, name) for name in usual)
        self._runs_as_usual = own.run_handler is Shootdown.run_handler
        self._sender = Sender(system.delivery, system.queues, system.costs.csd_fill)

    # -- to be written by a policy -------------------------------------------------------

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """Make sure that no TLB holds what the request names; then return."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to flush")

    # -- what a policy may change --------------------------------------------------------

    def defers(self, request: Flush) -> bool:
        """Whether `post` will be called instead of `flush`; never for requests that free tables."""
        return False

    def post(self, cpu: Cpu, request: Flush, release: Release) -> Op[None]:
        """Flush later; call `request.promise` and then `release` when it is done."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to put a flush off")

    def switched_in(self, cpu: Cpu, loaded: Loaded, context: Context) -> bool:
        """A processor loads a context that it has left: whether its old entries must go; synchronised."""
        return loaded.generation < context.generation

    def left_user(self, cpu: Cpu) -> Op[None]:
        """The processor passes a system call, switch or tick: deferred work is done."""
        yield from ()

    def drain(self, cpu: Cpu) -> Op[None]:
        """Memory is short: do now what has been put off."""
        yield from ()

    def recall(self, cpu: Cpu, context: Context, first: int, last: int) -> Op[None]:
        """Pages of a range get new owners or lose their area: do now what has been put off for them."""
        yield from ()

    def filled(self, cpu: Cpu, context: Context, vpn: Vpn) -> None:
        """A walk has put a page into this processor's TLB at this instant; may charge."""

    def handle(self, target: Cpu, request: Flush) -> Time:
        """What the handler does on a target; returns what it takes from it, in ps."""
        loaded, costs = self.system.loaded[target.id], self.system.costs
        context = request.context
        if loaded.context is not context:
            context.mask.pop(target.id, None)  # it left without saying so; it catches up when it comes back
            return costs.flush_target
        if loaded.is_lazy:
            self.leave(target, loaded)
            return costs.flush_target
        return costs.flush_target + self.catch_up(target, loaded, request)

    # -- for policies: what a flush is -----------------------------------------------------

    def is_ranged(self, request: Flush) -> bool:
        """Page by page; more pages than the ceiling, or freed tables of a huge span, flush the ASID."""
        if request.full:
            return False
        return request.pages <= self.system.switches.flush_ceiling or request.reason == COW

    def catch_up(self, cpu: Cpu, loaded: Loaded, request: Flush) -> Time:
        """Flush what a request names from the TLB of a processor that has its context loaded.

        A generation is claimed only where everything before it has been flushed too: by a
        ranged flush that follows in order, or by one of the whole ASID.
        """
        system, counts = self.system, self.system.counts
        if system.switches.tlb_generations and request.generation <= loaded.generation:
            counts.up_to_date += 1
            return 0
        unit, times = system.units[cpu.id], system.times
        if self.is_ranged(request) and self.suffices(request, loaded):
            counts.ranged += 1
            if request.generation == loaded.generation + 1:
                loaded.generation = request.generation
            return self.invalidate_pages(cpu, loaded, request)
        counts.full += 1
        unit.flush(loaded.asid)
        loaded.generation = request.context.generation
        return times.asid_flush

    def invalidate_pages(self, cpu: Cpu, loaded: Loaded, request: Flush) -> Time:
        """Invalidate the span of a request, page by page."""
        self.system.units[cpu.id].invalidate(request.first, request.last, loaded.asid)
        return self.system.times.pages(request.pages)

    def suffices(self, request: Flush, loaded: Loaded) -> bool:
        """Flushing the request's pages is enough: no other flush was missed before, or has come since."""
        if not self.system.switches.tlb_generations:
            return True
        return request.generation == loaded.generation + 1 == request.context.generation

    def leave(self, cpu: Cpu, loaded: Loaded) -> None:
        """A lazy processor lets go of a context: no more flushes for it until it comes back."""
        context = loaded.context
        assert context is not None, "a lazy processor has something loaded"
        context.mask.pop(cpu.id, None)
        loaded.context = None
        unit = self.system.units[cpu.id]
        unit.space = unit.tree = None

    # -- for policies: the steps ------------------------------------------------------------

    def new_generation(self, cpu: Cpu, request: Flush) -> Op[Time]:
        """The context's tables have changed; returns when that was said, from which shootdowns are timed."""
        began = yield from self.begin(cpu, request)
        cpu.charge(request.context.generation_line.rmw(cpu) - cpu.clock, GENERATION)
        cpu.charge(self.system.costs.flush_fixed, SETUP)
        return began

    def begin(self, cpu: Cpu, request: Flush) -> Op[Time]:
        """The same for kernels without such a counter: nothing is charged; returns synchronised."""
        yield from cpu.sync()
        context, counts = request.context, self.system.counts
        context.generation += 1
        request.generation = context.generation
        counts.flushes += 1
        counts.pages += len(request.vpns)
        return cpu.clock

    def choose_targets(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        """The other processors that may hold what died; synchronised; charges the reads."""
        system = self.system
        reads = request.context.mask_line.read(cpu) - cpu.clock
        if self._skips_lazy(request):  # the flag of each, from whoever wrote it last
            for number in request.context.mask:
                if number != cpu.id:
                    reads += system.loaded[number].lazy_line.read(cpu) - cpu.clock
        cpu.charge(reads, MASK)
        cpu.charge(system.costs.mask_scan * -(-len(system.cpus) // 64), MASK)
        return self.candidates(cpu, request)

    def _skips_lazy(self, request: Flush) -> bool:
        """Processors that use no user page are left out, unless tables are freed."""
        return self.system.switches.lazy_tlb_skips and not request.freed_tables

    def candidates(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        """The same, by the state of this instant; charges nothing."""
        system, context, counts = self.system, request.context, self.system.counts
        skips, targets = self._skips_lazy(request), []
        for number in sorted(context.mask):
            if number == cpu.id:
                continue
            if skips:
                loaded = system.loaded[number]
                if loaded.is_lazy or loaded.context is not context:
                    counts.skipped_lazy += 1
                    continue
            targets.append(system.cpus[number])
        return targets

    def flush_here(self, cpu: Cpu, request: Flush) -> Op[None]:
        """The own TLB, interrupts off; the generation that it reaches is shared state."""
        yield from cpu.irq_off()
        yield from cpu.sync()
        loaded = self.system.loaded[cpu.id]
        if loaded.context is request.context:
            cpu.charge(self.catch_up(cpu, loaded, request), LOCAL)
        yield from cpu.irq_on()

    def send(self, cpu: Cpu, targets: Sequence[Cpu], request: Flush, *, early: bool = False) -> Op[Shot[Cpu]]:
        """Enqueue the request at every target, and interrupt those whose queue was empty.

        The queues are looked at when the loop over them begins; what the loop costs (per target
        its instructions and two line transfers: the request and the head of the queue) is
        charged after it, and the interrupts leave then.  Interrupts are off only while these
        leave, where sending takes several writes.
        """
        system, sender, queues = self.system, self._sender, self.system.queues
        yield from cpu.sync()
        way_back, now = cpu.transfer, cpu.clock
        shot: Shot[Cpu] = Shot(
            cpu,
            now,
            len(targets),
            0,
            lambda target: self.run_handler(target, request, early=early),
            lambda target: max(1, way_back[target]),
            early=early,
        )
        called = [target for target in targets if queues[target.id].is_free(now)]
        if len(called) == len(targets):
            sending = sender.sending(cpu, targets)
            enqueue = sending.enqueue
        else:
            called = [target for target in targets if not queues[target.id].joins(cpu, shot)]
            sending, enqueue = sender.sending(cpu, called), sender.enqueue(cpu, targets)
        system.counts.targets += len(targets)
        system.counts.interrupts += len(called)
        system.counts.joined += len(targets) - len(called)
        for target in called:
            queues[target.id].claim(shot)
        cpu.charge(enqueue, ENQUEUE)
        if called:
            handler = self.handler(request) if self._runs_as_usual and not early else None
            yield from cpu.sync()
            if sending.irq_off:
                yield from cpu.irq_off()
            self.interrupt(cpu, cpu.clock, sending.parties, shot, handler)
            cpu.charge(sending.busy, SEND)
            if sending.irq_off:
                yield from cpu.irq_on()
        return shot

    def interrupt(
        self,
        cpu: Cpu,
        sent: Time,
        parties: Sequence[Party],
        shot: Shot[Cpu],
        handler: Handler | None = None,
    ) -> None:
        """Interrupt processors whose queues were empty; each pays entry and exit once."""
        times = self.system.times
        interrupt(
            cpu,
            sent,
            parties,
            shot,
            times.interrupt_entry,
            times.interrupt_exit,
            cause=HANDLER,
            handler=handler,
        )

    def handler(self, request: Flush) -> Handler:
        """`handle` for one request.

        Where the policy leaves that as it is, the usual case is worked out once for all targets:
        a processor that runs the context, has missed no flush, and invalidates page by page.
        """
        if not (self._handles_as_usual and self.is_ranged(request)):
            return lambda target: self.handle(target, request)
        context, generation, first, last = request.context, request.generation, request.first, request.last
        loaded_by, units, counts = self.system.loaded, self.system.units, self.system.counts
        cost = self.system.costs.flush_target + self.system.times.pages(request.pages)

        def handle(target: Cpu) -> Time:
            number = target.id
            loaded = loaded_by[number]
            slot = loaded.slots[loaded.slot]
            if (
                loaded.context is not context
                or loaded.is_lazy
                or not slot.generation + 1 == generation == context.generation
            ):
                return self.handle(target, request)
            counts.ranged += 1
            slot.generation = generation
            units[number].invalidate(first, last, loaded.slot + 1)
            return cost

        return handle

    def run_handler(self, target: Cpu, request: Flush, *, early: bool = False) -> None:
        """Run the handler of one request on a target, behind those before it.

        Where it has answered already, walks that the processor begins by itself may still use
        pointers to tables up to the end of its flush; user code and the kernel do not run.
        """
        unit = self.system.units[target.id]
        pointers = unit.pointers() if early and request.freed_tables else []
        cost = self.handle(target, request)
        target.steal(target.handler_until, cost, HANDLER)
        if pointers:
            unit.guess(pointers, target.handler_until, request.reason)

    def wait_for(self, cpu: Cpu, shot: Shot[Cpu], site: str) -> Op[None]:
        """Wait for all answers, and divide the wait along the last of them."""
        note_waiting_for_answers(cpu, site)
        yield from cpu.sync()
        before = cpu.account[WAIT]
        yield from cpu.wait_for_answers(shot, WAIT)
        waited, last = cpu.account[WAIT] - before, shot.last
        if last is None:
            return
        vcpus, arrived = self.system.vcpus, shot.sent + last.flight
        delay = last.off_delay + last.queue
        away = vcpus.time_away(last.cpu, arrived, arrived + delay) if vcpus is not None else 0
        for cause, part in (
            (WAY_BACK, last.way_back),
            (REMOTE, last.handler),
            (PREEMPTED, away),
            (QUEUE, max(0, last.queue - away)),
            (OFF_DELAY, min(last.off_delay, delay - away)),
            (FLIGHT, last.flight),
        ):
            share = min(part, waited)
            if share:
                cpu.move_time(WAIT, cause, share)
                waited -= share

    def record(self, cpu: Cpu, began: Time, remote: int) -> Op[None]:
        """A shootdown is over: count it, and how long it took if it reached others."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if remote:
            self.system.counts.remote += 1
            self.system.latencies.record(cpu.clock - began)
        else:
            self.system.counts.local += 1
