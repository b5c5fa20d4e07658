"""Pointers: whose side they point to, and the pieces of a range, page by page.

The copies that check them are in `user_copy.py`.
Source: Linux arch/x86/include/asm/uaccess_64.h; the seed design's pointer checks.
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
