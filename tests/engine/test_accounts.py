"""Every picosecond has one cause, at every barrier, in every mode."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Shot
from coalsim.units import CpuId, NodeId, Time

Split = dict[str, Time]

LOOKAHEAD = 20

times = st.integers(0, 30)
steps = st.lists(
    st.tuples(st.sampled_from(["charge", "look", "sync", "wait", "off", "on"]), times), max_size=12
)


def splits(
    program: list[tuple[str, Time]],
    messages: list[tuple[Time, Time]],
    ticks: tuple[Time, Time],
    mode: tuple[bool, bool],
) -> list[Split]:
    """Run a program on CPU 0 that CPU 1 interrupts; split both at every picosecond."""
    run_ahead, tick_events = mode
    env = Engine(lookahead=LOOKAHEAD, run_ahead=run_ahead, tick_events=tick_events)
    target = Cpu(env, CpuId(0), node=NodeId(0), tick_period=ticks[0], tick_cost=ticks[1])
    sender = Cpu(env, CpuId(1), node=NodeId(0))

    def body() -> Op[None]:
        depth = 0
        for number, (what, amount) in enumerate(program):
            if what == "charge":
                target.charge(amount, f"work {number % 3}")
            elif what == "look":
                yield from target.look()
            elif what == "sync":
                yield from target.sync()
            elif what == "wait":
                yield from target.sync()
                yield from target.wait_until(env.now + amount, "wait")
            elif what == "off":
                yield from target.irq_off()
                depth += 1
            elif depth:
                yield from target.irq_on()
                depth -= 1
        for _ in range(depth):
            yield from target.irq_on()

    def send() -> Op[None]:
        for gap, cost in messages:
            sender.charge(gap, "gap")
            yield from sender.sync()
            shot = Shot[Cpu](None, sender.clock, 1, cost, lambda _: None, lambda _: 1)
            sender.send([(sender.clock + LOOKAHEAD, target)], shot)

    target.start([Thread("t", body())])
    sender.start([Thread("s", send())])
    found: list[Split] = []
    end = Event(env)
    for at in range(0, 160, 4):
        env.declare_barrier(at, lambda: found.extend(split_at(cpu, env.now) for cpu in (target, sender)))
    env.declare_barrier(160, lambda: env.stop(end))
    assert env.run_to(end)
    return found


@given(
    steps,
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 15)), max_size=4),
    st.sampled_from([(0, 0), (10, 3), (7, 0), (25, 9)]),
)
@settings(deadline=None)
def test_the_causes_add_up_at_every_barrier(
    program: list[tuple[str, Time]], messages: list[tuple[Time, Time]], ticks: tuple[Time, Time]
) -> None:
    """`split_at` asserts the sum; no share is negative, none shrinks, and all modes agree."""
    reference = splits(program, messages, ticks, (False, True))
    for split in reference:
        assert all(share > 0 for share in split.values())
    for earlier, later in zip(reference, reference[2:], strict=False):
        assert all(share <= later.get(cause, 0) for cause, share in earlier.items())
    for mode in product((False, True), repeat=2):
        assert splits(program, messages, ticks, mode) == reference


def test_stolen_time_goes_to_the_handler_only() -> None:
    """A charge of 30 that a handler of 10 interrupts ends at 40 and still costs 30."""
    found = splits([("charge", 30), ("sync", 0)], [(2, 10)], (0, 0), (True, False))
    at_40 = found[2 * (40 // 4)]
    assert at_40 == {"work 0": 30, "handler": 10}
    at_24 = found[2 * (24 // 4)]  # the handler runs from 22 to 32
    assert at_24 == {"work 0": 22, "handler": 2}


def test_a_wait_keeps_what_handlers_left_of_it() -> None:
    """A wait from 0 to 25 with a handler from 22 to 32 ends at 32: 22 of waiting, 10 of handler."""
    found = splits([("wait", 25), ("charge", 4)], [(2, 10)], (0, 0), (True, False))
    assert found[2 * (36 // 4)] == {"wait": 22, "handler": 10, "work 1": 4}
    assert found[2 * (28 // 4)] == {"wait": 22, "handler": 6}


def test_splitting_changes_nothing() -> None:
    """The cut works on a copy: what is split twice is the same twice."""
    env = Engine(lookahead=50)
    cpu = Cpu(env, CpuId(0), node=NodeId(0))

    def body() -> Op[None]:
        cpu.charge(100, "work")
        yield from cpu.sync()

    cpu.start([Thread("t", body())])
    found: list[Split] = []
    for _ in range(2):
        env.declare_barrier(60, lambda: found.append(split_at(cpu, 60)))
    env.run_to(Event(env))
    assert found == [{"work": 60}, {"work": 60}]
    assert cpu.spent["work"] == 100


def test_time_can_be_given_another_name() -> None:
    """`move_time` renames a part of what was accounted for, and keeps the sum."""
    cpu = Cpu(Engine(), CpuId(0), node=NodeId(0))
    cpu.charge(100, "wait")
    cpu.move_time("wait", "hand-over", 30)
    assert dict(cpu.spent) == {"wait": 70, "hand-over": 30}
