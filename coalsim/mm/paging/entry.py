"""Entries of page tables: a frame number and flags in one word.

    63  62      52 51               12 11   9   8   7   6   5   4   3   2   1   0
    NX  (ignored)   frame number       COW      G   L   D   A   -   -   U   W   P

An entry of 32 bits is the same without the bits from 32 on.  A word of 0 is no entry.
COW is bit 9, one of those that the hardware leaves to the kernel: the page is shared
since a fork and is copied when somebody writes to it.
Source: Intel SDM volume 3A, chapter "Paging", formats of paging-structure entries.
"""

from typing import Final

from coalsim.units import PAGE_SHIFT, Pfn

PRESENT: Final = 0x001
WRITABLE: Final = 0x002
USER: Final = 0x004
ACCESSED: Final = 0x020
DIRTY: Final = 0x040
LARGE: Final = 0x080  # in a directory: maps a large page, there is no table below
GLOBAL: Final = 0x100  # stays in the TLB when the directory is switched
COW: Final = 0x200
NO_EXECUTE: Final = 1 << 63  # entries of 64 bits only

KERNEL_TABLE: Final = PRESENT | WRITABLE
"""Flags of a directory entry on the kernel's side: the leaf entries decide."""
USER_TABLE: Final = PRESENT | WRITABLE | USER
"""Flags of a directory entry on the user's side."""

FRAME_MASK: Final = 0x000F_FFFF_FFFF_F000
FLAG_MASK: Final = NO_EXECUTE | 0xFFF

_LETTERS: Final = (
    (PRESENT, "P"),
    (WRITABLE, "W"),
    (USER, "U"),
    (ACCESSED, "A"),
    (DIRTY, "D"),
    (LARGE, "L"),
    (GLOBAL, "G"),
    (COW, "COW"),
    (NO_EXECUTE, "NX"),
)


def make(pfn: Pfn, flags: int) -> int:
    """The entry for a frame.

    >>> hex(make(Pfn(0x12345), PRESENT | WRITABLE))
    '0x12345003'
    """
    return pfn << PAGE_SHIFT | flags


def pfn_of(entry: int) -> Pfn:
    """The frame that an entry points to."""
    return (entry & FRAME_MASK) >> PAGE_SHIFT  # type: ignore[return-value]  # `Pfn` would be one more call


def flags_of(entry: int) -> int:
    """An entry without its frame."""
    return entry & FLAG_MASK


def describe(entry: int) -> str:
    """The flags for people; ``-`` if there are none.

    >>> describe(0x12345067)
    'P|W|U|A|D'
    """
    return "|".join(letter for flag, letter in _LETTERS if entry & flag) or "-"
