"""Areas of an address space: against a model that knows each page by itself."""

from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalsim.errors import KernelBug
from coalsim.mm.virt.area import (
    EXECUTE,
    NONE,
    READ,
    READ_EXECUTE,
    READ_WRITE,
    WRITE,
    Area,
    AreaKind,
    Rights,
)
from coalsim.mm.virt.area_tree import AreaTree
from coalsim.mm.virt.heap import Heap
from coalsim.units import Vpn

PAGES = 48
"""Size of the space in which the model works."""
GUARD = 3


def area(first: int, last: int, rights: Rights = READ_WRITE, **more: object) -> Area:
    return Area(first=Vpn(first), last=Vpn(last), rights=rights, **more)  # type: ignore[arg-type]


def spans(tree: AreaTree) -> list[tuple[int, int, str]]:
    return [(one.first, one.last, str(one.rights)) for one in tree]


def tree_of(*areas: Area, merging: bool = True) -> AreaTree:
    tree = AreaTree(merging=merging, guard_pages=GUARD)
    for one in areas:
        tree.insert(one)
    tree.validate()
    return tree


# -- against the model -----------------------------------------------------------

Label = tuple[AreaKind, Rights, bool, str, bool]
"""What a page is: kind, rights, shared, name, part of something that grows down."""


@dataclass
class Model:
    """Pages one by one."""

    labels: dict[int, Label] = field(default_factory=dict)
    reserved: dict[int, int] = field(default_factory=dict)  # page: first page of the reservation

    def is_free(self, first: int, last: int) -> bool:
        return not any(page in self.labels or page in self.reserved for page in range(first, last))

    def gap(self, pages: int, low: int, high: int, align: int) -> int | None:
        for start in range(high - pages, low - 1, -1):
            if start % align == 0 and self.is_free(start, start + pages):
                # the run of free pages above, and the stack that may stand on it
                end = start + pages
                while end < start + pages + GUARD and end < PAGES and self.is_free(end, end + 1):
                    end += 1
                starts_stack = end in self.labels and self.labels[end][4]
                if not starts_stack or end - (start + pages) >= GUARD:
                    return start
        return None


def label(one: Area) -> Label:
    return one.kind, one.rights, one.shared, one.name, one.grows_down


rights_drawn = st.sampled_from([NONE, READ, READ_WRITE, READ_EXECUTE])
labels_drawn = st.tuples(
    st.sampled_from(["anonymous", "stack", "guard"]),
    rights_drawn,
    st.sampled_from([False, False, True]),
    st.sampled_from(["", "", "x"]),
).map(lambda drawn: (*drawn, drawn[0] == "stack"))
steps_drawn = st.lists(
    st.tuples(
        st.sampled_from(
            ["map", "map", "map_high", "unmap", "protect", "move", "reserve", "unreserve", "grow", "fork"]
        ),
        st.integers(0, PAGES - 1),
        st.integers(1, 12),
        st.integers(0, PAGES - 1),
        labels_drawn,
    ),
    max_size=40,
)


