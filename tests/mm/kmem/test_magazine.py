"""Magazines and depots: exact rates, bounds, resizing, reaping."""

from collections.abc import Callable, Iterable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coalsim.mm.kmem.magazine import CpuCache, Depot, Magazine
from coalsim.mm.kmem.magazine_types import fixed_type, illumos_types

ALLOC, FREE = True, False


class Bench:
    """A CPU in front of a depot that never runs out, counting the visits."""

    def __init__(self, rounds: int, loaded: int = 0, previous: int = 0) -> None:
        self.rounds = rounds
        self.cpu = CpuCache()
        self.cpu.loaded, self.cpu.previous = Magazine(rounds, [0] * loaded), Magazine(rounds, [0] * previous)
        self.cpu.validate()
        self.visits = 0

    def step(self, operation: bool) -> None:
        """Allocate or free one object."""
        cpu = self.cpu
        if operation is ALLOC:
            if cpu.alloc() is None:
                self.visits += 1
                cpu.load_full(Magazine(self.rounds, [0] * self.rounds))
                assert cpu.alloc() is not None
        elif not cpu.free(0):
            self.visits += 1
            cpu.load_empty(Magazine(self.rounds))
            assert cpu.free(0)
        cpu.validate()

    def run(self, operations: Iterable[bool]) -> int:
        """Do them all; answers the visits since the start."""
        for operation in operations:
            self.step(operation)
        return self.visits

    @property
    def state(self) -> tuple[int, int]:
        """Rounds in the loaded and the previous magazine."""
        return len(self.cpu.loaded.rounds), len(self.cpu.previous.rounds)


def visits_per_operation(rounds: int) -> float:
    """Depot visits per operation of a symmetric random walk, exactly.

    All states that the two magazines reach are found by trying both operations on
    each, and the stationary law of the resulting chain is solved.
    """
    states = [(0, rounds)]
    steps: list[tuple[int, int, int]] = []  # from, to, visits
    for state in states:  # grows while we walk it
        for operation in (ALLOC, FREE):
            bench = Bench(rounds, *state)
            visits = bench.run([operation])
            if bench.state not in states:
                states.append(bench.state)
            steps.append((states.index(state), states.index(bench.state), visits))
    chain, visited = np.zeros((len(states), len(states))), np.zeros(len(states))
    for origin, target, visits in steps:
        chain[origin, target] += 0.5
        visited[origin] += 0.5 * visits
    balance = np.vstack([chain.T - np.eye(len(states)), np.ones(len(states))])
    law = np.linalg.lstsq(balance, np.array([0.0] * len(states) + [1.0]), rcond=None)[0]
    return float(law @ visited)


@pytest.mark.parametrize(
    ("rounds", "rate"),
    [(1, 0.333333), (3, 0.0666667), (7, 0.0158730), (15, 0.00392157), (32, 0.000919118), (63, 0.000244200)],
)
def test_a_random_walk_visits_the_depot_once_in_m_times_m_plus_two(rounds: int, rate: float) -> None:
    """1 / (M (M + 2)) visits per operation, to six digits (one magazine alone would visit 1 / 2M)."""
    assert 1 / (rounds * (rounds + 2)) == pytest.approx(rate, rel=1e-5)
    assert visits_per_operation(rounds) == pytest.approx(rate, rel=1e-5)


def test_a_long_random_walk_agrees_with_the_closed_form() -> None:
    """100,000 operations with M = 7 visit the depot within 6 % of the expected number of times."""
    random = Random(4)
    visits = Bench(7).run(random.random() < 0.5 for _ in range(100_000))
    assert visits / 100_000 == pytest.approx(0.0158730, rel=0.06)


@pytest.mark.parametrize("rounds", [1, 3, 15, 63])
def test_two_allocs_and_two_frees_at_the_boundary_do_not_thrash(rounds: int) -> None:
    """Alloc, alloc, free, free with one round loaded: one first reload, then never again."""
    bench = Bench(rounds, loaded=1)
    assert bench.run([ALLOC, ALLOC, FREE, FREE]) == 1
    assert bench.run([ALLOC, ALLOC, FREE, FREE] * 100) == 1


