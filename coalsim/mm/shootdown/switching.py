"""Changing address spaces: what a processor does with its TLB when threads come and go.

    same space          nothing; if the processor was lazy, catch up by the generation
    kernel thread, idle keep the space loaded and be lazy
    other space         an ASID slot that still knows it: keep its entries if their
                        generation is current, else flush them; no slot: the next in turn

Setting or clearing a bit of a space's CPU mask is a write of a line that all its
processors share; newer kernels leave the bit set when a processor switches away.
Source: Linux arch/x86/mm/tlb.c (switch_mm_irqs_off, enter_lazy_tlb).

Invariant: a processor's walker uses the tables of what is loaded, and nothing while it
has only the kernel's.
"""

from coalsim.cpus.cpu import SWITCH, Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.cpus.walked import Tree
from coalsim.engine.clock import Op
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.shootdown.base import Shootdown

CATCH_UP = "switch:tlb flush"


class Loadable:
    """An address space as switching sees it."""

    context: Context

    def tree_of(self, cpu: Cpu) -> Tree:
        """The tables that this processor walks; it has some."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a processor walks")

    def lacks_tree(self, cpu: Cpu) -> bool:
        """The processor's place has no root yet."""
        return False

    def make_tree(self, cpu: Cpu) -> Op[None]:
        """Give it one."""
        yield from ()


class Switching:
    """The `Switcher` of all processors.

    Args:
        policy: who may have its own rule for what a returning processor must flush.
    """

    def __init__(self, policy: Shootdown) -> None:
        self._policy = policy
        self._system = policy.system
        self.switches = 0
        self.flushes = 0

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.switches = self.flushes = 0

    def switch_to(self, cpu: Cpu, thread: Thread) -> Op[None]:
        """Load the thread's space."""
        loaded, space = self._system.loaded[cpu.id], thread.space
        if space is None:
            yield from self.go_idle(cpu)
            return
        assert isinstance(space, Loadable)
        context = space.context
        if loaded.context is context and not loaded.is_lazy:
            return
        yield from cpu.sync()
        if space.lacks_tree(cpu):
            yield from space.make_tree(cpu)
            yield from cpu.sync()
        if loaded.context is context:
            loaded.is_lazy = False
            cpu.charge(loaded.lazy_line.rmw(cpu) - cpu.clock, SWITCH)
            self._catch_up(cpu, loaded, context)
        else:
            self._load(cpu, loaded, space)
        yield from self._policy.left_user(cpu)

    def go_idle(self, cpu: Cpu) -> Op[None]:
        """Be lazy: keep what is loaded, use no user page."""
        loaded = self._system.loaded[cpu.id]
        if loaded.context is not None and not loaded.is_lazy:
            yield from cpu.sync()
            if loaded.context is not None:
                loaded.is_lazy = True
                cpu.charge(loaded.lazy_line.rmw(cpu) - cpu.clock, SWITCH)

    def _load(self, cpu: Cpu, loaded: Loaded, space: Loadable) -> None:
        system, context = self._system, space.context
        switches, old = system.switches, loaded.context
        self.switches += 1
        now, cost = cpu.clock, system.costs.switch_mm
        if old is not None and not switches.cpumask_sticky and old.mask.pop(cpu.id, self) is None:
            cost += old.mask_line.rmw(cpu) - now
        if cpu.id not in context.mask:
            context.mask[cpu.id] = None
            cost += context.mask_line.rmw(cpu) - now
        cpu.charge(cost, SWITCH)
        loaded.is_lazy = False
        unit = system.units[cpu.id]
        known = next((n for n, slot in enumerate(loaded.slots) if slot.context is context), -1)
        if known >= 0 and switches.asid_slots:
            loaded.slot = known
            loaded.context = context
            self._catch_up(cpu, loaded, context)
        else:
            loaded.slot = loaded.next_slot
            loaded.next_slot = (loaded.next_slot + 1) % len(loaded.slots)
            loaded.context = context
            loaded.slots[loaded.slot].context = context
            loaded.generation = context.generation
            unit.flush(loaded.asid)
            cpu.charge(system.times.asid_flush, SWITCH)
            self.flushes += 1
        unit.load(loaded.asid, context, space.tree_of(cpu))

    def _catch_up(self, cpu: Cpu, loaded: Loaded, context: Context) -> None:
        if self._policy.switched_in(cpu, loaded, context):
            self._system.units[cpu.id].flush(loaded.asid)
            cpu.charge(self._system.times.asid_flush, CATCH_UP)
            self.flushes += 1
        loaded.generation = context.generation

    def forget(self, cpu: Cpu, context: Context) -> None:
        """A space is torn down: nobody has it loaded any more; synchronised, after its last flush."""
        for number in sorted(context.mask):
            loaded = self._system.loaded[number]
            if loaded.context is context:
                loaded.context, loaded.is_lazy = None, False
                unit = self._system.units[number]
                unit.space = unit.tree = None
        context.mask.clear()
        for loaded in self._system.loaded:
            for slot in loaded.slots:
                if slot.context is context:
                    slot.context = None
