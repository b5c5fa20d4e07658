"""Who waits for whom: circles are found, chains are not."""

from collections.abc import Sequence

import pytest

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.deadlock import Agent, Blocker, check_for_deadlock, report_stuck
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Shot
from coalsim.engine.streams import Streams
from coalsim.errors import DeadlockError
from coalsim.locks.base import LockSetup
from coalsim.locks.lockdep import LockClass
from coalsim.locks.mcs import McsLock
from coalsim.units import CpuId, NodeId, Time

LOOKAHEAD = 100


class Waiter:
    """An agent, and the others that it waits for."""

    def __init__(self, name: str) -> None:
        self.label = name
        self.others: list[Waiter] | None = None

    def waits_on(self) -> Blocker | None:
        return self if self.others is not None else None

    def blockers(self) -> Sequence[Agent]:
        return self.others or []

    def describe(self) -> str:
        return " and ".join(other.label for other in self.others or [])


def waiters(**waits: str) -> dict[str, Waiter]:
    """Agents a, b, c ...; ``a="bc"`` says that a waits for b and c."""
    agents = {name: Waiter(name) for name in "abcdef"}
    for name, others in waits.items():
        agents[name].others = [agents[other] for other in others]
    return agents


def test_a_chain_is_not_a_deadlock() -> None:
    """Whoever runs at its end will let the others go on; so will one reached on two ways."""
    agents = waiters(a="bc", b="d", c="d", d="e")
    for agent in agents.values():
        check_for_deadlock(agent)


def test_a_circle_names_everybody_on_it_and_nobody_else() -> None:
    """a leads into the circle b, c, d, which is reported."""
    agents = waiters(a="b", b="ec", c="d", d="b")
    with pytest.raises(DeadlockError) as caught:
        check_for_deadlock(agents["a"])
    assert str(caught.value).splitlines() == [
        "deadlock, a circle of waits:",
        "  b waits for e and c",
        "  c waits for d",
        "  d waits for b",
    ]


def test_one_may_wait_for_oneself() -> None:
    """Taking a lock twice is a circle of one."""
    agents = waiters(a="a")
    with pytest.raises(DeadlockError, match="a waits for a"):
        check_for_deadlock(agents["a"])


def test_the_stuck_report_has_a_line_for_each_thing_that_is_waited_for() -> None:
    """Those that do not wait are left out; those that wait for the same share a line."""
    agents = waiters(a="b", c="a", d="b")
    assert report_stuck(list(agents.values())) == ["a, d wait for b", "c waits for a"]


# -- in a machine -------------------------------------------------------------------------------------------


def machine(cpus: int, *, tick_events: bool = False, ticks: Time = 0) -> tuple[Engine, list[Cpu]]:
    env = Engine(lookahead=LOOKAHEAD, tick_events=tick_events)
    rows = [[1] * cpus for _ in range(cpus)]
    return env, [
        Cpu(env, CpuId(n), node=NodeId(0), transfer=rows[n], occupancy=rows[n], tick_period=ticks)
        for n in range(cpus)
    ]


def lock(name: str, rank: int) -> McsLock:
    return McsLock(LockClass(name, rank), name, LockSetup(streams=Streams(1)))


def run(env: Engine, cpus: Sequence[Cpu], *bodies: Op[None]) -> None:
    for cpu, body in zip(cpus, bodies, strict=True):
        cpu.start([Thread(f"thread {cpu.id}", body)])
    env.declare_barrier(100_000, lambda: None)
    env.run_to(env.timeout(100_000))


def test_a_spinner_with_interrupts_off_closes_the_circle() -> None:
    """CPU 0 holds zone and waits for CPU 1, which turned interrupts off meanwhile and spins on zone."""
    env, cpus = machine(2, ticks=1000)
    zone = lock("zone", 1)

    def initiator(cpu: Cpu) -> Op[None]:
        yield from zone.acquire(cpu, "drain")
        yield from cpu.sync()
        shot = Shot(cpu, cpu.clock, 1, 10, lambda _: None, lambda _: 1)
        cpu.send([(cpu.clock + LOOKAHEAD, cpus[1])], shot)
        yield from cpu.wait_for_answers(shot, "answers")

    def spinner(cpu: Cpu) -> Op[None]:
        cpu.charge(50, "think")
        yield from cpu.irq_off()
        yield from zone.acquire(cpu, "alloc")

    with pytest.raises(DeadlockError) as caught:
        run(env, cpus, initiator(cpus[0]), spinner(cpus[1]))
    assert "CPU 1 waits for lock zone (held by CPU 0 since drain)" in str(caught.value)
    assert "CPU 0 waits for the answer of CPU 1 (interrupts off)" in str(caught.value)
    assert env.now < LOOKAHEAD  # found when CPU 1 blocks


def test_three_processors_in_a_circle() -> None:
    """Each holds a lock and wants the next one's; ranks would forbid it, so they are all of one rank."""
    env, cpus = machine(3)
    locks = [lock(f"lock{n}", 1) for n in range(3)]

    def body(cpu: Cpu) -> Op[None]:
        yield from locks[cpu.id].acquire(cpu, f"first {cpu.id}")
        cpu.charge(50, "held")
        cpu.locks_held.clear()  # hide it from the rank check, as an unranked lock would be
        yield from locks[(cpu.id + 1) % 3].acquire(cpu, f"second {cpu.id}")

    with pytest.raises(DeadlockError) as caught:
        run(env, cpus, *(body(cpu) for cpu in cpus))
    text = str(caught.value)
    for me in range(3):
        other = (me + 1) % 3
        assert f"CPU {me} waits for lock lock{other} (held by CPU {other} since first {other})" in text


def test_waiting_for_a_processor_with_interrupts_on_is_no_deadlock() -> None:
    """CPU 1 spins on zone with interrupts on, so it answers."""
    env, cpus = machine(2)
    zone, released = lock("zone", 1), []

    def initiator(cpu: Cpu) -> Op[None]:
        yield from zone.acquire(cpu, "drain")
        yield from cpu.sync()
        shot = Shot(cpu, cpu.clock, 1, 10, lambda _: None, lambda _: 1)
        cpu.send([(cpu.clock + LOOKAHEAD, cpus[1])], shot)
        yield from cpu.wait_for_answers(shot, "answers")
        yield from zone.release(cpu)
        released.append(cpu.clock)

    def spinner(cpu: Cpu) -> Op[None]:
        yield from zone.acquire(cpu, "alloc")
        yield from zone.release(cpu)

    run(env, cpus, initiator(cpus[0]), spinner(cpus[1]))
    assert released == [1 + LOOKAHEAD + 10 + 1]
