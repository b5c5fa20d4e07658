"""Where a zone's frames come from: the buddy allocator or the bitmap, with prices.

A `FrameSource` takes and gives blocks and says how long the zone's lock is held for
it.  Batches (refills and drains of per-CPU lists) are priced whole, as they were
measured for single pages: a fixed part and a part per block, whatever its order, for
only the descriptor of a block's first page is linked.  Single blocks are priced by step.

The descriptor of a free frame is guarded by the zone's lock, and the free list
remembers which processor wrote it last.  The measured batches contain the misses
on descriptors from the same socket; one that comes from farther away costs the
difference on top.  A single block pays its head's transfer in full.

Locking: callers hold the zone's lock.  Nothing here waits.
"""

from collections.abc import Sequence
from typing import Protocol

from coalsim.errors import ConfigError, Problem
from coalsim.mm.phys.bitmap import FrameBitmap
from coalsim.mm.phys.buddy import BuddyAllocator
from coalsim.mm.phys.fill import aligned_blocks
from coalsim.profiles.costs import KernelCosts
from coalsim.units import Time


class Toucher(Protocol):
    """The processor that works on the frames: its id and what lines cost it."""

    @property
    def id(self) -> int:
        """Its id."""

    @property
    def transfer(self) -> Sequence[Time]:
        """By processor, ps to move a cache line from there."""


class FrameSource(Protocol):
    """A zone's free frames."""

    @property
    def free_frames(self) -> int:
        """How many are free."""

    def take_batch(self, order: int, count: int, cpu: Toucher) -> tuple[list[int], Time]:
        """Up to `count` blocks, and how long that holds the lock."""

    def give_batch(self, heads: Sequence[int], cpu: Toucher) -> Time:
        """Take blocks back; how long that holds the lock."""

    def take(self, order: int, cpu: Toucher) -> tuple[int, Time]:
        """One block, or -1, and how long that holds the lock."""

    def give(self, pfn: int, order: int, cpu: Toucher) -> Time:
        """Take one block back; how long that holds the lock."""

    def longest(self, pages: int) -> Time:
        """No batch of so many pages, and no single block, holds the lock longer."""

    def order_of(self, pfn: int) -> int | None:
        """Order of the taken block that begins there, if any."""

    def is_free(self, pfn: int) -> bool:
        """Whether a frame of the zone is free."""

    def free_blocks(self) -> list[int]:
        """Free blocks of each order: a line of buddyinfo."""

    def shape(self, free_blocks: Sequence[int]) -> None:
        """Start from a recorded buddyinfo line."""

    def adopt(self, order: int) -> int | None:
        """A block taken before the start, for a holder who frees it later."""

    def unheld_frames(self) -> int:
        """Frames taken before the start that nobody holds."""

    def validate(self) -> None:
        """Recount the slow way."""


class BuddySource:
    """The buddy allocator with prices.

    Args:
        buddy: the allocator.
        costs: kernel costs.
        near: transfer of a line within a socket, which the measured batches contain.
        farthest: the longest transfer of the machine.
    """

    def __init__(self, buddy: BuddyAllocator, costs: KernelCosts, near: Time, farthest: Time) -> None:
        self.buddy = buddy
        self._costs = costs
        self._near = near
        self._farthest = farthest

    @property
    def free_frames(self) -> int:
        """How many are free."""
        return self.buddy.free_frames

    def take_batch(self, order: int, count: int, cpu: Toucher) -> tuple[list[int], Time]:
        """Blocks for a per-CPU list."""
        heads, _, writers = self.buddy.alloc_batch(order, count, cpu.id)
        hold = self._costs.refill(len(heads))
        if self._farthest > self._near:
            near, transfer = self._near, cpu.transfer
            for writer in writers:
                if writer >= 0 and transfer[writer] > near:
                    hold += transfer[writer] - near
        return heads, hold

    def give_batch(self, heads: Sequence[int], cpu: Toucher) -> Time:
        """Blocks off a per-CPU list; the buddies looked at are in the measured hold."""
        self.buddy.free_batch(heads, cpu.id)
        return self._costs.drain(len(heads))

    def take(self, order: int, cpu: Toucher) -> tuple[int, Time]:
        """A single block: look through the lists, unlink, split."""
        costs = self._costs
        found = self.buddy.alloc(order, cpu.id)
        if found is None:
            return -1, costs.buddy_test * (self.buddy.max_order + 1 - order)
        head, splits, writer = found
        hold = costs.buddy_take + splits * costs.buddy_split + (splits + 1) * costs.buddy_test
        return head, hold + (cpu.transfer[writer] if writer >= 0 else 0)

    def give(self, pfn: int, order: int, cpu: Toucher) -> Time:
        """A single block: test buddies, merge, link."""
        costs = self._costs
        _, merges, tests = self.buddy.free(pfn, order, cpu.id)
        return costs.buddy_put + merges * costs.buddy_merge + tests * costs.buddy_test

    def longest(self, pages: int) -> Time:
        """The dearest batch: every descriptor far away."""
        costs, orders = self._costs, self.buddy.max_order + 1
        batch = max(costs.refill(pages), costs.drain(pages)) + pages * (self._farthest - self._near)
        take = costs.buddy_take + orders * (costs.buddy_split + costs.buddy_test) + self._farthest
        give = costs.buddy_put + orders * (costs.buddy_merge + costs.buddy_test)
        return max(batch, take, give)

    def order_of(self, pfn: int) -> int | None:
        """Order of the taken block that begins there."""
        return self.buddy.order_of(pfn)

    def is_free(self, pfn: int) -> bool:
        """Whether a frame is free."""
        return self.buddy.is_free(pfn)

    def free_blocks(self) -> list[int]:
        """A line of buddyinfo."""
        return self.buddy.free_blocks()

    def shape(self, free_blocks: Sequence[int]) -> None:
        """Start from a recorded buddyinfo line."""
        self.buddy.shape(free_blocks)

    def adopt(self, order: int) -> int | None:
        """A block taken before the start."""
        return self.buddy.adopt(order)

    def unheld_frames(self) -> int:
        """Frames taken before the start."""
        return self.buddy.unheld_frames()

    def validate(self) -> None:
        """Recount the slow way."""
        self.buddy.validate()


