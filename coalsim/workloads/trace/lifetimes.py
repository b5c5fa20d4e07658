"""What lived how long: the bookkeeping of a trace's allocations and frees, without a simulation.

Counts follow the order of the text, event by event:

- the free of an object or block that is not live is *unmatched*: it was allocated before the trace
  began, or by a call that leaves no event;
- the allocation of one that is live is an *implied* free of the former holder: frees in bulk, by
  RCU and into the allocator's own per-CPU stores leave no event;
- the free of NULL is counted apart and matches nothing;
- what is live at the end was allocated in the trace and neither freed nor handed out again.

Pages are counted in frames, as blocks may be split after they were allocated: a free takes those of
its frames that are live, be it a part of a block or several blocks; it is unmatched if none is.
An allocation that lands on live blocks takes over the frames they share, one implied free each.

`mm_page_free_batched` tells how a frame was freed that has a `mm_page_free` of its own (before it on
newer kernels, behind it on older ones).  It is no free; those without their partner are counted.

*Reordered* frees: stamps in microseconds cannot order two CPUs within one.  An unmatched free
followed, at the same stamp, by the allocation of the same thing on another CPU was perhaps the later
of the two.  Such frees stay unmatched in all other counts and are only reported.

Invariant: memory grows with what is live, and by a fixed window of frees for the batched ones.
"""

from dataclasses import dataclass

from coalsim.units import Time
from coalsim.workloads.trace.records import MAX_ORDER, Kind, Record

# Bound once: looking a member up on its class is slow on Python 3.11.
_CACHE_ALLOC, _CACHE_FREE = Kind.CACHE_ALLOC, Kind.CACHE_FREE
_PAGE_ALLOC, _PAGE_FREE, _PAGE_FREE_BATCHED = Kind.PAGE_ALLOC, Kind.PAGE_FREE, Kind.PAGE_FREE_BATCHED

BATCH_WINDOW = 4_096  # frees among which a batched event's partner is looked for, at least


@dataclass(frozen=True, kw_only=True, slots=True)
class LifetimeCounts:
    """The sums over a trace; the first seven are keys of a replay's report."""

    unmatched_frees: int
    implied_frees: int
    live_objects: int
    live_bytes: int  # as asked for
    unmatched_page_frees: int
    implied_page_frees: int
    live_pages: int  # frames
    live_blocks: int  # of whatever order
    object_allocs: int
    object_frees: int  # without those of NULL
    null_frees: int
    remote_frees: int  # freed on another CPU than allocated
    page_allocs: int  # blocks
    page_frees: int  # blocks
    remote_page_frees: int
    batched_frees: int
    unpaired_batched_frees: int
    reordered_frees: int
    reordered_page_frees: int


class _Ties:
    """Unmatched frees of the present stamp, to find allocations that the text has too late."""

    def __init__(self) -> None:
        self.reordered = 0
        self._time: Time = -1
        self._freed: dict[int, int] = {}  # key to the CPU that freed it

    def freed(self, time: Time, key: int, cpu: int) -> None:
        if time != self._time:
            self._freed.clear()
            self._time = time
        self._freed[key] = cpu

    def allocated(self, time: Time, key: int, cpu: int) -> None:
        if time == self._time and self._freed.get(key, cpu) != cpu:
            self.reordered += 1
            del self._freed[key]


class _Objects:
    """Slab and kmalloc objects, by pointer."""

    def __init__(self) -> None:
        self.live: dict[int, tuple[int, int]] = {}  # pointer to bytes asked for, CPU
        self.ties = _Ties()
        self.allocs = self.frees = self.null_frees = 0
        self.unmatched = self.implied = self.remote = 0

    def alloc(self, record: Record) -> None:
        self.allocs += 1
        if record.key in self.live:
            self.implied += 1
        else:
            self.ties.allocated(record.time, record.key, record.cpu)
        self.live[record.key] = (record.size, record.cpu)

    def free(self, record: Record) -> None:
        if not record.key:
            self.null_frees += 1
            return
        self.frees += 1
        held = self.live.pop(record.key, None)
        if held is None:
            self.unmatched += 1
            self.ties.freed(record.time, record.key, record.cpu)
        elif held[1] != record.cpu:
            self.remote += 1


