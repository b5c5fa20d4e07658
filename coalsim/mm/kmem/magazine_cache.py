"""An object cache with magazines: per-CPU stacks, a depot, slabs behind.

    take   own magazines -> depot (a full one) -> one object from the slabs
    give   own magazines -> depot (an empty one, or a new one)

The depot's lock is tried first; finding it taken counts as contention, which a
periodic update judges: a contended cache steps to larger magazines.  The update
decides at a barrier; what it retires, the next processor that comes to the depot
takes apart.

One depot and one slab list per cache, as published, or one per node
(`magazine_depot`).
Locking: magazines are private; the depot has a lock (class "depot->lock").
Source: Bonwick and Adams, "Magazines and Vmem", USENIX ATC 2001.
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Body, SpinLock
from coalsim.mm.kmem.base import ALLOC, FREE, RANK_DEPOT, KmemSystem, LayerFacts, OwnCounts
from coalsim.mm.kmem.geometry import SlabGeometry
from coalsim.mm.kmem.magazine import CpuCache, Depot, Magazine
from coalsim.mm.kmem.magazine_types import MagazineTypes
from coalsim.mm.kmem.slab import SlabDirectory, SlabStatistics
from coalsim.mm.kmem.slablayer import SlabLayer
from coalsim.mm.phys.context import AllocContext
from coalsim.units import CpuId, NodeId, Time


class _Store:
    """A depot with its lock and the slabs behind it; `irqs_off` says how the lock is taken."""

    def __init__(self, depot: Depot, lock: SpinLock, irqs_off: bool, slabs: SlabLayer) -> None:
        self.depot = depot
        self.lock = lock
        self.section = lock.section if irqs_off else lock.interruptible_section
        self.slabs = slabs
        self._retired: list[Magazine] = []

    def retire(self, magazines: Sequence[Magazine]) -> None:
        """Keep magazines of an old size, to be taken apart by the next processor that comes."""
        self._retired += magazines

    def take_retired(self) -> list[Magazine]:
        """Those kept; under the lock."""
        retired, self._retired = self._retired, []
        return retired


class MagazineCache:
    """One cache.

    Args:
        system: what caches are built from.
        name: of the cache.
        geometry: the cut of its slabs.
        directory: frame to slab, shared by all caches.
        types: the sizes its magazines may have.
    """

    remote_touches = False

    def __init__(
        self,
        system: KmemSystem,
        name: str,
        geometry: SlabGeometry,
        directory: SlabDirectory,
        types: MagazineTypes,
    ) -> None:
        self.name = name
        self.size = geometry.object_size
        self._system = system
        self._own = [CpuCache() for _ in system.cpus]
        self.counts = [OwnCounts() for _ in system.cpus]
        costs = system.costs
        self._resizes = 0
        self._take_cost: Time = costs.magazine_lock + costs.magazine_pop
        self._give_cost: Time = costs.magazine_lock + costs.magazine_push
        self._exchange_cost: Time = costs.magazine_exchange
        per_node = system.switches.magazine_depot == "node"
        places: list[NodeId | None] = (
            [NodeId(node) for node in range(system.num_nodes)] if per_node else [None]
        )
        self._stores = []
        for node in places:
            label = name if node is None else f"{name} node {node}"
            self._stores.append(
                _Store(
                    Depot(geometry.object_size, types),
                    system.make_lock("depot->lock", RANK_DEPOT, f"depot of {label}"),
                    system.switches.depot_irqsave,
                    SlabLayer(system, name, geometry, directory, node),
                )
            )
        self._store_of = [self._stores[cpu.node if per_node else 0] for cpu in system.cpus]

    # -- the part that never waits

    def take_now(self, cpu: Cpu, extra: Time) -> int:
        """A round of the loaded magazine."""
        me = cpu.id
        rounds = self._own[me].loaded.rounds
        if not rounds or cpu.clock >= cpu.limit:
            return 0
        self.counts[me].alloc_hits += 1
        cost = self._take_cost + extra  # Clocked.charge in line
        cpu.account[ALLOC] += cost
        cpu.clock += cost
        if cpu.clock > cpu.limit:
            cpu.tail.append((ALLOC, cost))
        return rounds.pop()

    def give_now(self, cpu: Cpu, address: int, extra: Time) -> bool:
        """A round into the loaded magazine."""
        me = cpu.id
        loaded = self._own[me].loaded
        rounds = loaded.rounds
        if len(rounds) >= loaded.capacity or cpu.clock >= cpu.limit:
            return False
        rounds.append(address)
        self.counts[me].free_hits += 1
        cost = self._give_cost + extra  # Clocked.charge in line
        cpu.account[FREE] += cost
        cpu.clock += cost
        if cpu.clock > cpu.limit:
            cpu.tail.append((FREE, cost))
        return True

    # -- everything

    def take(self, cpu: Cpu, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """An object, or 0 if memory is short."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        own, counts = self._own[cpu.id], self.counts[cpu.id]
        cpu.charge(self._take_cost, ALLOC)
        address = self._pop(cpu, own)
        if address is not None:
            counts.alloc_hits += 1
            return address
        store = self._store_of[cpu.id]
        old = yield from self._reload_full(cpu, own, store, site)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()  # the reaper's interrupt may take what has just been loaded
        if own.loaded.rounds:
            counts.depot_allocs += 1
            address = own.loaded.rounds.pop()
        else:
            counts.slab_allocs += 1
            objects = yield from store.slabs.take(cpu, 1, site, context)
            address = objects[0] if objects else 0
        yield from self._take_apart(cpu, old, site)
        return address

    def give(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Take an object back."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        own, counts = self._own[cpu.id], self.counts[cpu.id]
        cpu.charge(self._give_cost, FREE)
        exchanges = own.exchanges
        if own.free(address):
            counts.free_hits += 1
            if own.exchanges != exchanges:
                cpu.charge(self._exchange_cost, FREE)
            return
        counts.depot_frees += 1
        store = self._store_of[cpu.id]
        kept = False
        while not kept:  # again only if the reaper's interrupt has taken what was just loaded
            old = yield from self._reload_empty(cpu, own, store, site)
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            kept = own.free(address)
            yield from self._take_apart(cpu, old, site)

    def _pop(self, cpu: Cpu, own: CpuCache) -> int | None:
        exchanges = own.exchanges
        address = own.alloc()
        if own.exchanges != exchanges:
            cpu.charge(self._exchange_cost, ALLOC)
        return address

    def _reload_full(self, cpu: Cpu, own: CpuCache, store: _Store, site: str) -> Op[list[Magazine]]:
        """Load a full magazine if the depot has one; magazines of an old size come back."""
        old: list[Magazine] = []

        def body(_: Time) -> Time:
            depot = store.depot
            old.extend(store.take_retired())
            full = depot.take_full()
            if full is not None:
                spent = own.load_full(full)
                if spent is not None and not depot.put_empty(spent):
                    old.append(spent)
            return self._system.costs.depot_section

        yield from self._visit(cpu, store, body, site)
        return old

    def _reload_empty(self, cpu: Cpu, own: CpuCache, store: _Store, site: str) -> Op[list[Magazine]]:
        """Load an empty magazine, a new one if the depot has none."""
        old: list[Magazine] = []
        made = False

        def body(_: Time) -> Time:
            nonlocal made
            depot = store.depot
            old.extend(store.take_retired())
            empty = depot.take_empty()
            if empty is None:
                empty, made = depot.new_magazine(), True
            spent = own.load_empty(empty)
            if spent is not None and not depot.put_full(spent):
                old.append(spent)
            return self._system.costs.depot_section

        yield from self._visit(cpu, store, body, site)
        if made:
            cpu.charge(self._system.costs.magazine_create, FREE)
        return old

    def _visit(self, cpu: Cpu, store: _Store, body: Body, site: str) -> Op[None]:
        """A section under the depot's lock; a wait for it is a failed try."""
        waits = cpu.lock_waits[0]
        yield from store.section(cpu, body, self._system.costs.depot_section, site)
        if cpu.lock_waits[0] > waits:
            store.depot.note_failed_try()
            self.counts[cpu.id].contended += 1

    def _to_slabs(self, cpu: Cpu, objects: Sequence[int], site: str) -> Op[None]:
        """Give objects back to the slabs that they are of: magazines hold those of other nodes too."""
        if len(self._stores) == 1:
            yield from self._stores[0].slabs.give(cpu, objects, site)
            return
        for store in self._stores:
            its = [address for address in objects if store.slabs.owns(address)]
            if its:
                yield from store.slabs.give(cpu, its, site)

    def _take_apart(self, cpu: Cpu, old: list[Magazine], site: str) -> Op[None]:
        """Objects of magazines of an old size go back to the slabs."""
        if old:
            cpu.charge(self._system.costs.magazine_update, FREE)
        for magazine in old:
            if magazine.rounds:
                yield from self._to_slabs(cpu, magazine.rounds, site)

    # -- maintenance, at a barrier

    def update(self) -> None:
        """The periodic look at contention: a contended depot steps to larger magazines."""
        for store in self._stores:
            rounds = store.depot.rounds
            store.retire(store.depot.update())
            self._resizes += store.depot.rounds != rounds

    # -- when memory is short, and at the end

    def detach(self, cpu_id: CpuId) -> list[Magazine]:
        """What an interrupt handler of that processor does: its magazines come off."""
        return [magazine for magazine in self._own[cpu_id].unload() if magazine.rounds]

    def put_back(self, cpu: Cpu, magazines: Sequence[Magazine], site: str) -> Op[None]:
        """Detached magazines that are full go to the depot, the rounds of the others to the slabs."""
        store = self._store_of[cpu.id]
        loose: list[int] = []

        def body(_: Time) -> Time:
            for magazine in magazines:
                if len(magazine.rounds) < magazine.capacity or not store.depot.put_full(magazine):
                    loose.extend(magazine.rounds)
            return self._system.costs.depot_section

        yield from self._visit(cpu, store, body, site)
        if loose:
            yield from self._to_slabs(cpu, loose, site)

    def drain_cpu(self, cpu: Cpu, site: str) -> Op[None]:
        """The processor's magazines go back to the slabs."""
        yield from cpu.look()
        for magazine in self._own[cpu.id].unload():
            if magazine.rounds:
                yield from self._to_slabs(cpu, magazine.rounds, site)

    def drain_shared(self, cpu: Cpu, site: str) -> Op[int]:
        """The depots' magazines go back to the slabs, empty slabs to the pages; how many pages that were."""
        for store in self._stores:
            magazines = yield from self._unload(cpu, store, site)
            for magazine in magazines:
                if magazine.rounds:
                    yield from self._to_slabs(cpu, magazine.rounds, site)
        given = 0
        for store in self._stores:  # now that no depot can give back objects of another's slabs
            given += yield from store.slabs.drain_empty(cpu, site)
        return given

    def _unload(self, cpu: Cpu, store: _Store, site: str) -> Op[list[Magazine]]:
        """All magazines of a depot."""
        magazines: list[Magazine] = []

        def body(_: Time) -> Time:
            magazines.extend((*store.take_retired(), *store.depot.unload()))
            return self._system.costs.depot_section

        yield from self._visit(cpu, store, body, site)
        return magazines

    # -- statistics

    def statistics(self) -> SlabStatistics:
        """A line of slabinfo; objects in magazines count as active, as for the slab layer they are."""
        return merge_lines([store.slabs.lists.statistics() for store in self._stores])

    def layer(self) -> LayerFacts:
        """Magazine size and depots."""
        contended = sum(counts.contended for counts in self.counts)
        return LayerFacts(max(store.depot.rounds for store in self._stores), contended, self._resizes)

    def reset_counters(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self._resizes = 0
        for counts in self.counts:
            counts.reset()

    def validate(self) -> None:
        """Recount the slow way; at rest."""
        held: dict[int, None] = {}
        for own in self._own:
            own.validate()
            for magazine in (own.loaded, own.previous):
                for address in magazine.rounds:
                    assert address not in held, f"{address:#x} is in two magazines"
                    held[address] = None
        for store in self._stores:
            store.depot.validate()
            store.slabs.lists.validate()


def merge_lines(lines: list[SlabStatistics]) -> SlabStatistics:
    """One line of slabinfo for the parts of one cache."""
    first = lines[0]
    return SlabStatistics(
        name=first.name,
        active_objs=sum(line.active_objs for line in lines),
        num_objs=sum(line.num_objs for line in lines),
        objsize=first.objsize,
        objperslab=first.objperslab,
        pagesperslab=first.pagesperslab,
        active_slabs=sum(line.active_slabs for line in lines),
        num_slabs=sum(line.num_slabs for line in lines),
    )
