"""SLUB as Linux had it up to 6.17: a current slab per CPU, and lists of partial slabs.

An allocation is served by the first of these that has an object:

    FAST           the CPU's own freelist of its current slab       no lock, no shared line
    OWN_SLAB       what others freed into the current slab          its descriptor line
    CPU_PARTIAL    the CPU's partial slabs                          the slab's descriptor
    NODE_PARTIAL   the node's partial slabs                         the node's list lock
    GROW           nothing: pages are needed, see `add_slab`        the page allocator

    a slab is  CURRENT   of one CPU: that CPU pops from its own list, others push to
                         the slab's; nobody needs a lock
               ON_CPU    on some CPU's partial list
               ON_NODE   on its node's partial list
               LOOSE     all objects out; on no list, found again by its first free

A free goes to the CPU's own list when the slab is its current one (FREE_FAST), else to
the slab's list, which bounces the slab's descriptor line between the CPUs
(FREE_SLAB).  The first free into a loose slab puts it on the freeing CPU's partial
list (FREE_TO_CPU), which spills to the nodes when it is long (FREE_SPILL).  A free that
empties a slab on a node's list takes the list lock (FREE_NODE): empty slabs beyond
`min_partial` are given back.

Invariants: a slab's `place` says where it is; no object is both free and out; the
directory knows each page of each slab.
Locking: FAST and FREE_FAST are private to the CPU; CURRENT slabs' and partial slabs'
own freelists are shared by cmpxchg; the node's list lock guards ON_NODE.  Nothing here
waits or charges time.
Source: Linux mm/slub.c of 3.5 to 6.17 (`___slab_alloc`, `get_partial_node`,
`__slab_free`, `put_cpu_partial`, `__put_partials`, `set_cpu_partial`,
`calculate_sizes`).  Simplified: a CPU asks no other node's list before it grows.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from coalsim.errors import BadFree, ForeignFree
from coalsim.mm.kmem.geometry import SlabGeometry
from coalsim.mm.kmem.slab import ObjectRun, SlabDirectory, SlabStatistics
from coalsim.mm.phys.layout import DIRECT_MAP
from coalsim.units import PAGE_SHIFT, PAGE_SIZE

FAST, OWN_SLAB, CPU_PARTIAL, NODE_PARTIAL, GROW = range(5)
FREE_FAST, FREE_SLAB, FREE_TO_CPU, FREE_SPILL, FREE_NODE = range(5)
CURRENT, ON_CPU, ON_NODE, LOOSE = range(4)
NO_CPU = -1


PartialLimit = Literal["objects", "slabs"]
"""What limits a CPU's partial slabs: free objects as they were when the slabs came (3.2), slabs (5.16)."""


