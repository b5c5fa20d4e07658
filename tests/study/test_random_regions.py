"""Far places of the random programs: neighbours at each level of directories, and only there."""

import pytest

from coalsim.mm.paging.geometry import GEOMETRIES
from coalsim.study.random_regions import Common, Region, far_places
from coalsim.units import GIB, MIB, PAGE_SHIFT


@pytest.mark.parametrize("name", ["pae", "x86-64", "x86-64-5"])
def test_each_far_place_shares_its_tables_with_others_down_to_any_level(name: str) -> None:
    """Of two indices at each level above the leaf, every combination is there once, on the user's side."""
    geometry = GEOMETRIES[name]
    pages = [place >> PAGE_SHIFT for place in far_places(geometry)]
    assert all(geometry.is_user(page) for page in pages)
    paths = {tuple(geometry.index(page, level) for level in range(geometry.leaf_level)) for page in pages}
    assert len(paths) == len(pages) == 2**geometry.leaf_level
    for level in range(geometry.leaf_level):
        first, second = sorted({path[level] for path in paths})
        assert second == first + 1


def test_places_of_four_levels_are_up_to_half_a_tebibyte_apart() -> None:
    """2 MiB, 1 GiB and 512 GiB, and sums of these."""
    first, *others = far_places(GEOMETRIES["x86-64"])
    tables = {0, 2 * MIB}
    assert {place - first for place in (first, *others)} == {
        low + middle + high for low in tables for middle in (0, GIB) for high in (0, 512 * GIB)
    }


def test_one_level_of_directories_has_no_far_places() -> None:
    """Every address shares the root."""
    assert not far_places(GEOMETRIES["x86-32"])


def test_what_is_to_be_changed_is_used_by_nobody() -> None:
    """And far, if asked for; a child knows the same mappings, used by nobody."""
    near, used, far = Region(GIB, 1), Region(2 * GIB, 1, users=1), Region(3 * GIB, 1)
    common = Common([near, used, far], {far.address: None})
    assert common.fitting(alone=False, far=False) == [near, used, far]
    assert common.fitting(alone=True, far=False) == [near, far]
    assert common.fitting(alone=True, far=True) == [far]
    child = common.inherited()
    assert child.fitting(alone=True, far=False) == [near, Region(2 * GIB, 1), far]
    assert child.regions[0] is not near
    assert child.taken == common.taken
