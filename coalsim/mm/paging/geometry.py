"""Geometry: how many levels the page tables have and how a virtual page finds its way.

    name         levels    entry    user pages below           kernel pages from
    x86-32       10+10     4 bytes  0xC0000000                 0xC0000000
    pae          2+9+9     8 bytes  0xC0000000                 0xC0000000
    x86-64       9+9+9+9   8 bytes  0x00007FFFFFFFF000         0xFFFF800000000000
    x86-64-5     9 x 5     8 bytes  0x00FFFFFFFFFFF000         0xFF00000000000000

Level 0 is the root (the directory of x86-32), level `levels` - 1 has the leaf entries.
A virtual page number is always address / 4 KiB: with 64-bit addresses a number of 52
bits, whose upper bits repeat the highest translated one; others are not canonical.
The last page below the hole belongs to nobody, as in Linux.

The recursive directory of x86-32 uses the last slot of the root for the root itself.
Source: Intel SDM volume 3A, chapter "Paging" (entry layouts, reserved bits); Linux
arch/x86/include/asm/page_64_types.h (TASK_SIZE_MAX).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

from coalsim.units import Vpn

ALL_FLAGS: Final = 1 << 63 | 0xFFF


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """A shape of page tables.

    `bits` are the index bits of each level, root first.  `recursive_slot` is the root
    slot that maps the root itself, or -1.  `root_flags` are the bits that an entry of
    the root may have: an entry of PAE's four-word root has none but P.
    """

    name: str
    bits: tuple[int, ...]
    entry_bytes: int
    user_pages: int
    kernel_first: Vpn
    max_frames: int
    recursive_slot: int = -1
    root_flags: int = ALL_FLAGS

    @property
    def levels(self) -> int:
        """Tables on the way from the root to a page."""
        return len(self.bits)

    @cached_property
    def leaf_level(self) -> int:
        """The level whose entries map pages."""
        return len(self.bits) - 1

    @cached_property
    def leaf_bits(self) -> int:
        """`vpn >> leaf_bits` numbers the leaf tables."""
        return self.bits[-1]

    @cached_property
    def vpn_bits(self) -> int:
        """Bits of a page number that are translated."""
        return sum(self.bits)

    @cached_property
    def shifts(self) -> tuple[int, ...]:
        """By level, how far its index is shifted."""
        return tuple(sum(self.bits[level + 1 :]) for level in range(self.levels))

    @cached_property
    def masks(self) -> tuple[int, ...]:
        """By level, the mask of its index."""
        return tuple((1 << bits) - 1 for bits in self.bits)

    @cached_property
    def kernel_slot(self) -> int:
        """The first slot of the root that belongs to the kernel."""
        return self.index(self.kernel_first, 0)

    @cached_property
    def end(self) -> Vpn:
        """One past the last virtual page."""
        return Vpn(self.hole_pages + (1 << self.vpn_bits))

    @cached_property
    def hole_pages(self) -> int:
        """Page numbers between the halves that are not canonical; 0 where all 32 bits are translated."""
        return 0 if self.vpn_bits == 20 else (1 << 52) - (1 << self.vpn_bits)

    def slots(self, level: int) -> int:
        """Entries in a table of a level."""
        return 1 << self.bits[level]

    def index(self, vpn: Vpn, level: int) -> int:
        """The entry that a page uses in its table of a level."""
        return vpn >> self.shifts[level] & self.masks[level]

    def span(self, level: int) -> int:
        """Pages behind one entry of a level; 1 at the leaf level."""
        return 1 << self.shifts[level]

    def is_canonical(self, vpn: int) -> bool:
        """The hardware can translate this page number."""
        if not self.hole_pages:
            return 0 <= vpn < self.end
        return 0 <= vpn < 1 << self.vpn_bits - 1 or self.kernel_first <= vpn < self.end

    def is_user(self, vpn: int) -> bool:
        """The page is on the user's side."""
        return 0 <= vpn < self.user_pages

    def is_kernel(self, vpn: int) -> bool:
        """The page is on the kernel's side."""
        return self.kernel_first <= vpn < self.end

    def stretches(self, first: int, last: int) -> list[tuple[int, int, int]]:
        """A range of pages as (first, last, bias) without the hole.

        In each stretch first and last count as if there were no hole; `bias` leads back.
        """
        hole = self.hole_pages
        if not hole:
            return [(max(first, 0), min(last, self.end), 0)] if first < last else []
        half = 1 << self.vpn_bits - 1
        low = (max(first, 0), min(last, half), 0)
        high = (max(first, self.kernel_first) - hole, min(last, self.end) - hole, hole)
        return [stretch for stretch in (low, high) if stretch[0] < stretch[1]]


X86_32: Final = Geometry(
    name="x86-32",
    bits=(10, 10),
    entry_bytes=4,
    user_pages=0xC0000,
    kernel_first=Vpn(0xC0000),
    max_frames=1 << 20,
    recursive_slot=1023,
)
PAE: Final = Geometry(
    name="pae",
    bits=(2, 9, 9),
    entry_bytes=8,
    user_pages=0xC0000,
    kernel_first=Vpn(0xC0000),
    max_frames=1 << 24,  # 36 address pins
    root_flags=1,
)
X86_64: Final = Geometry(
    name="x86-64",
    bits=(9, 9, 9, 9),
    entry_bytes=8,
    user_pages=(1 << 35) - 1,
    kernel_first=Vpn(0xFFFF_8000_0000_0),
    max_frames=1 << 40,
)
X86_64_5: Final = Geometry(
    name="x86-64-5",
    bits=(9, 9, 9, 9, 9),
    entry_bytes=8,
    user_pages=(1 << 44) - 1,
    kernel_first=Vpn(0xFF00_0000_0000_0),
    max_frames=1 << 40,
)
GEOMETRIES: Final[Mapping[str, Geometry]] = MappingProxyType(
    {geometry.name: geometry for geometry in (X86_32, PAE, X86_64, X86_64_5)}
)
