"""Binary buddy allocator: blocks of 2^order frames that split and merge.

The frames of a zone are cut into aligned blocks.  A request takes the smallest
block that is large enough and splits it, putting each upper half on the free list
of its order; a freed block merges with its buddy (the other half of the block that
both came from) for as long as that one is free, at most up to `max_order`.

    order 2 |  A   A   A   A |        split: the lower half goes on being split,
    order 1 |  A   A | free  |        the upper half becomes free;
    order 0 |  A |f  | free  |        merge: buddy of head h at order k is h ^ 2^k

Free lists are LIFO, as in Linux: the block freed last is handed out first.  Blocks of
the highest order that nobody touched are kept as a range, so that 4 TB cost nothing
until they are used.  Every free block carries the tag of whoever wrote its head's
descriptor last, for the caller to price the cache miss.

Frame numbers are plain ints here: calling `Pfn` would cost as much as a list push.

Invariants: every frame is in exactly one block: free, taken, or in the pool of
memory taken before the start; blocks are aligned to their size; two buddies are never
both free below `max_order`.
Locking: callers hold the zone's lock.  Nothing here waits or charges time; each call
says how many blocks it split, merged or looked at.
Source: Knowlton, "A fast storage allocator", CACM 8(10), 1965; Linux mm/page_alloc.c
(`__rmqueue_smallest`, `expand`, `__free_one_page`) without migrate types and without
its rule that puts some blocks at a list's tail.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coalsim.errors import BadFree, ConfigError, DoubleFree, ForeignFree, InteriorFree
from coalsim.mm.phys.fill import Fill, aligned_blocks, plan_fill
from coalsim.units import PAGE_SIZE

NOBODY = -1
"""Tag of a block that no CPU has touched yet."""


@dataclass(frozen=True, kw_only=True)
class BuddyStatistics:
    """A snapshot of one buddy allocator.

    `requested_bytes` and `granted_bytes` count the blocks now taken whose callers said
    how much they wanted; their difference is the internal fragmentation.
    """

    frames: int
    free_frames: int
    free_blocks: tuple[int, ...]
    taken_blocks: int
    requested_bytes: int
    granted_bytes: int


class BuddyAllocator:
    """The frames `first` to `first + frames - 1`; neither end need be aligned.

    Args:
        first: number of the first frame.
        frames: how many, at least 1.
        max_order: largest block is 2^max_order frames (12: 16 MiB, 10: 4 MiB).
    """

    __slots__ = (
        "_fill",
        "_free",
        "_granted_bytes",
        "_requested",
        "_requested_bytes",
        "_taken",
        "_untouched",
        "_untouched_end",
        "first",
        "frames",
        "free_frames",
        "max_order",
    )

    def __init__(self, first: int, frames: int, max_order: int = 12) -> None:
        if first < 0 or frames <= 0 or max_order < 0:
            raise ConfigError(f"a zone of {frames} frames from {first} with order {max_order} cannot exist")
        self.first = first
        self.frames = frames
        self.max_order = max_order
        self.free_frames = frames
        self._free: list[dict[int, int]] = [{} for _ in range(max_order + 1)]  # order: head -> tag
        self._taken: dict[int, int] = {}  # head -> order
        self._requested: dict[int, int] = {}  # head -> bytes asked for, where the caller said so
        self._requested_bytes = 0
        self._granted_bytes = 0
        self._fill = Fill()  # memory taken before the start: see `shape`
        largest, end = 1 << max_order, first + frames
        self._untouched = min(-(-first // largest) * largest, end)  # whole blocks nobody took yet
        self._untouched_end = max(end // largest * largest, self._untouched)
        for low, high in ((first, self._untouched), (self._untouched_end, end)):
            for head, order in aligned_blocks(low, high, max_order):
                self._free[order][head] = NOBODY

    def alloc(self, order: int, by: int = NOBODY, requested: int = 0) -> tuple[int, int, int] | None:
        """Take the block freed last among the smallest that are large enough.

        Args:
            order: size of the block, 2^order frames.
            by: tag of the caller; it writes the descriptors of the halves it splits off.
            requested: bytes wanted, to track internal fragmentation (0: not said).

        Returns:
            head, splits, and the tag of who wrote the head's descriptor last (a plain tuple,
            for speed); None: no block is large enough.
        """
        lists, top = self._free, self.max_order
        found = order
        while found <= top and not lists[found]:
            found += 1
        if found <= top:
            head, freed_by = lists[found].popitem()
        elif order <= top and self._untouched < self._untouched_end:
            found, head, freed_by = top, self._untouched, NOBODY
            self._untouched += 1 << top
        else:
            return None
        splits = found - order
        while found > order:
            found -= 1
            lists[found][head + (1 << found)] = by
        self._taken[head] = order
        self.free_frames -= 1 << order
        if requested:
            self._requested[head] = requested
            self._requested_bytes += requested
            self._granted_bytes += PAGE_SIZE << order
        return head, splits, freed_by

    def free(self, pfn: int, order: int | None = None, by: int = NOBODY) -> tuple[int, int, int]:
        """Give a block back and merge it as far as its buddies are free.

        Args:
            pfn: head of the block.
            order: its order if the caller knows it; a wrong one is refused.
            by: tag of the caller, kept with the free block.

        Returns:
            order after merging, merges, buddies looked at.

        Raises:
            DoubleFree, ForeignFree, InteriorFree: nobody holds a block that begins here.
            BadFree: it was taken with another order.
        """
        taken = self._taken.pop(pfn, None)
        if taken is None:
            raise self._refusal(pfn)
        if order is not None and order != taken:
            self._taken[pfn] = taken
            raise BadFree(pfn, f"the block was taken with order {taken} and freed with order {order}")
        self.free_frames += 1 << taken
        if self._requested:
            self._forget_request(pfn, taken)
        lists, top = self._free, self.max_order
        merged, head = taken, pfn
        while merged < top and lists[merged].pop(head ^ (1 << merged), None) is not None:
            head &= ~(1 << merged)
            merged += 1
        lists[merged][head] = by
        merges = merged - taken
        return merged, merges, merges + (merged < top)

    def alloc_batch(self, order: int, count: int, by: int = NOBODY) -> tuple[list[int], int, list[int]]:
        """Take up to `count` blocks, the very ones that `alloc` would give one by one.

        A block split for one request serves the next ones in ascending order, because
        the lists between were empty; so its parts are cut off in one stroke.

        Returns:
            heads in order of allocation (fewer than `count` when memory ends), splits in
            all, and for each head the tag of who wrote its descriptor last.
        """
        lists, top = self._free, self.max_order
        heads: list[int] = []
        tags: list[int] = []
        splits = 0
        fitting = lists[order] if order <= top else {}
        while (need := count - len(heads)) > 0:
            if fitting:
                for _ in range(min(need, len(fitting))):
                    head, freed_by = fitting.popitem()
                    heads.append(head)
                    tags.append(freed_by)
                continue
            larger = self._take_larger(order)
            if larger is None:
                break
            head, freed_by, found = larger
            parts = min(need, 1 << (found - order))
            rest = head + (parts << order)
            heads += range(head, rest, 1 << order)
            tags.append(freed_by)
            tags += [by] * (parts - 1)
            # The i-th part after the first costs as many splits as i has trailing zeros.
            splits += found - order + (parts - 1) - (parts - 1).bit_count()
            end = head + (1 << found)
            while rest < end:
                size = rest & -rest  # the parts left over, each aligned to its size
                lists[size.bit_length() - 1][rest] = by
                rest += size
        self._taken.update(dict.fromkeys(heads, order))
        self.free_frames -= len(heads) << order
        return heads, splits, tags

    def free_batch(self, heads: Iterable[int], by: int = NOBODY) -> tuple[int, int]:
        """Free blocks one after the other, each with the order it was taken with.

        Returns:
            merges and buddies looked at, in all.
        """
        # The loop of `free`, with its names bound once: this runs for every page that is drained.
        lists, top, taken_blocks = self._free, self.max_order, self._taken
        merges = stopped = freed = 0
        for pfn in heads:
            taken = taken_blocks.pop(pfn, None)
            if taken is None:
                self.free_frames += freed
                raise self._refusal(pfn)
            if self._requested:
                self._forget_request(pfn, taken)
            freed += 1 << taken
            merged, head = taken, pfn
            while merged < top and lists[merged].pop(head ^ (1 << merged), None) is not None:
                head &= ~(1 << merged)
                merged += 1
            lists[merged][head] = by
            merges += merged - taken
            stopped += merged < top
        self.free_frames += freed
        return merges, merges + stopped

    def order_of(self, pfn: int) -> int | None:
        """Order of the taken block that begins at `pfn`; None: no such block."""
        return self._taken.get(pfn)

    def is_free(self, pfn: int) -> bool:
        """Whether the frame lies in a free block."""
        listed = any(pfn >> order << order in heads for order, heads in enumerate(self._free))
        return listed or self._untouched <= pfn < self._untouched_end

    def owns(self, pfn: int) -> bool:
        """Whether the frame lies in this allocator's range."""
        return self.first <= pfn < self.first + self.frames

    def free_blocks(self) -> list[int]:
        """Free blocks of each order, 0 to `max_order`: one line of buddyinfo."""
        counts = [len(blocks) for blocks in self._free]
        counts[-1] += (self._untouched_end - self._untouched) >> self.max_order
        return counts

    def statistics(self) -> BuddyStatistics:
        """A snapshot."""
        return BuddyStatistics(
            frames=self.frames,
            free_frames=self.free_frames,
            free_blocks=tuple(self.free_blocks()),
            taken_blocks=len(self._taken),
            requested_bytes=self._requested_bytes,
            granted_bytes=self._granted_bytes,
        )

    # ---- starting from a recorded machine

    def shape(self, free_blocks: Sequence[int]) -> None:
        """Start from a recorded buddyinfo line; everything that is not free is taken.

        Free blocks are placed so that no two of them can merge.  Memory taken in this way
        has no holder: `adopt` hands it out.

        Args:
            free_blocks: number of free blocks per order, from 0 up.

        Raises:
            ConfigError: more orders than this allocator has, or the blocks do not fit.
        """
        if self._taken or self.free_frames != self.frames:
            raise ConfigError("a zone can be given its initial fill only before its first allocation")
        edges = [list(blocks) for blocks in self._free]
        plan = plan_fill(free_blocks, edges, self._untouched, self._untouched_end)
        self._free = [dict.fromkeys(heads, NOBODY) for heads in plan.free]
        self._untouched_end = plan.untouched_end
        self._fill = plan.fill
        self.free_frames = sum(count << order for order, count in enumerate(free_blocks))

    def adopt(self, order: int) -> int | None:
        """Give a block that was taken before the start to a holder who will free it later.

        Free memory stays as it is.  None: no such block (and always without `shape`).
        """
        head = self._fill.cut(order, self.max_order)
        if head is not None:
            self._taken[head] = order
        return head

    def unheld_frames(self) -> int:
        """Frames taken before the start that nobody holds."""
        return sum(frames for _, frames in self._fill.ranges(self.max_order))

    # ---- checking

    def validate(self) -> None:
        """Recount the slow way; tests call this after every step."""
        blocks = [
            (self._untouched, self._untouched_end - self._untouched),
            *self._fill.ranges(self.max_order),
        ]
        free_frames = blocks[0][1]
        for order, heads in enumerate(self._free):
            free_frames += len(heads) << order
            for head in heads:
                assert head % (1 << order) == 0, f"free block {head:#x} is not aligned to order {order}"
                buddy = head ^ (1 << order)
                assert order == self.max_order or buddy not in heads, f"{head:#x} and its buddy are both free"
                blocks.append((head, 1 << order))
        assert free_frames == self.free_frames, f"{free_frames} frames are free, {self.free_frames} counted"
        for head, order in self._taken.items():
            assert head % (1 << order) == 0, f"taken block {head:#x} is not aligned to order {order}"
            blocks.append((head, 1 << order))
        reached = self.first
        for head, size in sorted(block for block in blocks if block[1]):
            assert head == reached, f"frames {reached:#x} to {head:#x} are in no block or in two"
            reached = head + size
        assert reached == self.first + self.frames, f"the blocks end at {reached:#x}"
        assert sum(self._requested.values()) == self._requested_bytes

    # ---- inside

    def _take_larger(self, order: int) -> tuple[int, int, int] | None:
        """Head, tag and order of the smallest free block larger than `order` (or of the top order)."""
        for found in range(order + 1, self.max_order + 1):
            if self._free[found]:
                head, freed_by = self._free[found].popitem()
                return head, freed_by, found
        if order <= self.max_order and self._untouched < self._untouched_end:
            head = self._untouched
            self._untouched += 1 << self.max_order
            return head, NOBODY, self.max_order
        return None

    def _forget_request(self, pfn: int, order: int) -> None:
        requested = self._requested.pop(pfn, 0)
        if requested:
            self._requested_bytes -= requested
            self._granted_bytes -= PAGE_SIZE << order

    def _refusal(self, pfn: int) -> BadFree:
        """Name the mistake of freeing a frame where no taken block begins."""
        if not self.owns(pfn):
            last = self.first + self.frames - 1
            return ForeignFree(pfn, f"the zone holds the frames {self.first:#x} to {last:#x}")
        for order in range(self.max_order + 1):
            head = pfn >> order << order
            if self._taken.get(head, -1) >= order:
                return InteriorFree(
                    pfn, f"it lies {pfn - head} frames inside block {head:#x} of order {self._taken[head]}"
                )
            if head in self._free[order]:
                by = self._free[order][head]
                who = "nobody ever took it" if by == NOBODY else f"CPU {by} wrote it last"
                return DoubleFree(pfn, f"it lies in the free block {head:#x} of order {order}; {who}")
        if self._untouched <= pfn < self._untouched_end:
            return DoubleFree(pfn, "it lies in memory that nobody ever took")
        return ForeignFree(pfn, "it was taken before the start and nobody holds it")
