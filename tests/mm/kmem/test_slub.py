"""SLUB: which level serves what, who owns a slab, remote frees, wrong frees."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coalsim.errors import DoubleFree, ForeignFree, InteriorFree
from coalsim.mm.kmem.geometry import coal_geometry, slub_geometry
from coalsim.mm.kmem.slab import SlabDirectory, SlabLists
from coalsim.mm.kmem.slub import (
    CPU_PARTIAL,
    CURRENT,
    FAST,
    FREE_FAST,
    FREE_NODE,
    FREE_SLAB,
    FREE_SPILL,
    FREE_TO_CPU,
    GROW,
    LOOSE,
    NODE_PARTIAL,
    ON_CPU,
    ON_NODE,
    OWN_SLAB,
    SlubCache,
    cpu_partial_slabs,
    min_partial_slabs,
)
from coalsim.mm.phys.buddy import BuddyAllocator
from coalsim.mm.phys.layout import address_of

PER_SLAB = 8  # objects of 4,096 bytes on a machine with two CPUs


class Bench:
    """A cache of 4,096-byte objects over frames that never run out."""

    def __init__(self, node_of_cpu: tuple[int, ...] = (0, 0), size: int = 4096) -> None:
        self.directory: SlabDirectory = {}
        self.cache = SlubCache("big", slub_geometry(size, cpus=2), self.directory, node_of_cpu)
        self.next_pfn = 0

    def take(self, cpu: int, count: int = 1) -> list[tuple[int, int]]:
        """Allocate; answers objects and levels (GROW where pages were needed)."""
        taken = []
        for _ in range(count):
            address, level, _ = self.cache.alloc(cpu)
            if address is None:
                self.cache.add_slab(cpu, self.next_pfn, self.cache.cpus[cpu].node)
                self.next_pfn += 1 << self.cache.geometry.order
                address, again, _ = self.cache.alloc(cpu)
                assert again == FAST
            assert address is not None
            taken.append((address, level))
        self.cache.validate()
        return taken

    def put(self, cpu: int, address: int) -> int:
        """Free; answers which way it went."""
        level, _, _ = self.cache.free(cpu, address)
        self.cache.validate()
        return level


def test_a_pair_on_one_cpu_touches_nothing_shared() -> None:
    """After the first page, alloc and free of one object stay on the CPU's own freelist."""
    bench = Bench()
    assert bench.take(0) == [(address_of(0), GROW)]
    for _ in range(5):
        assert bench.put(0, address_of(0)) == FREE_FAST
        assert bench.take(0) == [(address_of(0), FAST)]


def test_a_remote_free_goes_to_the_owner_s_slab_and_is_found_there() -> None:
    """It writes the descriptor of a slab that another CPU owns; the owner collects it when it runs dry."""
    bench = Bench()
    objects = [address for address, _ in bench.take(0, PER_SLAB - 1)]
    level, slab, emptied = bench.cache.free(1, objects[0])
    assert (level, slab.owner, slab.place, emptied) == (FREE_SLAB, 0, CURRENT, ())
    assert bench.take(0)[0][1] == FAST
    assert bench.take(0) == [(objects[0], OWN_SLAB)]


def test_the_first_free_into_a_full_slab_gives_it_to_the_freeing_cpu() -> None:
    """A slab that is on no list goes to the partial slabs of the CPU that frees, and serves it next."""
    bench = Bench()
    objects = [address for address, _ in bench.take(0, PER_SLAB + 1)]  # the first slab is loose now
    level, slab, _ = bench.cache.free(1, objects[0])
    assert (level, slab.place, slab.owner) == (FREE_TO_CPU, ON_CPU, 1)
    assert bench.put(0, objects[1]) == FREE_SLAB
    assert bench.take(1) == [(objects[1], CPU_PARTIAL)]
    assert slab.place == CURRENT


