"""Where things lie: the kernel's window on all frames, and the x86-32 map.

A kernel that maps all memory at one place turns a frame number into a pointer by
one shift and one addition; every object address of coalsim is made that way.

The x86-32 map (two-level tables, higher half) has no room for such a window over
all of memory; it stands here for the page tables that use it.

    0xFFFFFFFF ┌──────────────────────────────┐
               │ kernel reserved; the last     │  RECURSIVE_DIRECTORY: the page
    0xFFC00000 │ 4 MiB show the page tables    │  tables seen through themselves
               ├──────────────────────────────┤
    0xFF000000 │ kernel heap                   │  slabs, kmalloc
               ├──────────────────────────────┤
    0xFE000000 │ kernel stacks, guard pages    │
               ├──────────────────────────────┤
    0xFD000000 │ device memory                 │  uncached
               ├──────────────────────────────┤
    0xC0000000 │ kernel code and data          │  low memory, mapped once
               ├──────────────────────────────┤
    0x00100000 │ user space                    │  one per process
               ├──────────────────────────────┤
    0x00000000 │ reserved (first MiB)          │  never mapped: null pointers trap
               └──────────────────────────────┘

Nothing here waits or costs time.
Source: Linux Documentation/arch/x86/x86_64/mm.rst for the direct map's base; the
x86-32 map is coalsim's own.
"""

from typing import Final

from coalsim.units import MIB, PAGE_SHIFT, PAGE_SIZE

DIRECT_MAP: Final = 0xFFFF_8880_0000_0000
"""Kernel address of frame 0 (x86-64, four-level tables)."""

# The x86-32 map, bottom to top.  Each region ends where the next one begins.
LOW_RESERVED_START: Final = 0x0000_0000
USER_START: Final = 0x0010_0000
KERNEL_START: Final = 0xC000_0000
DEVICE_START: Final = 0xFD00_0000
KERNEL_STACKS_START: Final = 0xFE00_0000
KERNEL_HEAP_START: Final = 0xFF00_0000
KERNEL_RESERVED_START: Final = 0xFFC0_0000
RECURSIVE_DIRECTORY: Final = KERNEL_RESERVED_START
ADDRESS_SPACE_END: Final = 1 << 32

# Zone borders of a machine with that map, in bytes from frame 0.
LOW_ZONE_END: Final = 1 * MIB
NORMAL_ZONE_END: Final = 896 * MIB


def address_of(pfn: int) -> int:
    """The kernel's pointer to the first byte of a frame."""
    return DIRECT_MAP + (pfn << PAGE_SHIFT)


def pfn_of(address: int) -> int:
    """The frame that holds the byte at a kernel pointer."""
    return (address - DIRECT_MAP) >> PAGE_SHIFT


def pages_for(size: int) -> int:
    """Whole pages that hold so many bytes."""
    return (size + PAGE_SIZE - 1) >> PAGE_SHIFT


def order_for(pages: int) -> int:
    """The smallest order whose block holds so many pages.

    >>> [order_for(pages) for pages in (1, 2, 3, 4, 5)]
    [0, 1, 2, 2, 3]
    """
    return (pages - 1).bit_length()
