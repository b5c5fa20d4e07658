"""What a flush does to one TLB: on the initiator, and in the handler on each target.

    handle -> not its context, or lazy: nothing but leaving
           -> catch_up: up to date | page by page | the whole ASID

A generation is claimed only where everything before it has been flushed too.
Private to the processor whose TLB it is, but for the mask of the context.
Source: Linux arch/x86/mm/tlb.c (`flush_tlb_func`).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.ipi import Handler
from coalsim.mm.paging.context import Loaded
from coalsim.mm.shootdown.request import COW, Flush
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.units import Time


class CatchingUp:
    """The part of a policy that flushes TLBs; each method may be changed by a policy.

    Args:
        system: what policies work with.
    """

    def __init__(self, system: ShootdownSystem) -> None:
        self.system = system
        own, usual = type(self), ("handle", "catch_up", "invalidate_pages", "suffices")
        self._handles_as_usual = all(getattr(own, name) is getattr(CatchingUp, name) for name in usual)

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