def test_too_many_partial_slabs_spill_to_the_node_and_come_back_in_a_bunch() -> None:
    """The list of a CPU moves to the node when it is long; a CPU fetches half of that and one to use."""
    bench = Bench()
    limit = bench.cache.cpu_partial
    assert limit == 2  # 6 objects, half-full slabs of 8
    objects = [address for address, _ in bench.take(0, PER_SLAB * (limit + 3) + 1)]
    firsts = objects[0 : PER_SLAB * (limit + 3) : PER_SLAB]
    ways = [bench.put(1, address) for address in firsts]
    assert ways == [FREE_TO_CPU] * limit + [FREE_SPILL] + [FREE_TO_CPU] * (limit - 1) + [FREE_SPILL]
    assert len(bench.cache.cpus[1].partial) == 1
    for _ in range(PER_SLAB - 1):
        bench.take(0)  # the rest of its current slab
    address, level, moved = bench.cache.alloc(0)
    assert (address, level, moved) == (firsts[0], NODE_PARTIAL, 1 + limit // 2 + 1)
    bench.cache.validate()


def test_an_emptied_slab_on_a_node_s_list_is_given_back_beyond_the_minimum() -> None:
    """Up to min_partial slabs stay with the node; further ones return their pages."""
    bench = Bench()
    bench.cache.cpu_partial = 0  # as on a kernel without per-CPU partial slabs
    kept = bench.cache.min_partial
    assert kept == 6
    slabs = kept + 1
    objects = [address for address, _ in bench.take(0, PER_SLAB * slabs + 1)]
    assert [bench.put(1, objects[i * PER_SLAB]) for i in range(slabs)] == [FREE_NODE] * slabs
    assert [bench.put(1, address) for address in objects[1 : PER_SLAB - 1]] == [FREE_SLAB] * (PER_SLAB - 2)
    level, slab, emptied = bench.cache.free(1, objects[PER_SLAB - 1])
    assert (level, list(emptied), slab.place) == (FREE_NODE, [slab], LOOSE)
    assert bench.put(1, objects[2 * PER_SLAB - 1]) == FREE_SLAB
    assert bench.cache.statistics().num_slabs == slabs


def test_slabs_return_to_the_lists_of_their_own_node() -> None:
    """A CPU of another node fills its partial list with them, but they spill to where their memory is."""
    bench = Bench(node_of_cpu=(0, 1))
    objects = [address for address, _ in bench.take(0, PER_SLAB * 4)]
    for first in objects[::PER_SLAB]:
        bench.put(1, first)
    bench.cache.flush(1)
    bench.cache.validate()
    assert bench.take(1)[0][1] == GROW  # node 1 has no slabs
    assert [level for _, level in bench.take(0, 2)] == [OWN_SLAB, NODE_PARTIAL]


def test_wrong_frees_name_the_cache() -> None:
    """Double, interior and foreign frees, also of an object that waits on a CPU's freelist."""
    bench = Bench()
    (address, _), *_ = bench.take(0, 2)
    with pytest.raises(InteriorFree, match="1 bytes inside object 0 of a slab of cache big"):
        bench.put(0, address + 1)
    other = SlabLists("small", coal_geometry(64), bench.directory)
    other.add_slab(1000)
    (foreign,), _ = other.take(1)
    with pytest.raises(ForeignFree, match="cache small owns it"):
        bench.put(0, foreign)
    with pytest.raises(ForeignFree, match="no slab holds it"):
        bench.put(0, address_of(5000))
    with pytest.raises(ForeignFree, match="was given it, but cache big"):
        other.put([address])
    bench.put(0, address)
    with pytest.raises(DoubleFree, match="object 0 of a slab of cache big"):
        bench.put(1, address)


def test_the_limits_of_the_lists_follow_the_object_size() -> None:
    """Per-CPU slabs hold about 120, 52, 24 or 6 objects, half full; nodes keep 5 to 10 slabs."""
    sizes = (64, 256, 1024, 4096, 32_768)
    cuts = [slub_geometry(size, cpus=2) for size in sizes]
    assert [cpu_partial_slabs(cut) for cut in cuts] == [4, 7, 3, 2, 12]
    assert [min_partial_slabs(cut) for cut in cuts] == [5, 5, 5, 6, 7]


def test_the_numbers_of_slabinfo_count_what_a_cpu_keeps_as_active() -> None:
    """Free objects on the node's list are the only ones that do not count."""
    bench = Bench()
    objects = [address for address, _ in bench.take(0, PER_SLAB + 2)]
    bench.put(1, objects[0])
    assert bench.cache.statistics().active_objs == 2 * PER_SLAB
    bench.cache.flush(0)
    bench.cache.flush(1)
    row = bench.cache.statistics()
    assert (row.active_objs, row.num_objs, row.num_slabs, row.pagesperslab) == (PER_SLAB + 1, 16, 2, 8)


class SlubMachine(RuleBasedStateMachine):
    """Any mix of allocations and frees on four CPUs of two nodes."""

    @initialize(size=st.sampled_from([512, 1000, 4096, 20_000]), spill=st.booleans())
    def build(self, size: int, spill: bool) -> None:
        self.buddy = BuddyAllocator(0, 20_000, 10)
        self.start = self.buddy.free_blocks()
        self.directory: SlabDirectory = {}
        self.cache = SlubCache("any", slub_geometry(size, cpus=4), self.directory, (0, 0, 1, 1))
        if spill:
            self.cache.cpu_partial, self.cache.min_partial = 1, 1
        self.held: list[int] = []

    @rule(cpu=st.integers(0, 3), count=st.integers(1, 50))
    def alloc(self, cpu: int, count: int) -> None:
        for _ in range(count):
            address, level, _ = self.cache.alloc(cpu)
            if address is None:
                assert level == GROW
                block = self.buddy.alloc(self.cache.geometry.order)
                assert block
                self.cache.add_slab(cpu, block[0], self.cache.cpus[cpu].node)
                address, _, _ = self.cache.alloc(cpu)
            assert address is not None
            self.held.append(address)
        assert len(self.held) == len({*self.held})

    @precondition(lambda self: self.held)
    @rule(cpu=st.integers(0, 3), count=st.integers(1, 50), stride=st.integers(1, 7))
    def free(self, cpu: int, count: int, stride: int) -> None:
        leaving = self.held[::stride][:count]
        for address in leaving:
            self.held.remove(address)
            level, _, emptied = self.cache.free(cpu, address)
            assert level in (FREE_FAST, FREE_SLAB, FREE_TO_CPU, FREE_SPILL, FREE_NODE)
            self.give_back(emptied)

    @rule(cpu=st.integers(0, 3))
    def flush(self, cpu: int) -> None:
        self.give_back(self.cache.flush(cpu))

    @rule()
    def shrink(self) -> None:
        self.give_back([slab for node in range(2) for slab in self.cache.shrink(node)])

    def give_back(self, slabs: object) -> None:
        """Return the pages of empty slabs."""
        assert isinstance(slabs, list | tuple)
        for slab in slabs:
            assert slab.place in (LOOSE, ON_NODE)
            self.buddy.free(slab.pfn, slab.geometry.order)

    @invariant()
    def nothing_is_lost(self) -> None:
        self.cache.validate()
        row = self.cache.statistics()
        assert len(self.held) <= row.active_objs <= row.num_objs
        assert len(self.directory) == row.num_slabs * row.pagesperslab
        assert len(self.directory) == self.buddy.frames - self.buddy.free_frames

    def teardown(self) -> None:
        """Everything freed and drained ends coalesced to the initial state."""
        if hasattr(self, "cache"):
            for address in self.held:
                self.give_back(self.cache.free(0, address)[2])
            for cpu in range(4):
                self.give_back(self.cache.flush(cpu))
            self.give_back([slab for node in range(2) for slab in self.cache.shrink(node)])
            assert self.buddy.free_blocks() == self.start
            assert not self.directory


TestSlubMachine = SlubMachine.TestCase
TestSlubMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
