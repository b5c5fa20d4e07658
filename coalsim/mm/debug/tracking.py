"""Tracking: every live object with who allocated it, where, when and how large it is.

A layer over the verbs for objects and pages (`kernel.leak_tracking`).  An object is written down
when its allocation is done and struck out before its free begins, so no address is ever known
twice.  Pages are tracked as blocks, as they were asked for, if they come through the manager:
not the frames of page tables, processes and slabs.

    kmalloc, cache  -> allocation -> written down -> caller
    kfree           -> struck out -> free

Times are exact: they are read right after a look.  What was allocated before anybody tracked, or
past this layer, is not known, and its free changes nothing.
Locking: a record belongs to whoever holds the address.  Where a scan reads the records too, they
are guarded by `kmemleak_lock`, as in Linux, and every allocation and free of the machine takes it.
Costs: `track_object` for the call chain and the record, `index_object` to put the record in or take it
out, under the lock where there is one; both under the cause `leak tracking`.
Source: Linux mm/kmemleak.c (create_object, delete_object_full), mm/page_owner.c.
"""

from typing import Final

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import SpinLock
from coalsim.mm.debug.sites import Site, Sites
from coalsim.mm.kmem.classes import SizeClasses
from coalsim.mm.kmem.verbs import ObjectVerbs
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.layout import order_for, pages_for
from coalsim.mm.phys.pages import PageAllocator
from coalsim.profiles.costs import KernelCosts
from coalsim.units import PAGE_SIZE, CpuId, NodeId, Pfn, Time

TRACKING: Final = "leak tracking"
KMALLOC: Final = "kmalloc"
PAGES: Final = "pages"
RANK_KMEMLEAK = 90
"""Innermost: it is taken under whatever an allocation may be made under."""


class Tracked:
    """One live object, or block of pages.

    Args:
        address: where it begins; of pages, the first frame.
        size: bytes asked for.
        spent: bytes that it takes: those of its class, of a cache's object, of whole pages.
        site: where it was allocated.
        cpu: on which processor.
        comm: by which thread.
        born: when.
    """

    __slots__ = ("address", "born", "comm", "cpu", "is_live", "is_reported", "site", "size", "spent")

    def __init__(
        self, address: int, size: int, spent: int, site: Site, cpu: CpuId, comm: str, born: Time
    ) -> None:
        self.address = address
        self.size = size
        self.spent = spent
        self.site = site
        self.cpu = cpu
        self.comm = comm
        self.born = born
        self.is_live = True
        self.is_reported = False  # by a scan, which says everything once


