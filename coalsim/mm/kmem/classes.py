"""Size classes of kmalloc: which cache serves how many bytes.

The sizes themselves are a switch of the kernel profile.  A request larger than the
largest class is served in whole pages by the frame allocator.

Invariant: `class_of(size)` is the smallest class that holds `size` bytes.
Nothing here waits or costs time.
Source: Linux mm/slab_common.c (`kmalloc_info`, `setup_kmalloc_cache_index_table`).
"""

from bisect import bisect_left

from coalsim.errors import ConfigError


class SizeClasses:
    """An ascending table of object sizes.

    Args:
        sizes: bytes of each class, ascending.
    """

    __slots__ = ("_by_step", "largest", "sizes")

    def __init__(self, sizes: tuple[int, ...]) -> None:
        if not sizes or list(sizes) != sorted({*sizes}) or any(size < 8 or size % 8 for size in sizes):
            raise ConfigError(f"size classes {sizes} are not ascending multiples of 8")
        self.sizes = sizes
        self.largest = sizes[-1]
        # All classes are multiples of 8, so the class of a size is that of its 8-byte step.
        steps = range(0, self.largest + 1, 8)
        self._by_step = tuple(sizes[bisect_left(sizes, step)] for step in steps)

    def class_of(self, size: int) -> int | None:
        """Bytes of the class that serves `size` bytes (at least 1); None: whole pages serve it."""
        return self._by_step[(size + 7) >> 3] if size <= self.largest else None

    def aligned_class_of(self, size: int, align: int) -> int | None:
        """The smallest class that holds `size` bytes and whose objects all lie on multiples of `align`.

        Slabs begin on a page and their objects follow each other, so a class serves
        every power of two that divides its size.
        """
        for candidate in self.sizes[bisect_left(self.sizes, size) :]:
            if candidate % align == 0:
                return candidate
        return None
