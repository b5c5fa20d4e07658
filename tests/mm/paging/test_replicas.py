"""Copies of page tables: every place sees the same map, and everybody knows who has a copy."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_trees import TABLE_FLAGS, Frames, complete, make_space

from coalsim.errors import KernelBug
from coalsim.mm.paging.eager import EagerReplicas
from coalsim.mm.paging.entry import ACCESSED, DIRTY, PRESENT, make
from coalsim.mm.paging.geometry import X86_32, X86_64, Geometry
from coalsim.mm.paging.lazy import LazyReplicas
from coalsim.mm.paging.replicas import Adopted, FreeableCopy, Replicas
from coalsim.mm.phys.ram import Ram
from coalsim.units import Pfn, Vpn


class PlaceFrames:
    """Frames of each place lie at 0x10000 times the place."""

    def __init__(self) -> None:
        self.taken = [0] * 8
        self.out: list[Pfn] = []

    def alloc(self, place: int) -> Pfn:
        self.taken[place] += 1
        pfn = Pfn(0x10000 * (place + 1) + self.taken[place])
        self.out.append(pfn)
        return pfn


def roots(*places: int) -> dict[int, Pfn]:
    return {place: Pfn(0x10000 * (place + 1)) for place in places}


def eager(geometry: Geometry, *places: int) -> tuple[EagerReplicas, Ram, PlaceFrames]:
    ram = Ram()
    return EagerReplicas(geometry, ram, roots(*places), TABLE_FLAGS), ram, PlaceFrames()


def lazy(geometry: Geometry, *places: int, prefetch: int = 1) -> tuple[LazyReplicas, Ram, PlaceFrames]:
    ram = Ram()
    return LazyReplicas(geometry, ram, roots(*places), TABLE_FLAGS, prefetch=prefetch), ram, PlaceFrames()


Kind = Callable[..., tuple[Replicas, Ram, PlaceFrames]]
VPN = Vpn(0x401)


def test_eager_copies_lie_in_the_memory_of_their_places() -> None:
    """One adoption makes the table everywhere; one store writes the same word to all, by hand."""
    replicas, ram, frames = eager(X86_32, 0, 1, 2)
    assert replicas.missing(1, VPN) == [(1, 1), (0, 1), (2, 1)]
    assert replicas.adopt(1, VPN, frames.alloc) == Adopted(tables=3, entries=0)
    assert replicas.set(VPN, 0x1234_5007) == 3
    assert frames.out == [0x20001, 0x10001, 0x30001]
    assert [ram.read(pfn, 4, 4).hex() for pfn in frames.out] == ["07503412"] * 3
    assert ram.read(Pfn(0x30000), 4, 4).hex() == "07100030"
    assert ram.read(Pfn(0x30000), 4092, 4).hex() == "03000030", "each copy shows itself"
    assert replicas.sharers(VPN) == 0b111
    replicas.validate()


def test_lazy_copies_are_made_by_those_who_need_them() -> None:
    """The first place owns the table; another copies its entry; the third has nothing."""
    replicas, _, frames = lazy(X86_64, 0, 1, 2)
    assert replicas.sharers(VPN) == 0
    assert replicas.adopt(2, VPN, frames.alloc) == Adopted(tables=3, entries=0)
    assert replicas.set_at(2, VPN, 0x1234_5007) == 1
    assert replicas.missing(0, VPN) == [(0, 1), (0, 2), (0, 3)]
    assert replicas.adopt(0, VPN, frames.alloc) == Adopted(tables=3, entries=1)
    assert replicas.adopt(0, VPN, frames.alloc) == Adopted(tables=0, entries=0)
    assert [replicas.for_node(place).lookup(VPN) for place in (0, 1, 2)] == [0x1234_5007, 0, 0x1234_5007]
    assert replicas.sharers(VPN) == 0b101, "place 1 need not be flushed"
    assert replicas.set(VPN, 0) == 2
    replicas.validate()


def test_lazy_copies_take_the_neighbours_along() -> None:
    """With groups of 4, the fault at page 6 copies pages 4 to 7 as far as the owner has them."""
    replicas, _, frames = lazy(X86_64, 0, 1, prefetch=4)
    replicas.adopt(0, Vpn(0), frames.alloc)
    for vpn in (3, 4, 6, 7, 8):
        replicas.set_at(0, Vpn(vpn), make(Pfn(vpn), TABLE_FLAGS))
    assert replicas.adopt(1, Vpn(6), frames.alloc) == Adopted(tables=3, entries=3)
    assert [vpn for vpn, _ in replicas.for_node(1).entries(0, 512)] == [4, 6, 7]
    assert replicas.adopt(1, Vpn(3), frames.alloc) == Adopted(tables=0, entries=1)
    replicas.validate()


def test_a_new_entry_goes_to_the_owner_and_to_who_faulted() -> None:
    """Other sharers get it when they fault; then all three say the same."""
    replicas, _, frames = lazy(X86_64, 0, 1, 2)
    for place in (0, 1, 2):
        replicas.adopt(place, VPN, frames.alloc)
    assert replicas.set_at(1, VPN, 0x5007) == 2
    assert [replicas.for_node(place).lookup(VPN) for place in (0, 1, 2)] == [0x5007, 0x5007, 0]
    assert replicas.adopt(2, VPN, frames.alloc) == Adopted(tables=0, entries=1)
    assert replicas.for_node(2).lookup(VPN) == 0x5007
    with pytest.raises(KernelBug, match="use set"):
        replicas.set_at(1, VPN, 0x6007)
    replicas.validate()


@pytest.mark.parametrize("kind", [eager, lazy])
def test_accessed_and_dirty_are_set_if_any_copy_says_so(kind: Kind) -> None:
    """The hardware of one place sets A, that of another D; reading and unmapping see both."""
    replicas, _, frames = kind(X86_64, 0, 1, 2)
    for place in (0, 1, 2):
        replicas.adopt(place, VPN, frames.alloc)
    assert replicas.set(VPN, 0x5007) == 3
    for place, flag in ((1, ACCESSED), (2, DIRTY)):
        leaf = replicas.for_node(place).leaf(VPN)
        assert leaf is not None
        table, index = leaf
        table[index] |= flag
    assert replicas.accessed_dirty(VPN) == ACCESSED | DIRTY
    assert replicas.lookup(VPN) == 0x5067
    assert list(replicas.entries(0, 1 << 20)) == [(VPN, 0x5067)]
    replicas.validate()
    assert replicas.exchange(VPN, 0) == (0x5067, 3)
    assert replicas.accessed_dirty(VPN) == 0
    assert replicas.exchange(VPN, 0) == (0, 3)


@pytest.mark.parametrize("kind", [eager, lazy])
def test_tables_are_released_place_by_place(kind: Kind) -> None:
    """Empty tables of all trees are listed, from below; the owner's right passes on; the roots go last."""
    replicas, ram, frames = kind(X86_64, 0, 1)
    for place in (1, 0):
        replicas.adopt(place, VPN, frames.alloc)
    replicas.set(VPN, 0x5007)
    assert not replicas.freeable(0, X86_64.user_pages)
    replicas.set(VPN, 0)
    freeable = replicas.freeable(0, X86_64.user_pages)
    assert [(table.place, table.level) for table in freeable] == [
        (0, 3),
        (0, 2),
        (0, 1),
        (1, 3),
        (1, 2),
        (1, 1),
    ]
    assert isinstance(freeable[0], FreeableCopy)
    with pytest.raises(KernelBug, match="still has 1 entries"):
        replicas.release(1, VPN, 2)
    at_0, at_1 = freeable[:3], freeable[3:]
    assert replicas.release(1, at_1[0].first_vpn, 3) == at_1[0].pfn
    assert replicas.sharers(VPN) == 0b01
    with pytest.raises(KernelBug, match="still leads to 3 tables"):
        replicas.dissolve()
    for table in (*at_0, *at_1[1:]):
        assert replicas.release(table.place, table.first_vpn, table.level) == table.pfn
    assert replicas.sharers(VPN) == 0
    replicas.validate()
    for pfn in (*frames.out, *replicas.dissolve()):
        ram.forget(pfn)
    assert ram.bytes_in_use == 0
    assert replicas.places() == ()


