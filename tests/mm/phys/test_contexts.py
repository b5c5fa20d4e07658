"""What each context leaves in a zone, and what a lower zone keeps from requests for a higher one."""

import pytest

from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.fragmentation import watermarks
from coalsim.mm.phys.pagelist_rules import batch_size
from coalsim.mm.phys.zones import Extent, lay_out, protections
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine
from coalsim.units import NodeId

RATIO = 256
NORMAL_RATIO = 32


@pytest.mark.parametrize(
    ("context", "floor", "of_victim"),
    [
        (AllocContext.KERNEL, 1001, 501),
        (AllocContext.USER, 1001, 501),
        (AllocContext.AHEAD, 1001, 501),
        (AllocContext.MUST, 1001, 501),
        (AllocContext.ATOMIC, 376, 188),  # 1001 - 500 = 501; 501 - 125 = 376; half of it
        (AllocContext.RESERVE, 0, 0),
    ],
)
def test_the_floor_of_a_context(context: AllocContext, floor: int, of_victim: int) -> None:
    """min; half and a quarter less for who cannot sleep; half of what is left for victims; whole numbers."""
    assert context.floor(1001) == floor
    assert context.floor(1001, is_victim=True) == of_victim


def test_who_may_sleep() -> None:
    """Interrupt handlers may not, and who frees memory by using some does not wait for others to do it."""
    sleepy = [context.name for context in AllocContext if context.may_sleep]
    assert sleepy == ["KERNEL", "USER", "AHEAD", "MUST"]


@pytest.mark.parametrize(
    ("context", "mask"),
    [
        (AllocContext.KERNEL, 0x40 | 0x80 | 0x400 | 0x800),
        (AllocContext.ATOMIC, 0x20 | 0x800),
        (AllocContext.USER, 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x400 | 0x800 | 0x40000 | 0x100000),
        (AllocContext.AHEAD, 0x2 | 0x8 | 0x40 | 0x80 | 0x400 | 0x800 | 0x2000 | 0x10000 | 0x100000),
        (AllocContext.MUST, 0xCC0 | 0x8000),
        (AllocContext.RESERVE, 0xCC0 | 0x20000),
    ],
)
def test_the_bits_of_a_context(context: AllocContext, mask: int) -> None:
    """As include/linux/gfp_types.h of 6.18 puts them together."""
    assert context.gfp_mask == mask


def machine(memory: str, nodes: int = 1) -> Machine:
    """A machine of so many nodes of that size."""
    return load_machine(f"pack:{nodes} numa:1 core:1 pu:1").with_overrides({"memory": memory})


def test_the_zones_of_a_machine_with_temporary_mappings() -> None:
    """Low up to 1 MiB, Normal up to 896 MiB, High above; a second node that begins above is High alone."""
    zones = lay_out(machine("2GiB", 2), "low-normal-high")
    assert [(zone.node, zone.name, zone.first, zone.first + zone.frames) for zone in zones] == [
        (0, "Low", 0, 256),
        (0, "Normal", 256, 229_376),
        (0, "High", 229_376, 524_288),
        (1, "High", 524_288, 1_048_576),
    ]


def test_protection_by_hand() -> None:
    """A 256th of what lies above for DMA, DMA32 and Low, a 32nd for Normal, nothing for High."""
    sizes = {"DMA": 3840, "DMA32": 772_917, "Normal": 851_968}
    extents = [Extent(node=NodeId(0), name=name, first=0, frames=size) for name, size in sizes.items()]
    assert protections(extents) == [
        (0, 772_917 // RATIO, (772_917 + 851_968) // RATIO),
        (0, 0, 851_968 // RATIO),
        (0, 0, 0),
    ]
    high = [
        Extent(node=NodeId(0), name=name, first=0, frames=size)
        for name, size in (("Low", 256), ("Normal", 229_120), ("High", 294_912))
    ]
    assert protections(high) == [
        (0, 229_120 // RATIO, (229_120 + 294_912) // RATIO),
        (0, 0, 294_912 // NORMAL_RATIO),
        (0, 0, 0),
    ]


def test_high_zones_have_a_small_minimum_of_their_own() -> None:
    """The kernel's minimum is split over the other zones; a high zone's is a 1,024th of it, 32 to 128 pages.

    The gap of a high zone follows the share that its size would have given it.
    """
    normal, high = watermarks(4096, [100_000, 300_000], [False, True])
    assert normal == (1024, 1280, 1536, 1792)  # 4096 kB are 1024 pages; a quarter is 256, a thousandth 100
    assert high == (128, 128 + 768, 128 + 1536, 128 + 2304)  # the share would be 3072
    assert watermarks(400, [1000, 40_960], [False, True])[1].min == 40
    assert watermarks(4, [1000, 10_240], [False, True])[1].min == 32


@pytest.mark.parametrize(
    ("frames", "batch"),
    [(1 << 18, 63), (1 << 22, 63), (1 << 17, 31), (1 << 16, 15), (1 << 12, 1), (772_917, 63), (3840, 1)],
)
def test_the_batch_of_a_page_list(frames: int, batch: int) -> None:
    """(largest power of two up to 1.5 b) - 1 with b = min(frames / 1024, 256) / 4: 63 from 1 GB on."""
    assert batch_size(frames, 1 << 20 >> 12) == batch
