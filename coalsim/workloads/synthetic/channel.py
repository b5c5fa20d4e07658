"""A bounded queue from one CPU to another.

A ring of slots, each a cache line of its own that holds one message and whether it is
full.  There are no shared indices: the producer looks at the next slot to write and
the consumer at the next one to read, so a message costs the two transfers of its
line, and a CPU that finds no room or no message polls that line.

Locking: one producer and one consumer; both synchronise before they look.
Source: Giacomoni, Moseley, Vachharajani, "FastForward for efficient pipeline
parallelism", PPoPP 2008.
"""

from collections import deque
from collections.abc import Sequence

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op

LINE = "line:queue"
FULL = "queue full"
EMPTY = "queue empty"

POINTERS_PER_LINE = 8
"""Pointers of 8 bytes in a cache line of 64: what a slot can carry."""


class Channel:
    """One queue.

    Args:
        name: of its lines in reports.
        slots: messages that wait at most.
    """

    def __init__(self, name: str, slots: int) -> None:
        self._lines = [CacheLine(f"{name} slot {slot}") for slot in range(slots)]
        self._messages: deque[list[int]] = deque()
        self._written = self._read = 0  # messages so far
        self._polling: Cpu | None = None

    def deposit(self, cpu: Cpu, message: Sequence[int]) -> Op[None]:
        """Hand pointers over, when there is room."""
        yield from cpu.sync()
        while len(self._messages) == len(self._lines):
            yield from self._poll(cpu, FULL)
        yield from self._own(cpu, self._written)
        self._written += 1
        self._messages.append(list(message))
        self._tell(cpu)

    def collect(self, cpu: Cpu) -> Op[list[int]]:
        """Take the oldest message, when there is one."""
        yield from cpu.sync()
        while not self._messages:
            yield from self._poll(cpu, EMPTY)
        yield from self._own(cpu, self._read)
        self._read += 1
        message = self._messages.popleft()
        self._tell(cpu)
        return message

    def _own(self, cpu: Cpu, number: int) -> Op[None]:
        line = self._lines[number % len(self._lines)]
        cpu.charge(line.rmw(cpu) - cpu.clock, LINE)
        yield from cpu.sync()

    def _poll(self, cpu: Cpu, cause: str) -> Op[None]:
        self._polling = cpu
        yield from cpu.wait(cause)
        yield from cpu.sync()  # a handler may have run past the wake-up

    def _tell(self, cpu: Cpu) -> None:
        """The other side sees the slot change at once; fetching the line costs it the transfer."""
        other, self._polling = self._polling, None
        if other is not None:
            other.alarm.arm(cpu.clock + 1)
