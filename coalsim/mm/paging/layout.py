"""Virtual memory maps: which region an address lies in, and the tables seen through themselves.

x86-32 and PAE have coalsim's own map (drawn in `mm/phys/layout.py`), of which only
x86-32 shows its page tables as memory; the kernel halves of the 64-bit maps are those
of Linux, as far as coalsim uses them.

    x86-32: root slot 1023 -> the root itself, so the walk stops one level early
    0xFFC00000 + 4 KiB x t   page table t           (recursive_table_address)
    0xFFC00000 + 4 x vpn     leaf entry of vpn      (recursive_entry_address)
    0xFFFFF000 + 4 x t       directory entry t      (recursive_directory_entry_address)

Invariant: the regions of a map ascend and do not overlap.
Source: Linux Documentation/arch/x86/x86_64/mm.rst; for the lowest user address,
vm.mmap_min_addr, 64 KiB.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from coalsim.mm.paging.geometry import PAE, X86_32, X86_64, X86_64_5, Geometry
from coalsim.mm.phys import layout as phys
from coalsim.units import KIB, PAGE_SHIFT, PAGE_SIZE, Vpn

RECURSIVE_TABLES: Final = 0xFFC0_0000
"""All page tables of the directory in use, one after the other (x86-32)."""
RECURSIVE_DIRECTORY: Final = 0xFFFF_F000
"""The directory in use (x86-32)."""
MMAP_MIN_ADDRESS: Final = 64 * KIB
"""The lowest address that a 64-bit process can map."""


class Region(NamedTuple):
    """A named stretch of virtual addresses, `end` exclusive."""

    name: str
    start: int
    end: int


_COAL: Final = (
    Region("reserved", phys.LOW_RESERVED_START, phys.USER_START),
    Region("user", phys.USER_START, phys.KERNEL_START),
    Region("kernel code and data", phys.KERNEL_START, phys.DEVICE_START),
    Region("device memory", phys.DEVICE_START, phys.KERNEL_STACKS_START),
    Region("kernel stacks", phys.KERNEL_STACKS_START, phys.KERNEL_HEAP_START),
    Region("kernel heap", phys.KERNEL_HEAP_START, phys.KERNEL_RESERVED_START),
    Region("kernel reserved", phys.KERNEL_RESERVED_START, phys.ADDRESS_SPACE_END),
)
REGIONS: Final[Mapping[str, tuple[Region, ...]]] = MappingProxyType(
    {
        X86_32.name: _COAL,
        PAE.name: _COAL,
        X86_64.name: (
            Region("reserved", 0, MMAP_MIN_ADDRESS),
            Region("user", MMAP_MIN_ADDRESS, 0x0000_7FFF_FFFF_F000),
            Region("direct map", 0xFFFF_8880_0000_0000, 0xFFFF_C880_0000_0000),
            Region("vmalloc", 0xFFFF_C900_0000_0000, 0xFFFF_E900_0000_0000),
            Region("vmemmap", 0xFFFF_EA00_0000_0000, 0xFFFF_EB00_0000_0000),
            Region("kernel text", 0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_A000_0000),
        ),
        X86_64_5.name: (
            Region("reserved", 0, MMAP_MIN_ADDRESS),
            Region("user", MMAP_MIN_ADDRESS, 0x00FF_FFFF_FFFF_F000),
            Region("direct map", 0xFF11_0000_0000_0000, 0xFF91_0000_0000_0000),
            Region("vmalloc", 0xFFA0_0000_0000_0000, 0xFFD2_0000_0000_0000),
            Region("vmemmap", 0xFFD4_0000_0000_0000, 0xFFD6_0000_0000_0000),
            Region("kernel text", 0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_A000_0000),
        ),
    }
)


def region(geometry: Geometry, name: str) -> Region:
    """The region of that name.

    Raises:
        LookupError: the map has none.
    """
    for region in REGIONS[geometry.name]:
        if region.name == name:
            return region
    names = ", ".join(region.name for region in REGIONS[geometry.name])
    raise LookupError(f"the map of {geometry.name} has no region {name!r}: it has {names}")


def region_of(geometry: Geometry, address: int) -> Region | None:
    """The region that an address lies in, if any."""
    return next((region for region in REGIONS[geometry.name] if region.start <= address < region.end), None)


def is_user_address(geometry: Geometry, address: int) -> bool:
    """A process may map something here."""
    start, end = region(geometry, "user")[1:]
    return start <= address < end


def is_kernel_address(geometry: Geometry, address: int) -> bool:
    """The address is on the kernel's side."""
    return geometry.is_kernel(address >> PAGE_SHIFT)


def window(geometry: Geometry) -> int:
    """The kernel's address of frame 0: where its window on physical memory begins."""
    name = "direct map" if geometry.hole_pages else "kernel code and data"
    return region(geometry, name).start


def window_pages(geometry: Geometry) -> int:
    """How many frames the window can show; on 32 bits, those below the High zone."""
    if not geometry.hole_pages:
        return phys.NORMAL_ZONE_END >> PAGE_SHIFT
    direct_map = region(geometry, "direct map")
    return min((direct_map.end - direct_map.start) >> PAGE_SHIFT, geometry.max_frames)


def recursive_table_address(vpn: Vpn) -> int:
    """Where the page table that maps a page can be read (x86-32)."""
    return RECURSIVE_TABLES + (vpn >> X86_32.leaf_bits) * PAGE_SIZE


def recursive_entry_address(vpn: Vpn) -> int:
    """Where the leaf entry of a page can be read (x86-32)."""
    return RECURSIVE_TABLES + vpn * X86_32.entry_bytes


def recursive_directory_entry_address(vpn: Vpn) -> int:
    """Where the directory entry of a page can be read (x86-32)."""
    return RECURSIVE_DIRECTORY + (vpn >> X86_32.leaf_bits) * X86_32.entry_bytes
