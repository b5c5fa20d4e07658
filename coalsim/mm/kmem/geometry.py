"""How a cache cuts its slabs: pages per slab, objects per slab, room for colours.

    |<- colour ->|<-- stride -->|<-- stride -->| ...            |<- slack left ->|
    +------------+--------------+--------------+----------------+----------------+
    |            | object 0     | object 1     | ...            |                |
    +------------+--------------+--------------+----------------+----------------+

A debug kernel makes the stride longer: `Room` before every object and behind it.
What does not hold a whole object is slack.  Successive slabs begin their objects at
successive multiples of the cache line within it (colours), so that objects with the
same index do not all fight for the same cache sets.  Objects whose size divides the
page leave no slack and have one colour.

    coal   the smallest order up to 3 that wastes at most 1/8 of the slab
    slub   the smallest order that holds `min_objects` and wastes at most 1/16, else
           1/8, else 1/4, else 1/2; no colours

Nothing here waits or costs time; it runs when a cache is created.
Source: Bonwick, "The Slab Allocator", USENIX Summer 1994, sections 3.2 and 4
(colouring; 1/8 as the tolerated waste); Linux mm/slub.c (`calculate_order`,
`calc_slab_order` of 6.7; earlier kernels agree but for odd sizes).
"""

from dataclasses import dataclass

from coalsim.errors import ConfigError, Problem
from coalsim.mm.phys.layout import order_for, pages_for
from coalsim.units import PAGE_SIZE

LINE = 64
"""Step between two colours: a cache line."""
MAX_SLAB_ORDER = 3
COAL_WASTE = 8
"""A coal slab wastes at most 1/8 of itself, if an order up to 3 allows it."""
SLUB_WASTES = (16, 8, 4, 2)


@dataclass(frozen=True)
class Room:
    """Bytes around every object that are not its own: those of debug kernels."""

    before: int = 0
    behind: int = 0


NO_ROOM = Room()


@dataclass(frozen=True, kw_only=True)
class SlabGeometry:
    """The cut of one cache.

    `object_size` is what was asked for, `stride` the distance of two objects, `order`
    the slab's run of pages, `colours` how many different starts there are, `colour_step` bytes apart.
    `room` is what a stride holds around its object.
    """

    object_size: int
    stride: int
    order: int
    objects: int
    colours: int = 1
    colour_step: int = LINE
    room: Room = NO_ROOM

    @property
    def listed_size(self) -> int:
        """Bytes of an object in slabinfo: in debug kernels with all that is around it."""
        return self.object_size if self.room == NO_ROOM else self.stride

    @property
    def slab_bytes(self) -> int:
        """Bytes of one slab."""
        return PAGE_SIZE << self.order

    @property
    def slack(self) -> int:
        """Bytes of a slab in which no object fits."""
        return self.slab_bytes - self.objects * self.stride


def coal_geometry(object_size: int, align: int = 8, room: Room = NO_ROOM) -> SlabGeometry:
    """The cut of the coal kernel.

    Args:
        object_size: bytes of an object, up to one slab of order 3.
        align: a power of two that all object addresses are multiples of; divides `room.before`.
        room: around every object.
    """
    stride = _stride(object_size, align, room)
    fitting = [order for order in range(MAX_SLAB_ORDER + 1) if stride <= PAGE_SIZE << order]
    if not fitting:
        raise _too_large(object_size)
    frugal = (order for order in fitting if _waste(stride, order) * COAL_WASTE <= PAGE_SIZE << order)
    # No order is frugal enough: the one with the smallest share of waste, the smaller of equals.
    least = min(fitting, key=lambda order: (_waste(stride, order) << (MAX_SLAB_ORDER - order), order))
    order = next(frugal, least)
    step = max(LINE, align)
    return SlabGeometry(
        object_size=object_size,
        stride=stride,
        order=order,
        objects=(PAGE_SIZE << order) // stride,
        colours=_waste(stride, order) // step + 1,
        colour_step=step,
        room=room,
    )


def slub_geometry(object_size: int, cpus: int, align: int = 8, room: Room = NO_ROOM) -> SlabGeometry:
    """The cut of Linux's SLUB on a machine with so many CPUs: more CPUs, more objects per slab."""
    stride = _stride(object_size, align, room)
    most = (PAGE_SIZE << MAX_SLAB_ORDER) // stride
    if not most:
        raise _too_large(object_size)
    min_objects = min(4 * (cpus.bit_length() + 1), most)
    least_order = order_for(pages_for(min_objects * stride))
    for share in SLUB_WASTES:
        for order in range(least_order, MAX_SLAB_ORDER + 1):
            if _waste(stride, order) <= (PAGE_SIZE << order) // share:
                objects = (PAGE_SIZE << order) // stride
                return SlabGeometry(
                    object_size=object_size, stride=stride, order=order, objects=objects, room=room
                )
    raise AssertionError("a slab that holds an object wastes at most half of itself")  # pragma: no cover


def _stride(object_size: int, align: int, room: Room) -> int:
    if object_size < 1 or align < 1 or align & (align - 1):
        raise ConfigError(f"objects of {object_size} bytes aligned to {align} cannot exist")
    return -(-(room.before + object_size + room.behind) // align) * align


def _waste(stride: int, order: int) -> int:
    return (PAGE_SIZE << order) % stride


def _too_large(object_size: int) -> ConfigError:
    return ConfigError(
        [
            Problem(
                key="object size",
                value=str(object_size),
                message="does not fit into a slab",
                remedy=f"use at most {PAGE_SIZE << MAX_SLAB_ORDER} bytes, or whole pages",
            )
        ]
    )
