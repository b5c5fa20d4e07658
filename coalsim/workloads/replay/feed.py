"""From the records of a trace to the operations of its CPUs, chunk by chunk.

    reader --> Feed --> Chunk 0 --> Chunk 1 --> ...      (each knows the next one)
                          |           |
                     operations of each CPU, end time

The chunks hold a fixed number of records each, so what is in a chunk depends on the text alone,
and never on who asks for it when.  The first thread that comes to the end of a chunk has the next
one read; a chunk is forgotten when the last thread has left it.

Invariant: what is in memory is what is live, and the chunks between the slowest and the fastest
thread.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from coalsim.errors import ConfigError
from coalsim.guarded import refusal
from coalsim.mm.kmem.geometry import MAX_SLAB_ORDER
from coalsim.units import PAGE_SIZE, Time
from coalsim.workloads.replay.matching import KMALLOCED, LiveBlock, LiveObject, LivePages
from coalsim.workloads.replay.operations import (
    CACHE_ALLOC,
    CACHE_FREE,
    EARLIER_PAGE_FREE,
    KFREE,
    KMALLOC,
    PAGE_ALLOC,
    PAGE_FREE,
    SAME_CPU,
    Block,
    Operation,
)
from coalsim.workloads.trace.lifetimes import Lifetimes
from coalsim.workloads.trace.reader import TraceReader
from coalsim.workloads.trace.records import Kind, Record

CHUNK_RECORDS = 2_048
MAX_CACHES = 4_096
"""Named caches that a trace may have; objects of further ones are kmalloc'ed."""
LARGEST_OBJECT = PAGE_SIZE << MAX_SLAB_ORDER
"""Larger objects do not fit into a slab: they are kmalloc'ed."""
PAGE_ALLOC_SITE: Final = "mm_page_alloc"
PAGE_FREE_SITE: Final = "mm_page_free"

# Bound once: looking a member up on its class is slow on Python 3.11.
_KMALLOC, _CACHE_ALLOC, _KFREE, _CACHE_FREE = Kind.KMALLOC, Kind.CACHE_ALLOC, Kind.KFREE, Kind.CACHE_FREE
_PAGE_ALLOC, _PAGE_FREE, _ZONE_LOCKED, _DRAIN = (
    Kind.PAGE_ALLOC,
    Kind.PAGE_FREE,
    Kind.ZONE_LOCKED,
    Kind.PCPU_DRAIN,
)


@dataclass(frozen=True, kw_only=True)
class FeedSetup:
    """What the feed has to know.

    Args:
        cpus: number of each CPU in the trace to its seat, from 0 without gaps.
        copies: how often the recording is replayed side by side.
        objects, pages: which layers are replayed.
        cache: gives the handle of a cache from its name and object size.
        asks_for: told once how many bytes are asked for of a named cache's objects; None: nobody
            wants to know.
        zone_of_frame: the simulated zone of a recorded frame, if blocks that were taken before
            the recording are to be freed.
    """

    cpus: Mapping[int, int]
    copies: int
    objects: bool
    pages: bool
    cache: Callable[[str, int], int]
    asks_for: Callable[[int, int], None] | None = None
    zone_of_frame: Callable[[int], int] | None = None


class Chunk:
    """Some records of the trace, as operations by seat."""

    __slots__ = ("_feed", "_next", "end", "is_last", "operations")

    def __init__(self, feed: "Feed", seats: int) -> None:
        self._feed = feed
        self._next: Chunk | None = None
        self.operations: Sequence[list[Operation]] = [[] for _ in range(seats)]
        self.end: Time = 0  # no operation of a later chunk is before this
        self.is_last = False

    def following(self) -> "Chunk | None":
        """The next chunk, read now if nobody did before; None behind the last one."""
        if self._next is None and not self.is_last:
            self._next = self._feed.read_chunk()
        return self._next


