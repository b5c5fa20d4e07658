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

    __slots__ = ("_free_at", "_ps_per_byte", "bytes_moved", "name")

    def __init__(self, name: str, bytes_per_ns: Fraction) -> None:
        if bytes_per_ns <= 0:
            raise ValueError("a pipe has a rate above 0")
        self.name = name
        self.bytes_moved = 0
        self._ps_per_byte = 1000 / bytes_per_ns
        self._free_at: Time = 0

    def move(self, cpu: Cpu, size: int) -> Time:
        """Move `size` bytes; returns the time at which the last one is there."""
        now = cpu.env._now
        assert cpu.clock == now, "a pipe is shared state: sync before"
        start = max(now, self._free_at)
        self._free_at = start + -(-size * self._ps_per_byte.numerator // self._ps_per_byte.denominator)
        self.bytes_moved += size
        return self._free_at
