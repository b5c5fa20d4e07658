"""The memory manager: the face that workloads call, over zones, caches and kmalloc.

Lock order, lowest rank first; nothing here holds two at a time but for a slab layer
that asks the page allocator, which it does without its own lock:

    depot->lock, barn->lock     20    magazines and sheaves of a cache
    kmem_cache->lock, n->list_lock  30    slabs of a cache
    zone->lock                  50    free frames of a zone
"""

from collections.abc import Sequence
from dataclasses import replace

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.kmem.base import KmemSystem, LockMaker, ObjectCache
from coalsim.mm.kmem.classes import SizeClasses
from coalsim.mm.kmem.geometry import SlabGeometry, coal_geometry, slub_geometry
from coalsim.mm.kmem.kmalloc import Kmalloc
from coalsim.mm.kmem.magazine_cache import MagazineCache
from coalsim.mm.kmem.magazine_types import MagazineTypes, illumos_types
from coalsim.mm.kmem.sheaf_cache import SheafCache
from coalsim.mm.kmem.slab import SlabDirectory
from coalsim.mm.kmem.slub_cache import SlubObjects
from coalsim.mm.kmem.verbs import ObjectVerbs
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.placement import Placement, placement
from coalsim.mm.phys.ram import Ram
from coalsim.mm.phys.zones import build_zones
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.topology.machine import Machine
from coalsim.units import NodeId, Pfn


class MemoryManager:
    """All memory of one machine under one kernel.

    Args:
        machine: nodes and distances.
        cpus: the processors.
        switches, costs: of the kernel profile.
        make_lock: makes the allocator's locks.
        magazine_types: the sizes of magazines; None: the published table, with the kernel's threshold.
        policy: of placement; None: the one that the switches name.
    """

    def __init__(
        self,
        machine: Machine,
        cpus: Sequence[Cpu],
        switches: Switches,
        costs: KernelCosts,
        make_lock: LockMaker,
        magazine_types: MagazineTypes | None = None,
        policy: type[Placement] | None = None,
    ) -> None:
        self.switches = switches
        self.max_order = switches.max_order
        self.zones = build_zones(machine, switches, costs, make_lock)
        usable = dict.fromkeys(zone.node for zone in self.zones)  # nodes that have memory
        by_distance = [
            tuple(other for other in machine.nodes_by_distance(node.node) if other in usable)
            for node in machine.nodes
        ]
        nodes = [NodeId(node) for node in switches.placement_nodes]
        self.pages = PageAllocator(
            self.zones, cpus, costs, switches, placement(switches.placement, by_distance, nodes, policy)
        )
        self._system = KmemSystem(list(cpus), self.pages, costs, switches, make_lock, machine.num_nodes)
        self._directory: SlabDirectory = {}
        self._types = magazine_types or replace(
            illumos_types(), tolerated_failed_tries=switches.magazine_threshold
        )
        classes = SizeClasses(switches.kmalloc_sizes)
        self.objects = Kmalloc(self._system, classes, self._make_cache, self._directory)
        self.ram = Ram()
        self._bind(self.objects)
        self.alloc_pages = self.pages.alloc
        self.alloc_pages_now = self.pages.take_now
        self.free_pages_now = self.pages.give_now

    def _bind(self, verbs: ObjectVerbs) -> None:
        """Who answers for kernel objects: `Kmalloc`, or the outermost of the layers that watch it."""
        self.verbs = verbs
        # the hot verbs without a frame of their own
        self.kmalloc = verbs.kmalloc
        self.kmalloc_aligned = verbs.kmalloc_aligned
        self.kmalloc_now = verbs.kmalloc_now
        self.kmalloc_size = verbs.kmalloc_size
        self.kfree = verbs.kfree
        self.kfree_now = verbs.kfree_now
        self.cache = verbs.cache
        self.cache_alloc = verbs.take_object
        self.cache_alloc_now = verbs.take_object_now
        self.cache_free = verbs.give_object
        self.cache_free_now = verbs.give_object_now

    def _make_cache(self, name: str, size: int) -> ObjectCache:
        """A cache of the profile's kind."""
        if self.switches.slab == "magazines":
            return MagazineCache(self._system, name, self._geometry(size), self._directory, self._types)
        kind = SlubObjects if self.switches.slab == "slub" else SheafCache
        return kind(self._system, name, self._geometry(size), self._directory)

    def _geometry(self, size: int) -> SlabGeometry:
        if self.switches.slab != "magazines":
            return slub_geometry(size, len(self._system.cpus))
        geometry = coal_geometry(size)
        return geometry if self.switches.slab_colouring else replace(geometry, colours=1)

    def free_pages(self, cpu: Cpu, pfn: Pfn, order: int, site: str) -> Op[None]:
        """Give a block of pages back."""
        return self.pages.free(cpu, pfn, order, site)

    # -- maintenance

    def update_magazines(self) -> None:
        """The periodic look at every depot's contention; called at a barrier."""
        for cache in self.objects.caches:
            if isinstance(cache, MagazineCache):
                cache.update()

    def drain_cpu(self, cpu: Cpu, site: str) -> Op[None]:
        """Give back everything that the processor keeps: objects, then pages."""
        for cache in self.objects.caches:
            yield from cache.drain_cpu(cpu, site)
        yield from self.pages.drain_cpu(cpu, site)

    def drain_shared(self, cpu: Cpu, site: str) -> Op[None]:
        """Give back what all processors share, after each has drained its own, then this one's pages."""
        for cache in self.objects.caches:
            yield from cache.drain_shared(cpu, site)
        yield from self.pages.drain_cpu(cpu, site)

    def reset_counters(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        for own in self.pages.own:
            own.reset()
        self.pages.failures = 0
        for cache in self.objects.caches:
            cache.reset_counters()

    def validate(self) -> None:
        """Recount everything the slow way; at rest."""
        self.pages.validate()
        self.objects.validate()