class BitmapSource:
    """The bitmap with prices: blocks are aligned runs found by scanning words.

    It remembers the order of each taken block, so that a free of another order is refused.

    Args:
        bitmap: the bitmap.
        costs: kernel costs.
        max_order: largest block, 2**max_order frames.
    """

    def __init__(self, bitmap: FrameBitmap, costs: KernelCosts, max_order: int) -> None:
        self.bitmap = bitmap
        self._costs = costs
        self._max_order = max_order
        self._orders: dict[int, int] = {}  # first frame of a taken block -> its order

    @property
    def free_frames(self) -> int:
        """How many are free."""
        return self.bitmap.free_frames

    def take(self, order: int, cpu: Toucher) -> tuple[int, Time]:
        """One aligned run."""
        costs = self._costs
        size = 1 << order
        found = self.bitmap.alloc_run(size, size) if order else self.bitmap.alloc()
        if found is None:
            return -1, self.bitmap.words * costs.bitmap_word
        self._orders[found.pfn] = order
        return found.pfn, found.words_read * costs.bitmap_word + size * costs.bitmap_mark

    def take_batch(self, order: int, count: int, cpu: Toucher) -> tuple[list[int], Time]:
        """One run after the other."""
        heads: list[int] = []
        hold: Time = 0
        for _ in range(count):
            head, step = self.take(order, cpu)
            hold += step
            if head < 0:
                break
            heads.append(head)
        return heads, hold

    def give(self, pfn: int, order: int, cpu: Toucher) -> Time:
        """Clear the bits."""
        self.bitmap.free_run(pfn, 1 << order, cpu.id)
        del self._orders[pfn]
        return (1 << order) * self._costs.bitmap_mark + self._costs.bitmap_word

    def give_batch(self, heads: Sequence[int], cpu: Toucher) -> Time:
        """Clear the bits of all."""
        return sum(self.give(head, self._orders.get(head, 0), cpu) for head in heads)

    def longest(self, pages: int) -> Time:
        """Every block scans the whole bitmap."""
        scan = self.bitmap.words * self._costs.bitmap_word
        return max(pages, 1) * (scan + (self._costs.bitmap_mark << self._max_order))

    def order_of(self, pfn: int) -> int | None:
        """Order of the taken block that begins there."""
        return self._orders.get(pfn)

    def is_free(self, pfn: int) -> bool:
        """Whether a frame is free."""
        return self.bitmap.is_free(pfn)

    def free_blocks(self) -> list[int]:
        """The free runs cut into aligned blocks, so that the two sources can be compared."""
        counts = [0] * (self._max_order + 1)
        for first, end in self.bitmap.free_runs():
            for _, order in aligned_blocks(first, end, self._max_order):
                counts[order] += 1
        return counts

    def shape(self, free_blocks: Sequence[int]) -> None:
        """A recorded buddyinfo line needs the buddy allocator."""
        raise ConfigError(
            [
                Problem(
                    key="kernel.frames",
                    value="bitmap",
                    message="cannot start from a recorded fill",
                    remedy="use kernel.frames=buddy, or replay without snapshots",
                )
            ]
        )

    def adopt(self, order: int) -> int | None:
        """There is no memory from before the start."""
        return None

    def unheld_frames(self) -> int:
        """There is no memory from before the start."""
        return 0

    def validate(self) -> None:
        """Recount the slow way."""
        self.bitmap.validate()
