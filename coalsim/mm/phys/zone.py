"""A zone: a range of one node's frames, the lock that guards them, and their source.

All work on the free frames happens in sections under the zone's lock, with
interrupts off from before the wait begins: refilling a per-CPU list, draining one,
taking or giving a single block.  A section changes the free lists and the calling
processor's own list, which nobody else touches, and is priced by the source.

Locking: `lock` (class "zone->lock") guards `source` and the counters.
Invariant: free frames + frames on per-CPU lists + taken frames = frames, where those on
their way, by a processor that waits for the lock or has just had it, are `moving`.
Source: Linux mm/page_alloc.c (`rmqueue_bulk`, `free_pcppages_bulk`, `rmqueue_buddy`).
"""

from collections.abc import Callable, Sequence
from enum import IntEnum

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Body, Span, SpinLock
from coalsim.locks.view import GuardedCount
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.fragmentation import Watermarks
from coalsim.mm.phys.pagelist import BELOW_HIGH, CALM, PageList
from coalsim.mm.phys.pagelist_rules import PageListRules
from coalsim.mm.phys.source import FrameSource
from coalsim.units import FOREVER, NodeId, Pfn, Time


class Above(IntEnum):
    """Up to where a request may take a zone: until it is empty, or above a mark."""

    EMPTY = 0
    LOW = 1
    FLOOR = 2
    VICTIM = 3
    HIGH = 4


EMPTY, LOW, FLOOR, VICTIM, HIGH = Above
NO_MARKS = Watermarks(0, 0, 0, 0)


class OwnList:
    """One processor's page list for one zone, with what it counts; private to the processor."""

    __slots__ = (
        "alloc_misses",
        "allocs",
        "busy_until",
        "decayed_at",
        "drain_pages",
        "drains",
        "free_misses",
        "frees",
        "fresh",
        "more_allocated",
        "pages",
        "pressure",
        "refill_pages",
        "refills",
        "when_free",
    )

    def __init__(self, pages: PageList) -> None:
        self.pages = pages
        self.fresh: dict[int, bool] = {}  # listed blocks of several frames that nobody has had yet
        self.pressure = CALM  # the zone's, as seen at the last visit
        self.decayed_at = 0  # timer tick of the last decay
        self.busy_until: Time = 0  # end of the last refill; FOREVER while that is not known
        self.when_free: Callable[[], None] | None = None  # a remote drain, which waits for the list's lock
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.allocs = self.frees = 0  # blocks that the list gave and got
        self.more_allocated = 0  # pages of the blocks that it gave, beyond the first of each
        self.alloc_misses = self.free_misses = 0  # those of them that went to the zone's lock
        self.refills = self.refill_pages = 0
        self.drains = self.drain_pages = 0


