"""Size classes: the right class for every size, and exact internal fragmentation."""

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.errors import ConfigError
from coalsim.mm.kmem.classes import SizeClasses
from coalsim.profiles import load_profile

CLASSES = {name: SizeClasses(load_profile(name).switches.kmalloc_sizes) for name in ("coal", "linux-6.18")}
POWERS = SizeClasses(tuple(1 << bits for bits in range(3, 14)))


def overhead(classes: SizeClasses, low: int, high: int) -> float:
    """Granted over requested when every size in low..high is asked for once."""
    granted = sum(classes.class_of(size) or 0 for size in range(low, high + 1))
    return granted / sum(range(low, high + 1))


@pytest.mark.parametrize(
    ("low", "high", "linux", "powers"),
    [
        (1, 256, 1.17315, 1.32879),
        (1, 1024, 1.32232, 1.33207),
        (1, 8192, 1.33302, 1.33317),
        (65, 192, 1.18288, 1.49416),
    ],
)
def test_internal_fragmentation_of_every_size_once(low: int, high: int, linux: float, powers: float) -> None:
    """Granted over requested to six digits, for kmalloc's classes and for powers of two from 8."""
    assert overhead(CLASSES["linux-6.18"], low, high) == pytest.approx(linux, abs=5e-6)
    assert overhead(POWERS, low, high) == pytest.approx(powers, abs=2e-4)


def test_powers_of_two_waste_most_in_the_middle_of_an_octave() -> None:
    """Uniform sizes up to x times a class: 2 (2/3 + 2 (x-1)) / x^2, at most 3/2 at x = 4/3."""
    fine = SizeClasses(tuple(1 << bits for bits in range(3, 25)))
    for x, ratio in ((1.0, 1.33333), (1.2, 1.48148), (4 / 3, 1.5), (1.75, 1.41497), (2.0, 1.33333)):
        assert 2 * (2 / 3 + 2 * (x - 1)) / x**2 == pytest.approx(ratio, abs=5e-6)
        assert overhead(fine, 1, int(x * (1 << 14))) == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize(("bits", "ratio"), [(12, 1.33301), (16, 1.33331)])
def test_powers_of_two_waste_a_quarter(bits: int, ratio: float) -> None:
    """Every size of 1..2^n once, in powers of two from 1: 4/3 in the limit."""
    granted = sum(1 << (size - 1).bit_length() for size in range(1, (1 << bits) + 1))
    assert granted / sum(range(1, (1 << bits) + 1)) == pytest.approx(ratio, abs=5e-6)


@given(name=st.sampled_from(["coal", "linux-6.18"]), size=st.integers(1, 9000))
def test_the_class_is_the_smallest_that_holds_the_size(name: str, size: int) -> None:
    """By search through the table; above the largest class whole pages serve."""
    classes = CLASSES[name]
    expected = next((candidate for candidate in classes.sizes if candidate >= size), None)
    assert classes.class_of(size) == expected


@given(name=st.sampled_from(["coal", "linux-6.18"]), size=st.integers(1, 3000), bits=st.integers(0, 12))
def test_an_aligned_class_divides_into_aligned_objects(name: str, size: int, bits: int) -> None:
    """It holds the size, its size is a multiple of the alignment, and no smaller class does both."""
    classes, align = CLASSES[name], 1 << bits
    found = classes.aligned_class_of(size, align)
    able = [candidate for candidate in classes.sizes if candidate >= size and candidate % align == 0]
    assert found == (able[0] if able else None)


def test_the_tables_are_those_of_their_kernels() -> None:
    """coal: powers of two 16 to 2,048; linux: with 8, 96 and 192, to 8,192."""
    assert [log2(size) for size in CLASSES["coal"].sizes] == list(range(4, 12))
    assert CLASSES["linux-6.18"].sizes == (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)


def test_tables_that_cannot_be_are_refused() -> None:
    """No table, an unsorted one, a size that is not a multiple of 8."""
    for sizes in ((), (16, 8), (12,), (8, 8)):
        with pytest.raises(ConfigError):
            SizeClasses(sizes)