def test_a_place_that_comes_later_is_made_equal() -> None:
    """Eager: its tree is complete at once.  Lazy: it begins empty."""
    full, _, frames = eager(X86_64, 0)
    for vpn in (1, 2, 1000):
        full.adopt(0, Vpn(vpn), frames.alloc)
        full.set(Vpn(vpn), make(Pfn(vpn), TABLE_FLAGS))
    assert full.add_place(3, Pfn(0x40000), frames.alloc) == Adopted(tables=4, entries=3)
    assert full.sharers(Vpn(1000)) == 0b1001
    full.validate()

    empty, _, frames = lazy(X86_64, 0)
    empty.adopt(0, VPN, frames.alloc)
    assert not empty.has_place(3)
    empty.add_place(3, Pfn(0x40000))
    assert empty.has_place(3)
    assert empty.places() == (0, 3)
    assert empty.sharers(VPN) == 0b0001


def test_all_copies_share_the_kernel() -> None:
    """What the kernel maps shows in the tree of every place."""
    space, ram, frames = make_space(X86_32)
    replicas = LazyReplicas(
        X86_32, ram, {0: frames.alloc(), 1: frames.alloc()}, TABLE_FLAGS, kernel=space.table
    )
    space.map(Vpn(0xC0005), Pfn(7), PRESENT)
    assert [replicas.for_node(place).lookup(Vpn(0xC0005)) for place in (0, 1)] == [0x7001, 0x7001]
    replicas.validate()


