"""Where nobody else is due before, a processor moves global time itself instead of waiting for its alarm."""

import pytest
from simpy.events import Event
from test_instant import machine, run

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Shot
from coalsim.units import Time


def steps(cpu: Cpu, cost: Time, number: int, seen: list[tuple[int, Time]]) -> Op[None]:
    """Shared looks, `cost` apart."""
    for _ in range(number):
        yield from cpu.sync()
        seen.append((cpu.id, cpu.env._now))
        cpu.charge(cost, "work")


@pytest.mark.parametrize("tick_period", [0, 25])
def test_the_order_is_that_of_events(tick_period: Time) -> None:
    """Two processors, ties and ticks included: looks, times and the count of events agree."""
    results = []
    for fast_paths in (False, True):
        env = Engine(lookahead=100, fast_paths=fast_paths)
        cpus = machine(env, 2, tick_period=tick_period, tick_cost=3)
        seen: list[tuple[int, Time]] = []
        for cpu, cost in zip(cpus, (10, 15), strict=True):
            cpu.start([Thread("t", steps(cpu, cost, 20, seen))])
        run(env, 1000)
        results.append((seen, env.events, [dict(cpu.spent) for cpu in cpus]))
    assert results[0] == results[1]


def test_one_processor_alone_needs_no_heap() -> None:
    """After its start it has no entry there, so serving one event carries it to its end."""
    env = Engine(lookahead=100)
    (cpu,) = machine(env, 1)
    seen: list[tuple[int, Time]] = []
    cpu.start([Thread("t", steps(cpu, 10, 50, seen))])
    env.step()  # its start
    env.step()  # its first alarm
    assert [at for _, at in seen] == list(range(0, 500, 10))


def window(env: Engine, seen: list[tuple[str, Time]]) -> None:
    """CPU 1 has computed a section up to 300; a joinable message comes at 200 and waits for its end."""
    cpus = machine(env, 2)

    def arrive(target: Cpu) -> None:
        seen.append(("handler", env._now))

    def sender(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        cpu.send([(200, cpus[1])], Shot[Cpu](None, cpu.clock, 1, 40, arrive, lambda _: 1, joinable=True))

    def inside(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        cpu.off_until = 300
        for part in (250, 50):  # what is to come at 300 is in the heap from 200 on
            cpu.charge(part, "section")
            yield from cpu.sync()
        seen.append(("after", env._now))

    cpus[0].start([Thread("sender", sender(cpus[0]))])
    cpus[1].start([Thread("inside", inside(cpus[1]))])


@pytest.mark.parametrize("fast_paths", [False, True])
def test_the_end_of_a_window_comes_before_its_processor(fast_paths: bool) -> None:
    """It has the processor's own rank, and what waited for it is handled first."""
    env = Engine(lookahead=100, fast_paths=fast_paths)
    seen: list[tuple[str, Time]] = []
    window(env, seen)
    run(env, 1000)
    assert seen == [("handler", 300), ("after", 340)]


def test_nobody_moves_time_once_the_run_is_to_end() -> None:
    """A processor that stops the run in the middle of its work goes no further."""
    env = Engine(lookahead=100)
    (cpu,) = machine(env, 1)
    end = Event(env)
    seen: list[tuple[int, Time]] = []

    def body() -> Op[None]:
        yield from steps(cpu, 10, 3, seen)
        env.stop(end)
        yield from steps(cpu, 10, 3, seen)

    cpu.start([Thread("t", body())])
    assert env.run_to(end)
    assert [at for _, at in seen] == [0, 10, 20]
    assert env.now == 20
