"""GuardedPages: the layer that gives allocations of whole pages addresses with an unmapped page behind them.

    kmalloc above the largest class, may sleep -> pages mapped one by one, a guard page behind
    anything else                              -> inner layer

What must not sleep keeps getting pages in the kernel's window, as kvmalloc does it: mapping pages may wait.
Who maps them is filled in by boot (`PageMapper`), for page tables stand above this part.

Nothing here has state of its own.
Source: Linux mm/util.c (`__kvmalloc_node`); that every vmalloc area has a guard page: mm/vmalloc.c
(`__get_vm_area_node`).
"""

from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.kmem.verbs import ObjectVerbs
from coalsim.mm.phys.context import AllocContext
from coalsim.units import PAGE_SIZE

MAY_SLEEP = (AllocContext.KERNEL, AllocContext.USER, AllocContext.MUST)


class PageMapper(Protocol):
    """Who gives the kernel pages with addresses of their own."""

    purges: int
    """How often all processors had to drop their translations of freed ones."""

    @property
    def count(self) -> int:
        """How many areas there are."""

    def vmalloc(self, cpu: Cpu, size: int, site: str, context: AllocContext) -> Op[int]:
        """The address of so many bytes in whole pages, or 0."""

    def vfree(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Give them back."""

    def covers(self, address: int) -> bool:
        """The address is one of those that it gives."""

    def size_of(self, address: int) -> int:
        """Bytes usable at an address that a caller holds."""


class GuardedPages:
    """Guard pages behind allocations of whole pages.

    Args:
        inner: who has the objects.
        largest: bytes of kmalloc's largest class.
    """

    def __init__(self, inner: ObjectVerbs, largest: int) -> None:
        self._inner = inner
        self._largest = largest
        self.mapper: PageMapper | None = None
        # objects of caches are none of this layer's business
        self.cache = inner.cache
        self.kmalloc_now = inner.kmalloc_now
        self.kfree_now = inner.kfree_now
        self.take_object = inner.take_object
        self.take_object_now = inner.take_object_now
        self.give_object = inner.give_object
        self.give_object_now = inner.give_object_now

    def kmalloc(self, cpu: Cpu, size: int, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """The address of `size` bytes, or 0."""
        if self.mapper is None or size <= self._largest or context not in MAY_SLEEP:
            return (yield from self._inner.kmalloc(cpu, size, site, context))
        return (yield from self.mapper.vmalloc(cpu, size, site, context))

    def kmalloc_aligned(
        self, cpu: Cpu, size: int, align: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of `size` bytes at a multiple of `align`, or 0; guarded up to a page's alignment."""
        if align > PAGE_SIZE or size <= self._largest:
            return (yield from self._inner.kmalloc_aligned(cpu, size, align, site, context))
        return (yield from self.kmalloc(cpu, size, site, context))

    def kfree(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Give memory back; address 0 is legal and free."""
        if self.mapper is not None and self.mapper.covers(address):
            yield from self.mapper.vfree(cpu, address, site)
        else:
            yield from self._inner.kfree(cpu, address, site)

    def kmalloc_size(self, address: int) -> int:
        """Bytes usable at an address that a caller holds."""
        if self.mapper is not None and self.mapper.covers(address):
            return self.mapper.size_of(address)
        return self._inner.kmalloc_size(address)
