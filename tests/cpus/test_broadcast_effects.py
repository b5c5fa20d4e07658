"""Effects that hardware carries to other processors."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy.events import Event

from coalsim.cpus.broadcast import broadcast
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Shot
from coalsim.units import CpuId, NodeId, Time

LOOKAHEAD = 100
Seen = list[tuple[Time, str]]


class Pair:
    """A sender and a target, which looks at a word that only broadcasts change."""

    def __init__(self, *, run_ahead: bool = True) -> None:
        self.env = Engine(lookahead=LOOKAHEAD, run_ahead=run_ahead)
        row = [1, 1]
        self.sender, self.target = (
            Cpu(self.env, CpuId(n), node=NodeId(0), transfer=row, occupancy=row) for n in range(2)
        )
        self.word = "old"
        self.seen: Seen = []

    def change(self, _: Cpu) -> None:
        self.word = "new"

    def send(self, at: Time, flight: Time, work: Shot[Cpu] | None = None) -> Op[None]:
        yield from self.sender.sync()
        self.sender.charge(at, "before")
        yield from self.sender.sync()
        broadcast(self.sender, [self.target], self.sender.clock + flight, self.change, work)

    def looks(self, steps: list[Time], *, irqs_off: bool = False) -> Op[None]:
        if irqs_off:
            yield from self.target.irq_off()
        for step in steps:
            if self.target.clock >= self.target.limit:
                yield from self.target.look()
            self.seen.append((self.target.clock, self.word))
            self.target.charge(step, "work")
        if irqs_off:
            yield from self.target.irq_on()
        yield from self.target.look()
        self.seen.append((self.target.clock, "end"))

    def run(self, sender: Op[None], target: Op[None]) -> Seen:
        self.sender.start([Thread("sender", sender, lambda: None)])
        self.target.start([Thread("target", target, lambda: None)])
        end = Event(self.env)
        self.env.declare_barrier(100_000, lambda: self.env.stop(end))
        assert self.env.run_to(end)
        return self.seen


def work_of(cost: Time) -> Shot[Cpu]:
    """Microcode's work for one broadcast."""

    def pay(target: Cpu) -> None:
        target.steal(target.handler_until, cost, "microcode")

    return Shot(None, 0, 1, 0, pay, lambda _: 1)


def test_an_effect_is_there_from_its_arrival_on() -> None:
    """What the target looks at before is old, at the time itself new."""
    pair = Pair()
    seen = pair.run(pair.send(50, 150), pair.looks([50] * 6))
    assert seen[:-1] == [(0, "old"), (50, "old"), (100, "old"), (150, "old"), (200, "new"), (250, "new")]


def test_an_effect_arrives_with_interrupts_off() -> None:
    """And takes no time from the target."""
    pair = Pair()
    seen = pair.run(pair.send(50, 150), pair.looks([50] * 6, irqs_off=True))
    assert (200, "new") in seen
    assert seen[-1] == (300, "end")


def test_its_work_waits_for_interrupts() -> None:
    """The effect is there at once, the section is as long as ever, and what it costs comes after it."""
    pair = Pair()
    seen = pair.run(pair.send(50, 150, work_of(30)), pair.looks([50] * 6, irqs_off=True))
    assert (200, "new") in seen
    assert (250, "new") in seen
    assert seen[-1] == (330, "end")
    assert pair.target.spent["microcode"] == 30


def test_its_work_is_done_at_once_with_interrupts_on() -> None:
    """The target goes on that much later."""
    pair = Pair()
    seen = pair.run(pair.send(50, 150, work_of(30)), pair.looks([50] * 6))
    assert seen[-1] == (330, "end")
    assert (230, "new") in seen


def test_an_effect_may_not_arrive_within_the_lookahead() -> None:
    """Targets may have run that far ahead already."""
    pair = Pair()
    with pytest.raises(AssertionError, match="within the lookahead"):
        pair.run(pair.send(50, LOOKAHEAD - 1), pair.looks([50]))


@given(
    st.integers(0, 400),
    st.integers(LOOKAHEAD, 400),
    st.lists(st.integers(1, 130), min_size=1, max_size=12),
    st.booleans(),
    st.integers(0, 60),
)
@settings(max_examples=60, deadline=None)
def test_running_ahead_does_not_show(
    at: Time, flight: Time, steps: list[Time], irqs_off: bool, cost: Time
) -> None:
    """The same looks see the same, whether processors run ahead or not."""
    plain, ahead = (
        pair.run(pair.send(at, flight, work_of(cost) if cost else None), pair.looks(steps, irqs_off=irqs_off))
        for pair in (Pair(run_ahead=False), Pair())
    )
    assert plain == ahead
