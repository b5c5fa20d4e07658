"""Per-CPU page list: a few free blocks that one CPU takes and gives without the zone's lock.

A list per cached order, last in first out, so that a block comes back while it is warm
in the CPU's cache.  An empty list is refilled from the zone in one go, and a full one
drains its coldest blocks: one visit to the zone's lock per batch of pages.

    push ->  [ newest ... oldest ]  -> drain (coldest first)
    pop  <-     head        tail    <- refill (kept in the order of allocation)

One class per generation of rules, chosen by name in `page_list`; what they do is told
in `pagelist_rules.py`.

    block = pages.pop(order)
    if block is None:                                 # the zone's lock from here ...
        heads, *_ = buddy.alloc_batch(order, pages.refill_amount(order))
        block = pages.refill(order, heads)            # ... to here

    due = pages.push(order, block)
    if due:                                           # the zone's lock for this
        buddy.free_batch(pages.take_coldest(due, order))

Invariant: `count` is the sum over the lists of their blocks' pages.
Locking: private to its CPU, or under the list's own lock; the caller decides.  Nothing
here waits or charges time.
Source: as `pagelist_rules.py`, and `free_pcppages_bulk` of Linux 5.18 on for the order
of draining.  Simplified: no migrate types; a CPU's last-level cache is always taken to
hold a few batches (PCPF_FREE_HIGH_BATCH); lists of zones far away do not expire.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coalsim.mm.phys.pagelist_rules import PageListRules

# How short of memory the zone is.  Plain ints: they are passed with every free.
CALM = 0
"""Free pages are above the high watermark."""
BELOW_HIGH = 1
"""Free pages are below the high watermark: lists shrink instead of growing."""
RECLAIMING = 2
"""The zone is being reclaimed: lists keep at most 4 batches."""

COSTLY_ORDER = 3
"""Blocks up to this order count as small when they stream through a list."""


@dataclass(frozen=True, kw_only=True)
class PageListStatistics:
    """A snapshot: pages on the list, its limit now, and the blocks of each cached order."""

    count: int
    high: int
    batch: int
    blocks: dict[int, int]


class PageList:
    """The parts that all generations share; by itself the rule of Linux before 5.14."""

    __slots__ = ("_lists", "_rounds", "batch", "count", "high", "rules", "singles")

    def __init__(self, rules: PageListRules) -> None:
        self.rules = rules
        self.count = 0  # pages on all the lists
        self.high = rules.high_min
        self.batch = rules.batch
        orders = rules.cached_orders
        self._lists: list[list[int]] = [[] for _ in range(orders[-1] + 1)]  # index: order; end: head
        self.singles = self._lists[0]  # single frames, for those who ask whether there are any
        self._rounds = {order: orders[i:] + orders[:i] for i, order in enumerate(orders)}

    def caches(self, order: int) -> bool:
        """Whether blocks of this order pass through the list."""
        return order in self._rounds

    def holds(self, order: int) -> bool:
        """Whether the list of a cached order has a block."""
        return bool(self._lists[order])

    def heads(self) -> list[int]:
        """First frames of all blocks on the lists."""
        return [head for blocks in self._lists for head in blocks]

    def pop(self, order: int) -> int | None:
        """Take the newest block; None: the list is empty and wants a refill."""
        blocks = self._lists[order]
        if blocks:
            self.count -= 1 << order
            return blocks.pop()
        return None

    def refill_amount(self, order: int, pressure: int = CALM) -> int:
        """How many blocks to fetch for an empty list."""
        return _blocks(self.batch, order)

    def refill(self, order: int, heads: Sequence[int]) -> int | None:
        """Put fetched blocks behind the others and take the first; None: there was none.

        It ends the allocation that `pop` began with None.
        """
        self.stock(order, heads)
        blocks = self._lists[order]
        if not blocks:
            return None
        self.count -= 1 << order
        return blocks.pop()

    def stock(self, order: int, heads: Sequence[int]) -> None:
        """Put blocks at the tail; the first of them is the next to leave when the list was empty."""
        self._lists[order][:0] = heads[::-1]
        self.count += len(heads) << order

    def push(self, order: int, head: int, pressure: int = CALM) -> int:
        """Put a freed block at the head.

        Returns:
            pages that must drain now (0: none); pass them to `take_coldest`.
        """
        self._lists[order].append(head)
        self.count += 1 << order
        return self.batch if self.count >= self.high else 0

    def push_below(self, head: int) -> None:
        """`push` of a single frame that leaves the list below its limit, in a calm zone: nothing drains."""
        self.singles.append(head)
        self.count += 1

    def take_coldest(self, pages: int, order: int | None = None) -> list[int]:
        """Remove blocks of so many pages, oldest first, to give them back to the zone.

        Args:
            pages: how many; a last block may make it a few more, an empty list fewer.
            order: whose list comes first (it is emptied before the next larger order).
        """
        if order is None:
            order = self.rules.cached_orders[0]
        victims: list[int] = []
        wanted = pages
        for size in self._rounds[order]:
            if wanted <= 0:
                break
            blocks = self._lists[size]
            taken = blocks[: -(-wanted >> size)]
            del blocks[: len(taken)]
            victims += taken
            wanted -= len(taken) << size
        self.count -= pages - wanted
        return victims

    def decay(self) -> int:
        """The once-a-second step; answers the pages that must drain now."""
        return 0

    def statistics(self) -> PageListStatistics:
        """A snapshot."""
        blocks = {order: len(self._lists[order]) for order in self.rules.cached_orders}
        return PageListStatistics(count=self.count, high=self.high, batch=self.batch, blocks=blocks)

    def validate(self) -> None:
        """Recount the slow way; tests call this after every step."""
        assert self.count == sum(len(blocks) << order for order, blocks in enumerate(self._lists))
        heads = self.heads()
        assert len(heads) == len(dict.fromkeys(heads)), "a block is on the list twice"
        assert self.rules.high_min <= self.high <= self.rules.high_max


class DrainFirstPageList(PageList):
    """The `coal` rule: a free that finds the list full drains one batch before it pushes.

    The block is pushed first all the same; it is the newest, so the same blocks drain.
    """

    __slots__ = ()

    def push(self, order: int, head: int, pressure: int = CALM) -> int:
        """Put a freed block at the head; answers the pages that must drain now."""
        self._lists[order].append(head)
        self.count += 1 << order
        return self.batch if self.count > self.high else 0


class RunDoublingPageList(PageList):
    """Linux 5.14 to 6.6: each drain without an allocation in between takes twice the last one's."""

    __slots__ = ("_factor",)

    def __init__(self, rules: PageListRules) -> None:
        super().__init__(rules)
        self._factor = 0

    def pop(self, order: int) -> int | None:
        """Take the newest block; every allocation halves the next drain."""
        self._factor >>= 1
        return super().pop(order)

    def push(self, order: int, head: int, pressure: int = CALM) -> int:
        """Put a freed block at the head; answers the pages that must drain now."""
        self._lists[order].append(head)
        self.count += 1 << order
        if self._factor and 0 < order <= COSTLY_ORDER:
            return self.count  # larger blocks stream in: keeping them would fragment the zone
        limit = self.high if pressure != RECLAIMING else min(self.batch << 2, self.high)
        if self.count < limit:
            return 0
        amount, most = self.batch << self._factor, max(limit - self.batch, 1)
        if amount < most:
            self._factor += 1
        return min(max(amount, self.batch), most)


