"""kmalloc and kfree over the object caches, and whole pages above the largest class.

Every address in a caller's hands is remembered with its cache, the processor that
took it and the bytes asked for.  So a wrong free is named with its call site, a free
on another processor is counted, and internal fragmentation is exact.

`kmalloc_now` and `kfree_now` never wait: they answer 0 or False when the waiting verb
must be called.  Aligned requests take the smallest class whose objects all lie on
multiples of the alignment, or a block of pages.

Locking: what is remembered belongs to whoever holds the address; the caches have
their own locks.
"""

from collections.abc import Callable

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import BadFree, DoubleFree, ForeignFree, InteriorFree, KernelBug
from coalsim.mm.kmem.base import ALLOC, FREE, KmemSystem, ObjectCache
from coalsim.mm.kmem.classes import SizeClasses
from coalsim.mm.kmem.slab import SlabDirectory, slab_at
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.layout import address_of, order_for, pages_for, pfn_of
from coalsim.units import PAGE_SIZE, CpuId, Pfn, Time

OBJECT_LINE = "object line"

Holding = tuple["ObjectCache | None", CpuId, int]
"""Cache (None: whole pages), who took it, and bytes asked for."""


class Kmalloc:
    """All objects of a kernel.

    Args:
        system: what caches are built from.
        classes: the sizes of kmalloc's caches.
        make_cache: builds a cache from name and object size.
        directory: frame to slab, shared by all caches.
    """

    def __init__(
        self,
        system: KmemSystem,
        classes: SizeClasses,
        make_cache: Callable[[str, int], ObjectCache],
        directory: SlabDirectory,
    ) -> None:
        self._system = system
        self._classes = classes
        self._make_cache = make_cache
        self._directory = directory
        self._held: dict[int, Holding] = {}
        self.caches: list[ObjectCache] = [make_cache(f"kmalloc-{size}", size) for size in classes.sizes]
        self._handles = {cache.name: handle for handle, cache in enumerate(self.caches)}
        by_class = dict(zip(classes.sizes, self.caches, strict=True))
        largest = classes.largest
        # the cache of a size, by its 8-byte step
        self._by_step = [
            by_class[classes.class_of(max(step * 8, 1)) or largest] for step in range(largest // 8 + 1)
        ]
        self._largest = largest
        costs = system.costs
        self._hit: Time = costs.kmalloc_hit
        self._free_hit: Time = costs.kfree_hit

    @property
    def slabs(self) -> SlabDirectory:
        """Frame to slab, for all caches."""
        return self._directory

    # -- caches by name

    def cache(self, name: str, size: int) -> int:
        """The handle of the cache of that name, made at the first call."""
        handle = self._handles.get(name)
        if handle is None:
            handle = self._handles[name] = len(self.caches)
            self.caches.append(self._make_cache(name, size))
        return handle

    # -- without waiting

    def kmalloc_now(self, cpu: Cpu, size: int) -> int:
        """An address from the processor's own objects; 0: call `kmalloc`."""
        if not 0 < size <= self._largest:
            return 0
        cache = self._by_step[(size + 7) >> 3]
        address = cache.take_now(cpu, self._hit)
        if address:
            me = cpu.id
            cache.counts[me].requested += size
            self._held[address] = (cache, me, size)
        return address

    def kfree_now(self, cpu: Cpu, address: int) -> bool:
        """Give an own object back; False: call `kfree`."""
        held = self._held.get(address)
        if held is None:
            return False
        cache, taker, _ = held
        if taker != cpu.id or cache is None or not cache.give_now(cpu, address, self._free_hit):
            return False
        del self._held[address]
        return True

    # -- kmalloc

    def kmalloc(self, cpu: Cpu, size: int, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """The address of `size` bytes, or 0 if memory is short.

        Raises:
            KernelBug: `size` is not positive.
        """
        if size <= 0:
            raise KernelBug(f"kmalloc of {size} bytes at {site} on CPU {cpu.id}")
        if size > self._largest:
            return (yield from self._large(cpu, size, order_for(pages_for(size)), site, context))
        return (yield from self._take(cpu, self._by_step[(size + 7) >> 3], size, site, context))

    def kmalloc_aligned(
        self, cpu: Cpu, size: int, align: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of `size` bytes at a multiple of `align`, a power of two; or 0.

        Raises:
            KernelBug: `size` or `align` makes no sense.
        """
        if size <= 0 or align <= 0 or align & (align - 1):
            raise KernelBug(f"kmalloc of {size} bytes aligned to {align} at {site} on CPU {cpu.id}")
        fitting = self._classes.aligned_class_of(size, align) if align <= PAGE_SIZE else None
        if fitting is None:
            order = order_for(max(pages_for(size), align // PAGE_SIZE))
            return (yield from self._large(cpu, size, order, site, context))
        return (yield from self._take(cpu, self._by_step[fitting >> 3], size, site, context))

    def _take(self, cpu: Cpu, cache: ObjectCache, size: int, site: str, context: AllocContext) -> Op[int]:
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        address = yield from cache.take(cpu, site, context)
        cpu.charge(self._hit, ALLOC)
        if address:
            cache.counts[cpu.id].requested += size
            self._held[address] = (cache, cpu.id, size)
        else:
            cache.counts[cpu.id].failures += 1
        return address

    def _large(self, cpu: Cpu, size: int, order: int, site: str, context: AllocContext) -> Op[int]:
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        cpu.charge(self._system.costs.kmalloc_large, ALLOC)
        pfn = yield from self._system.pages.alloc_owned(cpu, order, site, context=context)
        if pfn < 0:
            return 0
        address = address_of(pfn)
        self._held[address] = (None, cpu.id, size)
        return address

    # -- kfree

    def kfree(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Give memory back; address 0 is legal and free.

        Raises:
            DoubleFree, ForeignFree, InteriorFree: nobody holds memory that begins there.
        """
        if not address:
            return
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        held = self._held.pop(address, None)
        if held is None:
            raise self._refusal(cpu, address, site)
        yield from self._give(cpu, address, held, site)
        cpu.charge(self._free_hit, FREE)

    def _give(self, cpu: Cpu, address: int, held: Holding, site: str) -> Op[None]:
        cache, taker, _ = held
        if cache is None:
            pfn = Pfn(pfn_of(address))
            order = self._system.pages.order_of(pfn)
            assert order is not None, "pages in a caller's hands are taken"
            yield from self._system.pages.free_owned(cpu, pfn, order, site)
            return
        yield from cache.give(cpu, address, site)
        if taker != cpu.id:
            cache.counts[cpu.id].remote_frees += 1
            if cache.remote_touches:
                cpu.charge(cpu.transfer[taker], OBJECT_LINE)

    def kmalloc_size(self, address: int) -> int:
        """Bytes usable at an address that a caller holds.

        Raises:
            ForeignFree: nobody holds it.
        """
        held = self._held.get(address)
        if held is None:
            raise ForeignFree(address, "kmalloc_size of memory that nobody holds")
        if held[0] is not None:
            return held[0].size
        return PAGE_SIZE << (self._system.pages.order_of(pfn_of(address)) or 0)

    # -- objects of named caches

    def take_object(
        self, cpu: Cpu, cache: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of an object of a cache, or 0 if memory is short."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        chosen = self.caches[cache]
        address = yield from chosen.take(cpu, site, context)
        if address:
            chosen.counts[cpu.id].requested += chosen.size
            self._held[address] = (chosen, cpu.id, chosen.size)
        else:
            chosen.counts[cpu.id].failures += 1
        return address

    def give_object(self, cpu: Cpu, cache: int, address: int, site: str) -> Op[None]:
        """Give an object back to its cache.

        Raises:
            DoubleFree, ForeignFree, InteriorFree: nobody holds an object of this cache there.
        """
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        held = self._held.pop(address, None)
        if held is None:
            raise self._refusal(cpu, address, site)
        if held[0] is not self.caches[cache]:
            self._held[address] = held
            owner = "the page allocator" if held[0] is None else f"cache {held[0].name}"
            raise ForeignFree(
                address,
                f"freed into cache {self.caches[cache].name} at {site} on CPU {cpu.id}, but {owner} owns it",
            )
        yield from self._give(cpu, address, held, site)

    def take_object_now(self, cpu: Cpu, cache: int) -> int:
        """An object from the processor's own ones; 0: call `take_object`."""
        chosen = self.caches[cache]
        address = chosen.take_now(cpu, 0)
        if address:
            chosen.counts[cpu.id].requested += chosen.size
            self._held[address] = (chosen, cpu.id, chosen.size)
        return address

    def give_object_now(self, cpu: Cpu, cache: int, address: int) -> bool:
        """Give an own object back; False: call `give_object`."""
        held = self._held.get(address)
        if held is None or held[0] is not self.caches[cache] or held[1] != cpu.id:
            return False
        if not self.caches[cache].give_now(cpu, address, 0):
            return False
        del self._held[address]
        return True

    # -- at rest or at a barrier

    @property
    def held_objects(self) -> int:
        """Addresses in callers' hands."""
        return len(self._held)

    def _refusal(self, cpu: Cpu, address: int, site: str) -> BadFree:
        who = f"freed at {site} on CPU {cpu.id}"
        slab = slab_at(self._directory, address)
        if slab is None:
            for head in (
                address & -(PAGE_SIZE << order) for order in range(self._system.pages.max_order + 1)
            ):
                held = self._held.get(head)
                if held is not None and held[0] is None and head != address:
                    return InteriorFree(
                        address, f"{who}; it lies in the pages at {head:#x}, taken by CPU {held[1]}"
                    )
            return ForeignFree(address, f"{who}; no slab and no held pages are there")
        index, inside = divmod(address - slab.base, slab.geometry.stride)
        if inside or not 0 <= index < slab.geometry.objects:
            return InteriorFree(
                address, f"{who}; it lies {inside} bytes into object {index} of a slab of cache {slab.cache}"
            )
        return DoubleFree(address, f"{who}; object {index} of a slab of cache {slab.cache} is free already")

    def validate(self) -> None:
        """Recount the slow way; at rest."""
        for cache in self.caches:
            cache.validate()
        for address, (owner, _, _) in self._held.items():
            if owner is None:
                assert self._system.pages.order_of(pfn_of(address)) is not None
            else:
                slab = slab_at(self._directory, address)
                assert slab is not None
                assert slab.cache == owner.name
                assert slab.is_out(address), f"{address:#x} is held and free"
