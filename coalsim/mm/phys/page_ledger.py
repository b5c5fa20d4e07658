"""The page allocator's ledger: which zones and lists there are, and who has taken which block.

Invariant: every frame is free in its zone, on one list, taken, on its way, or was taken before the
start.  A taken block is one number: its order, whether slabs or kmalloc own it, whether it is for a
process, and the processor that took it.
Locking: none of its own.  Entries belong to who has the block; sums are made at barriers.
Nothing here takes time.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.errors import ConfigError, Problem
from coalsim.mm.phys.own_pages import OwnPages
from coalsim.mm.phys.zone import Zone
from coalsim.units import PAGE_SIZE, Pfn, format_size

ORDER_SHIFT = 20  # a taken block is remembered as order << 20 | owned | user | cpu
OWNED = 1 << ORDER_SHIFT - 1  # slabs or kmalloc have it: only they may free it
USER = OWNED >> 1  # it is for a process: a page, a table
NOT_USER = ~USER
CPU_MASK = USER - 1


class PageLedger:
    """Where every frame is.

    Args:
        zones: in ascending order of frames.
        num_nodes: nodes that zones or processors are of.
        max_order: of the largest block.
    """

    own: list[OwnPages]
    """What each processor has."""

    def __init__(self, zones: Sequence[Zone], num_nodes: int, max_order: int) -> None:
        self.zones = list(zones)
        self.max_order = max_order
        self._starts = [zone.first for zone in zones]
        self._taken: dict[int, int] = {}  # first frame -> order and processor
        self.set_aside = 0  # frames of the emergency reserve, at boot
        # zones of a node from the one to use first: the highest
        self._zones_of = [
            [zone for zone in reversed(self.zones) if zone.node == node] for node in range(num_nodes)
        ]

    def zone_of(self, pfn: int) -> Zone:
        """The zone that a frame lies in; the caller knows that there is one."""
        return self.zones[bisect_right(self._starts, pfn) - 1]

    def order_of(self, pfn: int) -> int | None:
        """Order of the block that somebody took and that begins there."""
        taken = self._taken.get(pfn)
        return None if taken is None else taken >> ORDER_SHIFT

    @property
    def taken(self) -> Mapping[int, int]:
        """Blocks in callers' hands: first frame, and order, OWNED, USER and processor in one number."""
        return self._taken

    def mark_user(self, pfn: int) -> None:
        """A frame that has just been taken is for a process."""
        self._taken[pfn] |= USER

    def claim(self, cpu: Cpu, pfn: Pfn) -> None:
        """A frame that nobody has becomes the processor's."""
        self._taken[pfn] = cpu.id

    def disown(self, pfn: Pfn) -> None:
        """A frame that has just been taken becomes nobody's."""
        del self._taken[pfn]

    # -- before the run ---------------------------------------------------------------

    def take_at_boot(self, cpu: Cpu) -> Pfn:
        """A frame for the kernel itself, before the run: takes no time and is never freed.

        Raises:
            ConfigError: the machine is too small for the kernel.
        """
        zones = self._zones_of[self.own[cpu.id].home.node]
        for zone in zones:
            head, _ = zone.source.take(0, cpu)
            if head >= 0:
                zone.free.add(-1, cpu, -1)
                self._taken[head] = OWNED | cpu.id
                return Pfn(head)
        size = format_size(sum(zone.frames for zone in zones) * PAGE_SIZE)
        is_reserved = 2 * self.set_aside > sum(zone.frames for zone in self.zones)
        problem = Problem(
            key="kernel.reserve_pages" if is_reserved else "machine.memory",
            value=str(self.set_aside) if is_reserved else size,
            message="no memory is left for the kernel's own page tables",
            remedy=f"use fewer, or give each node more memory than {size}"
            if is_reserved
            else "give each node more memory",
        )
        raise ConfigError([problem])

    def adopt(self, cpu: Cpu, pfn_zone: Zone, order: int) -> int:
        """A block that was taken before the start becomes the processor's, to be freed; -1: none."""
        head = pfn_zone.source.adopt(order)
        if head is None:
            return -1
        self._taken[head] = order << ORDER_SHIFT | cpu.id
        return head

    # -- sums ------------------------------------------------------------------------

    def taken_pages(self) -> int:
        """Frames in the hands of callers."""
        return sum(1 << (taken >> ORDER_SHIFT) for taken in self._taken.values())

    def moving_pages(self) -> int:
        """Frames on their way between a zone and a list or a caller; at a barrier."""
        return sum(zone.moving for zone in self.zones)

    def listed_pages(self) -> int:
        """Frames on all processors' lists; at a barrier."""
        return sum(mine.pages.count for own in self.own for mine in own.lists.values())

    def validate(self) -> None:
        """Recount the slow way: every frame is free, on one list, or taken; at rest or at a barrier."""
        seen: dict[int, None] = {}
        for own in self.own:
            for mine in own.lists.values():
                mine.pages.validate()
                for head in mine.pages.heads():
                    assert head not in self._taken, f"frame {head:#x} is on a list and taken"
                    assert head not in seen, f"frame {head:#x} is on two lists"
                    seen[head] = None
        free = 0
        for zone in self.zones:
            zone.source.validate()
            free += zone.source.free_frames
            assert zone.free.latest == zone.source.free_frames
            assert not zone.moving, "at rest no frames are on their way"
        total = sum(zone.frames for zone in self.zones)
        held = sum(zone.source.unheld_frames() for zone in self.zones)
        assert free + self.listed_pages() + self.taken_pages() + held == total, "frames were lost or made"
