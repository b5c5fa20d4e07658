"""Slabs: objects, colours, lists, wrong frees."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coalsim.errors import DoubleFree, ForeignFree, InteriorFree
from coalsim.mm.kmem.geometry import coal_geometry
from coalsim.mm.kmem.slab import SlabDirectory, SlabLists, slab_at
from coalsim.mm.phys.buddy import BuddyAllocator
from coalsim.mm.phys.layout import address_of


def test_objects_come_back_newest_first_then_in_ascending_order() -> None:
    """A slab hands out fresh objects upwards and returned ones last in, first out."""
    lists = SlabLists("inode", coal_geometry(1024), {})
    slab = lists.add_slab(0x10)
    base = address_of(0x10)
    assert lists.take(3) == ([base, base + 1024, base + 2048], 1)
    lists.put([base + 1024, base])
    assert lists.take(3) == ([base, base + 1024, base + 3072], 1)
    assert slab.objects_out == 4


def test_slabs_in_a_row_have_different_colours() -> None:
    """The colours go round through the slack, one cache line apart."""
    geometry = coal_geometry(1000)  # 96 bytes of slack: colours 0 and 64
    lists = SlabLists("odd", geometry, {})
    slabs = [lists.add_slab(pfn) for pfn in range(5)]
    assert [slab.base - address_of(slab.pfn) for slab in slabs] == [0, 64, 0, 64, 0]
    for slab in slabs:  # the last object still ends within the page
        assert slab.take(4)[-1] + 1000 <= address_of(slab.pfn + 1)


def test_a_need_that_no_slab_meets_is_answered_with_fewer_objects() -> None:
    """The caller brings pages and takes the rest; partial slabs are used up first."""
    lists = SlabLists("file", coal_geometry(512), {})
    assert lists.take(3) == ([], 0)
    lists.add_slab(1)
    assert len(lists.take(5)[0]) == 5
    lists.add_slab(2)
    objects, slabs = lists.take(9)
    assert (len(objects), slabs) == (9, 2)
    assert [slab_at_pfn(address) for address in objects] == [1] * 3 + [2] * 6
    assert lists.statistics().active_slabs == 2


def slab_at_pfn(address: int) -> int:
    """The frame of an object."""
    return (address - address_of(0)) >> 12


def test_empty_slabs_beyond_those_kept_are_given_back() -> None:
    """With one kept, the second empty slab leaves, and the directory forgets its pages."""
    directory: SlabDirectory = {}
    lists = SlabLists("file", coal_geometry(2048), directory, keep_empty=1)
    for pfn in (4, 5):
        lists.add_slab(pfn)
    objects, _ = lists.take(4)
    assert lists.put(objects[:3]) == ([], 3)
    (emptied,), _ = lists.put(objects[3:])
    lists.validate()
    assert slab_at(directory, address_of(emptied.pfn)) is None
    assert [slab.pfn for slab in lists.drain_empty(1000)] == [9 - emptied.pfn]
    assert directory == {}


def test_a_slab_of_one_object_goes_from_full_to_empty() -> None:
    """There is no partial state between."""
    lists = SlabLists("page", coal_geometry(4096), {}, keep_empty=1)
    lists.add_slab(3)
    objects, _ = lists.take(1)
    lists.validate()
    assert lists.put(objects) == ([], 1)
    lists.validate()


def test_wrong_frees_name_the_cache() -> None:
    """Double, interior and foreign frees say which cache and object they hit."""
    directory: SlabDirectory = {}
    inode = SlabLists("inode", coal_geometry(1000), directory)
    dentry = SlabLists("dentry", coal_geometry(192), directory)
    inode.add_slab(1)
    dentry.add_slab(2)
    (held, other), _ = inode.take(2)
    with pytest.raises(InteriorFree, match="8 bytes inside object 0 of a slab of cache inode"):
        inode.put([held + 8])
    with pytest.raises(InteriorFree, match="outside the objects of a slab of cache inode"):
        inode.put([address_of(1) + 4090])
    with pytest.raises(
        ForeignFree, match="cache dentry of node 0 was given it, but cache inode of node 0 owns"
    ):
        dentry.put([held])
    with pytest.raises(ForeignFree, match="no slab holds it"):
        inode.put([address_of(7)])
    inode.put([held])
    with pytest.raises(DoubleFree, match="object 0 of a slab of cache inode is not out"):
        inode.put([held])
    with pytest.raises(DoubleFree, match="object 3 "):
        inode.put([held + 3000])  # it was never handed out
    slab = slab_at(directory, other)
    assert slab is not None
    assert slab.is_out(other)
    assert not slab.is_out(held)
    assert not slab.is_out(other + 1)


def test_the_numbers_of_slabinfo() -> None:
    """Two slabs of four 1,000-byte objects, five of them out."""
    lists = SlabLists("odd", coal_geometry(1000), {})
    lists.add_slab(1)
    lists.add_slab(2)
    lists.take(5)
    row = lists.statistics()
    assert (row.name, row.active_objs, row.num_objs, row.objsize) == ("odd", 5, 8, 1000)
    assert (row.objperslab, row.pagesperslab, row.active_slabs, row.num_slabs) == (4, 1, 2, 2)


class SlabMachine(RuleBasedStateMachine):
    """Any mix of calls on two caches that share a directory and a buddy allocator."""

    @initialize(sizes=st.tuples(st.integers(100, 9000), st.integers(300, 4000)), keep=st.integers(0, 3))
    def build(self, sizes: tuple[int, int], keep: int) -> None:
        self.buddy = BuddyAllocator(3, 5000, 8)
        self.start = self.buddy.free_blocks()
        self.directory: SlabDirectory = {}
        self.lists = [
            SlabLists(f"cache {i}", coal_geometry(size), self.directory, keep_empty=keep)
            for i, size in enumerate(sizes)
        ]
        self.held: list[list[int]] = [[], []]

    @rule(which=st.integers(0, 1), count=st.integers(1, 20))
    def take(self, which: int, count: int) -> None:
        lists = self.lists[which]
        objects, _ = lists.take(count)
        while len(objects) < count:
            block = self.buddy.alloc(lists.geometry.order)
            assert block
            lists.add_slab(block[0])
            objects += lists.take(count - len(objects))[0]
        everything = [*self.held[0], *self.held[1], *objects]
        assert len(everything) == len({*everything})
        self.held[which] += objects

    @precondition(lambda self: any(self.held))
    @rule(data=st.data())
    def put(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from([which for which in (0, 1) if self.held[which]]))
        held = self.held[which]
        leaving = [
            held.pop(data.draw(st.integers(0, len(held) - 1)))
            for _ in range(data.draw(st.integers(1, len(held))))
        ]
        emptied, touched = self.lists[which].put(leaving)
        assert touched == len(leaving)
        for slab in emptied:
            self.buddy.free(slab.pfn, slab.geometry.order)

    @invariant()
    def nothing_is_lost(self) -> None:
        pages = 0
        for lists, held in zip(self.lists, self.held, strict=True):
            lists.validate()
            row = lists.statistics()
            assert row.active_objs == len(held)
            pages += row.num_slabs * row.pagesperslab
        assert pages == len(self.directory) == self.buddy.frames - self.buddy.free_frames

    def teardown(self) -> None:
        """Everything freed and drained ends coalesced to the initial state."""
        if hasattr(self, "lists"):
            for lists, held in zip(self.lists, self.held, strict=True):
                for slab in [*lists.put(held)[0], *lists.drain_empty(1000)]:
                    self.buddy.free(slab.pfn)
            assert self.buddy.free_blocks() == self.start
            assert not self.directory


TestSlabMachine = SlabMachine.TestCase
TestSlabMachine.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
