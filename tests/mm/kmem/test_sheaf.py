"""Sheaves and barns: capacities, limits, and that no object is lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coalsim.mm.kmem.magazine import Magazine
from coalsim.mm.kmem.sheaf import MAX_FULL, Barn, CpuSheaves, sheaf_capacity


@pytest.mark.parametrize(
    ("size", "capacity"), [(8, 60), (255, 60), (256, 28), (1023, 28), (1024, 12), (4095, 12), (4096, 4)]
)
def test_large_objects_come_in_small_sheaves(size: int, capacity: int) -> None:
    """60, 28, 12 or 4 objects: the sheaf with its header fills a kmalloc class exactly."""
    assert sheaf_capacity(size) == capacity
    assert 32 + 8 * capacity in (512, 256, 128, 64)


def filled(capacity: int) -> Magazine:
    """A full sheaf."""
    return Magazine(capacity, [0] * capacity)


def test_the_spare_sheaf_saves_the_barn_s_lock_at_the_boundary() -> None:
    """A CPU that swings between empty and full stays on its two sheaves."""
    cpu = CpuSheaves(2)
    assert cpu.alloc() is None
    cpu.install_full(filled(2))  # the empty main sheaf became the spare
    for _ in range(3):
        assert [cpu.alloc() for _ in range(2)] == [0, 0]
        assert [cpu.free(0) for _ in range(4)] == [True] * 4
        assert not cpu.free(0)
        assert [cpu.alloc() for _ in range(2)] == [0, 0]
    assert cpu.swaps == 5


def test_a_barn_has_room_for_ten_full_sheaves() -> None:
    """The eleventh full sheaf is not exchanged; a full one leaves its place to an empty one."""
    barn = Barn(2)
    room = []
    for _ in range(MAX_FULL):
        room.append(barn.has_room)
        barn.put_full(filled(2))
    assert room == [True] * MAX_FULL
    assert not barn.has_room
    assert barn.replace_empty(Magazine(2)) is not None
    barn.put_full(filled(2))
    assert barn.replace_full(filled(2)) is None  # an empty one is there, but no room
    assert barn.replace_empty(Magazine(2)) is not None
    statistics = barn.statistics()
    assert (statistics.full, statistics.empty, statistics.capacity) == (MAX_FULL - 1, 2, 2)
    assert barn.replace_full(filled(2)) is not None
    assert len(barn.unload()) == MAX_FULL
    assert barn.replace_empty(Magazine(2)) is barn.take_empty() is None
    assert barn.replace_full(filled(2)) is None  # no empty one
    barn.validate()


class SheafMachine(RuleBasedStateMachine):
    """Two CPUs and a barn, driven as the kernel drives them: every object is somewhere, once."""

    @initialize(capacity=st.integers(1, 6))
    def build(self, capacity: int) -> None:
        self.barn = Barn(capacity)
        self.cpus = [CpuSheaves(capacity), CpuSheaves(capacity)]
        self.objects = 40 * capacity
        self.slabs = list(range(self.objects))
        self.held: list[int] = []
        self.refills = 0

    @rule(which=st.integers(0, 1), count=st.integers(1, 60))
    def alloc(self, which: int, count: int) -> None:
        cpu, barn = self.cpus[which], self.barn
        for _ in range(count):
            address = cpu.alloc()
            if address is None:
                full = barn.replace_empty(cpu.main)
                if full:
                    cpu.main = full
                elif self.slabs:
                    sheaf = cpu.take_spare() or barn.take_empty() or barn.new_sheaf()
                    assert not sheaf.rounds
                    sheaf.rounds += self.slabs[: sheaf.capacity]
                    del self.slabs[: sheaf.capacity]
                    self.refills += 1
                    cpu.install_full(sheaf)
                address = cpu.alloc()
            if address is not None:
                self.held.append(address)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 1), count=st.integers(1, 60))
    def free(self, which: int, count: int) -> None:
        cpu, barn = self.cpus[which], self.barn
        for _ in range(min(count, len(self.held))):
            address = self.held.pop(0)
            if cpu.free(address):
                continue
            empty = None
            if cpu.spare is None:
                empty = barn.take_empty() or barn.new_sheaf()
            elif not barn.has_room:
                empty = cpu.take_spare()
                assert empty
                self.slabs += empty.rounds
                empty.rounds.clear()
            else:
                swapped = barn.replace_full(cpu.main)
                if swapped:
                    cpu.main = swapped
                else:
                    empty = barn.new_sheaf()
            if empty:
                left = cpu.install_empty(empty)
                if left:
                    assert barn.has_room
                    barn.put_full(left)
            assert cpu.free(address)

    @rule(which=st.integers(0, 1))
    def drain(self, which: int) -> None:
        for sheaf in [*self.cpus[which].unload(), *self.barn.unload()]:
            self.slabs += sheaf.rounds

    @invariant()
    def every_object_is_somewhere_once(self) -> None:
        self.barn.validate()
        cached = [address for sheaf in self.barn.full for address in sheaf.rounds]
        for cpu in self.cpus:
            cached += [*cpu.main.rounds, *(cpu.spare.rounds if cpu.spare else ())]
        assert sorted([*self.slabs, *self.held, *cached]) == list(range(self.objects))


TestSheafMachine = SheafMachine.TestCase
TestSheafMachine.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