class TuningPageList(PageList):
    """Linux 6.7 on: refills double, drains follow the run of frees, the limit tunes itself."""

    __slots__ = ("_alloc_factor", "_free_run", "_larger_freed_last", "_most", "_stream", "_tunes")

    def __init__(self, rules: PageListRules) -> None:
        super().__init__(rules)
        self._alloc_factor = 0
        self._free_run = 0  # pages freed in a row, halved by every allocation
        self._larger_freed_last = False
        self._most = rules.batch << rules.scale_max
        self._tunes = rules.high_min < rules.high_max
        late = rules.generation == "linux-6.16"
        self._stream = rules.batch + (rules.high_min // 2 if late else 0)

    def pop(self, order: int) -> int | None:
        """Take the newest block; every allocation halves the run of frees."""
        self._free_run >>= 1
        blocks = self._lists[order]
        if blocks:
            self.count -= 1 << order
            return blocks.pop()
        return None

    def refill_amount(self, order: int, pressure: int = CALM) -> int:
        """How many blocks to fetch; it grows with every refill that no free came between."""
        batch = self.batch if order else self.batch << self._alloc_factor
        if self._tunes and pressure == CALM:
            self.high = min(self.high + batch, self.rules.high_max)
        if not order:
            most = max(self.high - self.count - self.batch, self.batch)
            if batch <= most and self._alloc_factor < self.rules.scale_max:
                self._alloc_factor += 1
            batch = min(batch, most)
        return _blocks(batch, order)

    def push(self, order: int, head: int, pressure: int = CALM) -> int:
        """Put a freed block at the head; answers the pages that must drain now."""
        self._alloc_factor >>= 1
        self._lists[order].append(head)
        self.count += 1 << order
        larger = 0 < order <= COSTLY_ORDER
        streams = (
            larger and self._larger_freed_last and self._free_run >= self._stream and self.count >= self.batch
        )
        self._larger_freed_last = larger
        if self._free_run < self._most:
            self._free_run += 1 << order
        if streams:
            self.high = max(self.high - self._most, self.rules.high_min)
            return min(self.count, self._most)
        limit = self.high if pressure == CALM and self.count < self.high else self._limit(pressure)
        if self.count < limit:
            return 0
        return min(max(self._free_run, self.batch), max(limit - self.batch, 1))

    def push_below(self, head: int) -> None:
        """`push` of a single frame that leaves the list below its limit, in a calm zone: nothing drains."""
        self._alloc_factor >>= 1
        self.singles.append(head)
        self.count += 1
        self._larger_freed_last = False
        if self._free_run < self._most:
            self._free_run += 1

    def decay(self) -> int:
        """Let the limit sink by an eighth, so that pages nobody uses drain (at most 2^5 b at once)."""
        low = self.rules.high_min
        if self.high > low:
            self.high = max(self.count - self._most, self.high - (self.high >> 3), low)
        return max(self.count - self.high, 0)

    def _limit(self, pressure: int) -> int:
        """The limit that this free meets; shortage lowers it for good, a long run raises it."""
        rules = self.rules
        if pressure == RECLAIMING:
            self.high = max(self.high - max(self._free_run, self.batch), rules.high_min)
            return min(self.batch << 2, self.high)
        limit = self.high
        if self._tunes and pressure == BELOW_HIGH:
            self.high = max(limit - max(self._free_run, self.batch), rules.high_min)
            return max(self.count, rules.high_min)
        if self._tunes and self.count >= limit:
            self.high = max(limit, min(self._free_run + self.batch, rules.high_max))
        return limit


_CLASSES: dict[str, type[PageList]] = {
    "coal": DrainFirstPageList,
    "linux-2.6": PageList,
    "linux-5.14": RunDoublingPageList,
    "linux-6.7": TuningPageList,
    "linux-6.16": TuningPageList,
}


def page_list(rules: PageListRules) -> PageList:
    """The page list that keeps these rules."""
    return _CLASSES[rules.generation](rules)


def _blocks(batch: int, order: int) -> int:
    """Blocks of an order that stand for a batch of pages: at least 2, if batches are more than a page."""
    return max(batch >> order, 2) if batch > 1 else batch
