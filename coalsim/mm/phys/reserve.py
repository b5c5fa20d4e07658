"""The emergency reserve: frames set aside at boot for requests that cannot fail.

    boot -> held --take, when zones have none--> a caller's --freed--> a zone ... --topped up--> held

Frames in the reserve are neither free nor anybody's.  The reclaimer tops it up when its node is
above the marks again.

Locking: `lock` guards it; sections touch nothing else.
Source: Linux mm/mempool.c, for the idea; the seed design's reserve.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import SpinLock
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
