"""The emergency reserve: frames set aside at boot for requests that cannot fail.

    boot -> held --take, when zones have none--> a caller's --freed--> a zone ... --topped up--> held

Frames in the reserve are neither free nor anybody's.  The reclaimer tops it up when its node is
above the marks again.

Locking: `lock` guards it; sections touch nothing else.
Source: Linux mm/mempool.c, for the idea; the seed design's reserve.
"""

from collections.abc import Sequence
from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import ConfigError, Problem
from coalsim.locks.base import SpinLock
from coalsim.mm.phys.zone import Zone
from coalsim.units import Pfn, Time


class EmergencyReserve:
    """Frames for the worst case.

    Args:
        frames: that it holds at first; so many it holds at most.
        lock: guards it.
        cost: instructions of one take or give, in ps.
    """

    def __init__(self, frames: list[Pfn], lock: SpinLock, cost: Time) -> None:
        self.size = len(frames)
        self._frames = frames
        self._lock = lock
        self._cost = cost
        self._moving: dict[Pfn, None] = {}  # frames on their way in or out
        self.taken = 0
        self.lowest = len(frames)

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.taken, self.lowest = 0, len(self._frames)

    @property
    def held(self) -> int:
        """Frames in it; at a barrier or synchronised."""
        return len(self._frames)

    def frames(self) -> list[Pfn]:
        """Frames in it or on their way in or out: nobody else has them; at a barrier."""
        return [*self._frames, *self._moving]

    def take(self, cpu: Cpu, site: str) -> Op[Pfn]:
        """A frame, or -1; the caller's as soon as this returns."""
        found = Pfn(-1)
        yield from self._lock.acquire(cpu, site)
        yield from cpu.sync()
        if self._frames:
            found = self._frames.pop()
            self._moving[found] = None
            self.taken += 1
            self.lowest = min(self.lowest, len(self._frames))
        cpu.charge(self._cost, self._lock.hold_cause)
        yield from self._lock.release(cpu)
        self._moving.pop(found, None)
        return found

    def top_up(self, cpu: Cpu, pfn: Pfn, site: str) -> Op[bool]:
        """Put a frame in, which nobody else has any more; False: it is full, and the frame the caller's."""
        self._moving[pfn] = None
        yield from self._lock.acquire(cpu, site)
        yield from cpu.sync()
        has_room = len(self._frames) < self.size
        if has_room:
            self._frames.append(pfn)
            del self._moving[pfn]
        cpu.charge(self._cost, self._lock.hold_cause)
        yield from self._lock.release(cpu)
        self._moving.pop(pfn, None)
        return has_room


class ReservedPages(Protocol):
    """The page allocator, as its reserve sees it."""

    @property
    def reserve(self) -> EmergencyReserve | None:
        """Its reserve, if it has one."""

    def spare_frame(self, cpu: Cpu, site: str) -> Op[Pfn]:
        """A frame that some zone can do without, or -1."""

    def claim(self, cpu: Cpu, pfn: Pfn) -> None:
        """A frame that nobody has becomes the processor's."""

    def disown(self, pfn: Pfn) -> None:
        """A frame that has just been taken becomes nobody's."""

    def free(self, cpu: Cpu, pfn: Pfn, order: int, site: str) -> Op[None]:
        """Give a block back."""


def take_reserved(pages: ReservedPages, cpu: Cpu, site: str) -> Op[Pfn]:
    """A frame of the emergency reserve, or -1."""
    if pages.reserve is None:
        return Pfn(-1)
    pfn = yield from pages.reserve.take(cpu, site)
    if pfn >= 0:
        pages.claim(cpu, pfn)
    return pfn


def fill_reserve(pages: ReservedPages, cpu: Cpu, site: str) -> Op[None]:
    """Top the reserve up with frames that zones can spare."""
    reserve = pages.reserve
    yield from cpu.sync()
    while reserve is not None and reserve.held < reserve.size:
        pfn = yield from pages.spare_frame(cpu, site)
        if pfn < 0:
            return
        pages.disown(pfn)
        if not (yield from reserve.top_up(cpu, pfn, site)):
            pages.claim(cpu, pfn)
            yield from pages.free(cpu, pfn, 0, site)
            return
        yield from cpu.sync()


def set_frames_aside(zones: Sequence[Zone], cpu: Cpu, count: int) -> list[Pfn]:
    """Frames for the reserve, before the run: from all nodes, of the kernel's own zones.

    Raises:
        ConfigError: there are not so many.
    """
    highest = {zone.node: zone for zone in zones if not zone.is_high}
    found: list[tuple[Zone, Pfn]] = []
    while len(found) < count:
        taken = [
            (highest[node], Pfn(head))
            for node in sorted(highest)
            if (head := highest[node].source.take(0, cpu)[0]) >= 0
        ]
        if not taken:
            raise ConfigError(
                [
                    Problem(
                        key="kernel.reserve_pages",
                        value=str(count),
                        message="more than the machine has",
                        remedy="use fewer, or give the machine more memory",
                    )
                ]
            )
        found += taken
    for zone, extra in found[count:]:
        zone.source.give(extra, 0, cpu)
    for zone, _ in found[:count]:
        zone.free.add(-1, cpu, -1)
    return [pfn for _, pfn in found[:count]]
