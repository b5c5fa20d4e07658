"""Barriers: what they see, and when they may be declared."""

import pytest
from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import RANK_USER, Engine, Op
from coalsim.units import FOREVER, CpuId, NodeId, Time


@pytest.mark.parametrize("run_ahead", [False, True])
@pytest.mark.parametrize("step", [7, 10, 25, 1000])
def test_a_barrier_sees_what_began_before_it_and_no_more(run_ahead: bool, step: Time) -> None:
    """Operations at 0, step, 2 step ...: a barrier at T has seen those that began before T."""
    env = Engine(lookahead=500, run_ahead=run_ahead)
    cpu = Cpu(env, CpuId(0), node=NodeId(0))
    began: list[Time] = []
    seen: dict[Time, int] = {}

    def body() -> Op[None]:
        while True:
            yield from cpu.look()
            began.append(cpu.clock)
            cpu.charge(step, "work")

    end = Event(env)
    cpu.start([Thread("t", body())])
    for at in (1, 10, 70, 100, 350, 1000, 1750):
        env.declare_barrier(at, lambda: seen.update({env.now: len(began)}))
    env.declare_barrier(1750, lambda: env.stop(end))
    assert env.run_to(end)
    assert seen == {at: -(-at // step) for at in (1, 10, 70, 100, 350, 1000, 1750)}


def test_barriers_come_in_the_order_of_time_then_of_declaration() -> None:
    """Whatever the order of declaring them; `next_barrier` is always the first that is left."""
    env, seen = Engine(), []
    for name, at in (("late", 30), ("early", 10), ("also early", 10)):
        env.declare_barrier(at, lambda name=name: seen.append((name, env.next_barrier)))
    assert env.next_barrier == 10
    assert not env.run_to(Event(env))
    assert seen == [("early", 10), ("also early", 30), ("late", FOREVER)]


def test_a_barrier_can_declare_the_next() -> None:
    """So a sampling period needs no list of times."""
    env, seen = Engine(), []

    def sample() -> None:
        seen.append(env.now)
        if env.now < 50:
            env.declare_barrier(env.now + 10, sample)

    env.declare_barrier(10, sample)
    env.run_to(Event(env))
    assert seen == [10, 20, 30, 40, 50]


def test_a_barrier_in_the_past_is_refused() -> None:
    """It could see nothing right any more."""
    env = Engine()
    env.declare_barrier(10, lambda: env.declare_barrier(9, lambda: None))
    with pytest.raises(ValueError, match="past"):
        env.run_to(Event(env))


def test_a_barrier_out_of_the_blue_is_refused() -> None:
    """In the middle of a run processors have run past it already, and sections have been computed."""
    env = Engine()
    env.post_event(10, RANK_USER, lambda _: env.declare_barrier(1000, lambda: None))
    with pytest.raises(ValueError, match="before the run or from another barrier"):
        env.run_to(Event(env))


def test_barriers_can_be_declared_between_two_runs() -> None:
    """A run that a barrier has ended can be given new barriers and go on."""
    env, seen = Engine(), []
    first, last = Event(env), Event(env)
    env.declare_barrier(10, lambda: env.stop(first))
    assert env.run_to(first)
    env.declare_barrier(20, lambda: seen.append(env.now))
    env.declare_barrier(30, lambda: env.stop(last))
    assert env.run_to(last)
    assert seen == [20]