class Zone:
    """One zone of one node.

    Args:
        name: DMA, DMA32 or Normal.
        node: whose memory it is.
        index: its place among all zones.
        source: its free frames.
        first: first frame.
        frames: how many.
        lock: guards it.
        rules: of the page lists in front of it.
        high_mark: free frames below which lists do not grow; 0: never.
        irqsave: the lock is taken with interrupts off.
        marks: free frames below which something is done about it.
        level: its place among the zones of a node, the lowest first.
        protection: by the level of the highest zone that a request may use, frames kept from it here.
        kernel_level: the highest level of the node that the kernel reaches without temporary mappings.
        is_high: the kernel reaches its frames by temporary mappings only.
    """

    def __init__(
        self,
        name: str,
        node: NodeId,
        index: int,
        source: FrameSource,
        first: Pfn,
        frames: int,
        lock: SpinLock,
        rules: PageListRules,
        high_mark: int,
        irqsave: bool,
        marks: Watermarks = NO_MARKS,
        level: int = 0,
        protection: Sequence[int] = (0,),
        kernel_level: int = 0,
        is_high: bool = False,
    ) -> None:
        self.name = name
        self.node = node
        self.index = index
        self.source = source
        self.first = first
        self.frames = frames
        self.lock = lock
        self.rules = rules
        self.high_mark = high_mark
        self.marks = marks
        self.level = level
        self.protection = protection
        self._kernel_level = kernel_level
        self.is_high = is_high
        self.is_away = False  # it gives nothing for a while: an injected fault
        self._locked = lock.section if irqsave else lock.interruptible_section
        self.free = GuardedCount(source.free_frames)
        self._longest: dict[int, Time] = {}  # batch in pages -> longest hold
        self.moving = 0  # frames neither here nor on a list nor taken; looked at by barriers only

    def mark(self, context: AllocContext, above: Above) -> int:
        """Frames that a request leaves here at least."""
        if context is AllocContext.RESERVE:
            return 0
        if above is LOW or above is HIGH:
            least = self.marks.low if above is LOW else self.marks.high
        else:
            least = context.floor(self.marks.min, is_victim=above is VICTIM)
        highest = len(self.protection) - 1 if context.uses_high else self._kernel_level
        return least + self.protection[highest]

    def _section(self, cpu: Cpu, body: Body, pages: int, site: str) -> Op[Span]:
        longest = self._longest.get(pages)
        if longest is None:
            longest = self._longest[pages] = self.source.longest(pages)
        return self._locked(cpu, body, longest, site)

    def refill(self, cpu: Cpu, own: OwnList, order: int, site: str) -> Op[int]:
        """Fill the empty list of an order and take a block from it; -1: the zone is empty."""
        pages = own.pages
        count = pages.refill_amount(order, own.pressure)
        found = -1

        def body(grant: Time) -> Time:
            nonlocal found
            heads, hold = self.source.take_batch(order, count, cpu)
            head = pages.refill(order, heads)
            if order:
                own.fresh.update(dict.fromkeys(heads, True))
            if head is not None:
                own.fresh.pop(head, None)
                found = head
                self.moving += 1 << order  # until `arrived`
                own.allocs += 1
                own.alloc_misses += 1
                own.refills += 1
            own.refill_pages += len(heads) << order
            self._changed(cpu, grant, own, -(len(heads) << order))
            return hold

        own.busy_until = FOREVER
        _, own.busy_until = yield from self._section(cpu, body, count << order, site)
        if own.when_free is not None:
            then, own.when_free = own.when_free, None
            then()
        return found

    def drain(self, cpu: Cpu, own: OwnList, due: int, order: int, site: str) -> Op[None]:
        """Give so many pages of the list back, coldest first."""
        heads = own.pages.take_coldest(due, order)
        yield from self.give_all(cpu, own, heads, site)

    def give_all(self, cpu: Cpu, own: OwnList, heads: Sequence[int], site: str) -> Op[None]:
        """Give blocks back that came off the list, in one section."""
        if not heads:
            return
        pages = len(heads)
        if len(own.pages.rules.cached_orders) > 1:
            pages = sum(1 << (self.source.order_of(head) or 0) for head in heads)
        if own.fresh:
            for head in heads:
                own.fresh.pop(head, None)
        self.moving += pages

        def body(grant: Time) -> Time:
            self.moving -= pages
            hold = self.source.give_batch(heads, cpu)
            own.drains += 1
            own.drain_pages += pages
            self._changed(cpu, grant, own, pages)
            return hold

        yield from self._section(cpu, body, pages, site)

    def give_taken(self, cpu: Cpu, heads: Sequence[int], pages: int, site: str) -> Op[None]:
        """Give back blocks that somebody has taken off another processor's list and counted as `moving`."""

        def body(grant: Time) -> Time:
            self.moving -= pages
            hold = self.source.give_batch(heads, cpu)
            self.free.add(grant, cpu, pages)
            return hold

        yield from self._section(cpu, body, pages, site)

    def take(self, cpu: Cpu, order: int, site: str) -> Op[int]:
        """A single block, not through a list; -1: there is none."""
        found = -1

        def body(grant: Time) -> Time:
            nonlocal found
            found, hold = self.source.take(order, cpu)
            if found >= 0:
                self.moving += 1 << order  # until `arrived`
                self.free.add(grant, cpu, -(1 << order))
            return hold

        yield from self._section(cpu, body, 1 << order, site)
        return found

    def give(self, cpu: Cpu, pfn: int, order: int, site: str) -> Op[None]:
        """Give a single block back, not through a list."""
        self.moving += 1 << order

        def body(grant: Time) -> Time:
            self.moving -= 1 << order
            hold = self.source.give(pfn, order, cpu)
            self.free.add(grant, cpu, 1 << order)
            return hold

        yield from self._section(cpu, body, 1 << order, site)

    def arrived(self, head: int, order: int) -> None:
        """What `refill` or `take` gave, if anything, has reached its taker."""
        if head >= 0:
            self.moving -= 1 << order

    def _changed(self, cpu: Cpu, grant: Time, own: OwnList, pages: int) -> None:
        self.free.add(grant, cpu, pages)
        own.pressure = CALM if self.free.latest >= self.high_mark else BELOW_HIGH
