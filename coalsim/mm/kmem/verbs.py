"""ObjectVerbs: how kernel objects are asked for, whoever answers.

`Kmalloc` answers by itself.  Layers that watch (`mm/debug`) wrap whoever is inside and answer
in its place; their `_now` verbs refuse, so that every call comes with its site.  That changes no
simulated time: callers write `verbs.kmalloc_now(...) or (yield from verbs.kmalloc(...))`.
"""

from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext


class ObjectVerbs(Protocol):
    """What callers do with kernel objects."""

    def cache(self, name: str, size: int) -> int:
        """The handle of the cache of that name, made at the first call."""

    def kmalloc_now(self, cpu: Cpu, size: int) -> int:
        """An address without waiting; 0: call `kmalloc`."""

    def kfree_now(self, cpu: Cpu, address: int) -> bool:
        """Give an object back without waiting; False: call `kfree`."""

    def kmalloc(self, cpu: Cpu, size: int, site: str, context: AllocContext = AllocContext.KERNEL) -> Op[int]:
        """The address of `size` bytes, or 0."""

    def kmalloc_aligned(
        self, cpu: Cpu, size: int, align: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of `size` bytes at a multiple of `align`, or 0."""

    def kfree(self, cpu: Cpu, address: int, site: str) -> Op[None]:
        """Give memory back; address 0 is legal and free."""

    def kmalloc_size(self, address: int) -> int:
        """Bytes usable at an address that a caller holds."""

    def take_object_now(self, cpu: Cpu, cache: int) -> int:
        """An object of a named cache without waiting; 0: call `take_object`."""

    def give_object_now(self, cpu: Cpu, cache: int, address: int) -> bool:
        """Give it back without waiting; False: call `give_object`."""

    def take_object(
        self, cpu: Cpu, cache: int, site: str, context: AllocContext = AllocContext.KERNEL
    ) -> Op[int]:
        """The address of an object of a cache, or 0."""

    def give_object(self, cpu: Cpu, cache: int, address: int, site: str) -> Op[None]:
        """Give an object back to its cache."""
