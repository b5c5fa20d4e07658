"""The order of one instant, and the loop that serves events."""

import pytest
from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import RANK_TICK, RANK_USER, Alarm, Engine, Op
from coalsim.engine.messages import Shot
from coalsim.units import CpuId, NodeId, Time


def machine(env: Engine, cpus: int, **costs: Time) -> list[Cpu]:
    """Processors of one node whose lines all take 1 ps."""
    rows = [[1] * cpus for _ in range(cpus)]
    return [
        Cpu(env, CpuId(n), node=NodeId(0), transfer=rows[n], occupancy=rows[n], **costs) for n in range(cpus)
    ]


def run(env: Engine, until: Time) -> None:
    """Serve all events up to a time."""
    end = Event(env)
    env.declare_barrier(until, lambda: env.stop(end))
    assert env.run_to(end)


@pytest.mark.parametrize("run_ahead", [False, True])
@pytest.mark.parametrize("tick_events", [False, True])
def test_the_classes_of_one_instant(run_ahead: bool, tick_events: bool) -> None:
    """Barrier, user's event, tick, messages by sender, processors by id, whatever came first."""
    env = Engine(lookahead=100, run_ahead=run_ahead, tick_events=tick_events)
    cpus = machine(env, 3, tick_period=1000, first_tick=200)
    seen: list[str] = []

    def message(sender: Cpu, name: str) -> None:
        def effect(target: Cpu) -> None:
            seen.append(f"message {name}, ticks {target.ticks}")

        shot = Shot[Cpu](None, sender.clock, 1, 0, effect, lambda _: 1)
        sender.send([(200, cpus[0])], shot)

    def body(cpu: Cpu) -> Op[None]:
        if cpu.id == 1:
            cpu.charge(10, "think")  # sends after CPU 2, and yet comes before it
            yield from cpu.sync()
        if cpu.id:
            message(cpu, f"{cpu.id} first")
            message(cpu, f"{cpu.id} second")
        cpu.charge(200 - cpu.clock, "think")
        yield from cpu.sync()
        seen.append(f"CPU {cpu.id}")

    def user() -> Op[None]:
        yield env.timeout(200)
        seen.append(f"user, ticks {cpus[0].ticks}")

    for cpu in reversed(cpus):
        cpu.start([Thread("t", body(cpu))])
    env.process(user())
    env.declare_barrier(200, lambda: seen.append("barrier"))
    run(env, 300)
    assert seen == [
        "barrier",
        "user, ticks 0",
        "message 1 first, ticks 1",
        "message 1 second, ticks 1",
        "message 2 first, ticks 1",
        "message 2 second, ticks 1",
        "CPU 0",
        "CPU 1",
        "CPU 2",
    ]


def test_targets_of_one_arrival_time_share_an_event_and_go_by_id() -> None:
    """Three targets at one time and one at another cost two events, in the order of the ids."""
    env = Engine(lookahead=100)
    cpus = machine(env, 5)
    order: list[tuple[Time, CpuId]] = []

    def body(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        shot = Shot[Cpu](None, 0, 4, 0, lambda target: order.append((env.now, target.id)), lambda _: 1)
        before = len(env._queue)
        cpu.send([(150, cpus[1]), (100, cpus[4]), (100, cpus[3]), (100, cpus[2])], shot)
        assert len(env._queue) == before + 2

    cpus[0].start([Thread("t", body(cpus[0]))])
    run(env, 300)
    assert order == [(100, 2), (100, 3), (100, 4), (150, 1)]


@pytest.mark.parametrize("run_ahead", [False, True])
def test_processors_begin_in_the_order_of_their_ids(run_ahead: bool) -> None:
    """SimPy starts processes in the order in which they were made; that must not show."""
    env = Engine(lookahead=100, run_ahead=run_ahead)
    cpus = machine(env, 3)
    order: list[CpuId] = []

    def body(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        order.append(cpu.id)

    for number in (2, 0, 1):
        cpus[number].start([Thread("t", body(cpus[number]))])
    run(env, 10)
    assert order == [0, 1, 2]


def test_an_alarm_cannot_be_armed_twice() -> None:
    """A processor has at most one entry in the heap."""
    alarm = Alarm(Engine(), CpuId(0))
    alarm.arm(10)
    with pytest.raises(AssertionError, match="at most one entry"):
        alarm.arm(20)
    alarm.reset()
    alarm.arm(30)
    assert alarm.armed


def test_the_loop_says_when_nothing_is_left() -> None:
    """It counts what it served and returns False if the heap runs empty before the end."""
    env = Engine()
    served: list[int] = []
    env.post_event(5, RANK_USER, lambda _: served.append(2))
    env.post_event(5, RANK_USER - 1, lambda _: served.append(1))
    env.post_event(5, RANK_TICK, lambda _: served.append(3))
    assert not env.run_to(Event(env))
    assert (served, env.events, env.now) == ([1, 2, 3], 3, 5)


def test_the_loop_stops_at_the_end_and_can_go_on() -> None:
    """What comes after the end is served by the next run."""
    env, served = Engine(), []
    first, last = Event(env), Event(env)
    env.post_event(5, RANK_USER, lambda _: first.succeed())
    env.post_event(6, RANK_USER, lambda _: served.append(6))
    env.post_event(7, RANK_USER, lambda _: last.succeed())
    assert env.run_to(first)
    assert (env.now, served) == (5, [])
    assert env.run_to(last)
    assert (env.now, served) == (7, [6])


def test_a_fault_in_a_process_ends_the_run() -> None:
    """The exception itself comes out, with its data."""
    env = Engine()

    def faulty() -> Op[None]:
        yield env.timeout(3)
        raise LookupError("lost", 3)

    env.process(faulty())
    with pytest.raises(LookupError) as caught:
        env.run_to(Event(env))
    assert caught.value.args == ("lost", 3)


def test_a_negative_lookahead_is_refused() -> None:
    """A message cannot arrive before it was sent."""
    with pytest.raises(ValueError, match="lookahead"):
        Engine(lookahead=-1)


def test_no_lookahead_means_the_plain_mode() -> None:
    """With a lookahead of 0 nobody may run ahead, whatever was asked for; every look waits."""
    env = Engine(lookahead=0, run_ahead=True)
    assert not env.run_ahead
    (cpu,) = machine(env, 1)
    looks: list[tuple[Time, Time]] = []

    def body() -> Op[None]:
        for _ in range(3):
            cpu.charge(10, "work")
            yield from cpu.look()
            looks.append((cpu.clock, env.now))

    cpu.start([Thread("t", body())])
    run(env, 100)
    assert looks == [(10, 10), (20, 20), (30, 30)]


def test_running_ahead_saves_events() -> None:
    """100 private looks of 10 ps with a lookahead of 100: at most one event in ten, the same looks."""
    counts, all_looks = [], []
    for run_ahead in (False, True):
        env = Engine(lookahead=100, run_ahead=run_ahead)
        (cpu,) = machine(env, 1)
        looks: list[Time] = []

        def body(cpu: Cpu = cpu, looks: list[Time] = looks) -> Op[None]:
            for _ in range(100):
                yield from cpu.look()
                looks.append(cpu.clock)
                cpu.charge(10, "work")

        cpu.start([Thread("t", body())])
        run(env, 2000)
        counts.append(env.events)
        all_looks.append(looks)
    assert all_looks[0] == all_looks[1] == list(range(0, 1000, 10))
    assert counts[0] >= 100
    assert counts[1] <= 10 + 5
