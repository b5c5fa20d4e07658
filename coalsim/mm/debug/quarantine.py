"""Objects that were freed and may not be used again yet: each processor holds back the last ones.

A stale pointer then writes into an object that nobody else has, where its poison tells of it, instead of
into the next owner's data.

Invariant: at most `most` objects per processor, in the order in which they were freed.
Locking: each queue is private to its processor.  Nothing here waits or costs time.
Source: the idea of Linux mm/kasan/quarantine.c (55834c59098d), which counts bytes of all objects; here
objects are counted, per processor.
"""

from collections import deque
from typing import Generic, TypeVar

Held = TypeVar("Held")


class Quarantine(Generic[Held]):
    """The queues of all processors.

    Args:
        num_cpus: of the machine.
        most: objects that each holds back; 0: none.
    """

    def __init__(self, num_cpus: int, most: int) -> None:
        self.most = most
        self._queues: list[deque[Held]] = [deque() for _ in range(num_cpus)]

    def push(self, cpu: int, held: Held) -> Held | None:
        """Hold one back; answers the one that has been there longest, if there are too many."""
        queue = self._queues[cpu]
        queue.append(held)
        return queue.popleft() if len(queue) > self.most else None

    def drain(self, cpu: int) -> Held | None:
        """The one that has been there longest, if any."""
        queue = self._queues[cpu]
        return queue.popleft() if queue else None

    @property
    def held(self) -> int:
        """How many objects are held back."""
        return sum(len(queue) for queue in self._queues)
