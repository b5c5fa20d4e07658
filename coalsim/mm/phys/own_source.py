"""A user's allocator as the source of a zone's frames: counted, checked and priced.

    zone -> OwnSource -> the user's take and give

Every answer is looked at before the kernel gets it: a frame outside the zone, a block
that is not aligned or overlaps a taken one, or more steps than were announced end the
run with the class, its file and line named.  A free that the kernel may not make is
refused here and never reaches the class.

    hold of a take = buddy_take + steps x buddy_test + the move of the head's descriptor
    hold of a give = buddy_put + steps x buddy_test
    hold of a batch = the sum of its blocks

Invariant: `_taken` holds every block that the class has given and not got back; no two
of them share a frame.
Locking: callers hold the zone's lock.  Nothing here waits.
"""

from collections.abc import Sequence

from coalsim.errors import (
    BadFree,
    CoalsimError,
    ConfigError,
    DoubleFree,
    ForeignFree,
    InteriorFree,
    Problem,
)
from coalsim.mm.phys.allocator import NOTHING, FrameAllocator
from coalsim.mm.phys.fill import aligned_blocks
from coalsim.mm.phys.source import Toucher
from coalsim.plugins import error_line, failure_in, nonsense, shown
from coalsim.profiles.costs import KernelCosts
from coalsim.units import Time

KEY = "kernel.allocator"


