"""Hot cache lines: exact times of writes and reads, and the queue of transfers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.cpus.coherence import NOBODY, CacheLine, DescriptorLines
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Engine
from coalsim.units import CpuId, NodeId, Pfn, Time

HIT = 1
TRANSFER = {0: 50, 1: 70, 2: 90, 3: 110}
"""ps to move a line from each processor."""


def machine(occupancy: Time | None = None) -> tuple[Engine, list[Cpu]]:
    """Four processors; a transfer from CPU n takes TRANSFER[n] and keeps the line as long, or as given."""
    env = Engine()
    cpus = []
    for me in range(4):
        row = [HIT if other == me else TRANSFER[other] for other in range(4)]
        busy = row if occupancy is None else [occupancy] * 4
        cpus.append(Cpu(env, CpuId(me), node=NodeId(0), transfer=row, occupancy=busy))
    return env, cpus


class Line:
    """A line that is used at given times, as if every processor had synchronised."""

    def __init__(self, occupancy: Time | None = None) -> None:
        self.env, self.cpus = machine(occupancy)
        self.line = CacheLine("counter")

    def _at(self, cpu: int, at: Time) -> Cpu:
        self.env._now = self.cpus[cpu].clock = at
        return self.cpus[cpu]

    def rmw(self, cpu: int, at: Time) -> Time:
        return self.line.rmw(self._at(cpu, at))

    def read(self, cpu: int, at: Time) -> Time:
        return self.line.read(self._at(cpu, at))


def test_the_first_user_hits() -> None:
    """A line that nobody has used is in the cache of its first user."""
    line = Line()
    assert line.line.owner == NOBODY
    assert line.rmw(2, 100) == 100 + HIT
    assert line.rmw(2, 200) == 200 + HIT
    assert (line.line.owner, line.line.transfers) == (2, 0)
    other = Line()
    assert other.read(1, 100) == 100 + HIT
    assert other.rmw(1, 200) == 200 + HIT


def test_a_write_takes_the_line_from_its_last_writer() -> None:
    """The cost is the distance to the owner, not to the first one."""
    line = Line()
    line.rmw(0, 0)
    assert line.rmw(1, 100) == 100 + TRANSFER[0]
    assert line.rmw(2, 300) == 300 + TRANSFER[1]
    assert line.rmw(0, 500) == 500 + TRANSFER[2]
    assert line.line.transfers == 3


def test_transfers_are_served_one_at_a_time() -> None:
    """Three writes in one instant: each waits for the one before it."""
    line = Line()
    line.rmw(0, 0)
    done = [line.rmw(cpu, 100) for cpu in (1, 2, 3)]
    assert done == [150, 220, 310]


def test_the_line_can_be_free_before_its_transfer_is_done() -> None:
    """Occupancy 20: the second transfer starts after 20, but cannot overtake; each is 20 behind."""
    line = Line(occupancy=20)
    line.rmw(0, 0)
    assert line.rmw(1, 100) == 150
    assert line.rmw(2, 100) == 100 + 20 + TRANSFER[1]
    assert line.rmw(3, 100) == 100 + 40 + TRANSFER[2]
    assert line.rmw(0, 110) == 100 + 60 + TRANSFER[3]
    nearer = Line(occupancy=20)
    nearer.rmw(3, 0)
    assert nearer.rmw(0, 100) == 100 + TRANSFER[3]
    assert nearer.rmw(1, 110) == 100 + TRANSFER[3] + 20  # CPU 0 must have it first


def test_a_hit_waits_for_the_own_transfer() -> None:
    """A line that is still on its way to its new owner is not hit before it is there."""
    line = Line()
    line.rmw(3, 0)
    assert line.rmw(0, 100) == 210
    assert line.rmw(0, 150) == 210 + HIT
    assert line.read(0, 160) == 210 + HIT


def test_a_read_takes_a_copy_and_leaves_the_owner() -> None:
    """The second read of the same processor hits; the owner hits too."""
    line = Line()
    line.rmw(0, 0)
    assert line.read(1, 100) == 150
    assert line.read(1, 200) == 200 + HIT
    assert line.read(0, 300) == 300 + HIT
    assert (line.line.owner, line.line.transfers) == (0, 1)


def test_a_copy_is_hit_while_others_still_get_theirs() -> None:
    """CPU 2's copy is on its way until 170; that delays neither CPU 1's copy nor the owner."""
    line = Line()
    line.rmw(0, 0)
    line.read(1, 50)
    assert line.read(2, 120) == 170
    assert line.read(1, 130) == 130 + HIT
    assert line.read(0, 140) == 140 + HIT


def test_a_read_comes_after_the_write_that_is_under_way() -> None:
    """CPU 0 has the line at 210; a copy of it leaves only then."""
    line = Line(occupancy=20)
    line.rmw(3, 0)
    assert line.rmw(0, 100) == 210
    assert line.read(1, 110) == 210 + 20


def test_a_write_takes_all_copies_away() -> None:
    """An upgrade waits for the farthest copy; afterwards the readers miss."""
    line = Line()
    line.rmw(0, 0)
    line.read(1, 100)
    line.read(3, 200)
    assert line.rmw(0, 1000) == 1000 + TRANSFER[3]
    assert line.read(1, 2000) == 2000 + TRANSFER[0]
    assert line.read(3, 3000) == 3000 + TRANSFER[0]


def test_copies_are_handed_out_one_at_a_time() -> None:
    """Three readers in one instant queue for the line."""
    line = Line()
    line.rmw(0, 0)
    assert [line.read(cpu, 100) for cpu in (1, 2, 3)] == [150, 200, 250]


@pytest.mark.parametrize("use", ["rmw", "read"])
def test_every_use_is_synchronised(use: str) -> None:
    """Even a hit: another processor takes the line in far less than the lookahead."""
    _, cpus = machine()
    line = CacheLine("counter")
    cpus[0].clock = 10
    with pytest.raises(AssertionError, match="shared state"):
        getattr(line, use)(cpus[0])


uses = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100), st.booleans()), max_size=30)


@given(uses, st.sampled_from([None, 1, 20, 50]))
def test_writes_are_done_in_the_order_in_which_they_were_asked_for(
    steps: list[tuple[int, Time, bool]], occupancy: Time | None
) -> None:
    """No write overtakes another, none is done in no time, and the last writer owns the line."""
    line, now = Line(occupancy), 0
    free = dict.fromkeys(range(4), 0)
    writes: list[tuple[int, Time]] = []
    for cpu, gap, write in steps:
        now = max(now + gap, free[cpu])  # a processor waits for its own use to be done
        free[cpu] = line.rmw(cpu, now) if write else line.read(cpu, now)
        assert free[cpu] >= now + HIT
        if write:
            writes.append((cpu, free[cpu]))
    for (_, earlier), (_, later) in pairwise(writes):
        assert later > earlier
    if writes:
        assert line.line.owner == writes[-1][0]


def test_a_descriptor_line_costs_the_way_from_its_last_writer() -> None:
    """The first touch hits; another processor's costs a transfer; a look is enough, so no queue."""
    _, cpus = machine()
    lines, frame = DescriptorLines(), Pfn(0x1000)
    assert lines.writer(frame) == NOBODY
    assert lines.touch(cpus[2], frame) == HIT
    assert lines.touch(cpus[0], frame) == TRANSFER[2]
    assert lines.touch(cpus[0], frame) == HIT
    assert lines.touch(cpus[1], Pfn(0x1001)) == HIT
    assert lines.writer(frame) == 0
    lines.forget(frame)
    lines.forget(frame)
    assert lines.writer(frame) == NOBODY