class Tracking:
    """Who answers for kernel objects where leaks are tracked.

    Args:
        inner: who has the objects.
        pages: the page allocator.
        classes: what kmalloc makes of a size.
        costs: kernel costs.
        lock: of the records, where a scan reads them.
    """

    def __init__(
        self,
        inner: ObjectVerbs,
        pages: PageAllocator,
        classes: SizeClasses,
        costs: KernelCosts,
        lock: SpinLock | None = None,
    ) -> None:
        self._inner = inner
        self._pages = pages
        self._classes = classes
        self._making: Time = costs.track_object
        self._indexing: Time = costs.index_object
        self.lock = lock
        self._caches: dict[int, tuple[str, int]] = {}  # name and object size
        self._asked: dict[int, int] = {}  # by cache, bytes asked for where those are fewer
        self.sites = Sites()
        self.objects: dict[int, Tracked] = {}  # by address
        self.blocks: dict[int, Tracked] = {}  # by first frame
        self.kmalloc_size = inner.kmalloc_size

    # -- objects

    def cache(self, name: str, size: int) -> int:
        """The handle of the cache of that name, made at the first call."""
        handle = self._inner.cache(name, size)
        self._caches[handle] = (name, size)
        return handle

    def asks_for(self, cache: int, size: int) -> None:
        """Whoever uses the cache asks for so many bytes of its objects."""
        self._asked[cache] = size

    def kmalloc_now(self, cpu: Cpu, size: int) -> int:
        """0: call `kmalloc`, which knows its site."""
        return 0

    def kfree_now(self, cpu: Cpu, address: int) -> bool:
        """False: call `kfree`."""
        return False

    def take_object_now(self, cpu: Cpu, cache: int) -> int:
        """0: call `take_object`."""
        return 0

    def give_object_now(self, cpu: Cpu, cache: int, address: int) -> bool:
        """False: call `give_object`."""
        return False

    def kmalloc(self, cpu: Cpu, size: int, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """The address of `size` bytes, or 0."""
        address = yield from self._inner.kmalloc(cpu, size, site, context)
        if address:
            yield from self._note(cpu, self.objects, address, size, self._spent(size, 1), site, KMALLOC)
        return address

    def kmalloc_aligned(
        self, cpu: Cpu, size: int, align: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of `size` bytes at a multiple of `align`, or 0."""
        address = yield from self._inner.kmalloc_aligned(cpu, size, align, site, context)
        if address:
            yield from self._note(cpu, self.objects, address, size, self._spent(size, align), site, KMALLOC)
        return address

    def kfree(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Give memory back; address 0 is legal and free."""
        if address:
            yield from self._strike(cpu, self.objects, address)
        yield from self._inner.kfree(cpu, address, site)

    def take_object(
        self, cpu: Cpu, cache: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of an object of a cache, or 0."""
        address = yield from self._inner.take_object(cpu, cache, site, context)
        if address:
            name, spent = self._caches.get(cache) or (f"cache {cache}", self._inner.kmalloc_size(address))
            asked = self._asked.get(cache, spent)
            yield from self._note(cpu, self.objects, address, asked, spent, site, name)
        return address

    def give_object(self, cpu: Cpu, cache: int, address: int, site: str) -> Op[None]:
        """Give an object back to its cache."""
        yield from self._strike(cpu, self.objects, address)
        yield from self._inner.give_object(cpu, cache, address, site)

    # -- pages

    def take_pages_now(self, cpu: Cpu, order: int) -> int:
        """-1: call `alloc_pages`."""
        return -1

    def give_pages_now(self, cpu: Cpu, pfn: int, order: int) -> bool:
        """False: call `free_pages`."""
        return False

    def alloc_pages(
        self,
        cpu: Cpu,
        order: int,
        site: str,
        node: NodeId | None = None,
        context: AllocContext = AllocContext.KERNEL,
    ) -> Op[Pfn]:
        """The first frame of a block of 2**order, on `node` only if that is given, or -1."""
        pfn = yield from self._pages.alloc(cpu, order, site, node, context)
        if pfn >= 0:
            size = PAGE_SIZE << order
            yield from self._note(cpu, self.blocks, pfn, size, size, site, PAGES)
        return pfn

    def free_pages(self, cpu: Cpu, pfn: Pfn, order: int, site: str) -> Op[None]:
        """Give a block of pages back."""
        yield from self._strike(cpu, self.blocks, pfn)
        yield from self._pages.free(cpu, pfn, order, site)

    # -- the records

    def _spent(self, size: int, align: int) -> int:
        """Bytes that kmalloc takes for a request."""
        fitting = self._classes.aligned_class_of(size, align) if align <= PAGE_SIZE else None
        return fitting or PAGE_SIZE << order_for(max(pages_for(size), align // PAGE_SIZE))

    def _note(
        self,
        cpu: Cpu,
        where: dict[int, Tracked],
        address: int,
        size: int,
        spent: int,
        site: str,
        cache: str,
    ) -> Op[None]:
        """Write an allocation down."""
        comm = cpu.current.name if cpu.current is not None else ""
        cpu.charge(self._making, TRACKING)
        yield from self._enter(cpu)
        found = self.sites.site(site, cache)
        where[address] = Tracked(address, size, spent, found, cpu.id, comm, cpu.clock)
        self.sites.allocated(found, cpu.clock, size, spent)
        yield from self._leave(cpu)

    def _strike(self, cpu: Cpu, where: dict[int, Tracked], address: int) -> Op[None]:
        """Strike out what is about to be freed."""
        yield from self._enter(cpu)
        tracked = where.pop(address, None)
        if tracked is not None:
            tracked.is_live = False
            self.sites.freed(tracked.site, cpu.clock, tracked.size, tracked.spent)
        yield from self._leave(cpu)

    def _enter(self, cpu: Cpu) -> Op[None]:
        if self.lock is not None:
            yield from cpu.irq_off()
            yield from self.lock.acquire(cpu, TRACKING)
        elif cpu.clock >= cpu.limit:
            yield from cpu.look()

    def _leave(self, cpu: Cpu) -> Op[None]:
        cpu.charge(self._indexing, TRACKING)
        if self.lock is not None:
            yield from self.lock.release(cpu)
            yield from cpu.irq_on()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up; what is held is still held."""
        self.sites.reset()

    def validate(self) -> None:
        """Recount the slow way; at rest."""
        held: dict[int, list[int]] = {}
        for tracked in (*self.objects.values(), *self.blocks.values()):
            assert tracked.is_live, f"{tracked.address:#x} is known and dead"
            held.setdefault(id(tracked.site), []).append(tracked.size)
        for site in self.sites:
            sizes = held.get(id(site), [])
            assert (site.live, site.bytes) == (len(sizes), sum(sizes)), f"{site.name} miscounts"
            assert sum(site.slots.values()) == site.bytes, f"the slots of {site.name} miscount"
