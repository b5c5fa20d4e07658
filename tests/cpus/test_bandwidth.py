"""Pipes: transfers one after the other, at an exact rate."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.cpus.bandwidth import Pipe
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Engine
from coalsim.units import CpuId, NodeId, Time


class Moves:
    """A pipe that is used at given times."""

    def __init__(self, bytes_per_ns: Fraction) -> None:
        self.env = Engine()
        self.cpu = Cpu(self.env, CpuId(0), node=NodeId(0))
        self.pipe = Pipe("node 0", bytes_per_ns)

    def move(self, at: Time, size: int) -> Time:
        self.env._now = self.cpu.clock = at
        return self.pipe.move(self.cpu, size)


def test_a_transfer_takes_its_size_by_the_rate() -> None:
    """4,096 bytes at 16 GB/s take 256 ns."""
    moves = Moves(Fraction(16))
    assert moves.move(1000, 4096) == 1000 + 256_000
    assert moves.pipe.bytes_moved == 4096


def test_transfers_wait_for_those_before_them() -> None:
    """Two at once: the second takes twice as long; a later one finds the pipe free."""
    moves = Moves(Fraction(1))
    assert moves.move(0, 10) == 10_000
    assert moves.move(0, 10) == 20_000
    assert moves.move(50_000, 10) == 60_000


def test_a_long_run_accumulates_no_rounding() -> None:
    """At 3 bytes per ns a byte takes a third of a ns: 3,000 bytes one by one take exactly 1 us."""
    moves = Moves(Fraction(3))
    done = [moves.move(0, 1) for _ in range(3000)]
    assert done[:3] == [334, 667, 1000]
    assert done[-1] == 1_000_000


@given(
    st.fractions(min_value=Fraction(1, 10), max_value=1000, max_denominator=100),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 4096)), min_size=1, max_size=20),
)
def test_no_transfer_is_early_or_a_whole_ps_late(rate: Fraction, transfers: list[tuple[Time, int]]) -> None:
    """Against exact fractions: each is done in the picosecond in which its last byte is there."""
    moves, now, free = Moves(rate), 0, Fraction(0)
    for gap, size in transfers:
        now += gap
        free = max(Fraction(now), free) + size * 1000 / rate
        assert free <= moves.move(now, size) < free + 1


def test_a_pipe_is_shared_state() -> None:
    """Using it ahead of global time would serve transfers in the wrong order."""
    moves = Moves(Fraction(1))
    moves.cpu.clock = 10
    with pytest.raises(AssertionError, match="shared state"):
        moves.pipe.move(moves.cpu, 1)


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(-1)])
def test_a_pipe_without_a_rate_is_refused(rate: Fraction) -> None:
    """Nothing would ever arrive."""
    with pytest.raises(ValueError, match="rate above 0"):
        Pipe("link", rate)
