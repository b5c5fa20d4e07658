"""Addresses of frames, and the x86-32 map."""

from hypothesis import given
from hypothesis import strategies as st

from coalsim.mm.phys import layout
from coalsim.units import PAGE_SIZE


@given(pfn=st.integers(0, 1 << 34), offset=st.integers(0, PAGE_SIZE - 1))
def test_every_byte_of_a_frame_leads_back_to_it(pfn: int, offset: int) -> None:
    """Pointer and frame number are two names of the same place."""
    assert layout.pfn_of(layout.address_of(pfn) + offset) == pfn


@given(size=st.integers(1, 1 << 24))
def test_pages_and_orders_are_just_large_enough(size: int) -> None:
    """The order for a size holds it, and half of that does not (unless it is a page)."""
    pages = layout.pages_for(size)
    order = layout.order_for(pages)
    assert (pages - 1) * PAGE_SIZE < size <= pages * PAGE_SIZE
    assert size <= PAGE_SIZE << order
    assert order == 0 or size > PAGE_SIZE << (order - 1)


def test_the_regions_of_the_map_follow_each_other() -> None:
    """Bottom to top without overlap, all within 4 GiB, each on a page."""
    borders = [
        layout.LOW_RESERVED_START,
        layout.USER_START,
        layout.KERNEL_START,
        layout.DEVICE_START,
        layout.KERNEL_STACKS_START,
        layout.KERNEL_HEAP_START,
        layout.KERNEL_RESERVED_START,
        layout.ADDRESS_SPACE_END,
    ]
    assert borders == sorted({*borders})
    assert not any(border % PAGE_SIZE for border in borders)
    assert layout.ADDRESS_SPACE_END - layout.RECURSIVE_DIRECTORY == 1024 * PAGE_SIZE
