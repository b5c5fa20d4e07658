"""How slabs are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.errors import ConfigError
from coalsim.mm.kmem.geometry import coal_geometry, slub_geometry
from coalsim.units import PAGE_SIZE


@pytest.mark.parametrize(
    ("size", "objects", "pages"),
    [
        (8, 512, 1),
        (96, 42, 1),
        (104, 39, 1),
        (192, 21, 1),
        (256, 16, 1),
        (512, 16, 2),
        (576, 14, 2),
        (624, 13, 2),
        (704, 23, 4),
        (832, 19, 4),
        (1024, 16, 4),
        (1152, 14, 4),
        (1600, 20, 8),
        (2048, 16, 8),
        (2112, 15, 8),
        (4096, 8, 8),
        (5824, 5, 8),
        (8192, 4, 8),
    ],
)
def test_slub_cuts_as_a_two_cpu_kernel_does(size: int, objects: int, pages: int) -> None:
    """Objects and pages per slab as slabinfo of a 6.18 kernel with two CPUs prints them."""
    cut = slub_geometry(size, cpus=2)
    assert (cut.objects, 1 << cut.order, cut.colours) == (objects, pages, 1)


def test_more_cpus_mean_larger_slabs() -> None:
    """The least number of objects is 4 (log2 of the CPUs + 2): 12, 32 and 48 for 2, 64 and 1,024 CPUs."""
    assert [slub_geometry(512, cpus).order for cpus in (1, 2, 8, 64, 1024)] == [0, 1, 2, 2, 3]


@pytest.mark.parametrize("bits", range(4, 12))
def test_powers_of_two_leave_no_slack_and_no_colours(bits: int) -> None:
    """coal's kmalloc classes fill single pages exactly."""
    cut = coal_geometry(1 << bits)
    assert (cut.order, cut.objects << bits, cut.slack, cut.colours) == (0, PAGE_SIZE, 0, 1)


def test_slack_becomes_colours() -> None:
    """1,000-byte objects: 4 of them leave 96 bytes, two starts 64 bytes apart."""
    cut = coal_geometry(1000)
    assert (cut.order, cut.objects, cut.slack, cut.colours, cut.colour_step) == (0, 4, 96, 2, 64)
    wide = coal_geometry(900, align=128)
    assert (wide.stride, wide.slack, wide.colours, wide.colour_step) == (1024, 0, 1, 128)


@given(size=st.integers(1, 8 * PAGE_SIZE), bits=st.integers(0, 6), cpus=st.integers(1, 1024))
def test_every_cut_holds_its_objects(size: int, bits: int, cpus: int) -> None:
    """Objects fit, are aligned in every colour, and as many as fit are cut."""
    align = 1 << bits
    for cut in (coal_geometry(size, align), slub_geometry(size, cpus, align)):
        assert cut.stride >= size
        assert cut.stride % align == cut.colour_step % align == 0
        assert cut.objects >= 1
        assert 0 <= cut.slack < cut.stride
        assert (cut.colours - 1) * cut.colour_step <= cut.slack
        assert cut.order <= 3


@given(size=st.integers(8, 8 * PAGE_SIZE))
def test_coal_wastes_an_eighth_or_says_why(size: int) -> None:
    """The smallest order that wastes at most 1/8 is used; without one, no order wastes a smaller share."""
    cut = coal_geometry(size)
    waste = [
        (PAGE_SIZE << order) % cut.stride / (PAGE_SIZE << order)
        for order in range(4)
        if PAGE_SIZE << order >= cut.stride
    ]
    frugal = [share for share in waste if share <= 1 / 8]
    assert cut.slack / cut.slab_bytes == (frugal[0] if frugal else min(waste))


def test_objects_that_no_slab_holds_are_refused() -> None:
    """Too large, empty, or with an alignment that is no power of two."""
    with pytest.raises(ConfigError, match="does not fit into a slab"):
        coal_geometry(8 * PAGE_SIZE + 1)
    with pytest.raises(ConfigError, match="does not fit into a slab"):
        slub_geometry(8 * PAGE_SIZE + 1, cpus=4)
    for size, align in ((0, 8), (64, 24), (64, 0)):
        with pytest.raises(ConfigError):
            coal_geometry(size, align)
