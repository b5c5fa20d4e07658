"""Identities that hold in every run, without statistics.

Little's law after Little, "A proof for the queuing formula L = lambda W",
Operations Research 9(3), 1961.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from lock_bench import plain_lock, plain_machine, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Shot
from coalsim.engine.streams import Streams
from coalsim.locks.base import Lock
from coalsim.units import Time

pytestmark = pytest.mark.fast_one_in(2, in_turn=True)

SPINNING = ["tas", "ttas", "ticket", "mcs", "qspinlock", "cna", "seqlock"]
EXCLUDING = [*SPINNING, "mutex", "rwsem"]
OPS = 30


@dataclass
class Played:
    """A finite run: it begins and ends with nobody waiting."""

    env: Engine
    cpus: list[Cpu]
    lock: Lock
    spans: list[tuple[Time, Time, Time, Time]] = field(default_factory=list)  # asked, grant, hold, released
    spent: dict[str, Time] = field(default_factory=dict)  # by all processors, up to their last operation


def finite(
    policy: str,
    *,
    seed: int = 1,
    ticks: Time = 0,
    by_hand: bool = False,
    interrupts: bool = False,
    watch: Callable[[Lock, list[Cpu]], None] | None = None,
) -> Played:
    """Five processors do 30 sections each, on a grid of 10 ps."""
    env, cpus = plain_machine(5, nodes=2, ticks=ticks)
    for cpu in cpus:
        cpu.tick_cost = 30
    lock = plain_lock(policy, taking=10, releasing=10, pause=10, wake_up=50, wake_latency=40)
    played = Played(env, cpus, lock)
    if watch is not None:
        for time in range(1, 60_000, 7):
            env.declare_barrier(time, lambda: watch(lock, cpus))

    def load(cpu: Cpu) -> Op[None]:
        draw = Streams(seed).stream("load", cpu.id).random
        for _ in range(OPS):
            cpu.charge(10 * int(draw() * 30), "user")
            hold = 10 * int(draw() * 30)
            if interrupts:
                yield from interrupt(cpu)
            if by_hand:
                yield from lock.acquire(cpu, "by hand")
                cpu.charge(hold, lock.hold_cause)
                yield from lock.release(cpu)
                continue

            def body(granted: Time, hold: Time = hold) -> Time:
                nonlocal grant
                grant = granted
                return hold

            grant = 0
            asked, released = yield from lock.section(cpu, body, hold, f"site {cpu.id % 2}")
            played.spans.append((asked, grant, hold, released))
        yield from cpu.sync()
        for cause, amount in cpu.spent.items():
            played.spent[cause] = played.spent.get(cause, 0) + amount

    def interrupt(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        target = cpus[(cpu.id + 1) % len(cpus)]
        shot = Shot[Cpu](None, cpu.clock, 1, 70, lambda _: None, lambda _: 1)
        cpu.send([(cpu.clock + 800, target)], shot)

    play(env, [(cpu, load(cpu)) for cpu in cpus], until=2_000_000)
    return played


@pytest.mark.parametrize("policy", EXCLUDING)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_holds_never_overlap(policy: str, seed: int) -> None:
    """Mutual exclusion: each grant comes after the end of the hold before."""
    played = finite(policy, seed=seed)
    by_grant = sorted(played.spans, key=lambda span: span[1])
    for (_, grant, hold, _), (_, later, _, _) in pairwise(by_grant):
        assert later >= grant + hold + 10


@pytest.mark.parametrize("policy", EXCLUDING)
def test_columns_agree_with_the_operations(policy: str) -> None:
    """Acquisitions, contentions, sums, minima, maxima and call sites are those of the sections."""
    played = finite(policy)
    row = played.lock.stat.row()
    assert row.acquisitions == len(played.spans) == 5 * OPS
    assert 0 < row.contentions <= row.acquisitions
    assert row.con_bounces <= row.contentions
    assert row.acq_bounces <= row.acquisitions
    assert row.waittime_min <= row.waittime_total / row.contentions <= row.waittime_max
    assert row.holdtime_min <= row.holdtime_total / row.acquisitions <= row.holdtime_max
    assert sum(site.contentions for site in row.waiters) == row.contentions
    assert sum(site.wait_total for site in row.waiters) == row.waittime_total
    assert sum(count for _, count in row.holders) == row.contentions
    assert row.stolen == 0
    if policy in SPINNING and policy != "seqlock":
        assert row.holdtime_total == sum(hold + 20 for _, _, hold, _ in played.spans)


@pytest.mark.parametrize("policy", SPINNING)
def test_littles_law_is_exact(policy: str) -> None:
    """The time integral of the number that wants the lock is the sum of their times until the grant."""
    env, cpus = plain_machine(5, nodes=2)
    lock = plain_lock(policy, pause=10)
    until_grant = 0
    integral = 0
    grid = 10

    def load(cpu: Cpu) -> Op[None]:
        nonlocal until_grant
        draw = Streams(5).stream("load", cpu.id).random
        for _ in range(10):
            cpu.charge(grid * int(draw() * 20), "user")
            yield from cpu.sync()
            asked = cpu.clock
            yield from lock.acquire(cpu, "loop")
            until_grant += lock.granted_at - asked
            cpu.charge(grid * int(draw() * 20), "inside")
            yield from lock.release(cpu)

    def sample() -> None:
        nonlocal integral
        integral += sum(cpu.blocked_on is lock for cpu in cpus)

    for time in range(1, 16_000):  # the slowest one is through at 15,000
        env.declare_barrier(time, sample)
    play(env, [(cpu, load(cpu)) for cpu in cpus], until=16_000)
    assert lock.stat.row().acquisitions == 50
    assert integral == until_grant > 0


@pytest.mark.parametrize("policy", SPINNING)
def test_processor_time_and_lock_time_agree(policy: str) -> None:
    """Without handlers, what processors spent on the lock is its waits and holds, to the picosecond."""
    played = finite(policy)
    row, spent = played.lock.stat.row(), played.spent
    assert row.waittime_total == spent["lock:zone:wait"] + spent.get("lock:zone:hand-over", 0)
    assert row.holdtime_total == spent["lock:zone:hold"]
    assert sum(released - asked for asked, _, _, released in played.spans) == (
        spent["line:zone"] + row.waittime_total + row.holdtime_total
    )


@pytest.mark.parametrize("policy", SPINNING)
@pytest.mark.parametrize("interrupts", [False, True], ids=["ticks", "ticks and interrupts"])
def test_lock_time_less_stolen_time_is_processor_time(policy: str, interrupts: bool) -> None:
    """With interrupts on, handlers run inside waits and holds; `stolen` is exactly their share."""
    played = finite(policy, ticks=700, by_hand=True, interrupts=interrupts)
    row, spent = played.lock.stat.row(), played.spent
    on_the_lock = sum(spent.get(f"lock:zone:{part}", 0) for part in ("wait", "hand-over", "hold"))
    assert row.stolen > 0
    assert row.waittime_total + row.holdtime_total - row.stolen == on_the_lock


@pytest.mark.parametrize("outer", ["mutex", "rwsem"])
def test_sleeping_time_is_idle_time_and_not_the_processors(outer: str) -> None:
    """Waittime of locks that sleep is spinning plus the idle time of the processors that slept."""
    env, cpus = plain_machine(5)
    first = plain_lock(outer, name="outer", rank=1, wake_up=50, wake_latency=40)
    second = plain_lock("rwsem", name="inner", rank=2, wake_up=50, wake_latency=40)
    spent: dict[str, Time] = {}

    def load(cpu: Cpu) -> Op[None]:
        draw = Streams(2).stream("load", cpu.id).random
        for _ in range(OPS):
            cpu.charge(10 * int(draw() * 30), "user")
            hold = 10 * int(draw() * 30)
            if draw() < 0.5:
                yield from second.read_section(cpu, lambda _, h=hold: h, hold, "reader")
                continue
            yield from first.acquire(cpu, "writer")
            yield from second.section(cpu, lambda _, h=hold: h, hold, "writer")
            yield from first.release(cpu)
        yield from cpu.sync()
        for cause, amount in cpu.spent.items():
            spent[cause] = spent.get(cause, 0) + amount

    play(env, [(cpu, load(cpu)) for cpu in cpus])
    waits = sum(row.waittime_total for lock in (first, second) for row in lock.lock_class.rows())
    spun = sum(
        spent.get(f"lock:{name}:{part}", 0) for name in ("outer", "inner") for part in ("wait", "hand-over")
    )
    assert spent["idle"] > 0
    assert spun > 0
    assert waits == spun + spent["idle"]
    readers, writers = second.lock_class.rows()
    assert readers.acquisitions + writers.acquisitions == 5 * OPS
    assert spent["lock:inner:hold"] == readers.holdtime_total + writers.holdtime_total


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("policy", EXCLUDING)
def test_no_waiter_is_ever_lost(policy: str) -> None:
    """While somebody spins, the lock has a holder, or passes on, or lets one of the waiters in."""
    spinning = 0

    def watch(lock: Lock, cpus: list[Cpu]) -> None:
        nonlocal spinning
        waiting = [cpu for cpu in cpus if cpu.blocked_on is lock]
        spinning += len(waiting)
        if waiting and not lock.blockers() and not lock.is_passing_on:
            assert any(cpu.alarm.armed for cpu in waiting)

    finite(policy, ticks=700, by_hand=True, interrupts=True, watch=watch)
    assert spinning > 1000
