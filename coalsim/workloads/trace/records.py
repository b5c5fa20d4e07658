"""The record: one thing that a traced kernel did to its memory.

A record is one flat tuple, because a replay makes and reads fifty thousand of them a second.
Everything else that a trace holds (faults, switches, locks) is counted by the reader and dropped.

Invariant: `time` never goes backwards within a trace, and starts at the first event of any kind.
Source: trace events of include/trace/events/kmem.h in the Linux kernel.
"""

from enum import IntEnum
from typing import NamedTuple

from coalsim.units import Time

MAX_ORDER = 13
"""The largest block of any Linux build (arm64 with 64 KiB pages); more in a trace is damage."""


class Kind(IntEnum):
    """What happened.  Compare with `==` or index a list: hashing an enum member is slow."""

    KMALLOC = 0
    CACHE_ALLOC = 1
    KFREE = 2
    CACHE_FREE = 3
    PAGE_ALLOC = 4
    PAGE_FREE = 5
    PAGE_FREE_BATCHED = 6  # says how a PAGE_FREE of the same frame was done: not a second free
    ZONE_LOCKED = 7  # a per-CPU list takes a block from the buddy lists: not an allocation
    PCPU_DRAIN = 8  # a per-CPU list gives a block back to the buddy lists: not a free


class Record(NamedTuple):
    """One memory event.

    `key` is the object's pointer or the block's first frame number; a pointer may be hashed, so it
    is an identity and not an address.  A free of NULL has key 0.
    """

    time: Time  # since the first event of the trace
    cpu: int  # as numbered by the traced machine
    kind: Kind
    key: int
    size: int  # bytes asked for, or order of the block; 0 for the free of an object
    alloc: int  # bytes given, or migrate type; 0 where the event says nothing
    tid: int  # -1 where the recorder did not know
    comm: str  # name of the thread; cleaned, as all text here
    name: str  # of the slab cache, "" for kmalloc and pages
    site: str  # who called, as `function+0xoffset`, "" for pages