@pytest.mark.parametrize("rounds", [1, 15, 63])
def test_producer_and_consumer_visit_the_depot_once_per_magazine(rounds: int) -> None:
    """A CPU that only allocates, and one that only frees, visit once per M operations: 2/M per object."""
    assert Bench(rounds).run([ALLOC] * rounds * 20) == 20
    assert Bench(rounds, rounds, rounds).run([FREE] * rounds * 20) == 20


@pytest.mark.parametrize(
    ("rounds", "visits"),
    [
        (15, {1: 0, 10: 0, 15: 0, 32: 2, 50: 4, 100: 10, 1000: 130}),
        (32, {1: 0, 10: 0, 15: 0, 32: 0, 50: 0, 100: 4, 1000: 60}),
        (63, {1: 0, 10: 0, 15: 0, 32: 0, 50: 0, 100: 0, 1000: 28}),
    ],
)
def test_bursts_visit_the_depot_by_what_exceeds_two_magazines(rounds: int, visits: dict[int, int]) -> None:
    """B allocs then B frees, steady state: 2 ceil((B - 2M) / M) visits per cycle, none up to 2M."""
    for burst, expected in visits.items():
        bench = Bench(rounds)
        cycle = [ALLOC] * burst + [FREE] * burst
        bench.run(cycle * 3)
        before = bench.visits
        assert bench.run(cycle * 5) - before == 5 * expected, f"bursts of {burst}"


@settings(deadline=None)
@given(rounds=st.integers(1, 9), operations=st.lists(st.booleans(), max_size=200), full=st.booleans())
def test_no_load_visits_the_depot_more_than_once_in_m(
    rounds: int, operations: list[bool], full: bool
) -> None:
    """Whatever the load, visits are at most 1 + operations / M."""
    bench = Bench(rounds, rounds * full, rounds)
    assert bench.run(operations) <= 1 + len(operations) / rounds


def test_a_cpu_without_magazines_asks_the_depot_and_gives_none_back() -> None:
    """The first exchanges bring magazines in; missing ones are not handed to the depot."""
    cpu, depot = CpuCache(), Depot(64, fixed_type(2))
    assert cpu.alloc() is None
    assert not cpu.free(8)
    assert depot.take_full() is depot.take_empty() is None
    assert cpu.load_empty(depot.new_magazine()) is None
    assert [cpu.free(address) for address in (8, 16, 24)] == [True, True, False]
    assert cpu.load_empty(depot.new_magazine()) is None
    assert [cpu.free(address) for address in (24, 32, 40)] == [True, True, False]
    spent = cpu.load_empty(depot.new_magazine())
    assert spent
    assert spent.rounds == [8, 16]
    assert depot.put_full(spent)
    assert (cpu.rounds, cpu.exchanges) == (2, 0)
    assert [magazine.rounds for magazine in cpu.unload()] == [[], [24, 32]]
    assert cpu.rounds == 0


def test_magazine_types_are_the_published_table() -> None:
    """Rounds, where a cache begins by its object size, and how far it may grow."""
    types = illumos_types()
    assert [row.rounds for row in types.rows] == [1, 3, 7, 15, 31, 47, 63, 95, 143]
    assert [types.rows[types.initial(size)].rounds for size in (8, 64, 65, 256, 257, 3200, 3201)] == [
        15, 15, 7, 7, 3, 3, 1,
    ]  # fmt: skip
    assert types.tolerated_failed_tries == 3


@pytest.mark.parametrize(("size", "largest"), [(64, 143), (512, 95), (1024, 63), (2000, 63), (70_000, 1)])
def test_a_contended_depot_grows_to_its_bound(size: int, largest: int) -> None:
    """More than three failed tries per interval step to the next type while objects are small enough."""
    depot = Depot(size, illumos_types())
    for _ in range(12):
        before = depot.rounds
        for _ in range(3):
            depot.note_failed_try()
        assert depot.update() == []
        assert depot.rounds == before  # three are tolerated
        for _ in range(4):
            depot.note_failed_try()
        depot.update()
    assert depot.rounds == largest


