"""The slab layer under magazines: take and give objects under the cache's lock.

New slabs are cut outside the lock; their pages come from the page allocator, before
the lock is taken again.  All its sections touch only the lists that the lock guards,
so they can be computed.

Locking: `lock` (class "kmem_cache->lock"), one per cache or per node of it.
Source: Bonwick, "The Slab Allocator", USENIX Summer 1994.
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.kmem.base import ALLOC, FREE, RANK_SLABS, KmemSystem
from coalsim.mm.kmem.geometry import SlabGeometry
from coalsim.mm.kmem.slab import Slab, SlabDirectory, SlabLists, slab_at
from coalsim.mm.phys.context import AllocContext
from coalsim.units import NodeId, Pfn, Time

KEEP_EMPTY = 1
"""Empty slabs that a cache keeps for the next need."""
DRAIN_AT_ONCE = 16
"""Empty slabs that a drain takes off the list in one section."""


class SlabLayer:
    """The slabs of one cache, or of one node of it.

    Args:
        system: what caches are built from.
        name: of the cache.
        geometry: its cut.
        directory: frame to slab, shared by all caches.
        node: pages come from this node while it has any; None: from where placement says.
    """

    def __init__(
        self,
        system: KmemSystem,
        name: str,
        geometry: SlabGeometry,
        directory: SlabDirectory,
        node: NodeId | None,
    ) -> None:
        self._system = system
        self._geometry = geometry
        self._directory = directory
        self._node = node
        self.lists = SlabLists(name, geometry, directory, node or 0, KEEP_EMPTY)
        lock = system.make_lock("kmem_cache->lock", RANK_SLABS, f"slabs of {name}")
        self._section = lock.section if system.switches.slab_irqsave else lock.interruptible_section

    def take(
        self, cpu: Cpu, count: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[list[int]]:
        """Up to `count` objects; fewer if memory is short."""
        objects: list[int] = []
        while len(objects) < count:
            got = yield from self._take_listed(cpu, count - len(objects), None, site)
            objects += got
            if len(objects) < count:
                pages, order = self._system.pages, self._geometry.order
                pfn = yield from pages.alloc_owned(cpu, order, site, self._node, context)
                if pfn < 0:
                    break
                costs = self._system.costs
                cost = costs.slab_create_fixed + self._geometry.objects * costs.slab_create_per_object
                cpu.charge(cost, ALLOC)
                objects += yield from self._take_listed(cpu, count - len(objects), pfn, site)
        return objects

    def _take_listed(self, cpu: Cpu, count: int, pfn: Pfn | None, site: str) -> Op[list[int]]:
        """Objects of slabs that are there, after adding a slab made of a run of pages."""
        costs = self._system.costs
        objects: list[int] = []

        def body(_: Time) -> Time:
            hold = 0
            if pfn is not None:
                self.lists.add_slab(pfn)
                hold += costs.slab_list_move
            found, slabs = self.lists.take(count)
            objects.extend(found)
            return hold + len(found) * costs.slab_take + slabs * costs.slab_list_move

        longest = count * costs.slab_take + (count + 1) * costs.slab_list_move
        yield from self._section(cpu, body, longest, site)
        return objects

    def owns(self, address: int) -> bool:
        """Whether the object, one that is out, is of these slabs and not of another node's."""
        slab = slab_at(self._directory, address)
        return slab is not None and slab.node == self.lists.node

    def give(self, cpu: Cpu, objects: Sequence[int], site: str) -> Op[None]:
        """Take objects back; slabs that become empty give their pages back."""
        costs = self._system.costs
        emptied: list[Slab] = []

        def body(_: Time) -> Time:
            slabs, touched = self.lists.put(objects)
            emptied.extend(slabs)
            return touched * costs.slab_put + len(slabs) * costs.slab_list_move

        longest = len(objects) * (costs.slab_put + costs.slab_list_move)
        yield from self._section(cpu, body, longest, site)
        yield from self._give_pages(cpu, emptied, site)

    def drain_empty(self, cpu: Cpu, site: str) -> Op[int]:
        """Give the pages of all empty slabs back, a few per section; how many pages that were.

        There may be more than are kept: CPUs that wait for pages at once all add a slab.
        """
        cost = self._system.costs.slab_list_move
        given = 0
        while True:
            emptied: list[Slab] = []

            def body(_: Time, emptied: list[Slab] = emptied) -> Time:
                emptied.extend(self.lists.drain_empty(DRAIN_AT_ONCE))
                return len(emptied) * cost

            yield from self._section(cpu, body, DRAIN_AT_ONCE * cost, site)
            yield from self._give_pages(cpu, emptied, site)
            given += len(emptied) << self._geometry.order
            if len(emptied) < DRAIN_AT_ONCE:
                return given

    def _give_pages(self, cpu: Cpu, emptied: Sequence[Slab], site: str) -> Op[None]:
        for slab in emptied:
            cpu.charge(self._system.costs.slab_destroy, FREE)
            yield from self._system.pages.free_owned(cpu, Pfn(slab.pfn), self._geometry.order, site)
