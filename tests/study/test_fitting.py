"""Kernels that do not fit their machine are refused before they are booted, with what to do."""

import pytest

from coalsim.errors import ConfigError
from coalsim.mm.paging import layout
from coalsim.mm.paging.geometry import GEOMETRIES, X86_64
from coalsim.study.overrides import Setting, parse_settings
from coalsim.study.planning import open_study

HIGH = "kernel.zones=low-normal-high"


def settings(*texts: str) -> tuple[Setting, ...]:
    """As --set has them."""
    return parse_settings(texts)


@pytest.mark.parametrize("geometry", ["x86-64", "x86-64-5"])
def test_a_64_bit_kernel_has_no_high_zone(geometry: str) -> None:
    """It reaches all memory directly; the message names both keys and a geometry that fits."""
    asked = settings(HIGH, "machine.memory=1000MiB", f"kernel.geometry={geometry}")
    with pytest.raises(ConfigError) as refused:
        open_study("noisy_neighbour", asked)
    (problem,) = refused.value.problems
    assert problem.key == "kernel.zones"
    assert f"kernel.geometry={geometry}" in problem.message
    assert "kernel.zones=dma-dma32-normal" in problem.remedy
    assert "kernel.geometry=x86-32" in problem.remedy


@pytest.mark.parametrize(
    "more",
    [
        ("machine.memory=1000MiB", "kernel.geometry=pae"),
        ("machine.memory=1000MiB", "kernel.geometry=x86-32"),
        ("machine.memory=400MiB",),  # 800 MiB in all: nothing is High
    ],
)
def test_a_kernel_without_high_frames_or_with_room_to_map_them_is_taken(more: tuple[str, ...]) -> None:
    """32-bit maps have a region for temporary mappings."""
    open_study("noisy_neighbour", settings(HIGH, *more))


def test_a_machine_too_large_for_32_bits_is_not_sent_there() -> None:
    """The remedy names a geometry that reaches all memory, or none."""
    for memory, named in (("20GiB", "kernel.geometry=pae"), ("60GiB", "")):
        with pytest.raises(ConfigError) as refused:
            open_study("noisy_neighbour", settings(HIGH, f"machine.memory={memory}"))
        (problem,) = refused.value.problems
        assert problem.remedy.endswith(named or "kernel.zones=dma-dma32-normal")


def test_a_region_that_a_map_does_not_have_is_named() -> None:
    """With those that it has."""
    with pytest.raises(LookupError, match="x86-64 has no region 'device memory': it has reserved, user"):
        layout.region(X86_64, "device memory")
    for geometry in GEOMETRIES.values():
        assert layout.region(geometry, "user").name == "user"
