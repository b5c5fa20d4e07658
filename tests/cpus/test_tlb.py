"""The TLB against a model made of lists, under random use; its counts; and how fast it has to be."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.cpus.tlb import EVERYONE, Entry, Shape, Tlb
from coalsim.cpus.tlb_level import TAG_BITS, TAG_MASK
from coalsim.cpus.translation import Translation
from coalsim.errors import ConfigError
from coalsim.units import Pfn, Vpn

pytestmark = pytest.mark.fast_one_in(2, in_turn=True)

SHAPES = [
    (Shape(4, 2), Shape(8, 4)),
    (Shape(4), Shape(6, 3)),  # fully associative, then a number of sets that is no power of two
    (Shape(2, 1), Shape(2, 1)),  # direct mapped
    (Shape(3), Shape(3)),
    (Shape(8, 4), Shape(4, 2)),  # a second level smaller than the first
]


def entry(vpn: int, *, is_global: bool = False, writable: bool = True, dirty: bool = True) -> Entry:
    translation = Translation(1, Vpn(vpn), Pfn(vpn), writable=writable, is_global=is_global)
    return Entry(translation, dirty=dirty)


# -- the model ---------------------------------------------------------------------------


@dataclass
class ModelLevel:
    """Sets as lists of (vpn, tag, entry), oldest first."""

    shape: Shape
    sets: list[list[tuple[int, int, Entry]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sets = [[] for _ in range(self.shape.sets)]

    def take(self, vpn: int, tag: int) -> Entry | None:
        here = self.sets[vpn % len(self.sets)]
        for position, (page, owner, found) in enumerate(here):
            if (page, owner) == (vpn, tag):
                del here[position]
                return found
        return None

    def put(self, vpn: int, tag: int, found: Entry) -> None:
        self.take(vpn, tag)
        here = self.sets[vpn % len(self.sets)]
        if len(here) == (self.shape.ways or self.shape.entries):
            here.pop(0)
        here.append((vpn, tag, found))

    def drop_where(self, gone: Callable[[int, int], bool]) -> set[tuple[int, int]]:
        dropped = {(vpn, tag) for here in self.sets for vpn, tag, _ in here if gone(vpn, tag)}
        self.sets = [[one for one in here if one[:2] not in dropped] for here in self.sets]
        return dropped


class ModelTlb:
    """What the TLB shall do, in the plainest way."""

    def __init__(self, l1: Shape, l2: Shape) -> None:
        self.l1, self.l2 = ModelLevel(l1), ModelLevel(l2)
        self.hits_l1 = self.hits_l2 = self.misses = 0

    def lookup(self, vpn: int, asid: int) -> Entry | None:
        for tag in (asid, EVERYONE):
            if found := self.l1.take(vpn, tag):
                self.l1.put(vpn, tag, found)
                self.hits_l1 += 1
                return found
        for tag in (asid, EVERYONE):
            if found := self.l2.take(vpn, tag):
                self.l2.put(vpn, tag, found)
                self.l1.put(vpn, tag, found)
                self.hits_l2 += 1
                return found
        self.misses += 1
        return None

    def run(self, vpns: list[int], asid: int, usable: Callable[[Entry], bool]) -> int:
        for count, vpn in enumerate(vpns):
            held = [self.held_in_l1(vpn, tag) for tag in (asid, EVERYONE)]
            first = next((found for found in held if found), None)
            if first is None or not usable(first):
                return count
            self.lookup(vpn, asid)
        return len(vpns)

    def held_in_l1(self, vpn: int, tag: int) -> Entry | None:
        here = self.l1.sets[vpn % len(self.l1.sets)]
        return next((found for page, owner, found in here if (page, owner) == (vpn, tag)), None)

    def insert(self, vpn: int, asid: int, found: Entry) -> None:
        for level in (self.l1, self.l2):
            level.put(vpn, EVERYONE if found.translation.is_global else asid, found)

    def drop_where(self, gone: Callable[[int, int], bool]) -> int:
        return len(self.l1.drop_where(gone) | self.l2.drop_where(gone))

    def entries(self) -> list[tuple[int, int, int]]:
        """With the age in the set, so that the order of use is compared too."""
        return [
            (vpn, tag, id(found))
            for level in (self.l1, self.l2)
            for here in level.sets
            for vpn, tag, found in here
        ]


def entries_by_age(tlb: Tlb) -> list[tuple[int, int, int]]:
    """As the model lists them: what a level holds, set by set, oldest first.

    The age of an entry shows in what is evicted next, so the sets themselves are read.
    """
    return [
        (key >> TAG_BITS, key & TAG_MASK, id(found))
        for level in (tlb._l1, tlb._l2)
        for ways in level.sets
        for key, found in ways.items()
    ]


PAGES = st.integers(0, 15)
ASIDS = st.integers(0, 2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("lookup"), PAGES, ASIDS),
        st.tuples(st.just("insert"), PAGES, ASIDS, st.booleans(), st.booleans(), st.booleans()),
        st.tuples(st.just("lookup_run"), st.lists(PAGES, max_size=40), ASIDS),
        st.tuples(st.just("store_run"), st.lists(PAGES, max_size=40), ASIDS),
        st.tuples(st.just("invalidate"), PAGES, ASIDS),
        st.tuples(st.just("flush_asid"), ASIDS),
        st.tuples(st.just("flush_all"), st.booleans()),
    ),
    max_size=60,
)


class Pair:
    """A TLB and its model, driven together."""

    def __init__(self, l1: Shape, l2: Shape) -> None:
        self.tlb, self.model = Tlb(l1, l2), ModelTlb(l1, l2)
        self.made: list[Entry] = []

    def lookup(self, vpn: int, asid: int) -> None:
        before = self.model.hits_l1, self.model.hits_l2
        expected = self.model.lookup(vpn, asid)
        assert self.tlb.holds(vpn, asid) == (expected is not None)
        assert self.tlb.lookup(vpn, asid) is expected
        if expected:
            assert self.tlb.level == (1 if self.model.hits_l1 > before[0] else 2)

    def insert(self, vpn: int, asid: int, *kind: bool) -> None:
        is_global, writable, dirty = kind
        self.made.append(entry(vpn, is_global=is_global, writable=writable, dirty=dirty))
        self.model.insert(vpn, asid, self.made[-1])
        self.tlb.insert(vpn, asid, self.made[-1])

    def lookup_run(self, vpns: list[int], asid: int) -> None:
        self._run(vpns, asid, self.tlb.lookup_run(vpns, asid), self.model.run(vpns, asid, lambda _: True))

    def store_run(self, vpns: list[int], asid: int) -> None:
        expected = self.model.run(vpns, asid, lambda found: found.dirty and found.translation.writable)
        self._run(vpns, asid, self.tlb.store_run(vpns, asid), expected)

    def _run(self, vpns: list[int], asid: int, got: int, expected: int) -> None:
        assert got == expected
        assert {one.translation.vpn for one in self.tlb.touched} == set(vpns[:got])
        assert all(self.tlb.holds(one.translation.vpn, asid) for one in self.tlb.touched)

    def invalidate(self, vpn: int, asid: int) -> None:
        gone = self.model.drop_where(lambda page, tag: page == vpn and tag in (asid, EVERYONE))
        assert self.tlb.invalidate(vpn, asid) == bool(gone)
        assert not self.tlb.holds(vpn, asid)

    def flush_asid(self, asid: int) -> None:
        assert self.tlb.flush_asid(asid) == self.model.drop_where(lambda _, tag: tag == asid)

    def flush_all(self, keep_global: bool) -> None:
        expected = self.model.drop_where(lambda _, tag: not (keep_global and tag == EVERYONE))
        assert self.tlb.flush_all(keep_global=keep_global) == expected

    def compare(self) -> None:
        tlb, model = self.tlb, self.model
        tlb.validate()
        assert (tlb.hits_l1, tlb.hits_l2, tlb.misses) == (model.hits_l1, model.hits_l2, model.misses)
        assert entries_by_age(tlb) == model.entries()
        held = [found for _, _, found in tlb.entries()]
        for made in self.made:
            assert made.translation.cached == sum(found is made for found in held)


@pytest.mark.parametrize(("l1", "l2"), SHAPES)
@given(steps=STEPS)
def test_the_tlb_does_what_lists_do(l1: Shape, l2: Shape, steps: list[tuple[object, ...]]) -> None:
    """Hits, levels, evictions, order of use, flushes, and copies counted in each translation."""
    pair = Pair(l1, l2)
    for name, *arguments in steps:
        getattr(pair, str(name))(*arguments)
        pair.compare()


@given(
    held=st.lists(PAGES, max_size=12),
    globals_=st.lists(PAGES, max_size=3),
    vpns=st.lists(PAGES, max_size=400),
    start=st.integers(0, 20),
)
def test_a_run_is_a_loop_of_lookups(
    held: list[int], globals_: list[int], vpns: list[int], start: int
) -> None:
    """The same count, order of use and counters, for runs far longer than the first parts."""
    one, other = Tlb(Shape(8, 4), Shape(16, 4)), Tlb(Shape(8, 4), Shape(16, 4))
    entries = [entry(vpn) for vpn in held] + [entry(vpn, is_global=True) for vpn in globals_]
    for tlb in (one, other):
        for found in entries:
            tlb.insert(found.translation.vpn, 1, found)
    got = one.lookup_run(vpns, 1, start)
    done = 0
    for vpn in vpns[start:]:
        if not other._l1_holds(vpn, 1):
            break
        assert other.lookup(vpn, 1)
        done += 1
    assert got == done
    assert entries_by_age(one) == entries_by_age(other)
    assert (one.hits_l1, one.hits_l2, one.misses) == (other.hits_l1, other.hits_l2, other.misses)


# -- cases worth reading ------------------------------------------------------------------


def test_an_asid_sees_its_own_and_global_pages_only() -> None:
    """A page of ASID 1 is invisible to ASID 2; a global page is seen by both and survives their flushes."""
    tlb = Tlb(Shape(4, 2), Shape(8, 4))
    own, everyones = entry(5), entry(6, is_global=True)
    tlb.insert(5, 1, own)
    tlb.insert(6, 1, everyones)
    assert tlb.lookup(5, 1) is own
    assert tlb.lookup(5, 2) is None
    assert tlb.lookup(6, 2) is everyones
    assert tlb.flush_asid(1) == 1
    assert tlb.lookup(5, 1) is None
    assert tlb.lookup(6, 1) is everyones
    assert tlb.flush_all(keep_global=True) == 0
    assert tlb.flush_all() == 1
    assert everyones.translation.cached == 0


def test_the_levels_do_not_include_each_other() -> None:
    """An entry that L1 evicted hits in L2 and comes back; one that L2 evicted may stay in L1."""
    tlb = Tlb(Shape(2), Shape(3))
    for vpn in (0, 1, 2):
        tlb.insert(vpn, 0, entry(vpn))
    assert tlb.lookup(0, 0)
    assert tlb.level == 2
    assert tlb.lookup(0, 0)
    assert tlb.level == 1
    tlb = Tlb(Shape(3), Shape(2))
    kept = entry(0)
    tlb.insert(0, 0, kept)
    tlb.insert(1, 0, entry(1))
    tlb.lookup(0, 0)
    tlb.insert(2, 0, entry(2))  # page 0 is young in L1, but the oldest in L2
    assert kept.translation.cached == 1
    assert tlb.lookup(0, 0) is kept
    assert tlb.level == 1


def test_a_page_that_is_inserted_again_is_replaced() -> None:
    """After a new walk, nobody counts the old incarnation any more."""
    tlb = Tlb(Shape(4, 2), Shape(8, 4))
    old, new = entry(3), entry(3)
    tlb.insert(3, 0, old)
    tlb.insert(3, 0, new)
    assert (old.translation.cached, new.translation.cached) == (0, 2)
    assert tlb.lookup(3, 0) is new


def test_a_store_run_ends_where_the_page_table_must_be_told() -> None:
    """At a clean page (D has to be set) and at a page that may only be read."""
    tlb = Tlb(Shape(8, 4), Shape(16, 4))
    for vpn in range(6):
        tlb.insert(vpn, 0, entry(vpn, dirty=vpn != 2, writable=vpn != 4))
    assert tlb.lookup_run(range(6), 0) == 6
    assert tlb.store_run(range(6), 0) == 2
    assert tlb.store_run([3, 3, 4], 0) == 2
    assert tlb.store_run(range(6), 0, start=2) == 0


@pytest.mark.parametrize("shape", [Shape(0), Shape(6, 4), Shape(4, -1), Shape(4, 8)])
def test_a_shape_without_whole_sets_is_refused(shape: Shape) -> None:
    """Such a TLB cannot be indexed."""
    with pytest.raises(ConfigError, match="not whole sets"):
        Tlb(shape, Shape(8, 4))