class Feed:
    """Reads the trace, matches frees with allocations, and deals out the operations."""

    def __init__(self, reader: TraceReader, setup: FeedSetup) -> None:
        self.lifetimes = Lifetimes()
        self.recorded_refill_pages = 0
        self.recorded_drain_pages = 0
        self._reader = reader
        self._records: Iterator[Record] = iter(reader)
        self._setup = setup
        self._objects: dict[int, LiveObject] = {}
        self._pages = LivePages()
        self._handles: dict[str, int] = {}
        self._operations: Sequence[list[Operation]] = ()

    def read_chunk(self) -> Chunk:
        """Read on; only the chunk before calls this."""
        chunk = Chunk(self, len(self._setup.cpus))
        self._operations = chunk.operations
        records = list(islice(self._records, CHUNK_RECORDS))
        self._deal(records)
        if len(records) < CHUNK_RECORDS:
            chunk.is_last = True
            chunk.end = self._reader.tally.span + 1  # so that even a trace of one instant takes time
        else:
            chunk.end = records[-1].time
        return chunk

    def _deal(self, records: Sequence[Record]) -> None:
        seats, with_objects, with_pages = self._setup.cpus, self._setup.objects, self._setup.pages
        count = self.lifetimes.add
        for record in records:
            count(record)
            kind = record[2]
            if kind is _PAGE_ALLOC or kind is _PAGE_FREE:
                if with_pages:
                    seat = seats.get(record[1])
                    if seat is None:
                        raise self._stranger(record)
                    if kind is _PAGE_ALLOC:
                        self._allocate_pages(seat, record)
                    else:
                        self._free_pages(seat, record)
            elif kind <= _CACHE_FREE:
                if with_objects and record[3]:
                    seat = seats.get(record[1])
                    if seat is None:
                        raise self._stranger(record)
                    if kind <= _CACHE_ALLOC:
                        self._allocate_object(seat, record)
                    else:
                        self._free_object(seat, record)
            elif kind is _ZONE_LOCKED:
                self.recorded_refill_pages += 1 << record[4]
            elif kind is _DRAIN:
                self.recorded_drain_pages += 1 << record[4]

    def _blocks(self) -> tuple[Block, ...]:
        copies = self._setup.copies
        return (Block(),) if copies == 1 else tuple([Block() for _ in range(copies)])

    # -- objects

    def _allocate_object(self, seat: int, record: Record) -> None:
        time, _, kind, key, size, alloc, _, _, name, site = record
        own = self._operations[seat]
        former = self._objects.get(key)
        if former is not None:
            own.append(self._object_free(seat, time, former, former[2] == KMALLOCED, site))
        blocks = self._blocks()
        handle = KMALLOCED if kind is _KMALLOC else self._handle(name, alloc or size, size)
        if handle == KMALLOCED:
            own.append((time, KMALLOC, blocks, (size if kind is _KMALLOC else alloc) or 1, SAME_CPU, site))
        else:
            own.append((time, CACHE_ALLOC, blocks, handle, SAME_CPU, site))
        self._objects[key] = (blocks, seat, handle)

    def _free_object(self, seat: int, record: Record) -> None:
        held = self._objects.pop(record[3], None)
        if held is not None:
            by_kfree = record[2] is _KFREE or held[2] == KMALLOCED
            self._operations[seat].append(self._object_free(seat, record[0], held, by_kfree, record[9]))

    @staticmethod
    def _object_free(seat: int, time: Time, held: LiveObject, by_kfree: bool, site: str) -> Operation:
        blocks, cpu, handle = held
        owner = SAME_CPU if cpu == seat else cpu
        return (time, KFREE if by_kfree else CACHE_FREE, blocks, handle, owner, site)

    def _handle(self, name: str, size: int, asked: int) -> int:
        """The handle of a cache; KMALLOCED for objects that no cache can hold."""
        handle = self._handles.get(name) if name else None
        if handle is not None:
            return handle
        if not 0 < size <= LARGEST_OBJECT or len(self._handles) >= MAX_CACHES:
            return KMALLOCED
        # Before Linux 6.1 an allocation does not name its cache: caches of one size are taken for one.
        known_as = name or f"objects-{size}"
        if known_as not in self._handles:
            self._handles[known_as] = self._setup.cache(known_as, size)
            if name and asked and self._setup.asks_for is not None:
                self._setup.asks_for(self._handles[known_as], asked)
        return self._handles[known_as]

    # -- pages

    def _allocate_pages(self, seat: int, record: Record) -> None:
        time, order = record[0], record[4]
        own = self._operations[seat]
        block = LiveBlock(self._blocks(), seat, order)
        for former in self._pages.allocate(record[3], block):
            own.append(self._page_free(seat, time, former))
        own.append((time, PAGE_ALLOC, block.blocks, order, SAME_CPU, PAGE_ALLOC_SITE))

    def _free_pages(self, seat: int, record: Record) -> None:
        time, first, order = record[0], record[3], record[4]
        matched, over = self._pages.end(first, order)
        own = self._operations[seat]
        for block in over:
            own.append(self._page_free(seat, time, block))
        if not matched and self._setup.zone_of_frame is not None:
            zone = self._setup.zone_of_frame(first)
            own.append((time, EARLIER_PAGE_FREE, (), order, zone, PAGE_FREE_SITE))

    @staticmethod
    def _page_free(seat: int, time: Time, block: LiveBlock) -> Operation:
        owner = SAME_CPU if block.cpu == seat else block.cpu
        return (time, PAGE_FREE, block.blocks, block.order, owner, PAGE_FREE_SITE)

    def _stranger(self, record: Record) -> ConfigError:
        return refusal(
            self._reader.path,
            f"a record of CPU {record.cpu}, of which there was none when the file was scanned",
            "do not write to the file while it is replayed",
            line=self._reader.tally.lines,
        )