class _Pages:
    """Blocks of frames, by first frame; live blocks never overlap."""

    def __init__(self) -> None:
        self.live: dict[int, tuple[int, int]] = {}  # first frame to order, CPU
        self.frames = 0
        self.ties = _Ties()
        self.allocs = self.frees = 0
        self.unmatched = self.implied = self.remote = 0
        self._of_order = [0] * (MAX_ORDER + 1)  # live blocks

    def alloc(self, record: Record) -> None:
        self.allocs += 1
        former = self._overlapped(record.key, record.size)
        if former:
            self.implied += len(former)
            for block in former:
                self._end_within(block, record.key, record.size)
        else:
            self.ties.allocated(record.time, record.key, record.cpu)
        self._insert(record.key, record.size, record.cpu)

    def free(self, record: Record) -> None:
        self.frees += 1
        first, order = record.key, record.size
        blocks = self._overlapped(first, order)
        if not blocks:
            self.unmatched += 1
            self.ties.freed(record.time, first, record.cpu)
            return
        owners = [self._end_within(block, first, order) for block in blocks]
        self.remote += any(cpu != record.cpu for cpu in owners)

    def _overlapped(self, first: int, order: int) -> list[int]:
        """The live blocks that share frames with a block; their first frames."""
        held = self.live.get(first)
        if held is not None and held[0] >= order:
            return [first]  # the usual case
        for larger in range(order + 1, MAX_ORDER + 1):  # part of a larger block?
            start = first >> larger << larger
            if self._of_order[larger] and (held := self.live.get(start)) and held[0] >= larger:
                return [start]
        if order == 0 or not any(self._of_order[: order + 1]):
            return []
        return [frame for frame in range(first, first + (1 << order)) if frame in self.live]

    def _end_within(self, block: int, first: int, order: int) -> int:
        """End the frames of a live block that a record covers; the rest stays live, in halves."""
        held, cpu = self._remove(block)
        while held > order:  # buddies: the half without the freed frames lives on
            held -= 1
            half = block + (1 << held)
            if first >= half:
                block, half = half, block
            self._insert(half, held, cpu)
        return cpu

    def _insert(self, first: int, order: int, cpu: int) -> None:
        self.live[first] = (order, cpu)
        self._of_order[order] += 1
        self.frames += 1 << order

    def _remove(self, first: int) -> tuple[int, int]:
        order, cpu = self.live.pop(first)
        self._of_order[order] -= 1
        self.frames -= 1 << order
        return order, cpu


class _Batches:
    """Pairs batched frees with their plain ones inside a sliding window of both."""

    def __init__(self) -> None:
        self.batched = 0
        self._given_up = 0
        self._balance: dict[int, int] = {}  # frame: plain minus batched, of late
        self._before: dict[int, int] = {}  # the same, of the window before

    def plain(self, frame: int) -> None:
        self._count(frame, 1)

    def note_batched(self, frame: int) -> None:
        self.batched += 1
        self._count(frame, -1)

    @property
    def unpaired(self) -> int:
        return self._given_up + _missing(self._before) + _missing(self._balance)

    def _count(self, frame: int, step: int) -> None:
        if len(self._balance) >= BATCH_WINDOW:
            self._given_up += _missing(self._before)
            self._before, self._balance = self._balance, {}
        balance = self._balance.pop(frame, 0) + self._before.pop(frame, 0) + step
        if balance:
            self._balance[frame] = balance


def _missing(balance: dict[int, int]) -> int:
    return -sum(value for value in balance.values() if value < 0)


class Lifetimes:
    """Follows the records of one trace: ``for record in reader: lifetimes.add(record)``."""

    def __init__(self) -> None:
        self._objects = _Objects()
        self._pages = _Pages()
        self._batches = _Batches()

    def add(self, record: Record) -> None:
        """Count one record; records come in the order of the trace."""
        kind = record.kind
        if kind <= _CACHE_ALLOC:
            self._objects.alloc(record)
        elif kind <= _CACHE_FREE:
            self._objects.free(record)
        elif kind == _PAGE_ALLOC:
            self._pages.alloc(record)
        elif kind == _PAGE_FREE:
            self._pages.free(record)
            self._batches.plain(record.key)
        elif kind == _PAGE_FREE_BATCHED:
            self._batches.note_batched(record.key)

    def statistics(self) -> LifetimeCounts:
        """The counts so far."""
        objects, pages, batches = self._objects, self._pages, self._batches
        return LifetimeCounts(
            unmatched_frees=objects.unmatched,
            implied_frees=objects.implied,
            live_objects=len(objects.live),
            live_bytes=sum(size for size, _cpu in objects.live.values()),
            unmatched_page_frees=pages.unmatched,
            implied_page_frees=pages.implied,
            live_pages=pages.frames,
            live_blocks=len(pages.live),
            object_allocs=objects.allocs,
            object_frees=objects.frees,
            null_frees=objects.null_frees,
            remote_frees=objects.remote,
            page_allocs=pages.allocs,
            page_frees=pages.frees,
            remote_page_frees=pages.remote,
            batched_frees=batches.batched,
            unpaired_batched_frees=batches.unpaired,
            reordered_frees=objects.ties.reordered,
            reordered_page_frees=pages.ties.reordered,
        )

    def validate(self) -> None:
        """Recount the slow way; tests call this after every step."""
        self._pages_validate()

    def _pages_validate(self) -> None:
        pages = self._pages
        assert pages.frames == sum(1 << order for order, _cpu in pages.live.values())
        end = 0
        for first in sorted(pages.live):
            assert first >= end, f"frame {first:#x} is in two live blocks"
            end = first + (1 << pages.live[first][0])