def cpu_partial_slabs(geometry: SlabGeometry) -> int:
    """How many partial slabs a CPU keeps: enough for a number of objects that falls with their size.

    The slabs are taken to be half full.
    """
    size = geometry.stride
    objects = 6 if size >= PAGE_SIZE else 24 if size >= 1024 else 52 if size >= 256 else 120
    return -(-objects * 2 // geometry.objects)


def cpu_partial_objects(geometry: SlabGeometry) -> int:
    """How many free objects a CPU's partial slabs have before they spill (up to 5.15)."""
    size = geometry.stride
    return 2 if size >= PAGE_SIZE else 6 if size >= 1024 else 13 if size >= 256 else 30


def min_partial_slabs(geometry: SlabGeometry) -> int:
    """How many partial slabs a node keeps before it gives empty ones back: 5 to 10."""
    return min(max((geometry.stride.bit_length() - 1) // 2, 5), 10)


class SlubSlab(ObjectRun):
    """A slab with its own freelist of addresses; `_out` marks what users hold."""

    __slots__ = ("freelist", "made_by", "owner", "place")

    def __init__(self, cache: str, geometry: SlabGeometry, pfn: int, node: int, made_by: int) -> None:
        super().__init__(cache, geometry, pfn, node)
        self.made_by = made_by  # the CPU that wrote its descriptor first
        end = self.base + geometry.objects * geometry.stride
        # The end of the list is the next object handed out.
        self.freelist = list(range(self.base, end, geometry.stride))[::-1]
        self.owner = NO_CPU  # the CPU whose current or partial slab it is
        self.place = LOOSE

    def hand_out(self, address: int) -> None:
        """Mark an object as held by a user."""
        self._out[(address - self.base) // self.geometry.stride] = 1
        self.objects_out += 1

    def validate(self) -> None:
        """Recount the slow way."""
        assert self.objects_out == sum(self._out)
        assert not any(self.is_out(address) for address in self.freelist)
        assert len(self.freelist) == len(dict.fromkeys(self.freelist))


class SlubCpu:
    """One CPU's part of a cache."""

    __slots__ = ("cpu", "freelist", "kept", "node", "partial", "slab")

    def __init__(self, cpu: int, node: int) -> None:
        self.cpu = cpu
        self.node = node
        self.slab: SlubSlab | None = None
        self.freelist: list[int] = []  # objects of `slab`; the end is the next one
        self.partial: list[SlubSlab] = []  # the end is the next one
        self.kept: list[int] = []  # for each of them: what counted towards the limit when it came

    def keep(self, slab: SlubSlab, counts: int) -> None:
        """Put a slab on the partial list."""
        slab.place, slab.owner = ON_CPU, self.cpu
        self.partial.append(slab)
        self.kept.append(counts)

    def take_kept(self) -> SlubSlab:
        """Take the newest one off."""
        self.kept.pop()
        return self.partial.pop()

    def take_all_kept(self) -> list[SlubSlab]:
        """Take all of them off, the oldest first."""
        taken, self.partial, self.kept = self.partial, [], []
        return taken


class SlubCache:
    """One cache of a SLUB kernel.

    Args:
        name: of the cache.
        geometry: its cut.
        directory: frame to slab, shared by all caches of the kernel.
        node_of_cpu: the node of each CPU.
        limit: what limits a CPU's partial slabs.
    """

    __slots__ = (
        "_directory",
        "_nodes",
        "_slabs",
        "by_objects",
        "cpu_partial",
        "cpus",
        "geometry",
        "min_partial",
        "name",
    )

    def __init__(
        self,
        name: str,
        geometry: SlabGeometry,
        directory: SlabDirectory,
        node_of_cpu: Sequence[int],
        limit: PartialLimit = "slabs",
    ) -> None:
        self.name = name
        self.geometry = geometry
        self.by_objects = limit == "objects"
        self.cpu_partial = (cpu_partial_objects if self.by_objects else cpu_partial_slabs)(geometry)
        self.min_partial = min_partial_slabs(geometry)
        self.cpus = [SlubCpu(cpu, node) for cpu, node in enumerate(node_of_cpu)]
        self._directory = directory
        self._slabs: dict[int, SlubSlab] = {}  # first frame -> slab, all of them
        # First frame -> slab, per node; ordered, because the oldest leaves first.
        self._nodes: dict[int, OrderedDict[int, SlubSlab]] = {}

    def alloc(self, cpu: int) -> tuple[int | None, int, int]:
        """Take an object for a CPU.

        Returns:
            the object (None: GROW), where it came from, slabs moved from the node's list.
        """
        own = self.cpus[cpu]
        level = moved = 0
        if not own.freelist:
            level, moved = self._reload(own)
            if level == GROW:
                return None, GROW, 0
        slab = own.slab
        assert slab is not None
        address = own.freelist.pop()
        slab.hand_out(address)
        return address, level, moved

    def free(self, cpu: int, address: int) -> tuple[int, SlubSlab, Sequence[SlubSlab]]:
        """Give an object back on a CPU.

        Returns:
            which way it went, the slab whose descriptor was written (for FREE_FAST: not),
            and slabs that are empty and whose pages the caller gives back.

        Raises:
            DoubleFree, ForeignFree, InteriorFree: no user of this cache holds it.
        """
        slab = self._directory.get((address - DIRECT_MAP) >> PAGE_SHIFT)
        if not isinstance(slab, SlubSlab) or slab.cache != self.name:
            raise self._refusal(address, slab)
        slab.take_back(address)
        own = self.cpus[cpu]
        if slab is own.slab:
            own.freelist.append(address)
            return FREE_FAST, slab, ()
        slab.freelist.append(address)
        if slab.place == LOOSE:
            return self._keep(own, slab)
        if slab.place == ON_NODE and len(slab.freelist) == self.geometry.objects:
            partial = self._node(slab.node)
            if len(partial) >= self.min_partial:
                del partial[slab.pfn]
                self._forget(slab)
                return FREE_NODE, slab, (slab,)
            return FREE_NODE, slab, ()
        return FREE_SLAB, slab, ()

    def add_slab(self, cpu: int, pfn: int, node: int) -> SlubSlab:
        """Cut a run of pages of a node into objects and make it the CPU's current slab."""
        slab = SlubSlab(self.name, self.geometry, pfn, node, cpu)
        self._slabs[pfn] = slab
        self._directory.update(dict.fromkeys(range(pfn, pfn + (1 << self.geometry.order)), slab))
        own = self.cpus[cpu]
        assert not own.freelist, "a CPU grows the cache only when it has nothing left"
        self._leave(own)
        self._enter(own, slab)
        return slab

    def flush(self, cpu: int) -> list[SlubSlab]:
        """Take a CPU's slabs away from it; answers the empty ones whose pages go back."""
        own = self.cpus[cpu]
        slab, own.slab = own.slab, None
        emptied: list[SlubSlab] = []
        if slab is not None:
            slab.freelist += own.freelist
            own.freelist = []
            emptied += self._to_nodes([slab])
        return emptied + self._to_nodes(own.take_all_kept())

    def spills(self, cpu: int) -> bool:
        """The CPU's partial slabs make room for the next one."""
        kept = self.cpus[cpu].kept
        return bool(kept) and (
            sum(kept) > self.cpu_partial if self.by_objects else len(kept) >= self.cpu_partial
        )

    def shrink(self, node: int) -> list[SlubSlab]:
        """Give up the empty slabs of a node, also those that are kept; their pages go back."""
        partial: dict[int, SlubSlab] = self._nodes.get(node, {})
        emptied = [slab for slab in partial.values() if not slab.objects_out]
        for slab in emptied:
            del partial[slab.pfn]
            self._forget(slab)
        return emptied

    def statistics(self) -> SlabStatistics:
        """One line of slabinfo; as in Linux, objects that a CPU keeps count as active."""
        per_slab, slabs = self.geometry.objects, len(self._slabs)
        idle = [slab for partial in self._nodes.values() for slab in partial.values()]
        return SlabStatistics(
            name=self.name,
            active_objs=slabs * per_slab - sum(len(slab.freelist) for slab in idle),
            num_objs=slabs * per_slab,
            objsize=self.geometry.listed_size,
            objperslab=per_slab,
            pagesperslab=1 << self.geometry.order,
            active_slabs=slabs,
            num_slabs=slabs,
        )

    def validate(self) -> None:
        """Recount the slow way; tests call this after every step."""
        seen: dict[int, int] = {}
        for own in self.cpus:
            if own.slab is not None:
                seen[own.slab.pfn] = CURRENT
                assert own.slab.owner == own.cpu
                assert not any(own.slab.is_out(address) for address in own.freelist)
                assert (
                    own.slab.objects_out + len(own.freelist) + len(own.slab.freelist) == self.geometry.objects
                )
            else:
                assert not own.freelist
            assert len(own.kept) == len(own.partial)
            assert self.by_objects or len(own.partial) <= max(self.cpu_partial, self.cpu_partial // 2 + 1)
            for slab in own.partial:
                assert slab.pfn not in seen
                assert slab.owner == own.cpu
                seen[slab.pfn] = ON_CPU
        for node, partial in self._nodes.items():
            for pfn, slab in partial.items():
                assert pfn not in seen
                assert (slab.node, slab.owner) == (node, NO_CPU)
                assert slab.freelist
                seen[pfn] = ON_NODE
        for pfn, slab in self._slabs.items():
            slab.validate()
            assert slab.place == seen.get(pfn, LOOSE)
            if slab.place != CURRENT:
                assert slab.objects_out + len(slab.freelist) == self.geometry.objects
            assert slab.place != LOOSE or slab.objects_out == self.geometry.objects
            assert all(self._directory[pfn + page] is slab for page in range(1 << self.geometry.order))

    # ---- inside

    def _reload(self, own: SlubCpu) -> tuple[int, int]:
        """Fill a CPU's empty freelist; answers the level and the slabs moved from the node."""
        slab = own.slab
        if slab is not None and slab.freelist:
            own.freelist, slab.freelist = slab.freelist, own.freelist
            return OWN_SLAB, 0
        self._leave(own)
        if own.partial:
            self._enter(own, own.take_kept())
            return CPU_PARTIAL, 0
        partial = self._node(own.node)
        if not partial:
            return GROW, 0
        first = partial.popitem(last=False)[1]
        available = len(first.freelist) if self.by_objects else 0
        self._enter(own, first)
        moved = 1
        while partial and self.cpu_partial and available <= self.cpu_partial // 2:
            slab = partial.popitem(last=False)[1]
            available += self._counts(slab)
            own.keep(slab, self._counts(slab))
            moved += 1
        return NODE_PARTIAL, moved

    def _counts(self, slab: SlubSlab) -> int:
        """What a slab counts towards the limit of a CPU's partial slabs."""
        return len(slab.freelist) if self.by_objects else 1

    def _enter(self, own: SlubCpu, slab: SlubSlab) -> None:
        slab.place, slab.owner = CURRENT, own.cpu
        own.slab = slab
        own.freelist, slab.freelist = slab.freelist, []

    def _leave(self, own: SlubCpu) -> None:
        """The current slab has no free object left: it becomes loose."""
        if own.slab is not None:
            own.slab.place, own.slab.owner = LOOSE, NO_CPU
            own.slab = None

    def _keep(self, own: SlubCpu, slab: SlubSlab) -> tuple[int, SlubSlab, Sequence[SlubSlab]]:
        """A loose slab had its first free: this CPU keeps it, if need be in place of its other slabs."""
        if not self.cpu_partial:
            return FREE_NODE, slab, self._to_nodes([slab])
        level, emptied = FREE_TO_CPU, []
        if self.spills(own.cpu):
            level, emptied = FREE_SPILL, self._to_nodes(own.take_all_kept())
        own.keep(slab, self._counts(slab))
        return level, slab, emptied

    def _to_nodes(self, slabs: Sequence[SlubSlab]) -> list[SlubSlab]:
        """Put slabs on their nodes' lists; answers the empty ones that the nodes do not keep."""
        emptied = []
        for slab in slabs:
            partial = self._node(slab.node)
            slab.place, slab.owner = ON_NODE, NO_CPU
            if len(slab.freelist) == self.geometry.objects and len(partial) >= self.min_partial:
                self._forget(slab)
                emptied.append(slab)
            elif slab.freelist:
                partial[slab.pfn] = slab
            else:
                slab.place = LOOSE
        return emptied

    def _node(self, node: int) -> OrderedDict[int, SlubSlab]:
        partial = self._nodes.get(node)
        if partial is None:
            partial = self._nodes[node] = OrderedDict()
        return partial

    def _forget(self, slab: SlubSlab) -> None:
        slab.place = LOOSE
        del self._slabs[slab.pfn]
        for page in range(1 << self.geometry.order):
            del self._directory[slab.pfn + page]

    def _refusal(self, address: int, slab: ObjectRun | None) -> BadFree:
        owner = "no slab holds it" if slab is None else f"cache {slab.cache} owns it"
        return ForeignFree(address, f"cache {self.name} was given it, but {owner}")
