"""The shared counter of an exact shootdown."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Engine
from coalsim.mm.shootdown.radixvm import Countdown
from coalsim.units import CpuId, NodeId, Time

TRANSFER = 30


def processors(count: int) -> list[Cpu]:
    row = [TRANSFER] * count
    return [Cpu(Engine(), CpuId(n), node=NodeId(0), transfer=row, occupancy=row) for n in range(count)]


def test_targets_that_want_the_line_at_once_get_it_in_turn() -> None:
    """One transfer each, one after the other."""
    cpus = processors(4)
    countdown = Countdown(cpus[0].id, 0)
    assert [countdown.decrement(cpu, 100) for cpu in cpus[1:]] == [130, 160, 190]


def test_who_is_far_behind_holds_nobody_up() -> None:
    """A target with many handlers before it is queued first, and has the line last."""
    cpus = processors(3)
    countdown = Countdown(cpus[0].id, 0)
    assert countdown.decrement(cpus[1], 90_000) == 90_030
    assert countdown.decrement(cpus[2], 100) == 130


@given(st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_no_two_have_the_line_at_the_same_time(wishes: list[Time]) -> None:
    """Whatever the order of asking: a transfer for each, none before it is wanted, none overlapping."""
    cpus = processors(len(wishes) + 1)
    countdown = Countdown(cpus[0].id, 0)
    done = [countdown.decrement(cpu, at) for cpu, at in zip(cpus[1:], wishes, strict=True)]
    assert all(end >= at + TRANSFER for end, at in zip(done, wishes, strict=True))
    ends = sorted(done)
    assert all(after - before >= TRANSFER for before, after in pairwise(ends))