class Space:
    """A tree and its model, changed together."""

    def __init__(self, *, merging: bool) -> None:
        self.tree = AreaTree(merging=merging, guard_pages=GUARD)
        self.model = Model()

    def map(self, first: int, last: int, _to: int, what: Label) -> None:
        kind, rights, shared, name, down = what
        new = area(first, last, rights, kind=kind, shared=shared, name=name, grows_down=down)
        if self.model.is_free(first, last):
            before = len(self.tree)
            placed = self.tree.insert(new)
            assert placed.area is self.tree.find(first)
            assert len(self.tree) == before + 1 - placed.merges
            self.model.labels.update(dict.fromkeys(range(first, last), what))
        else:
            with pytest.raises(KernelBug, match="not free"):
                self.tree.insert(new)

    def map_high(self, low: int, last: int, high: int, what: Label) -> None:
        pages, align = last - low, 1 + low % 3
        start = self.tree.gap(pages, low=low, high=high, align=align)
        assert start == self.model.gap(pages, low, high, align)
        if start is not None:
            self.map(start, start + pages, 0, what)

    def unmap(self, first: int, last: int, _to: int, _what: Label) -> None:
        before = len(self.tree)
        removed = self.tree.remove(first, last)
        cut = [page for one in removed.areas for page in range(one.first, one.last)]
        assert cut == [page for page in range(first, last) if page in self.model.labels]
        assert [label(one) for one in removed.areas for _ in range(one.pages)] == [
            self.model.labels.pop(page) for page in cut
        ]
        assert len(self.tree) == before - len(removed.areas) + removed.splits
        assert not any(one.attached for one in removed.areas)

    def protect(self, first: int, last: int, _to: int, what: Label) -> None:
        before, rights = len(self.tree), what[1]
        done = self.tree.protect(first, last, rights)
        # a border that moves saves no area, but spares the split
        assert before + done.splits - done.merges <= len(self.tree) <= before + done.splits
        changed = []
        for change in done.changes:
            assert change.area.attached
            assert change.area.first <= change.first < change.last <= change.area.last
            changed += [(page, change.was) for page in range(change.first, change.last)]
        labels = self.model.labels
        expected = [(page, labels[page][1]) for page in range(first, last) if page in labels]
        assert changed == [(page, was) for page, was in expected if was != rights]
        for page, _ in expected:
            kind, _, *rest = labels[page]
            labels[page] = (kind, rights, *rest)  # type: ignore[assignment]

    def move(self, first: int, last: int, to: int, _what: Label) -> None:
        if not self.model.is_free(to, to + last - first):
            with pytest.raises(KernelBug, match="not free"):
                self.tree.move(first, last, to)
            return
        moved = self.tree.move(first, last, to)
        labels = self.model.labels
        pages = [page for page in range(first, last) if page in labels]
        labels.update([(page + to - first, labels.pop(page)) for page in pages])
        assert all(self.tree.find(page + to - first) in moved.areas for page in pages)

    def reserve(self, first: int, last: int, _to: int, _what: Label) -> None:
        if self.model.is_free(first, last):
            self.tree.reserve(Vpn(first), Vpn(last))
            self.model.reserved.update(dict.fromkeys(range(first, last), first))
        else:
            with pytest.raises(KernelBug, match="not free"):
                self.tree.reserve(Vpn(first), Vpn(last))

    def unreserve(self, page: int, _last: int, _to: int, _what: Label) -> None:
        reserved = self.model.reserved
        if page in reserved:
            run = [other for other, first in reserved.items() if first == reserved[page]]
            self.tree.unreserve(Vpn(run[0]), Vpn(run[-1] + 1))
            for other in run:
                del reserved[other]
        else:
            with pytest.raises(KernelBug, match="not reserved"):
                self.tree.unreserve(Vpn(page), Vpn(page + 1))

    def grow(self, page: int, last: int, _to: int, _what: Label) -> None:
        labels, limit = self.model.labels, last - page
        above = next((other for other in range(page, PAGES + 16) if other in labels), None)
        below = next((other for other in range(page, -1, -1) if other in labels), None)
        may = (
            above is not None
            and labels[above][4]
            and 0 < above - page <= limit
            and self.model.is_free(page, above)
            and (below is None or labels[below][1] == NONE or page - (below + 1) >= GUARD)
        )
        assert self.tree.grow(Vpn(page), limit) == may
        if may and above is not None:
            labels.update(dict.fromkeys(range(page, above), labels[above]))

    def fork(self, _first: int, _last: int, _to: int, _what: Label) -> None:
        parent, self.tree = self.tree, self.tree.copy()
        assert parent.lines() == self.tree.lines()
        self.model.reserved.clear()
        parent.remove(0, PAGES + 16)  # leaves the child alone
        parent.validate()

    def check(self) -> None:
        """The tree says of each page what the model says."""
        self.tree.validate()
        seen = {page: label(one) for one in self.tree for page in range(one.first, one.last)}
        assert seen == self.model.labels
        assert self.tree.total_pages == len(seen)
        for page in range(PAGES):
            found, following = self.tree.find(page), self.tree.find_next(page)
            assert (found is not None) == (page in seen)
            if found is not None:
                assert found is following
                assert found.first <= page < found.last
            ends = [one for one in self.tree if one.last > page]
            assert following is (ends[0] if ends else None)
            assert self.tree.is_free(page, page + 1) == self.model.is_free(page, page + 1)

    def check_merged(self) -> None:
        """No two neighbours could be one area."""
        areas = list(self.tree)
        for low, high in pairwise(areas):
            touch = low.last == high.first
            assert not (touch and label(low) == label(high) and not low.shared)