def test_misuse_is_named() -> None:
    """A place without a tree or table, kernel pages, a place twice, a prefetch that no table has."""
    replicas, ram, frames = lazy(X86_64, 0, 1)
    with pytest.raises(KernelBug, match="place 5 has no page table"):
        replicas.for_node(5)
    with pytest.raises(KernelBug, match="no place has a leaf table for page 0x401"):
        replicas.set(VPN, 0x5007)
    with pytest.raises(KernelBug, match="not on the user's side"):
        replicas.adopt(0, X86_64.kernel_first, frames.alloc)
    replicas.adopt(0, VPN, frames.alloc)
    with pytest.raises(KernelBug, match="place 1 has no leaf table for page 0x401"):
        replicas.set_at(1, VPN, 0x5007)
    with pytest.raises(KernelBug, match="place 1 has a page table already"):
        replicas.add_place(1, Pfn(0x999))
    for prefetch in (0, 3, 1024):
        with pytest.raises(KernelBug, match=f"prefetch of {prefetch} entries"):
            LazyReplicas(X86_64, ram, {}, TABLE_FLAGS, prefetch=prefetch)


def test_validate_finds_a_copy_that_went_astray() -> None:
    """An entry written into one tree alone, or a table made behind the copies' back, is seen."""
    replicas, ram, frames = lazy(X86_64, 0, 1)
    for place in (0, 1):
        replicas.adopt(place, VPN, frames.alloc)
    replicas.for_node(1).set(VPN, 0x5007)
    with pytest.raises(AssertionError, match="place 1, page 0x401"):
        replicas.validate()
    replicas.for_node(1).set(VPN, 0)
    replicas.validate()
    complete(replicas.for_node(1), ram, Frames(0x900), Vpn(0x800))
    with pytest.raises(AssertionError, match="nobody counts the leaf table of page 0x800"):
        replicas.validate()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["touch", "set", "clear", "dirty", "free"]),
        st.integers(0, 2),
        st.sampled_from([0, 1, 2, 511, 512, 513, 1024]),
    ),
    max_size=40,
)


@given(st.sampled_from([eager, lazy]), STEPS)
def test_copies_are_one_map_with_several_readers(kind: Kind, steps: list[tuple[str, int, int]]) -> None:
    """Faults, unmaps, dirty bits and freed tables from any place: the copies act as one dict."""
    replicas, ram, frames = kind(X86_64, 0, 1, 2)
    model: dict[int, int] = {}
    for serial, (verb, place, number) in enumerate(steps, 1):
        vpn = Vpn(number)
        tree = replicas.for_node(place)
        if verb == "touch":
            replicas.adopt(place, vpn, frames.alloc)
            assert tree.lookup(vpn) & ~DIRTY == model.get(vpn, 0) & ~DIRTY
        elif verb == "set" and replicas.sharers(vpn):
            model[vpn] = make(Pfn(serial), TABLE_FLAGS)
            assert replicas.set(vpn, model[vpn]) == replicas.sharers(vpn).bit_count()
        elif verb == "clear" and replicas.sharers(vpn):
            assert replicas.exchange(vpn, 0)[0] == model.pop(vpn, 0)
        elif verb == "dirty" and tree.lookup(vpn):
            tree.set(vpn, tree.lookup(vpn) | DIRTY)
            model[vpn] |= DIRTY
        elif verb == "free":
            for table in replicas.freeable(0, X86_64.user_pages):
                ram.forget(replicas.release(table.place, table.first_vpn, table.level))
        replicas.validate()
        assert list(replicas.entries(0, X86_64.user_pages)) == sorted(model.items())
        assert list(replicas.entries(1, 513)) == sorted(item for item in model.items() if 1 <= item[0] < 513)
