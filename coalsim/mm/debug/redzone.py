"""What lies around an object of a debug kernel: red zones, tracks, padding.

    |<- before ->|<----- size ---->|       |  8  |  8  |    64    |         |
    +------------+-----------------+-------+-----+-----+----------+---------+
    | Redzone    | Object          | Redzone     | fp  | tracks   | Padding |
    +------------+-----------------+-------+-----+-----+----------+---------+
                 ^ address     asked..size: red zone too, while the object is in use

Red zones hold 0xcc while the object is in use and 0xbb while it is free; the padding belongs to poisoning.
Who allocated and freed an object is kept by `slots.py`, not in the bytes: the room of the tracks is counted,
and they stay readable whatever runs over them.

Invariant: the red zone before an object is a multiple of the object's natural alignment (the largest
power of two that divides its size), so that objects lie as they lie without it.
Source: Linux include/linux/poison.h (SLUB_RED_INACTIVE, SLUB_RED_ACTIVE, POISON_INUSE), mm/slub.c
(`calculate_sizes`; the layout is drawn above `check_pad_bytes`), 946fa0dbf2d8 (6.1: the bytes behind
those asked for are a red zone), ad59baa31695 (6.12: natural alignment of kmalloc's classes).
"""

from typing import Final, NamedTuple

from coalsim.mm.kmem.geometry import NO_ROOM, Room, SlabGeometry
from coalsim.profiles.switches import Switches
from coalsim.units import PAGE_SIZE

RED_INACTIVE: Final = 0xBB
"""SLUB_RED_INACTIVE: the object is free."""
RED_ACTIVE: Final = 0xCC
"""SLUB_RED_ACTIVE: it is in use."""
PADDING: Final = 0x5A
"""POISON_INUSE, for the bytes that nobody uses."""
WORD: Final = 8
TRACKS: Final = 2 * 32
"""Two of struct track: who allocated the object, who freed it."""


class Zone(NamedTuple):
    """A stretch of bytes around an object, relative to its address, under SLUB's name for it."""

    name: str
    start: int
    end: int


def is_debug(switches: Switches) -> bool:
    """Whether objects are watched for damage."""
    return switches.debug_redzone or switches.debug_poison or switches.debug_quarantine > 0


def natural_alignment(size: int) -> int:
    """The largest power of two that divides a size, between a word and a page."""
    return min(max(size & -size, WORD), PAGE_SIZE)


def right_zone(size: int) -> int:
    """Bytes of the red zone behind an object: up to the next word, or a word."""
    return -size % WORD or WORD


def room_around(size: int, switches: Switches) -> Room:
    """What a slab keeps free around every object; nothing unless a debug mode is on."""
    if not is_debug(switches):
        return NO_ROOM
    behind = right_zone(size) if switches.debug_redzone else -size % WORD
    behind += WORD + TRACKS
    if not switches.debug_redzone:
        return Room(0, behind)
    return Room(natural_alignment(size), behind + WORD)


class SlotLayout:
    """The zones of the objects of one cache."""

    __slots__ = ("before", "left", "padding", "right", "size", "stride")

    def __init__(self, geometry: SlabGeometry, switches: Switches) -> None:
        self.size = geometry.object_size
        self.stride = geometry.stride
        self.before = geometry.room.before
        behind = right_zone(self.size) if switches.debug_redzone else 0
        in_use = self.size + (behind or -self.size % WORD)
        self.left = Zone("Left Redzone", -self.before, 0)
        self.right = Zone("Right Redzone", self.size, self.size + behind)
        self.padding = Zone("Object padding", in_use + WORD + TRACKS, self.stride - self.before)

    @property
    def zone_bytes(self) -> int:
        """Bytes of both red zones."""
        return self.before + self.right.end - self.right.start

    @property
    def padding_bytes(self) -> int:
        """Bytes of the padding."""
        return self.padding.end - self.padding.start
