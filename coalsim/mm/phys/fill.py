"""The initial fill of a buddy allocator: a recorded buddyinfo line laid out in memory.

A buddyinfo line says how many free blocks of each order there were, not where.  The
blocks are placed largest first.  One of order k goes into a hole of order k whose
buddy can never become free as a whole, or into the lower half of a larger hole, whose
upper half of order k is then *shut*: it may hold smaller free blocks, but never one
that fills it, or the two would merge.  What remains of the holes is memory that was
taken before the start and that nobody holds.

Invariant: no hole overlaps a free block or another hole.
Nothing here waits or charges time; it runs once, before the start.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from coalsim.errors import ConfigError, Problem


@dataclass(slots=True)
class Fill:
    """Memory taken before the start: holes per order, and whole blocks of the top order as a range."""

    holes: list[list[int]] = field(default_factory=list)
    start: int = 0
    end: int = 0

    def cut(self, order: int, max_order: int) -> int | None:
        """Take a block out of the smallest hole that is large enough; None: there is none."""
        for found in range(order, len(self.holes)):
            if self.holes[found]:
                head = self.holes[found].pop()
                break
        else:
            if order > max_order or self.start >= self.end:
                return None
            found, head = max_order, self.start
            self.start += 1 << max_order
        while found > order:
            found -= 1
            self.holes[found].append(head + (1 << found))
        return head

    def ranges(self, max_order: int) -> Iterator[tuple[int, int]]:
        """Every hole as (first frame, frames)."""
        yield self.start, self.end - self.start
        for order, heads in enumerate(self.holes):
            for head in heads:
                yield head, 1 << order


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything lies: free blocks per order, the end of the untouched range, the rest."""

    free: list[list[int]]
    untouched_end: int
    fill: Fill


def plan_fill(
    free_blocks: Sequence[int], edges: Sequence[Sequence[int]], untouched: int, untouched_end: int
) -> Plan:
    """Lay out `free_blocks[k]` free blocks of each order k.

    Args:
        free_blocks: free blocks per order, from 0 up.
        edges: heads of the blocks at the zone's unaligned ends, for each order it has.
        untouched: first frame of the range of whole top-order blocks.
        untouched_end: the frame behind it.

    Raises:
        ConfigError: more orders than the zone has, or the blocks do not fit.
    """
    top = len(edges) - 1
    if len(free_blocks) > top + 1 or any(count < 0 for count in free_blocks):
        raise _unfit(free_blocks, f"does not fit a zone with the orders 0 to {top}")
    wanted = [*free_blocks, *(0 for _ in range(top + 1 - len(free_blocks)))]
    free: list[list[int]] = [[] for _ in wanted]
    whole = [list(heads) for heads in edges]  # holes that a free block may fill
    shut: list[list[int]] = [[] for _ in wanted]  # holes whose buddy is free
    fill_start = free_end = untouched + (wanted[top] << top)  # free top-order blocks come first
    for order in range(top - 1, -1, -1):
        for _ in range(wanted[order]):
            if whole[order]:
                free[order].append(whole[order].pop())
                continue
            for found in range(order + 1, top + 1):
                if holes := shut[found] or whole[found]:
                    head = holes.pop()
                    break
            else:
                found, head = top, fill_start
                fill_start += 1 << top
            while found > order + 1:
                found -= 1
                whole[found].append(head + (1 << found))
            free[order].append(head)
            shut[order].append(head + (1 << order))
    if fill_start > untouched_end:
        missing = fill_start - untouched_end
        raise _unfit(free_blocks, f"does not fit: blocks that must not merge need {missing} frames more")
    holes_left = [[*shut_here, *whole_here] for shut_here, whole_here in zip(shut, whole, strict=True)]
    return Plan(free, free_end, Fill(holes_left, fill_start, untouched_end))


def aligned_blocks(low: int, high: int, max_order: int) -> Iterator[tuple[int, int]]:
    """Cut the frames `low` to `high` - 1 into the fewest aligned blocks: (head, order) each.

    >>> list(aligned_blocks(3, 10, 10))
    [(3, 0), (4, 2), (8, 1)]
    """
    while low < high:
        order = min((high - low).bit_length() - 1, max_order)
        if low:
            order = min(order, (low & -low).bit_length() - 1)
        yield low, order
        low += 1 << order


def span_for(free_blocks: Sequence[int], managed: int, max_order: int) -> int:
    """Frames, whole blocks of `max_order`, into which `free_blocks` surely fit with `managed` in use.

    A recorded zone has gaps (memory that firmware keeps) which its list of free blocks
    shows and its number of frames does not: without room for them the blocks would merge.
    """
    largest = 1 << max_order
    spread = sum(count << (order + 1) for order, count in enumerate(free_blocks[:max_order]))
    top = sum(count << order for order, count in enumerate(free_blocks[max_order:], max_order))
    return -(-max(managed, spread + top + largest) // largest) * largest


def refold(free_blocks: Sequence[int], max_order: int) -> list[int]:
    """A buddyinfo line of another kernel, as it would read with this highest order.

    Larger blocks are cut.  Blocks of the line's own highest order could not merge
    further there; here as many as possible are taken to lie side by side.

    >>> refold([1, 0, 7], 4), refold([1, 0, 7], 1)
    ([1, 0, 1, 1, 1], [1, 14])
    """
    top = len(free_blocks) - 1
    if top >= max_order:
        cut = sum(
            count << (order - max_order) for order, count in enumerate(free_blocks) if order >= max_order
        )
        return [*free_blocks[:max_order], cut]
    line = [*free_blocks, *(0 for _ in range(max_order - top))]
    for order in range(top, max_order):
        line[order + 1] = line[order] >> 1
        line[order] &= 1
    return line


def _unfit(free_blocks: Sequence[int], message: str) -> ConfigError:
    return ConfigError(
        [
            Problem(
                key="free blocks per order",
                value=" ".join(map(str, free_blocks)),
                message=message,
                remedy="give the zone more frames, or fewer free blocks",
            )
        ]
    )
