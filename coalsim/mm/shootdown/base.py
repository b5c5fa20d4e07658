"""What all shootdown policies share.

    flush(cpu, request)       make sure that no TLB holds what the request names
    defers(request)           the policy may do so later, and frees the frames then
    post(cpu, request, ...)   such a later flush
    switched_in(cpu, ...)     a processor loads a context: catch up with what it missed

A policy is a subclass with a `flush`.  It is called with interrupts on, holding no lock
that anybody takes with interrupts off.  When `flush` returns, its promise holds: no
processor uses what died, so the caller frees the frames.  What a policy does earlier than
that, or forgets, the oracle finds.

What a flush does to one TLB is in `catching_up.py`, how others are interrupted in
`calling.py`; a policy may change those parts too.
"""

from typing import ClassVar

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.shootdown.calling import Calling
from coalsim.mm.shootdown.causes import GENERATION, LOCAL, MASK, SETUP
from coalsim.mm.shootdown.request import Flush, Release
from coalsim.units import Time, Vpn


class Shootdown(Calling):
    """Base of all policies."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    replication: ClassVar[str] = ""
    """Which copies of page tables it needs (`kernel.table_replication`); empty: any will do."""

    uses_broadcast: ClassVar[bool] = False
    """It changes other processors' TLBs without interrupting them, in `FlushTimes.broadcast_flight`."""
    is_lazy: ClassVar[bool] = False
    """It puts flushes off, so addresses that are unmapped have to wait for them too."""

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

    def record(self, cpu: Cpu, began: Time, remote: int) -> Op[None]:
        """A shootdown is over: count it, and how long it took if it reached others."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if remote:
            self.system.counts.remote += 1
            self.system.latencies.record(cpu.clock - began)
        else:
            self.system.counts.local += 1
