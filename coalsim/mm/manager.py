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
from coalsim.engine.streams import Streams
from coalsim.mm.debug.access import KernelAccess
from coalsim.mm.debug.failing import FailingObjects, FailRule
from coalsim.mm.debug.guard import GuardedPages
from coalsim.mm.debug.kernel_bytes import KernelBytes
from coalsim.mm.debug.objects import DebugObjects
from coalsim.mm.debug.redzone import is_debug, natural_alignment, room_around
from coalsim.mm.debug.roots import Pointers
from coalsim.mm.debug.tracking import RANK_KMEMLEAK, Tracking
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
from coalsim.mm.phys.allocator import FrameAllocator
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.placement import Placement, placement
from coalsim.mm.phys.ram import Ram
from coalsim.mm.phys.zones import build_zones
from coalsim.mm.virt.kernel_stack import KernelStacks
from coalsim.mm.virt.vmalloc import Vmalloc
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.topology.machine import Machine
from coalsim.units import PAGE_SIZE, NodeId


class MemoryManager:
    """All memory of one machine under one kernel.

    Args:
        machine: nodes and distances.
        cpus: the processors.
        switches, costs: of the kernel profile.
        make_lock: makes the allocator's locks.
        magazine_types: the sizes of magazines; None: the published table, with the kernel's threshold.
        policy: of placement; None: the one that the switches name.
        allocator: of frames; None: the one that the switches name.
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
        allocator: type[FrameAllocator] | None = None,
    ) -> None:
        self.switches = switches
        self.max_order = switches.max_order
        self.zones = build_zones(machine, switches, costs, make_lock, allocator)
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
        classes = self._classes = SizeClasses(switches.kmalloc_sizes)
        self.objects = Kmalloc(self._system, classes, self._make_cache, self._directory)
        self.ram = Ram()
        self.bytes = KernelBytes(self.ram, max(zone.first + zone.frames for zone in self.zones))
        access = KernelAccess(self.bytes, costs.user_copy_per_64)
        self.kernel_store = access.store
        self.kernel_load = access.load
        self.pointers = Pointers(access)
        self.debug: DebugObjects | None = None
        self.guard: GuardedPages | None = None
        self.stacks: KernelStacks | None = None
        self.alloc_pages = self.pages.alloc
        self.alloc_pages_now = self.pages.take_now
        self.free_pages = self.pages.free
        self.free_pages_now = self.pages.give_now
        self.tracking: Tracking | None = None
        self._bind(self._watched(self.objects, costs, make_lock))

    def _watched(self, verbs: ObjectVerbs, costs: KernelCosts, make_lock: LockMaker) -> ObjectVerbs:
        """The verbs inside the layers that watch them, from the innermost to the outermost."""
        if self.switches.debug_guard_pages:
            verbs = self.guard = GuardedPages(verbs, self._classes.largest)
        if is_debug(self.switches):
            verbs = self.debug = DebugObjects(
                verbs, self._directory, self.bytes, self.switches, costs, len(self._system.cpus)
            )
        if self.switches.leak_tracking:
            verbs = self.tracking = self._tracked(verbs, costs, make_lock)
        return verbs

    def _tracked(self, verbs: ObjectVerbs, costs: KernelCosts, make_lock: LockMaker) -> Tracking:
        """The layer that knows who allocated what, objects and pages."""
        has_scan = self.switches.kmemleak
        lock = make_lock("kmemleak_lock", RANK_KMEMLEAK, "kmemleak_lock") if has_scan else None
        tracking = Tracking(verbs, self.pages, self._classes, costs, lock)
        self.alloc_pages = tracking.alloc_pages
        self.alloc_pages_now = tracking.take_pages_now
        self.free_pages = tracking.free_pages
        self.free_pages_now = tracking.give_pages_now
        return tracking

    def guard_pages(self, mapped: Vmalloc, stacks: KernelStacks) -> None:
        """Give allocations of whole pages, and threads' stacks, guard pages; before the run."""
        assert self.guard is not None, "the switch says so"
        self.guard.mapper = self.bytes.mapped = mapped
        self.stacks = stacks

    def deepen_stack(self, cpu: Cpu, size: int, site: str) -> Op[None]:
        """Calls that need so many bytes of kernel stack; without guard pages stacks have no bytes."""
        if self.stacks is not None:
            yield from self.stacks.deepen(cpu, size, site)

    def inject_failures(self, rules: Sequence[FailRule], streams: Streams) -> None:
        """Let requests for objects fail at times; before the run."""

        def class_of(size: int, align: int) -> str:
            served = self._classes.aligned_class_of(size, align) if 0 < align <= PAGE_SIZE else None
            return f"kmalloc-{served}" if served else "kmalloc-large"

        def name_of(cache: int) -> str:
            return self.objects.caches[cache].name

        self._bind(FailingObjects(self.verbs, rules, streams, name_of, class_of))

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
        room = room_around(size, self.switches)
        align = natural_alignment(size) if is_debug(self.switches) else 8
        if self.switches.slab != "magazines":
            return slub_geometry(size, len(self._system.cpus), align, room)
        geometry = coal_geometry(size, align, room)
        return geometry if self.switches.slab_colouring else replace(geometry, colours=1)

    # -- maintenance

    def update_magazines(self) -> None:
        """The periodic look at every depot's contention; called at a barrier."""
        for cache in self.objects.caches:
            if isinstance(cache, MagazineCache):
                cache.update()

    def drain_cpu(self, cpu: Cpu, site: str) -> Op[None]:
        """Give back everything that the processor keeps: objects, then pages."""
        if self.debug is not None:
            yield from self.debug.drain_cpu(cpu)
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
        if self.tracking is not None:
            self.tracking.reset()

    def validate(self) -> None:
        """Recount everything the slow way; at rest."""
        self.pages.validate()
        self.objects.validate()
        if self.tracking is not None:
            self.tracking.validate()
