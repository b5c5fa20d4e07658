"""What each spinning policy charges for a hand-over, and whom it chooses."""

from itertools import pairwise

import pytest
from lock_bench import at, plain_lock, plain_machine, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Lock
from coalsim.locks.cna import CnaLock
from coalsim.units import Time


def grants(
    policy: type[Lock] | str, arrivals: list[Time], hold: Time = 200, nodes: int = 1, **costs: object
) -> dict[int, Time]:
    """When each processor, arriving once, gets the lock; in the order of the grants."""
    env, cpus = plain_machine(len(arrivals), nodes=nodes)
    lock = plain_lock(policy, **costs)
    found: dict[int, Time] = {}

    def load(cpu: Cpu) -> Op[None]:
        yield from at(cpu, arrivals[cpu.id])

        def body(grant: Time) -> Time:
            found[cpu.id] = grant
            return hold

        yield from lock.section(cpu, body, hold, "once")

    play(env, [(cpu, load(cpu)) for cpu in cpus])
    assert len(found) == len(arrivals)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def test_a_late_ticket_slows_the_hand_over() -> None:
    """Litmus `ticket_late`: who arrives between the second arrival and the release is counted."""
    alone = grants("ticket", [0, 50])
    late = grants("ticket", [0, 50, 150])
    too_late = grants("ticket", [0, 50, 205])  # its swap ends after the release at 210
    assert alone == {0: 10, 1: 210 + 10}
    assert late == {0: 10, 1: 210 + 20, 2: 430 + 10}
    assert too_late == {0: 10, 1: 210 + 10, 2: 420 + 10}


@pytest.mark.parametrize("policy", ["mcs", "qspinlock", "cna"])
def test_a_queued_hand_over_is_one_transfer_whatever_the_queue(policy: str) -> None:
    """Ten waiters or one: release to grant takes 10."""
    found = grants(policy, [20 * cpu for cpu in range(11)])
    times = list(found.values())
    assert list(found) == list(range(11))
    assert [later - earlier for earlier, later in pairwise(times)] == [210] * 10


@pytest.mark.parametrize("policy", ["tas", "ticket"])
def test_an_unqueued_hand_over_grows_with_the_waiters(policy: str) -> None:
    """Half of the waiters' transfers come first; test-and-set pays the winner's on top."""
    times = list(grants(policy, [0, *range(30, 120, 30)], hold=500).values())
    own = 10 if policy == "tas" else 0
    waits = [later - earlier - 500 for earlier, later in pairwise(times)]
    assert waits == [3 * 20 // 2 + own, 2 * 20 // 2 + own, 1 * 20 // 2 + own]


def test_who_comes_while_the_release_is_under_way_takes_part_in_the_race() -> None:
    """The store of test-and-set's release needs 20 with two waiters, so a swap done by then may win."""
    winners = []
    for seed in range(40):
        env, cpus = plain_machine(4)
        lock = plain_lock("tas", name=f"tas{seed}")
        order: list[int] = []

        def load(cpu: Cpu, lock: Lock = lock, order: list[int] = order) -> Op[None]:
            yield from at(cpu, (0, 50, 100, 205)[cpu.id])

            def body(_: Time) -> Time:
                order.append(cpu.id)
                return 200

            yield from lock.section(cpu, body, 200, "once")

        play(env, [(cpu, load(cpu)) for cpu in cpus])
        assert len(order) == 4
        winners.append(order[1])
    assert sorted(set(winners)) == [1, 2, 3]


def test_spinners_on_copies_fetch_the_line_again_at_each_release() -> None:
    """Four spinners read and swap in turn, so the next holder has to wait for the others' reads."""
    few, many = (grants("ttas", [0] + [30] * waiters, hold=2000) for waiters in (1, 4))
    first_few, first_many = list(few.values())[1], list(many.values())[1]
    released = next(iter(many.values())) + 2000
    assert first_few > released
    assert first_many - released >= 4 * 20  # four reads come before the first swap
    assert first_many > first_few


def test_backing_off_takes_pauses() -> None:
    """A waiter that pauses for long finds the lock later, and that is its waiting."""
    short = grants("ttas", [0, 30], hold=100, pause=1)
    long = grants("ttas", [0, 30], hold=100, pause=5000)
    assert long[1] > short[1] + 4000


class Batch4(CnaLock):
    batch = 4


def test_the_numa_aware_lock_passes_over_other_nodes_and_comes_back() -> None:
    """Even processors are node 0: they go first, but every fourth hand-over at the latest leaves."""
    order = list(grants(Batch4, [0, *range(20, 220, 20)], hold=5000, nodes=2))
    assert order == [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 9]


def test_the_numa_aware_lock_is_first_come_first_served_on_one_node() -> None:
    """Nobody is passed over where all are near."""
    assert list(grants("cna", [0, *range(20, 220, 20)], hold=5000)) == list(range(11))


@pytest.mark.parametrize("policy", ["tas", "ttas", "ticket", "mcs", "qspinlock", "cna", "seqlock"])
def test_spinning_counts_as_waiting_and_sleeping_does_not_happen(policy: str) -> None:
    """A waiter's time is the lock's from its arrival to the grant, and its processor never idles."""
    env, cpus = plain_machine(2)
    lock = plain_lock(policy)
    seen: dict[str, Time] = {}

    def load(cpu: Cpu) -> Op[None]:
        yield from at(cpu, 20 * cpu.id)
        yield from lock.section(cpu, lambda _: 1000, 1000, "once")
        yield from cpu.sync()
        if cpu.id == 1:
            seen.update(cpu.spent)

    play(env, [(cpu, load(cpu)) for cpu in cpus])
    row = lock.stat.row()
    assert "idle" not in seen
    assert seen["lock:zone:wait"] + seen.get("lock:zone:hand-over", 0) == row.waittime_total
    assert row.waittime_total >= 900
    assert row.holders == (("once", 1),)


@pytest.mark.parametrize(("policy", "passing"), [("tas", 10 + 10), ("ticket", 10), ("mcs", 10), ("cna", 10)])
def test_the_hand_over_is_told_apart_from_the_rest_of_the_wait(policy: str, passing: Time) -> None:
    """The time from release to grant is a cause of its own."""
    env, cpus = plain_machine(2)
    lock = plain_lock(policy)

    def load(cpu: Cpu) -> Op[None]:
        yield from at(cpu, 20 * cpu.id)
        yield from lock.section(cpu, lambda _: 1000, 1000, "once")

    play(env, [(cpu, load(cpu)) for cpu in cpus])
    assert cpus[1].spent["lock:zone:hand-over"] == passing
    assert cpus[1].spent["lock:zone:wait"] == 10 + 1000 - 30
