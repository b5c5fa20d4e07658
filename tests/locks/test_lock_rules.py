"""Broken locking rules and deadlocks are reported with everything needed to mend them."""

import pytest
from lock_bench import at, plain_lock, plain_machine, play

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import report_stuck
from coalsim.engine.clock import Op
from coalsim.errors import DeadlockError, LockMisuse
from coalsim.locks.base import Lock, SpinLock, Ticket
from coalsim.locks.lockdep import UNRANKED, note_waiting_for_answers
from coalsim.locks.registry import LOCKS

EXCLUDING = [name for name, policy in LOCKS.items() if policy.excludes]
SPINNING = [name for name in EXCLUDING if not LOCKS[name].sleeps]


def nested(first: Lock, second: Lock, cpu: Cpu, start: int = 0) -> Op[None]:
    yield from at(cpu, start)
    yield from first.acquire(cpu, f"first of {cpu.id}")
    yield from at(cpu, start + 100)
    yield from second.acquire(cpu, f"second of {cpu.id}")
    yield from second.release(cpu)
    yield from first.release(cpu)


@pytest.mark.parametrize("policy", EXCLUDING)
def test_taking_a_lock_twice_is_reported_with_both_sites(policy: str) -> None:
    """The second acquisition can never succeed."""
    env, cpus = plain_machine(1)
    lock = plain_lock(policy)
    with pytest.raises(LockMisuse, match="takes zone twice: at second of 0, holding it since first of 0"):
        play(env, [(cpus[0], nested(lock, lock, cpus[0]))])


@pytest.mark.parametrize("policy", EXCLUDING)
def test_locks_out_of_order_are_reported_with_both_sites(policy: str) -> None:
    """Rank 2 is held when rank 1 is asked for, though nobody is in the way this time."""
    env, cpus = plain_machine(1)
    inner, outer = plain_lock(policy, name="inner", rank=2), plain_lock(policy, name="outer", rank=1)
    with pytest.raises(LockMisuse, match=r"outer \(rank 1\) at second of 0 .*inner \(rank 2\) since first"):
        play(env, [(cpus[0], nested(inner, outer, cpus[0]))])


@pytest.mark.parametrize("policy", ["mutex", "rwsem"])
@pytest.mark.parametrize("spinning", SPINNING)
def test_sleeping_under_a_spinlock_is_reported_with_both_sites(policy: str, spinning: str) -> None:
    """Even where the sleeping lock is free: it might not be."""
    env, cpus = plain_machine(1)
    spin, sleep = plain_lock(spinning, name="spin", rank=1), plain_lock(policy, name="sleep", rank=2)
    with pytest.raises(LockMisuse, match="sleep for sleep at second of 0 under spin taken at first of 0"):
        play(env, [(cpus[0], nested(spin, sleep, cpus[0]))])


@pytest.mark.parametrize("policy", ["mutex", "rwsem"])
def test_sleeping_with_interrupts_off_is_reported(policy: str) -> None:
    """A processor that sleeps so would be deaf for ever."""
    env, cpus = plain_machine(1)
    lock = plain_lock(policy)

    def load() -> Op[None]:
        yield from cpus[0].irq_off()
        yield from lock.acquire(cpus[0], "deaf")

    with pytest.raises(LockMisuse, match="CPU 0 sleeps at deaf with interrupts off"):
        play(env, [(cpus[0], load())])


@pytest.mark.parametrize("policy", LOCKS)
def test_releasing_a_lock_that_is_not_held_is_reported(policy: str) -> None:
    """Only the holder may release."""
    env, cpus = plain_machine(1)
    lock = plain_lock(policy)
    with pytest.raises(LockMisuse, match="zone"):
        play(env, [(cpus[0], lock.release(cpus[0]))])


def test_a_lock_held_for_answers_may_not_be_taken_with_interrupts_off() -> None:
    """Whoever spins for it so cannot answer the processor that holds it."""
    env, cpus = plain_machine(1)
    lock = plain_lock("mcs")

    def load(cpu: Cpu) -> Op[None]:
        yield from lock.acquire(cpu, "held while waiting")
        note_waiting_for_answers(cpu, "flush")
        yield from lock.release(cpu)
        yield from lock.section(cpu, lambda _: 10, 10, "deaf section")

    with pytest.raises(LockMisuse, match=r"held at flush .* interrupts off at deaf section"):
        play(env, [(cpus[0], load(cpus[0]))])


@pytest.mark.parametrize("policy", EXCLUDING)
def test_opposite_orders_without_ranks_end_in_a_deadlock_report(policy: str) -> None:
    """Both processors, both locks and both holders are named when the circle closes."""
    env, cpus = plain_machine(2)
    a = plain_lock(policy, name="a", rank=UNRANKED)
    b = plain_lock(policy, name="b", rank=UNRANKED)
    with pytest.raises(DeadlockError) as caught:
        play(env, [(cpus[0], nested(a, b, cpus[0])), (cpus[1], nested(b, a, cpus[1], start=5))])
    text = str(caught.value)
    who = ("thread t0", "thread t1") if LOCKS[policy].sleeps else ("CPU 0", "CPU 1")
    for fact in (*who, "a (held by", "b (held by", "since first of 0", "since first of 1"):
        assert fact in text


def test_a_circle_over_a_mutex_and_a_parked_thread_is_found() -> None:
    """Threads that sleep are agents too: here both sleep, because others want their processors."""
    env, cpus = plain_machine(2)
    a, b = (plain_lock("mutex", name=name, rank=UNRANKED) for name in "ab")

    def work(cpu: Cpu) -> Op[None]:
        cpu.charge(10, "other work")
        yield from cpu.sync()

    with pytest.raises(
        DeadlockError, match=r"thread t0 waits for mutex b .held by thread t2 since first of 1"
    ):
        play(
            env,
            [
                (cpus[0], nested(a, b, cpus[0])),
                (cpus[0], work(cpus[0])),
                (cpus[1], nested(b, a, cpus[1], start=5)),
                (cpus[1], work(cpus[1])),
            ],
        )


class Forgetful(SpinLock):
    """A user's lock that never passes on."""

    def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        yield from self.swap(cpu, ticket)
        if self.last >= 0 or self.holder is not None:
            yield from self.spin(cpu, ticket)

    def leave(self, cpu: Cpu) -> Op[None]:
        yield from ()


def test_a_lock_that_is_never_passed_on_says_so() -> None:
    """Nothing happens any more; the report names who waits, for which lock, and that nobody has it."""
    env, cpus = plain_machine(2)
    lock = plain_lock(Forgetful, name="mine")
    during: list[str] = []
    env.declare_barrier(100, lambda: during.extend(report_stuck(cpus)))

    def load(cpu: Cpu) -> Op[None]:
        yield from at(cpu, 20 * cpu.id)
        yield from lock.section(cpu, lambda _: 200, 200, "loop")

    play(env, [(cpu, load(cpu)) for cpu in cpus])
    assert during == ["CPU 1 waits for lock mine (held by CPU 0 since loop)"]
    assert report_stuck(cpus) == ["CPU 1 waits for lock mine (nobody holds it: it was never passed on)"]
