"""An object cache with sheaves, in time: Linux's per-CPU arrays over SLUB slabs.

    take   own sheaves -> barn of the node (a full one) -> fill a sheaf from the slabs
    give   own sheaves -> barn of the node (an empty one) -> flush a sheaf to the slabs

An object of another node's memory does not enter a sheaf; its free goes to its slab.
The slabs are reached through the processor's SLUB layer (`slub_cache.py`), so filling
and flushing cost what their steps cost there, with the fast path at the price of the bulk one.

Locking: sheaves are private; each node's barn has a lock (class "barn->lock").
Source: Linux mm/slub.c of 6.18; which step reaches what is told in `sheaf.py`.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Body, Span
from coalsim.mm.kmem.base import ALLOC, FREE, RANK_DEPOT, KmemSystem, LayerFacts, OwnCounts
from coalsim.mm.kmem.geometry import SlabGeometry
from coalsim.mm.kmem.magazine import Magazine
from coalsim.mm.kmem.sheaf import Barn, CpuSheaves, sheaf_capacity
from coalsim.mm.kmem.slab import SlabDirectory, SlabStatistics
from coalsim.mm.kmem.slub_cache import SlubObjects
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.layout import pfn_of
from coalsim.units import NodeId, Time


class SheafCache:
    """One cache.

    Args:
        system: what caches are built from.
        name: of the cache.
        geometry: the cut of its slabs.
        directory: frame to slab, shared by all caches.
    """

    remote_touches = False

    def __init__(
        self, system: KmemSystem, name: str, geometry: SlabGeometry, directory: SlabDirectory
    ) -> None:
        self.name = name
        self.size = geometry.object_size
        self.counts = [OwnCounts() for _ in system.cpus]
        self._system = system
        bulk = system.costs.sheaf_bulk_per_object
        self._slabs = SlubObjects(system, name, geometry, directory, bulk, bulk)
        self._capacity = sheaf_capacity(geometry.stride)
        self._own = [CpuSheaves(self._capacity) for _ in system.cpus]
        self._barns = [Barn(self._capacity) for _ in range(system.num_nodes)]
        self._locks = [
            system.make_lock("barn->lock", RANK_DEPOT, f"barn of {name} node {node}")
            for node in range(system.num_nodes)
        ]

    # -- the part that never waits

    def take_now(self, cpu: Cpu, extra: Time) -> int:
        """An object of the main sheaf."""
        rounds = self._own[cpu.id].main.rounds
        if not rounds or cpu.clock >= cpu.limit:
            return 0
        counts = self.counts[cpu.id]
        counts.alloc_hits += 1
        cpu.charge(self._system.costs.sheaf_pop + extra, ALLOC)
        return rounds.pop()

    def give_now(self, cpu: Cpu, address: int, extra: Time) -> bool:
        """Into the main sheaf, if it has room and the object is of this node."""
        main = self._own[cpu.id].main
        if len(main.rounds) >= main.capacity or cpu.clock >= cpu.limit or not self._is_local(cpu, address):
            return False
        main.rounds.append(address)
        counts = self.counts[cpu.id]
        counts.free_hits += 1
        cpu.charge(self._system.costs.sheaf_push + extra, FREE)
        return True

    def _is_local(self, cpu: Cpu, address: int) -> bool:
        return self._system.pages.zone_of(pfn_of(address)).node == cpu.node

    # -- everything

    def take(self, cpu: Cpu, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """An object, or 0 if memory is short."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        own, counts, costs = self._own[cpu.id], self.counts[cpu.id], self._system.costs
        cpu.charge(costs.sheaf_pop, ALLOC)
        swaps = own.swaps
        address = own.alloc()
        if own.swaps != swaps:
            cpu.charge(costs.sheaf_swap, ALLOC)
        if address is not None:
            counts.alloc_hits += 1
            return address
        sheaf = yield from self._full_from_barn(cpu, own, site)
        if sheaf is None:
            counts.depot_allocs += 1
        else:
            counts.slab_allocs += 1
            yield from self._fill(cpu, own, sheaf, site, context)
        return own.alloc() or 0

    def _full_from_barn(self, cpu: Cpu, own: CpuSheaves, site: str) -> Op[Magazine | None]:
        """Change the empty main sheaf for a full one; else an empty sheaf to be filled comes back."""
        barn = self._barns[cpu.node]
        empty: Magazine | None = None

        def body(_: Time) -> Time:
            nonlocal empty
            full = barn.replace_empty(own.main)
            if full is not None:
                own.main = full
            else:
                empty = own.take_spare() or barn.take_empty() or barn.new_sheaf()
            return self._system.costs.barn_section

        yield from self._visit(cpu, body, site)
        return empty

    def _fill(self, cpu: Cpu, own: CpuSheaves, sheaf: Magazine, site: str, context: AllocContext) -> Op[None]:
        """Fill a sheaf from the slabs and make it the main one."""
        costs = self._system.costs
        cpu.charge(costs.sheaf_bulk_fixed, ALLOC)
        while len(sheaf.rounds) < sheaf.capacity:
            address = yield from self._slabs.take(cpu, site, context)
            if not address:
                break
            sheaf.rounds.append(address)
        if own.main.rounds or own.spare is not None:
            yield from self._flush(cpu, sheaf, site)  # another thread filled the CPU's while this one slept
        elif not sheaf.rounds:
            own.spare = sheaf  # memory is short: keep it for later
        else:
            own.install_full(sheaf)

    def _put(self, left: Magazine, barn: Barn) -> Body:
        """A section that gives the barn a full sheaf."""

        def body(_: Time) -> Time:
            barn.put_full(left)  # room was seen before; the limit is not strict, as in Linux
            return self._system.costs.barn_section

        return body

    def give(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Take an object back."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        counts, costs = self.counts[cpu.id], self._system.costs
        if not self._is_local(cpu, address):
            counts.slab_frees += 1
            yield from self._slabs.give(cpu, address, site)
            return
        own = self._own[cpu.id]
        cpu.charge(costs.sheaf_push, FREE)
        swaps = own.swaps
        if own.free(address):
            counts.free_hits += 1
            if own.swaps != swaps:
                cpu.charge(costs.sheaf_swap, FREE)
            return
        yield from self._make_room(cpu, own, counts, site)
        kept = own.free(address)
        assert kept, "an empty sheaf has room"

    def _make_room(self, cpu: Cpu, own: CpuSheaves, counts: OwnCounts, site: str) -> Op[None]:
        """Both sheaves are full: change the main one at the barn, or flush the spare one."""
        barn, flush = self._barns[cpu.node], False
        empty: Magazine | None = None

        def body(_: Time) -> Time:
            nonlocal empty, flush
            if own.spare is None:
                empty = barn.take_empty() or barn.new_sheaf()
            elif not barn.has_room:
                flush = True
            else:
                changed = barn.replace_full(own.main)
                if changed is not None:
                    own.main = changed
                else:
                    empty = barn.new_sheaf()
            return self._system.costs.barn_section

        yield from self._visit(cpu, body, site)
        if flush:
            counts.slab_frees += 1
            empty = own.take_spare()
            assert empty is not None
            yield from self._flush(cpu, empty, site)
        else:
            counts.depot_frees += 1
        if empty is not None:
            left = own.install_empty(empty)
            if left is not None:
                yield from self._visit(cpu, self._put(left, barn), site)

    def _flush(self, cpu: Cpu, sheaf: Magazine, site: str) -> Op[None]:
        costs = self._system.costs
        cpu.charge(costs.sheaf_bulk_fixed, FREE)
        while sheaf.rounds:
            yield from self._slabs.give(cpu, sheaf.rounds.pop(), site)

    def _visit(self, cpu: Cpu, body: Body, site: str, node: NodeId | None = None) -> Op[Span]:
        """A section under the lock of a node's barn, the processor's own if none is named."""
        lock = self._locks[cpu.node if node is None else node]
        section = lock.section if self._system.switches.barn_irqsave else lock.interruptible_section
        return section(cpu, body, self._system.costs.barn_section, site)

    # -- the end

    def drain_cpu(self, cpu: Cpu, site: str) -> Op[None]:
        """The processor's sheaves and slabs go back."""
        yield from cpu.look()
        for sheaf in self._own[cpu.id].unload():
            yield from self._flush(cpu, sheaf, site)
        yield from self._slabs.drain_cpu(cpu, site)

    def drain_shared(self, cpu: Cpu, site: str) -> Op[int]:
        """The barns' sheaves go back to the slabs, empty slabs to the pages."""
        for node, barn in enumerate(self._barns):
            sheaves: list[Magazine] = []

            def body(_: Time, barn: Barn = barn, sheaves: list[Magazine] = sheaves) -> Time:
                sheaves.extend(barn.unload())
                return self._system.costs.barn_section

            yield from self._visit(cpu, body, site, NodeId(node))
            for sheaf in sheaves:
                yield from self._flush(cpu, sheaf, site)
        yield from self._slabs.drain_cpu(cpu, site)
        return (yield from self._slabs.drain_shared(cpu, site))

    # -- statistics

    def statistics(self) -> SlabStatistics:
        """A line of slabinfo."""
        return self._slabs.statistics()

    def layer(self) -> LayerFacts:
        """Sheaves keep their size."""
        contended = sum(lock.stat.row().contentions for lock in self._locks)
        return LayerFacts(self._capacity, contended, 0)

    def reset_counters(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        for counts in self.counts:
            counts.reset()

    def validate(self) -> None:
        """Recount the slow way."""
        for barn in self._barns:
            barn.validate()
        self._slabs.validate()
