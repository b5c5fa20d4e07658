"""The kernel's own addresses as memory: a store or a load, whatever it runs into.

The window on all frames takes every access that stays within physical memory, also one that runs over the
end of an object: nothing stops it there, which is why debug kernels look at the bytes later.  Addresses
beside the window belong to pages that are mapped one by one, if the kernel has any (`MappedPages`): there
an access to a page that is not mapped is noticed at once.

Nothing here waits or costs time.
"""

from collections.abc import Iterator
from typing import Protocol

from coalsim.mm.phys.layout import DIRECT_MAP
from coalsim.mm.phys.ram import Ram
from coalsim.units import PAGE_SHIFT, PAGE_SIZE, Pfn


class MappedPages(Protocol):
    """Kernel pages with addresses of their own."""

    def frame_at(self, address: int) -> Pfn:
        """The frame that shows at an address, or -1."""

    def describe(self, address: int) -> list[str]:
        """Lines of an oops: which allocation lies at, or next to, an address."""


class Unmapped(Exception):
    """Nothing is mapped at an address that the kernel follows; caught where the oops is made."""

    @property
    def address(self) -> int:
        """The first byte that is not there."""
        return int(self.args[0])


class KernelBytes:
    """Bytes at kernel addresses.

    Args:
        ram: where they are kept.
        frames: of physical memory, from 0.
    """

    def __init__(self, ram: Ram, frames: int) -> None:
        self._ram = ram
        self._end = DIRECT_MAP + (frames << PAGE_SHIFT)
        self.mapped: MappedPages | None = None

    def read(self, address: int, size: int) -> bytes:
        """Bytes from an address on.

        Raises:
            Unmapped: one of them is not there.
        """
        parts = [self._ram.read(*piece) for piece in [*self._pieces(address, size)]]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, address: int, data: bytes) -> None:
        """Store bytes, up to the first page that is not there.

        Raises:
            Unmapped: it has got so far.
        """
        done = 0
        for pfn, offset, size in self._pieces(address, len(data)):
            self._ram.write(pfn, offset, data[done : done + size])
            done += size

    def _pieces(self, address: int, size: int) -> Iterator[tuple[Pfn, int, int]]:
        """Frame, offset and bytes, page after page."""
        while size > 0:
            offset = address % PAGE_SIZE
            piece = min(size, PAGE_SIZE - offset)
            yield self._frame_of(address), offset, piece
            address, size = address + piece, size - piece

    def _frame_of(self, address: int) -> Pfn:
        if DIRECT_MAP <= address < self._end:
            return Pfn((address - DIRECT_MAP) >> PAGE_SHIFT)
        pfn = self.mapped.frame_at(address) if self.mapped is not None else Pfn(-1)
        if pfn < 0:
            raise Unmapped(address)
        return pfn