@settings(max_examples=150)
@given(st.booleans(), steps_drawn)
def test_areas_agree_with_single_pages(merging: bool, steps: list[tuple[str, int, int, int, Label]]) -> None:
    """After any mix of calls each page is where the model has it, found as it should be, and in one run."""
    space = Space(merging=merging)
    grown = False
    for verb, first, pages, to, what in steps:
        getattr(space, verb)(first, first + pages, to, what)
        grown |= verb == "grow"
        space.check()
        if merging and not grown:
            space.check_merged()


@given(st.integers(0, 20), st.integers(0, 20), st.lists(st.tuples(st.integers(0, 19), st.integers(1, 6))))
def test_a_range_is_covered_if_every_page_is(first: int, last: int, runs: list[tuple[int, int]]) -> None:
    """`covers` and `overlapping` count as one would by hand."""
    tree = AreaTree()
    for start, pages in runs:
        if tree.is_free(start, start + pages):
            tree.insert(area(start, start + pages, shared=True))
    assert tree.covers(first, last) == (
        first <= last and all(tree.find(page) is not None for page in range(first, last))
    )
    pages_hit = [tree.find(page) for page in range(first, last)]
    assert tree.overlapping(first, last) == list(dict.fromkeys(one for one in pages_hit if one))


# -- what each call reports --------------------------------------------------------


def test_neighbours_with_equal_rights_become_one_area() -> None:
    """A mapping that fills the hole between two equal ones makes all three one area."""
    tree = tree_of(area(0, 10))
    assert tree.insert(area(20, 30)).merges == 0
    middle = area(10, 20, anon=True)
    placed = tree.insert(middle)
    assert (placed.merges, placed.area.first, placed.area.last) == (2, 0, 30)
    assert placed.area.anon
    assert not middle.attached
    assert len(tree) == 1


@pytest.mark.parametrize(
    "other",
    [
        area(10, 20, READ),
        area(10, 20, kind="heap"),
        area(10, 20, name="arena"),
        area(10, 20, grows_down=True),
        area(10, 20, shared=True),
    ],
    ids=["rights", "kind", "name", "grows", "shared"],
)
def test_different_neighbours_stay_apart(other: Area) -> None:
    """One difference is enough; shared mappings are files of their own and never merge."""
    tree = tree_of(area(0, 10, shared=other.shared))
    assert tree.insert(other).merges == 0
    assert len(tree) == 2


def test_without_merging_every_mapping_is_an_area() -> None:
    """The switch keeps equal neighbours apart, on mmap and on mprotect."""
    tree = tree_of(area(0, 10), area(10, 20, READ), merging=False)
    assert tree.protect(10, 20, READ_WRITE).merges == 0
    assert len(tree) == 2


def test_a_hole_in_the_middle_makes_two_new_areas() -> None:
    """The removed piece is the old area, with its lock; what is left on both sides is new."""
    whole = area(0, 30, lock="its lock", anon=True)
    tree = tree_of(whole)
    removed = tree.remove(10, 20)
    assert removed.areas == [whole]
    assert (removed.splits, whole.first, whole.last, whole.lock) == (2, 10, 20, "its lock")
    assert spans(tree) == [(0, 10, "rw-"), (20, 30, "rw-")]
    assert all(one.anon and one.lock is None for one in tree)


