"""An object cache as Linux's SLUB had it up to 6.17, in time.

The fast paths are private: the processor's own freelist.  Everything else touches
slabs that other processors free into without a lock, so it is played by events: the
slab's descriptor line is taken by an atomic exchange, and lists of partial slabs are
under the node's list lock, taken with interrupts off.

Not modelled: a CPU asks no other node's list before it takes new pages.
Locking: own freelist private; `list_lock` per node (class "n->list_lock").
Source: Linux mm/slub.c; which step reaches what is told in `slub.py`.
"""

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Body
from coalsim.mm.kmem.base import ALLOC, FREE, RANK_SLABS, KmemSystem, LayerFacts, OwnCounts
from coalsim.mm.kmem.geometry import SlabGeometry
from coalsim.mm.kmem.slab import SlabDirectory, SlabStatistics, slab_at
from coalsim.mm.kmem.slub import (
    CPU_PARTIAL,
    FAST,
    FREE_NODE,
    FREE_SPILL,
    LOOSE,
    ON_NODE,
    SlubCache,
    SlubSlab,
)
from coalsim.mm.phys.context import AllocContext
from coalsim.units import CpuId, NodeId, Pfn, Time

SLAB_LINE = "line:slab descriptor"


class SlubObjects:
    """One cache.

    Args:
        system: what caches are built from.
        name: of the cache.
        geometry: the cut of its slabs.
        directory: frame to slab, shared by all caches.
        take_cost, give_cost: of the fast paths; None: as for single objects.
    """

    remote_touches = True  # a free writes the free pointer into the object

    def __init__(
        self,
        system: KmemSystem,
        name: str,
        geometry: SlabGeometry,
        directory: SlabDirectory,
        take_cost: Time | None = None,
        give_cost: Time | None = None,
    ) -> None:
        self.name = name
        self.size = geometry.object_size
        self.counts = [OwnCounts() for _ in system.cpus]
        self._system = system
        self._directory = directory
        self._geometry = geometry
        nodes = [cpu.node for cpu in system.cpus]
        self.slub = SlubCache(name, geometry, directory, nodes, system.switches.slub_cpu_partial)
        self._locks = [
            system.make_lock("n->list_lock", RANK_SLABS, f"list_lock of {name} node {node}")
            for node in range(system.num_nodes)
        ]
        self._lines: dict[int, CacheLine] = {}  # descriptor line of a slab that others touched, by frame
        self._take_cost: Time = system.costs.slub_alloc if take_cost is None else take_cost
        self._give_cost: Time = system.costs.slub_free if give_cost is None else give_cost

    # -- the part that never waits

    def take_now(self, cpu: Cpu, extra: Time) -> int:
        """An object of the own freelist."""
        return 0 if cpu.clock >= cpu.limit else self._take_own(cpu, extra)

    def _take_own(self, cpu: Cpu, extra: Time) -> int:
        own = self.slub.cpus[cpu.id]
        if not own.freelist:
            return 0
        address = own.freelist.pop()
        assert own.slab is not None
        own.slab.hand_out(address)
        counts = self.counts[cpu.id]
        counts.alloc_hits += 1
        cpu.charge(self._take_cost + extra, ALLOC)
        return address

    def give_now(self, cpu: Cpu, address: int, extra: Time) -> bool:
        """Back to the own freelist, if the object is of the current slab."""
        return cpu.clock < cpu.limit and self._give_own(cpu, address, extra)

    def _give_own(self, cpu: Cpu, address: int, extra: Time) -> bool:
        if not self._is_current(cpu, address):
            return False
        self.slub.free(cpu.id, address)
        counts = self.counts[cpu.id]
        counts.free_hits += 1
        cpu.charge(self._give_cost + extra, FREE)
        return True

    def _slab_of(self, address: int) -> SlubSlab:
        slab = slab_at(self._directory, address)
        assert isinstance(slab, SlubSlab), "the caller holds an object of this cache"
        return slab

    def _is_current(self, cpu: Cpu, address: int) -> bool:
        return self.slub.cpus[cpu.id].slab is self._slab_of(address)

    # -- everything

    def take(self, cpu: Cpu, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """An object, or 0 if memory is short."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        address = self._take_own(cpu, 0)
        if address:
            return address
        counts, costs, own = self.counts[cpu.id], self._system.costs, self.slub.cpus[cpu.id]
        cpu.charge(self._take_cost + costs.slub_slow_alloc, ALLOC)
        yield from cpu.sync()
        own_slab = own.slab is not None and bool(own.slab.freelist)
        if own_slab or own.partial:
            counts.depot_allocs += 1
            slab = own.slab if own_slab else own.partial[-1]
            assert slab is not None
            yield from self._exchange(cpu, slab)
            found, level, _ = self.slub.alloc(cpu.id)
            cpu.charge(costs.slub_cpu_partial if level == CPU_PARTIAL else 0, ALLOC)
            assert found is not None
            return found
        counts.slab_allocs += 1
        return (yield from self._take_from_node(cpu, site, context))

    def _exchange(self, cpu: Cpu, slab: SlubSlab) -> Op[None]:
        """An atomic exchange on a slab's descriptor."""
        line = self._lines.get(slab.pfn)
        if line is None:
            line = self._lines[slab.pfn] = CacheLine("slab descriptor")
            line.owner = CpuId(slab.made_by)
        cpu.charge(line.rmw(cpu) - cpu.clock, SLAB_LINE)
        yield from cpu.sync()

    def _take_from_node(self, cpu: Cpu, site: str, context: AllocContext) -> Op[int]:
        costs = self._system.costs
        found: int | None = None

        def body(_: Time) -> Time:
            nonlocal found
            found, _, moved = self.slub.alloc(cpu.id)
            return moved * costs.slub_node_partial

        yield from self._under_list_lock(cpu, cpu.node, body, site)
        if found is not None:
            return found
        pfn = yield from self._system.pages.alloc_owned(cpu, self._geometry.order, site, context=context)
        if pfn < 0:
            return 0
        cpu.charge(costs.slab_create_fixed + self._geometry.objects * costs.slab_create_per_object, ALLOC)
        yield from cpu.sync()
        own = self.slub.cpus[cpu.id]
        if own.freelist:  # this thread has slept for its pages, and another one of the CPU was faster
            yield from self._system.pages.free_owned(cpu, pfn, self._geometry.order, site)
            return (yield from self.take(cpu, site, context))
        self.slub.add_slab(cpu.id, pfn, self._system.pages.zone_of(pfn).node)
        found, level, _ = self.slub.alloc(cpu.id)
        assert found is not None
        assert level == FAST
        return found

    def give(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Take an object back."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if self._give_own(cpu, address, 0):
            return
        counts, costs = self.counts[cpu.id], self._system.costs
        slab = self._slab_of(address)
        cpu.charge(costs.slub_remote_free, FREE)
        yield from cpu.sync()
        yield from self._exchange(cpu, slab)
        if self._needs_node(cpu, slab):
            counts.slab_frees += 1
            emptied = yield from self._give_to_node(cpu, slab, address, site)
        else:
            counts.depot_frees += 1
            emptied = list(self.slub.free(cpu.id, address)[2])
        yield from self._give_pages(cpu, emptied, site)

    def _needs_node(self, cpu: Cpu, slab: SlubSlab) -> bool:
        """The free will touch a list of partial slabs of a node."""
        spills = slab.place == LOOSE and self.slub.spills(cpu.id)
        empties = slab.place == ON_NODE and len(slab.freelist) + 1 == self._geometry.objects
        return spills or empties

    def _give_to_node(self, cpu: Cpu, slab: SlubSlab, address: int, site: str) -> Op[list[SlubSlab]]:
        kept = self.slub.cpus[cpu.id].partial
        # what spills is nearly always of one node
        node = NodeId(kept[0].node if slab.place == LOOSE else slab.node)
        emptied: list[SlubSlab] = []

        def body(_: Time) -> Time:
            spilled = len(kept)
            level, _touched, slabs = self.slub.free(cpu.id, address)
            emptied.extend(slabs)
            moved = spilled if level == FREE_SPILL else 1 if level == FREE_NODE else 0
            return moved * self._system.costs.slub_node_put

        yield from self._under_list_lock(cpu, node, body, site)
        return emptied

    def _under_list_lock(self, cpu: Cpu, node: NodeId, body: Body, site: str) -> Op[None]:
        """A section by events: slabs change without the lock, too, so it cannot be computed."""
        lock, irqs_off = self._locks[node], self._system.switches.list_lock_irqsave
        if irqs_off:
            yield from cpu.irq_off()
        yield from lock.interruptible_section(cpu, body, 0, site)
        if irqs_off:
            yield from cpu.irq_on()

    def _give_pages(self, cpu: Cpu, emptied: list[SlubSlab], site: str) -> Op[None]:
        for slab in emptied:
            self._lines.pop(slab.pfn, None)
            cpu.charge(self._system.costs.slab_destroy, FREE)
            yield from self._system.pages.free_owned(cpu, Pfn(slab.pfn), self._geometry.order, site)

    # -- the end

    def drain_cpu(self, cpu: Cpu, site: str) -> Op[None]:
        """The processor's slabs go to the nodes."""
        emptied: list[SlubSlab] = []

        def body(_: Time) -> Time:
            emptied.extend(self.slub.flush(cpu.id))
            return (len(emptied) + 1) * self._system.costs.slub_node_partial

        yield from self._under_list_lock(cpu, cpu.node, body, site)
        yield from self._give_pages(cpu, emptied, site)

    def drain_shared(self, cpu: Cpu, site: str) -> Op[int]:
        """Empty slabs go back to the pages; how many pages that were."""
        given = 0
        for node in range(self._system.num_nodes):
            emptied: list[SlubSlab] = []

            def body(_: Time, node: int = node, emptied: list[SlubSlab] = emptied) -> Time:
                emptied.extend(self.slub.shrink(node))
                return (len(emptied) + 1) * self._system.costs.slub_node_partial

            yield from self._under_list_lock(cpu, NodeId(node), body, site)
            yield from self._give_pages(cpu, emptied, site)
            given += len(emptied) << self._geometry.order
        return given

    # -- statistics

    def statistics(self) -> SlabStatistics:
        """A line of slabinfo."""
        return self.slub.statistics()

    def layer(self) -> LayerFacts:
        """SLUB has no magazines."""
        return LayerFacts(0, 0, 0)

    def reset_counters(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        for counts in self.counts:
            counts.reset()

    def validate(self) -> None:
        """Recount the slow way."""
        self.slub.validate()
