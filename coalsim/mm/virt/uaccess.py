"""Pointers: whose they are, and copies between user and kernel memory.

A copy checks that its pointer is a user's, then goes page by page through the TLB of its
processor like user code; a fault that cannot be made good ends it, and the number of bytes
that were not copied is the result (the fix-up), never a signal.
Source: Linux arch/x86/lib/copy_user_64.S, lib/usercopy.c; the seed design's pointer checks.
"""

from coalsim.mm.paging import layout
from coalsim.mm.paging.geometry import Geometry
from coalsim.units import PAGE_SIZE


def is_user_pointer(geometry: Geometry, address: int, size: int = 1) -> bool:
    """All bytes from `address` on lie on the user's side."""
    return (
        size > 0
        and layout.is_user_address(geometry, address)
        and layout.is_user_address(geometry, address + size - 1)
    )


def is_kernel_pointer(geometry: Geometry, address: int, size: int = 1) -> bool:
    """All bytes from `address` on lie on the kernel's side."""
    return (
        size > 0
        and layout.is_kernel_address(geometry, address)
        and layout.is_kernel_address(geometry, address + size - 1)
    )


def pieces(address: int, size: int) -> list[tuple[int, int]]:
    """A run of bytes, cut at page borders: address and size of each piece."""
    found = []
    while size > 0:
        part = min(size, PAGE_SIZE - address % PAGE_SIZE)
        found.append((address, part))
        address, size = address + part, size - part
    return found