@pytest.mark.parametrize(("first", "last", "splits"), [(0, 30, 0), (0, 10, 1), (20, 30, 1), (5, 6, 2)])
def test_unmapping_splits_only_at_the_ends_inside_an_area(first: int, last: int, splits: int) -> None:
    """0 to 2 splits, by how many borders of the range lie inside an area."""
    assert tree_of(area(0, 30)).remove(first, last).splits == splits


def test_nothing_happens_on_an_empty_range() -> None:
    """Removing or protecting no pages inside an area leaves it whole."""
    tree = tree_of(area(0, 30))
    assert tree.remove(5, 5) == ([], 0)
    assert tree.protect(5, 5, READ) == ([], 0, 0)
    assert tree.overlapping(5, 5) == []
    assert spans(tree) == [(0, 30, "rw-")]


def test_protecting_the_middle_cuts_and_giving_the_rights_back_joins() -> None:
    """Two splits out, two merges back to one area."""
    tree = tree_of(area(0, 30))
    out = tree.protect(10, 20, READ)
    assert (out.splits, out.merges) == (2, 0)
    assert [(change.first, change.last, change.was) for change in out.changes] == [(10, 20, READ_WRITE)]
    assert spans(tree) == [(0, 10, "rw-"), (10, 20, "r--"), (20, 30, "rw-")]
    back = tree.protect(10, 20, READ_WRITE)
    assert (back.splits, back.merges) == (0, 2)
    assert spans(tree) == [(0, 30, "rw-")]


def test_a_protected_edge_moves_the_border_to_an_equal_neighbour() -> None:
    """Page by page, as a collector does: one merge each and no split, on either side."""
    tree = tree_of(area(0, 10, READ), area(10, 20, anon=True), area(20, 30, READ))
    low = tree.protect(10, 12, READ)
    high = tree.protect(18, 20, READ)
    assert (low.splits, low.merges, high.splits, high.merges) == (0, 1, 0, 1)
    assert spans(tree) == [(0, 12, "r--"), (12, 18, "rw-"), (18, 30, "r--")]
    assert all(one.anon for one in tree), "the neighbours hold pages that have faulted"


def test_protecting_over_a_hole_reports_what_changed_only() -> None:
    """Runs that had the rights already, and holes, are not among the changes; the areas named are current."""
    tree = tree_of(area(0, 10), area(10, 20, READ), area(20, 25), area(40, 50, READ_EXECUTE))
    done = tree.protect(5, 45, READ)
    assert [(one.first, one.last, str(one.was)) for one in done.changes] == [
        (5, 10, "rw-"),
        (20, 25, "rw-"),
        (40, 45, "r-x"),
    ]
    assert spans(tree) == [(0, 5, "rw-"), (5, 25, "r--"), (40, 45, "r--"), (45, 50, "r-x")]
    assert [one.area for one in done.changes] == [tree.find(5), tree.find(5), tree.find(40)]


def test_a_move_keeps_rights_holes_and_first_faults() -> None:
    """What was mapped comes to the same distance; the old place is free."""
    tree = tree_of(area(0, 10, anon=True), area(15, 20, READ))
    moved = tree.move(5, 20, 100)
    assert moved.splits == 1
    assert spans(tree) == [(0, 5, "rw-"), (100, 105, "rw-"), (110, 115, "r--")]
    assert [one.anon for one in moved.areas] == [True, False]
    assert tree.is_free(5, 100)


def test_an_area_extends_only_into_free_pages() -> None:
    """Up to the next area, not into it."""
    low = area(0, 10)
    tree = tree_of(low, area(20, 30, READ))
    assert not tree.extend(low, Vpn(21))
    assert tree.extend(low, Vpn(20))
    assert spans(tree) == [(0, 20, "rw-"), (20, 30, "r--")]
    tree.validate()


# -- places -------------------------------------------------------------------------


