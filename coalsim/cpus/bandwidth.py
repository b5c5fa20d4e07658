"""Memory bandwidth: a pipe serves transfers one after the other.

A node's memory controller and a link between sockets are pipes of a given rate;
a transfer waits for those asked for before it.  The rate is kept as an exact
fraction, so a long run accumulates no rounding.
Shared state: `sync` before every use.
"""

from fractions import Fraction

from coalsim.cpus.cpu import Cpu
from coalsim.units import Time


class Pipe:
    """A server of bytes.

    Args:
        name: for tables.
        bytes_per_ns: its rate (1 GB/s is 1 byte per ns).
    """

    __slots__ = ("_free_at", "_parts", "_parts_per_byte", "bytes_moved", "name")

    def __init__(self, name: str, bytes_per_ns: Fraction) -> None:
        if bytes_per_ns <= 0:
            raise ValueError("a pipe has a rate above 0")
        self.name = name
        self.bytes_moved = 0
        ps_per_byte = 1000 / bytes_per_ns
        self._parts = ps_per_byte.denominator  # of a ps: every transfer takes a whole number of them
        self._parts_per_byte = ps_per_byte.numerator
        self._free_at = 0  # in parts of a ps

    def move(self, cpu: Cpu, size: int) -> Time:
        """Move `size` bytes; returns the time at which the last one is there."""
        now = cpu.env._now
        assert cpu.clock == now, "a pipe is shared state: sync before"
        parts = self._parts
        begin, free_at = now * parts, self._free_at
        self._free_at = done = (begin if begin > free_at else free_at) + size * self._parts_per_byte
        self.bytes_moved += size
        return -(-done // parts)