class OwnSource:
    """The frames `first` to `first + frames - 1`, as a class of the user's gives them.

    Args:
        policy: the class.
        first, frames, max_order: of the zone.
        costs: of the kernel.
        farthest: the longest transfer of the machine.

    Raises:
        ConfigError: the class cannot be made, or answers what makes no sense.
    """

    def __init__(
        self,
        policy: type[FrameAllocator],
        first: int,
        frames: int,
        max_order: int,
        costs: KernelCosts,
        farthest: Time,
    ) -> None:
        self._policy = policy
        self._first, self._frames, self._max_order = first, frames, max_order
        self._costs = costs
        self._farthest = farthest
        self._taken: dict[int, int] = {}  # head -> order
        self._freed_by: dict[int, int] = {}  # head -> processor that wrote its descriptor last
        self.free_frames = frames
        try:
            self._theirs = policy(first, frames, max_order)
            self._most_steps = self._theirs.most_steps
        except Exception as error:
            if isinstance(error, CoalsimError):
                raise
            theirs = failure_in(policy.__module__, error, KEY)
            what = f"cannot be made: {error_line(error)}"
            raise theirs or self._wrong(what, "__init__") from error
        if not _is_count(self._most_steps):
            raise self._wrong(f"says {shown(self._most_steps)} for most_steps", "most_steps")

    def take(self, order: int, cpu: Toucher) -> tuple[int, Time]:
        """One block, or -1."""
        answer: object = self._theirs.take(order)
        match answer:
            case (int() as head, int() as steps) if not isinstance(head, bool):
                hold = self._price(steps, "take")
            case _:
                raise self._wrong(f"answers {shown(answer)} to take({order})", "take")
        if head == NOTHING:
            return NOTHING, hold
        self._check_block(head, order)
        self._taken[head] = order
        self.free_frames -= 1 << order
        writer = self._freed_by.pop(head, NOTHING)
        return head, self._costs.buddy_take + hold + (cpu.transfer[writer] if writer >= 0 else 0)

    def give(self, pfn: int, order: int, cpu: Toucher) -> Time:
        """One block back.

        Raises:
            DoubleFree, ForeignFree, InteriorFree, BadFree: the kernel may not free that.
        """
        if self._taken.get(pfn) != order:
            raise self._refusal(pfn, order)
        steps = self._theirs.give(pfn, order)
        if not _is_count(steps):
            raise self._wrong(f"answers {shown(steps)} to give({pfn:#x}, {order})", "give")
        del self._taken[pfn]
        self.free_frames += 1 << order
        self._freed_by[pfn] = cpu.id
        return self._costs.buddy_put + self._price(steps, "give")

    def take_batch(self, order: int, count: int, cpu: Toucher) -> tuple[list[int], Time]:
        """One block after the other."""
        heads: list[int] = []
        hold: Time = 0
        for _ in range(count):
            head, step = self.take(order, cpu)
            hold += step
            if head < 0:
                break
            heads.append(head)
        return heads, hold

    def give_batch(self, heads: Sequence[int], cpu: Toucher) -> Time:
        """One block after the other."""
        return sum(self.give(head, self._taken.get(head, 0), cpu) for head in heads)

    def longest(self, pages: int) -> Time:
        """Every page by itself, each with the most steps that the class announces."""
        costs = self._costs
        fixed = max(costs.buddy_take + self._farthest, costs.buddy_put)
        return max(pages, 1) * (fixed + self._most_steps * costs.buddy_test)

    def order_of(self, pfn: int) -> int | None:
        """Order of the taken block that begins there."""
        return self._taken.get(pfn)

    def is_free(self, pfn: int) -> bool:
        """Whether a frame is free."""
        return self._owns(pfn) and self._block_around(pfn) is None

    def free_blocks(self) -> list[int]:
        """The free runs cut into aligned blocks: a line of buddyinfo."""
        counts = [0] * (self._max_order + 1)
        reached = self._first
        for head, order in sorted(self._taken.items()):
            for _, size in aligned_blocks(reached, head, self._max_order):
                counts[size] += 1
            reached = head + (1 << order)
        for _, size in aligned_blocks(reached, self._first + self._frames, self._max_order):
            counts[size] += 1
        return counts

    def shape(self, free_blocks: Sequence[int]) -> None:
        """A recorded buddyinfo line needs the buddy allocator."""
        problem = Problem(
            key=KEY,
            value=self._policy.__qualname__,
            message="cannot start from a recorded fill",
            remedy="use kernel.allocator=buddy, or replay without snapshots",
        )
        raise ConfigError([problem])

    def adopt(self, order: int) -> int | None:
        """There is no memory from before the start."""
        return None

    def unheld_frames(self) -> int:
        """There is no memory from before the start."""
        return 0

    def validate(self) -> None:
        """Recount the slow way."""
        reached = self._first
        for head, order in sorted(self._taken.items()):
            assert head >= reached, f"block {head:#x} overlaps the one before"
            reached = head + (1 << order)
        assert self.free_frames == self._frames - sum(1 << order for order in self._taken.values())

    # -- inside

    def _price(self, steps: int, method: str) -> Time:
        if not 0 <= steps <= self._most_steps:
            said = f"took {steps} steps to {method} a block, and most_steps says {self._most_steps}"
            raise self._wrong(said, method)
        return steps * self._costs.buddy_test

    def _check_block(self, head: int, order: int) -> None:
        """A block that the class has found is one that the kernel can have."""
        size, said = 1 << order, f"answers frame {head:#x} to take({order})"
        if not (self._owns(head) and self._owns(head + size - 1)):
            last = self._first + self._frames - 1
            raise self._wrong(f"{said}: the zone holds {self._first:#x} to {last:#x}", "take")
        if head % size:
            raise self._wrong(f"{said}: it is not aligned to {size} frames", "take")
        other = self._block_around(head)
        if other is None and order:
            other = next((one for one in range(head, head + size) if one in self._taken), None)
        if other is not None:
            who = f"the block {other:#x} of order {self._taken[other]}"
            raise self._wrong(f"{said}: somebody has {who} already", "take")

    def _owns(self, pfn: int) -> bool:
        return self._first <= pfn < self._first + self._frames

    def _block_around(self, pfn: int) -> int | None:
        """Head of the taken block that holds a frame."""
        for order in range(self._max_order + 1):
            head = pfn >> order << order
            if self._taken.get(head, -1) >= order:
                return head
        return None

    def _refusal(self, pfn: int, order: int) -> BadFree:
        """Name the kernel's mistake."""
        if not self._owns(pfn):
            return ForeignFree(pfn, f"the zone begins at {self._first:#x} and has {self._frames} frames")
        head = self._block_around(pfn)
        if head is None:
            return DoubleFree(pfn, "nobody holds it")
        if head != pfn:
            return InteriorFree(pfn, f"it lies {pfn - head} frames inside block {head:#x}")
        return BadFree(pfn, f"the block was taken with order {self._taken[pfn]} and freed with order {order}")

    def _wrong(self, what: str, method: str) -> ConfigError:
        remedy = (
            "take(order) gives (frame, steps) with a free, aligned frame or -1, give(head, order) gives steps"
        )
        return nonsense(self._policy, method, KEY, what, remedy)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