def test_mmap_goes_as_high_as_it_fits() -> None:
    """The highest hole that is large enough, at its top, within bounds and aligned."""
    tree = tree_of(area(90, 100), area(50, 87))
    assert tree.gap(3, low=0, high=100) == 87
    assert tree.gap(4, low=0, high=100) == 46
    assert tree.gap(4, low=0, high=48) == 44
    assert tree.gap(3, low=0, high=100, align=4) == 44
    assert tree.gap(51, low=0, high=100) is None
    assert tree.gap(10, low=45, high=100) is None


def test_reserved_addresses_are_not_given_out() -> None:
    """A range that waits for a lazy flush is skipped, refused to MAP_FIXED, and free afterwards."""
    tree = tree_of(area(90, 100))
    tree.remove(95, 100)
    tree.reserve(Vpn(95), Vpn(100))
    assert tree.gap(5, low=0, high=100) == 85
    with pytest.raises(KernelBug, match="not free"):
        tree.insert(area(96, 97))
    tree.unreserve(Vpn(95), Vpn(100))
    assert tree.gap(5, low=0, high=100) == 95


def test_mmap_keeps_clear_of_a_stack() -> None:
    """The guard gap below something that grows down is not given out."""
    tree = tree_of(area(90, 100, kind="stack", grows_down=True))
    assert tree.gap(5, low=0, high=100) == 90 - GUARD - 5


# -- stacks and the heap ---------------------------------------------------------------


def test_a_stack_grows_to_the_page_that_faults() -> None:
    """Within the limit; then it holds all pages from there on."""
    stack = area(90, 100, kind="stack", grows_down=True)
    tree = tree_of(stack)
    assert not tree.grow(Vpn(79), limit=10)
    assert tree.grow(Vpn(80), limit=10)
    assert tree.find(80) is stack
    assert tree.total_pages == 20
    assert not tree.grow(Vpn(85), limit=10), "it is there already"


def test_a_stack_stops_short_of_what_lies_below() -> None:
    """The guard gap stays free above an area with rights; a guard area is gap enough itself."""
    stack = area(90, 100, kind="stack", grows_down=True)
    tree = tree_of(stack, area(70, 80))
    assert not tree.grow(Vpn(80 + GUARD - 1), limit=100)
    assert tree.grow(Vpn(80 + GUARD), limit=100)
    guarded = tree_of(
        area(90, 100, kind="stack", grows_down=True), area(79, 80, NONE, kind="guard"), area(70, 79)
    )
    assert guarded.grow(Vpn(80), limit=100)
    assert not guarded.grow(Vpn(79), limit=100), "the guard page itself is never part of the stack"


def test_a_stack_does_not_grow_into_reserved_pages() -> None:
    """Addresses that wait for a lazy flush are nobody's yet."""
    tree = tree_of(area(90, 100, kind="stack", grows_down=True))
    tree.reserve(Vpn(80), Vpn(85))
    assert not tree.grow(Vpn(84), limit=100)
    assert tree.grow(Vpn(85), limit=100)


def test_only_stacks_grow() -> None:
    """A fault below an ordinary area, or above everything, grows nothing."""
    tree = tree_of(area(90, 100))
    assert not tree.grow(Vpn(89), limit=100)
    assert not tree.grow(Vpn(200), limit=100)


def test_brk_extends_one_area_in_place() -> None:
    """The first growth makes the heap, later ones enlarge it, even where areas do not merge."""
    tree = AreaTree(merging=False)
    heap = Heap(tree, Vpn(10))
    first = heap.grow(Vpn(12))
    assert first is not None
    assert heap.grow(Vpn(20)) == (first[0], False)
    assert spans(tree) == [(10, 20, "rw-")]
    assert first[1]
    assert (heap.end, first[0].kind) == (20, "heap")


