"""Slab layer: runs of pages cut into equal objects, and the lists of one cache.

    partial   some objects are out; served first, the slab touched last before the others
    empty     all objects are in; up to `keep_empty` wait for the next need
    full      all objects are out

    objects, slabs = lists.take(16)          # fewer: all slabs are full,
    if len(objects) < 16:                    # so the caller fetches pages and calls
        lists.add_slab(pfn)                  # add_slab, then take again
    emptied, slabs = lists.put(objects)      # emptied: slabs whose pages go back

An object handed out is *out* until it comes back, whether a user or a CPU's magazine
holds it; freeing one that is not out names the culprit.  All caches of a kernel share
one directory from frame to slab, so a pointer that belongs to another cache is known
by that cache's name.

Invariants: each slab is on exactly one list, the one that its count of objects out
says; the directory knows each page of each slab and no other.
Locking: callers hold the cache's (or its node's) lock.  Nothing here waits or charges
time; `take` and `put` say how many slabs they touched.
Source: Bonwick, "The Slab Allocator", USENIX Summer 1994.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from coalsim.errors import BadFree, DoubleFree, ForeignFree, InteriorFree
from coalsim.mm.kmem.geometry import SlabGeometry
from coalsim.mm.phys.layout import DIRECT_MAP, address_of
from coalsim.units import PAGE_SHIFT


class ObjectRun:
    """A run of pages of one cache, cut into objects; what every kind of slab is.

    Args:
        cache: name of the cache.
        geometry: its cut.
        pfn: first frame.
        node: where the frames lie.
        colour: bytes before the first object.
    """

    __slots__ = ("_out", "base", "cache", "geometry", "node", "objects_out", "pfn")

    def __init__(self, cache: str, geometry: SlabGeometry, pfn: int, node: int = 0, colour: int = 0) -> None:
        self.cache = cache
        self.geometry = geometry
        self.pfn = pfn
        self.node = node
        self.base = address_of(pfn) + colour + geometry.room.before
        self.objects_out = 0
        self._out = bytearray(geometry.objects)  # index: 1 while the object is out

    def index_of(self, address: int) -> int:
        """Index of the object that begins at the address.

        Raises:
            InteriorFree: none does.
        """
        index, inside = divmod(address - self.base, self.geometry.stride)
        if inside or not 0 <= index < self.geometry.objects:
            raise self._interior(address, index, inside)
        return index

    def is_out(self, address: int) -> bool:
        """Whether an object begins at the address and is out."""
        index, inside = divmod(address - self.base, self.geometry.stride)
        return not inside and 0 <= index < self.geometry.objects and bool(self._out[index])

    def take_back(self, address: int) -> int:
        """Mark an object as in again; answers its index.

        Raises:
            DoubleFree: it is not out.
            InteriorFree: no object begins at the address.
        """
        index = self.index_of(address)
        if not self._out[index]:
            raise DoubleFree(address, f"object {index} of a slab of cache {self.cache} is not out")
        self._out[index] = 0
        self.objects_out -= 1
        return index

    def _interior(self, address: int, index: int, inside: int) -> InteriorFree:
        if 0 <= index < self.geometry.objects:
            place = f"{inside} bytes inside object {index} of a slab of cache {self.cache}"
        else:
            place = f"outside the objects of a slab of cache {self.cache}"
        return InteriorFree(address, f"it lies {place}")


class Slab(ObjectRun):
    """A slab that remembers its free objects by index."""

    __slots__ = ("_free", "_fresh")

    def __init__(self, cache: str, geometry: SlabGeometry, pfn: int, node: int = 0, colour: int = 0) -> None:
        super().__init__(cache, geometry, pfn, node, colour)
        self._free: list[int] = []  # indices that came back, the last one on top
        self._fresh = 0  # indices from here on were never handed out

    def take(self, count: int) -> list[int]:
        """Up to `count` objects: those that came back last, then those never used, in ascending order."""
        free = self._free
        returned = min(count, len(free))
        indices = free[: -returned - 1 : -1]
        del free[len(free) - returned :]
        fresh_end = min(self._fresh + count - returned, self.geometry.objects)
        indices += range(self._fresh, fresh_end)
        self._fresh = fresh_end
        out, base, stride = self._out, self.base, self.geometry.stride
        for index in indices:
            out[index] = 1
        self.objects_out += len(indices)
        return [base + index * stride for index in indices]

    def put(self, address: int) -> None:
        """Take an object back; a wrong one raises as `take_back` says."""
        self._free.append(self.take_back(address))

    def validate(self) -> None:
        """Recount the slow way; tests call this after every step."""
        assert self.objects_out == sum(self._out) == self._fresh - len(self._free)
        assert not any(self._out[self._fresh :])
        assert not any(self._out[index] for index in self._free)
        assert len(self._free) == len(dict.fromkeys(self._free))


SlabDirectory = dict[int, ObjectRun]
"""Frame: the slab that it belongs to, for all caches of a kernel."""


def slab_at(directory: SlabDirectory, address: int) -> ObjectRun | None:
    """The slab that holds the byte at a pointer; None: no slab does."""
    return directory.get((address - DIRECT_MAP) >> PAGE_SHIFT)


@dataclass(frozen=True, kw_only=True)
class SlabStatistics:
    """The numbers of one line of /proc/slabinfo."""

    name: str
    active_objs: int
    num_objs: int
    objsize: int
    objperslab: int
    pagesperslab: int
    active_slabs: int
    num_slabs: int


class SlabLists:
    """The slabs of one cache (or of one node of it).

    Args:
        name: of the cache.
        geometry: its cut.
        directory: frame to slab, shared by all caches of the kernel.
        node: where its slabs lie.
        keep_empty: empty slabs kept for the next need.
    """

    __slots__ = (
        "_colour",
        "_directory",
        "_empty",
        "_full",
        "_partial",
        "geometry",
        "keep_empty",
        "name",
        "node",
    )

    def __init__(
        self,
        name: str,
        geometry: SlabGeometry,
        directory: SlabDirectory,
        node: int = 0,
        keep_empty: int = 0,
    ) -> None:
        self.name = name
        self.geometry = geometry
        self.node = node
        self.keep_empty = keep_empty
        self._directory = directory
        self._colour = 0  # of the next slab, in steps
        self._partial: dict[int, Slab] = {}  # all three: first frame -> slab, touched last at the end
        self._empty: dict[int, Slab] = {}
        self._full: dict[int, Slab] = {}

    def take(self, count: int) -> tuple[list[int], int]:
        """Take up to `count` objects.

        Returns:
            the objects (fewer: another slab is needed, see `add_slab`), slabs touched.
        """
        objects: list[int] = []
        slabs = 0
        while (need := count - len(objects)) > 0:
            source = self._partial or self._empty
            if not source:
                break
            _, slab = source.popitem()
            objects += slab.take(need)
            slabs += 1
            home = self._partial if slab.objects_out < self.geometry.objects else self._full
            home[slab.pfn] = slab
        return objects, slabs

    def put(self, objects: Iterable[int]) -> tuple[list[Slab], int]:
        """Take objects back.

        Returns:
            slabs that are empty now and no longer kept: the caller gives their pages
            back; and slabs touched (once per object: they come in any order).

        Raises:
            DoubleFree, ForeignFree, InteriorFree: one of them is not an object of this
            cache that is out.
        """
        emptied: list[Slab] = []
        touched = 0
        for address in objects:
            slab = self._directory.get((address - DIRECT_MAP) >> PAGE_SHIFT)
            if not isinstance(slab, Slab) or slab.cache != self.name or slab.node != self.node:
                raise self._refusal(address, slab)
            slab.put(address)
            touched += 1
            if not slab.objects_out:
                home = self._partial if self.geometry.objects > 1 else self._full
                del home[slab.pfn]
                self._empty[slab.pfn] = slab
                if len(self._empty) > self.keep_empty:
                    emptied.append(self._remove_empty())
            elif slab.objects_out + 1 == self.geometry.objects:
                del self._full[slab.pfn]
                self._partial[slab.pfn] = slab
        return emptied, touched

    def add_slab(self, pfn: int) -> Slab:
        """Cut a run of pages into objects; it begins with the next colour."""
        colour = self._colour * self.geometry.colour_step
        self._colour = (self._colour + 1) % self.geometry.colours
        slab = Slab(self.name, self.geometry, pfn, self.node, colour)
        self._directory.update(dict.fromkeys(range(pfn, pfn + (1 << self.geometry.order)), slab))
        self._empty[pfn] = slab
        return slab

    def drain_empty(self, most: int) -> list[Slab]:
        """Give up at most so many empty slabs: the caller gives their pages back."""
        return [self._remove_empty() for _ in range(min(most, len(self._empty)))]

    def statistics(self) -> SlabStatistics:
        """One line of slabinfo."""
        per_slab, full, partial = self.geometry.objects, len(self._full), len(self._partial)
        out = full * per_slab + sum(slab.objects_out for slab in self._partial.values())
        slabs = full + partial + len(self._empty)
        return SlabStatistics(
            name=self.name,
            active_objs=out,
            num_objs=slabs * per_slab,
            objsize=self.geometry.listed_size,
            objperslab=per_slab,
            pagesperslab=1 << self.geometry.order,
            active_slabs=full + partial,
            num_slabs=slabs,
        )

    def validate(self) -> None:
        """Recount the slow way; tests call this after every step."""
        per_slab = self.geometry.objects
        for slabs, low, high in (
            (self._partial, 1, per_slab - 1),
            (self._empty, 0, 0),
            (self._full, per_slab, per_slab),
        ):
            for pfn, slab in slabs.items():
                slab.validate()
                assert slab.pfn == pfn
                assert low <= slab.objects_out <= high, "a slab is on the wrong list"
                assert all(self._directory[pfn + page] is slab for page in range(1 << self.geometry.order))
        heads = [*self._partial, *self._empty, *self._full]
        assert len(heads) == len(dict.fromkeys(heads)), "a slab is on two lists"

    def _remove_empty(self) -> Slab:
        """Forget the empty slab touched last."""
        pfn, slab = self._empty.popitem()
        for page in range(1 << self.geometry.order):
            del self._directory[pfn + page]
        return slab

    def _refusal(self, address: int, slab: ObjectRun | None) -> BadFree:
        if slab is None:
            return ForeignFree(address, f"cache {self.name} was given it, but no slab holds it")
        owner = f"cache {slab.cache} of node {slab.node}"
        return ForeignFree(
            address, f"cache {self.name} of node {self.node} was given it, but {owner} owns it"
        )
