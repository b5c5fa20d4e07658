"""Who waits for whom: circles are found, chains are not."""

from collections.abc import Sequence

import pytest
from simpy.events import Event

from coalsim.boot import System, SystemConfig
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
from coalsim.locks.mutex import Mutex
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import US, CpuId, NodeId, Time

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


# -- threads that sleep in a booted system ------------------------------------------------------------------


def booted(hz: int, *, tick_events: bool) -> System:
    return System(
        SystemConfig(
            machine=load_machine("coal"),
            profile=load_profile("coal").with_overrides({"hz": str(hz)}),
            lock=McsLock,
            load_lock=Mutex,
            recorder=Histogram,
            tick_events=tick_events,
        )
    )


def run_for(system: System, duration: Time, *bodies: Op[None]) -> None:
    """Run a thread on each processor from 0 on, up to a barrier."""
    for cpu, body in zip(system.cpus, bodies, strict=False):
        system.run_thread(cpu.id, f"t{cpu.id}", body)
    system.boot()
    end = Event(system.env)
    system.env.declare_barrier(duration, lambda: system.env.stop(end))
    system.run(end)


def asleep(cpu: Cpu) -> Op[None]:
    cpu.charge(50, "work")
    yield from cpu.park()


def busy(cpu: Cpu, time: Time) -> Op[None]:
    cpu.charge(time, "work")
    yield from cpu.sync()


TICKS = pytest.mark.parametrize(
    ("hz", "tick_events"), [(0, False), (1000, False), (1000, True)], ids=["none", "computed", "events"]
)


@TICKS
def test_a_thread_that_nobody_will_wake_is_named(hz: int, tick_events: bool) -> None:
    """With its processor, at the end of the run or at the first tick after all else is over."""
    system = booted(hz, tick_events=tick_events)
    with pytest.raises(DeadlockError) as caught:
        run_for(system, 9000 * US, asleep(system.cpus[0]), busy(system.cpus[1], 10), asleep(system.cpus[2]))
    assert str(caught.value).splitlines() == [
        "nothing can happen any more:",
        "  thread t0 on CPU 0, thread t2 on CPU 2 sleep until woken",
    ]


@TICKS
def test_a_run_whose_events_end_early_names_its_sleepers(hz: int, tick_events: bool) -> None:
    """Without a barrier the events end, or nothing but ticks goes on; both come to the same."""
    system = booted(hz, tick_events=tick_events)
    system.run_thread(CpuId(3), "lone", asleep(system.cpus[3]))
    system.boot()
    with pytest.raises(DeadlockError, match=r"any more:\n  thread lone on CPU 3 sleeps until woken$"):
        system.run(system.finished)


@TICKS
def test_a_sleeper_on_a_lock_that_nobody_will_release_is_named_with_its_holder(
    hz: int, tick_events: bool
) -> None:
    """The holder sleeps as well, but not for a lock: no circle, yet nobody can go on."""
    system = booted(hz, tick_events=tick_events)
    mutex = system.make_lock("inode", "inode")

    def holder(cpu: Cpu) -> Op[None]:
        yield from mutex.acquire(cpu, "open")
        yield from cpu.park()

    def waiter(cpu: Cpu) -> Op[None]:
        cpu.charge(US, "work")
        yield from mutex.acquire(cpu, "stat")

    with pytest.raises(DeadlockError) as caught:
        run_for(system, 9000 * US, holder(system.cpus[0]), waiter(system.cpus[1]))
    assert str(caught.value).splitlines() == [
        "nothing can happen any more:",
        "  thread t0 on CPU 0 sleeps until woken",
        "  thread t1 on CPU 1 sleeps until woken, waiting for mutex inode (held by thread t0 since open)",
    ]


@TICKS
def test_a_sleeper_whom_somebody_will_still_wake_is_left_alone(hz: int, tick_events: bool) -> None:
    """A user's own event is on its way when the run ends, and every processor idles until then."""
    system = booted(hz, tick_events=tick_events)
    alarm_clock = system.env.timeout(9500 * US)
    run_for(system, 9000 * US, asleep(system.cpus[0]))
    assert not alarm_clock.processed


@TICKS
def test_a_sleeper_who_was_woken_is_left_alone(hz: int, tick_events: bool) -> None:
    """It sleeps over several ticks on which nothing else happens, then goes on to its end."""
    system = booted(hz, tick_events=tick_events)
    woken: list[Time] = []

    def body(cpu: Cpu) -> Op[None]:
        thread = cpu.current
        assert thread is not None
        alarm_clock = system.env.timeout(5500 * US)
        alarm_clock.callbacks.append(lambda _: cpu.enqueue(thread, cpu.env.now + 1))
        yield from cpu.park()
        yield from cpu.sync()
        woken.append(system.env.now)

    run_for(system, 9000 * US, body(system.cpus[0]))
    assert woken == [5500 * US + 1]