def test_brk_shrinks_from_the_top_and_no_lower_than_its_start() -> None:
    """What is cut off is reported; the break ends at the start."""
    tree = AreaTree()
    heap = Heap(tree, Vpn(10))
    heap.grow(Vpn(20))
    assert [(one.first, one.last) for one in heap.shrink(Vpn(15)).areas] == [(15, 20)]
    assert spans(tree) == [(10, 15, "rw-")]
    assert heap.shrink(Vpn(15)) == ([], 0)
    heap.shrink(Vpn(5))
    assert (heap.end, len(tree)) == (10, 0)


def test_brk_stops_at_what_is_mapped_and_before_a_stack() -> None:
    """No growth into an area, nor into the guard gap below a stack."""
    tree = tree_of(area(30, 40), area(60, 70, kind="stack", grows_down=True))
    heap = Heap(tree, Vpn(10))
    assert heap.grow(Vpn(31)) is None
    assert heap.grow(Vpn(30)) is not None
    high = Heap(tree, Vpn(50))
    assert high.grow(Vpn(60 - GUARD + 1)) is None
    assert high.grow(Vpn(60 - GUARD)) is not None


def test_brk_past_a_protected_top_makes_a_new_area() -> None:
    """What was made read-only does not grow along."""
    tree = AreaTree()
    heap = Heap(tree, Vpn(10))
    heap.grow(Vpn(20))
    tree.protect(15, 20, READ)
    grown = heap.grow(Vpn(25))
    assert grown is not None
    assert grown[1]
    assert spans(tree) == [(10, 15, "rw-"), (15, 20, "r--"), (20, 25, "rw-")]


def test_a_forked_heap_has_its_own_break() -> None:
    """The child's brk does not move the parent's."""
    tree = AreaTree()
    heap = Heap(tree, Vpn(10))
    heap.grow(Vpn(20))
    child = heap.copy(tree.copy())
    child.grow(Vpn(30))
    assert (heap.end, child.end, tree.total_pages) == (20, 30, 10)


# -- rights, and how areas print --------------------------------------------------------


def test_rights_say_what_they_allow() -> None:
    """Each asked right has to be there."""
    assert READ_WRITE.allow(READ)
    assert READ_WRITE.allow(WRITE)
    assert NONE.allow(NONE)
    assert not READ_WRITE.allow(EXECUTE)
    assert not READ.allow(READ_WRITE)
    assert not NONE.allow(READ)
    assert [str(rights) for rights in (NONE, READ_WRITE, READ_EXECUTE)] == ["---", "rw-", "r-x"]


def test_areas_print_as_the_kernel_prints_them() -> None:
    """Addresses, rights, and the name in column 74, as in /proc/PID/maps."""
    tree = AreaTree()
    tree.insert(area(0x8048, 0x8049, READ_EXECUTE))
    tree.insert(area(0x804A, 0x806B, kind="heap"))
    tree.insert(area(0x7FFFF7DD0, 0x7FFFF7DD2, shared=True, name="ring"))
    tree.insert(area(0x7FFFFFFDE, 0x7FFFFFFFF, kind="stack", grows_down=True))
    assert tree.lines() == [
        "08048000-08049000 r-xp 00000000 00:00 0 ",
        "0804a000-0806b000 rw-p 00000000 00:00 0                                  [heap]",
        "7ffff7dd0000-7ffff7dd2000 rw-s 00000000 00:00 0                          [anon:ring]",
        "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]",
    ]


def test_ten_thousand_areas_are_no_burden() -> None:
    """Finding and mapping among 10,000 areas takes microseconds, not a scan."""
    tree = AreaTree()
    for number in range(10_000):
        tree.insert(area(3 * number, 3 * number + 2, shared=True))
    began = perf_counter()
    for number in range(1_000):
        page = 29 * number
        assert (tree.find(page) is None) == (page % 3 == 2)
        start = tree.gap(2, low=0, high=30_000)
        assert start is None
        tree.remove(page, page + 1)
        if tree.is_free(page, page + 1):
            tree.insert(area(page, page + 1, shared=True))
    assert perf_counter() - began < 1.0, "1,000 rounds of about 15 us; a scan each would take seconds"
    tree.validate()