def test_magazines_of_an_old_size_end_at_the_depot() -> None:
    """A resize retires the depot's own magazines at once and a CPU's when they come to it."""
    depot = Depot(64, illumos_types())
    old_full, old_empty = Magazine(15, list(range(15))), Magazine(15)
    assert depot.put_full(Magazine(15, list(range(15))))
    assert depot.put_empty(Magazine(15))
    for _ in range(4):
        depot.note_failed_try()
    assert [len(magazine.rounds) for magazine in depot.update()] == [15, 0]
    assert depot.new_magazine().capacity == 31
    assert not depot.put_full(old_full)
    assert not depot.put_empty(old_empty)
    statistics = depot.statistics()
    assert (statistics.full, statistics.empty, statistics.rounds, statistics.failed_tries) == (0, 0, 31, 4)


def test_reaping_gives_up_what_nobody_needed_for_a_whole_interval() -> None:
    """The working set's minimum: magazines that stayed on their list from update to update."""
    depot = Depot(64, fixed_type(1))
    for address in range(10):
        depot.put_full(Magazine(1, [address]))
    assert depot.reap() == []
    depot.update()
    taken = [depot.take_full() for _ in range(4)]
    for magazine in taken:
        assert magazine
        depot.put_full(magazine)
    depot.update()
    assert len(depot.reap()) == 6  # four were needed in the interval
    assert depot.reap() == []
    depot.update()
    depot.update()
    assert len(depot.reap()) == 4
    depot.validate()


class MagazineMachine(RuleBasedStateMachine):
    """Two CPUs, one depot, resizes and reaping: every object is somewhere, once."""

    @initialize(size=st.sampled_from([64, 512, 4000]))
    def build(self, size: int) -> None:
        self.depot = Depot(size, illumos_types())
        self.cpus = [CpuCache(), CpuCache()]
        self.slabs = list(range(400))  # objects that no magazine and no user holds
        self.held: list[int] = []

    def keep(self, spent: Magazine | None, put: Callable[[Magazine], bool]) -> None:
        """Give a magazine to the depot, or its rounds to the slabs."""
        if spent and not put(spent):
            self.slabs += spent.rounds

    @rule(which=st.integers(0, 1), count=st.integers(1, 60))
    def alloc(self, which: int, count: int) -> None:
        cpu = self.cpus[which]
        for _ in range(count):
            address = cpu.alloc()
            if address is None and (full := self.depot.take_full()):
                self.keep(cpu.load_full(full), self.depot.put_empty)
                address = cpu.alloc()
                assert address is not None
            if address is None and self.slabs:
                address = self.slabs.pop()
            if address is not None:
                self.held.append(address)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 1), count=st.integers(1, 60))
    def free(self, which: int, count: int) -> None:
        cpu = self.cpus[which]
        for _ in range(min(count, len(self.held))):
            address = self.held.pop(0)
            if not cpu.free(address):
                empty = self.depot.take_empty() or self.depot.new_magazine()
                self.keep(cpu.load_empty(empty), self.depot.put_full)
                assert cpu.free(address)

    @rule(tries=st.integers(0, 6))
    def interval(self, tries: int) -> None:
        for _ in range(tries):
            self.depot.note_failed_try()
        for magazine in [*self.depot.update(), *self.depot.reap()]:
            self.slabs += magazine.rounds

    @rule(which=st.integers(0, 1))
    def unload(self, which: int) -> None:
        for magazine in self.cpus[which].unload():
            self.slabs += magazine.rounds

    @invariant()
    def every_object_is_somewhere_once(self) -> None:
        self.depot.validate()
        cached = [address for magazine in self.depot.full for address in magazine.rounds]
        for cpu in self.cpus:
            cpu.validate()
            cached += [*cpu.loaded.rounds, *cpu.previous.rounds]
        assert sorted([*self.slabs, *self.held, *cached]) == list(range(400))


TestMagazineMachine = MagazineMachine.TestCase
TestMagazineMachine.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
