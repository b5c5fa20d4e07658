"""FrameAllocator: which frames of a zone a request gets, as one class that can be replaced.

    take(order)        -> first frame of an aligned block of 2**order, and the steps it took
    give(head, order)  -> the steps that taking the block back took

A user's own subclass says these two and nothing else: what is free and taken is counted
by `own_source.py`, which also checks every answer and prices the steps.  `Buddy` and
`Bitmap` show the two allocators that coalsim has anyway in this form; a kernel that
names them gets them with the prices of `source.py`.

Locking: callers hold the zone's lock.  Nothing here waits or charges time.
"""

from collections.abc import Mapping

from coalsim.mm.phys.bitmap import FrameBitmap
from coalsim.mm.phys.buddy import BuddyAllocator
from coalsim.plugins import Asked, Registry, find_class

NOTHING = -1
"""Instead of a frame: no block is large enough."""


class FrameAllocator:
    """Base of all allocators of frames.

    Args:
        first: the first frame of the zone, 0 or more.
        frames: how many the zone has.
        max_order: the largest block that is ever asked for is 2**max_order frames.
    """

    def __init__(self, first: int, frames: int, max_order: int) -> None:
        self.first = first
        self.frames = frames
        self.max_order = max_order

    @property
    def most_steps(self) -> int:
        """No `take` and no `give` needs more steps; the same for the whole life of the allocator."""
        return self.frames + self.max_order + 2

    def take(self, order: int) -> tuple[int, int]:
        """Find a free block and take it.

        Returns:
            The first of 2**order free frames, a multiple of 2**order, or -1 if there are none;
            and the steps: how many words, list heads or descriptors were looked at.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to take a block")

    def give(self, head: int, order: int) -> int:
        """Take a block back that `take(order)` gave.

        Returns:
            The steps.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to give a block back")


class Buddy(FrameAllocator):
    """Binary buddies: blocks split and merge."""

    def __init__(self, first: int, frames: int, max_order: int) -> None:
        super().__init__(first, frames, max_order)
        self._buddy = BuddyAllocator(first, frames, max_order)

    @property
    def most_steps(self) -> int:
        """A look at each order."""
        return 2 * (self.max_order + 1)

    def take(self, order: int) -> tuple[int, int]:
        """The smallest block that is large enough, split."""
        found = self._buddy.alloc(order)
        return (NOTHING, self.max_order + 1 - order) if found is None else (found[0], 2 * found[1] + 1)

    def give(self, head: int, order: int) -> int:
        """Merge it as far as its buddies are free."""
        _, merges, looks = self._buddy.free(head, order)
        return merges + looks


class Bitmap(FrameAllocator):
    """One bit per frame, next fit; the zone has to fill whole words of 64 bits."""

    def __init__(self, first: int, frames: int, max_order: int) -> None:
        super().__init__(first, frames, max_order)
        self._bitmap = FrameBitmap(first, frames)

    @property
    def most_steps(self) -> int:
        """Every word, and every bit of the largest block."""
        return 2 * self._bitmap.words + (1 << self.max_order) + 1

    def take(self, order: int) -> tuple[int, int]:
        """The next aligned run."""
        size = 1 << order
        found = self._bitmap.alloc_run(size, size)
        return (NOTHING, self._bitmap.words) if found is None else (found.pfn, found.words_read)

    def give(self, head: int, order: int) -> int:
        """Clear its bits."""
        self._bitmap.free_run(head, 1 << order)
        return 1


ALLOCATORS: Mapping[str, type[FrameAllocator]] = {"buddy": Buddy, "bitmap": Bitmap}

REGISTRY: Registry[FrameAllocator] = Registry(
    kind="allocator", group="coalsim.allocators", classes=ALLOCATORS, methods=("take", "give")
)


def find_allocator(name: str, asked: Asked) -> type[FrameAllocator] | None:
    """The allocator of that name; None for no name: `kernel.frames` decides.

    Raises:
        ConfigError: there is none, or a user's class is no allocator.
    """
    if not name:
        return None
    found = find_class(name, REGISTRY, asked)
    if not issubclass(found, FrameAllocator):
        raise asked.refuse(
            name,
            "not an allocator: it is no subclass of FrameAllocator",
            "write class MyAllocator(FrameAllocator) with take and give",
        )
    return found
