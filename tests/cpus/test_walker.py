"""A processor's translation unit by itself: what counts as a hit."""

import pytest

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.tablelines import LineCosts, TableLines
from coalsim.cpus.tlb import EVERYONE, Entry, Shape
from coalsim.cpus.translation import Translation
from coalsim.cpus.walked import WalkCosts
from coalsim.cpus.walker import TranslationUnit
from coalsim.engine.clock import Engine
from coalsim.units import CpuId, NodeId, Pfn, Vpn

L1_HIT, L2_HIT = 10, 70
COSTS = WalkCosts(
    l1_hit=L1_HIT,
    l2_hit=L2_HIT,
    walk_fixed=0,
    set_accessed=0,
    l1=Shape(1),
    l2=Shape(8),
    structure_entries=(),
    leaf_bits=9,
    index_bits=(9, 9),
    entry_bytes=8,
)


def unit_with(*entries: Entry) -> TranslationUnit:
    """Its first level holds the last of the entries, its second all."""
    cpu = Cpu(Engine(), CpuId(0), node=NodeId(0), transfer=[0], occupancy=[0])
    free = LineCosts(own_hit=0, shared_hit=0, own_lines=1, shared_lines=1)
    unit = TranslationUnit(cpu, COSTS, TableLines(free, [0], [[0]], lambda _: 0), lambda _: None, None)
    for entry in entries:
        unit.tlb.insert(entry.translation.vpn, unit.asid, entry)
    return unit


def entry(vpn: int, *, dirty: bool, is_global: bool = False) -> Entry:
    return Entry(Translation(1, Vpn(vpn), Pfn(vpn), writable=True, is_global=is_global), dirty)


def counted(unit: TranslationUnit) -> tuple[int, int]:
    return unit.hits_l1, unit.tlb.hits_l2


@pytest.mark.parametrize("is_global", [False, True])
@pytest.mark.parametrize("behind", [False, True])
def test_a_store_that_has_to_walk_for_its_dirty_bit_is_no_hit(behind: bool, is_global: bool) -> None:
    """Neither the first level nor the second counts it, and it takes no time; the same load is a hit."""
    others = [entry(2, dirty=True)] if behind else []
    unit = unit_with(entry(1, dirty=False, is_global=is_global), *others)
    assert next(tag for vpn, tag, _ in unit.tlb.entries() if vpn == 1) == (EVERYONE if is_global else 0)
    cpu = unit._cpu
    assert not unit.hit(1, True, "site", "cause")
    assert (counted(unit), cpu.clock) == ((0, 0), 0)
    assert not unit.hit(1, True, "site", "cause"), "nor the second time, when it has come to the first level"
    assert (counted(unit), cpu.clock) == ((0, 0), 0)
    assert unit.hit(1, False, "site", "cause")
    assert (counted(unit), cpu.clock) == ((1, 0), L1_HIT)


@pytest.mark.parametrize("write", [False, True])
def test_an_access_that_its_entry_allows_is_a_hit_of_its_level(write: bool) -> None:
    """Page 2 is in the first level; page 1 comes from the second."""
    unit = unit_with(entry(1, dirty=True), entry(2, dirty=True))
    assert unit.hit(2, write, "site", "cause")
    assert (counted(unit), unit._cpu.clock) == ((1, 0), L1_HIT)
    assert unit.hit(1, write, "site", "cause")
    assert (counted(unit), unit._cpu.clock) == ((1, 1), L1_HIT + L2_HIT)
