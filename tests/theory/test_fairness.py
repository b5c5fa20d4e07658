"""Who gets a saturated lock, how often, and what hand-overs over nodes cost.

Fairness index: Jain, Chiu, Hawe, "A quantitative measure of fairness", DEC TR-301,
1984.  Cohorts: Dice, Marathe, Shavit, "Lock cohorting", PPoPP 2012.
"""

from itertools import pairwise

import pytest
from closed_loop import UNIT, Measured, closed_loop, constant, exponential, jain, processors

from coalsim.locks.cna import CnaLock

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)


def saturated(policy: str, cpus: int, ops: int, seed: int = 1) -> Measured:
    """Nobody thinks; a line takes a hundredth of a hold to move."""
    machine = processors(
        cpus, transfer=lambda a, b: 1 if a == b else UNIT // 100, occupancy=lambda a, b: UNIT // 100
    )
    return closed_loop(policy, cpus, None, constant(1), ops, machine=machine, seed=seed)


def distances(order: list[int]) -> list[int]:
    """Hand-overs between one processor's acquisitions and its next ones, sorted."""
    last: dict[int, int] = {}
    found = []
    for number, cpu in enumerate(order):
        if cpu in last:
            found.append(number - last[cpu])
        last[cpu] = number
    return sorted(found)


def percentile(ordered: list[int], share: float) -> int:
    return ordered[int(share * len(ordered))]


def test_jains_index_has_the_published_values() -> None:
    """[3, 1, 1, 1] scores 0.75, one processor of four that gets everything 0.25."""
    assert jain([3, 1, 1, 1]) == pytest.approx(0.75)
    assert jain([4, 0, 0, 0]) == pytest.approx(0.25)


@pytest.mark.parametrize("policy", ["mcs", "qspinlock", "ticket", "cna"])
def test_first_come_first_served_is_exactly_fair(policy: str) -> None:
    """Each processor gets every N-th hold and waits for N - 1 holds, to the picosecond."""
    cpus = 16
    found = closed_loop(policy, cpus, None, constant(1), 3_200)
    settled = found.order[cpus:]
    assert set(distances(settled)) == {cpus}
    assert max(found.by_cpu) - min(found.by_cpu) <= 1
    assert jain(found.by_cpu) == pytest.approx(1.0, abs=1e-4)
    # A hold is S - 1 ps and the hand-over 1 ps; the own swap of 1 ps is spent while waiting.
    assert set(found.responses) == {(cpus * UNIT) / UNIT}


def check_random_order(cpus: int, ops: int, expected: tuple[int, int, int], tolerance: float) -> None:
    gaps = distances(saturated("tas", cpus, ops).order)
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(cpus, rel=tolerance / 2)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert variance == pytest.approx(cpus * (cpus - 1), rel=2 * tolerance)
    for share, value in zip((0.5, 0.99, 0.999), expected, strict=True):
        assert percentile(gaps, share) == pytest.approx(value, rel=tolerance, abs=1)


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize(("cpus", "expected"), [(4, (3, 17, 25)), (16, (11, 72, 108))])
def test_test_and_set_serves_in_random_order(cpus: int, expected: tuple[int, int, int]) -> None:
    """Hand-overs between own acquisitions are geometric: p50, p99 and p99.9 are known."""
    check_random_order(cpus, 30_000, expected, tolerance=0.08)


@pytest.mark.slow
def test_test_and_set_serves_64_processors_in_random_order() -> None:
    """The same at 64 processors: 45, 293 and 439."""
    check_random_order(64, 250_000, (45, 293, 439), tolerance=0.05)


def test_test_and_set_with_the_nearest_winner_stays_on_its_node() -> None:
    """While somebody of the holder's node waits, nobody of another node gets the lock."""
    near, far = UNIT // 100, UNIT // 10

    def cost(a: int, b: int) -> int:
        return 1 if a == b else near if a % 2 == b % 2 else far

    def crossings(winner: str) -> float:
        machine = processors(16, transfer=cost, occupancy=cost, nodes=2)
        order = closed_loop(
            "tas", 16, exponential(3), constant(1), 6_000, machine=machine, winner=winner
        ).order
        return sum(a % 2 != b % 2 for a, b in pairwise(order)) / (len(order) - 1)

    assert crossings("random") == pytest.approx(8 / 15, abs=0.05)  # 1 - (n - 1) / (m n - 1)
    assert crossings("nearest") < 0.05


class BatchOf100(CnaLock):
    """A hundred hand-overs of which one leaves the node."""

    batch = 100


@pytest.mark.parametrize(
    ("policy", "nodes", "per_node", "hold", "local", "remote", "batch", "service"),
    [
        (CnaLock, 2, 8, 200, 100, 300, 64, 303.125),
        (BatchOf100, 4, 18, 200, 100, 400, 100, 303.0),
        (BatchOf100, 4, 18, 100, 50, 400, 100, 153.5),
    ],
)
def test_the_numa_aware_lock_serves_cohorts(
    policy: type[CnaLock],
    nodes: int,
    per_node: int,
    hold: int,
    local: int,
    remote: int,
    batch: int,
    service: float,
) -> None:
    """A service takes s + ((B - 1) l + r) / B: one of B hand-overs leaves the node."""
    assert hold + ((batch - 1) * local + remote) / batch == pytest.approx(service)

    def cost(a: int, b: int) -> int:
        return 1 if a == b else (local if a % nodes == b % nodes else remote) * UNIT // 1000

    machine = processors(nodes * per_node, transfer=cost, nodes=nodes)
    found = closed_loop(
        policy,
        nodes * per_node,
        None,
        constant(hold / 1000),
        20_000,
        machine=machine,
        expected_rate=1000 / service,
    )
    assert 1000 / found.throughput == pytest.approx(service, rel=0.005)
    leaves = [number for number, (a, b) in enumerate(pairwise(found.order)) if a % nodes != b % nodes]
    settled = leaves[len(leaves) // 2 :]
    assert {later - earlier for earlier, later in pairwise(settled)} == {batch}


def test_the_queued_lock_serves_nodes_in_the_order_of_arrival() -> None:
    """First come, first served costs s + P(local) l + P(remote) r, with the order that came about."""
    hold, local, remote, nodes = 200, 100, 300, 2

    def cost(a: int, b: int) -> int:
        return 1 if a == b else (local if a % nodes == b % nodes else remote) * UNIT // 1000

    machine = processors(16, transfer=cost, nodes=nodes)
    found = closed_loop(
        "mcs", 16, exponential(0.5), constant(hold / 1000), 20_000, machine=machine, expected_rate=2.2
    )
    far = sum(a % nodes != b % nodes for a, b in pairwise(found.order)) / (len(found.order) - 1)
    assert 1000 / found.throughput == pytest.approx(hold + (1 - far) * local + far * remote, rel=0.005)
    assert far == pytest.approx(8 / 15, abs=0.1)
