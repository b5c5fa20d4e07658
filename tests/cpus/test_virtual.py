"""A guest's processors: what happens while the host has taken one away, in every mode of the engine."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.cpus.vcpu import NEVER, Stolen, VcpuSchedule
from coalsim.cpus.virtual import STEAL, VirtualCpu
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Answer, Shot
from coalsim.engine.streams import Streams
from coalsim.units import CpuId, NodeId, Time

FAR: Time = 1_000_000
MODES = [(ahead, tick_events) for ahead in (False, True) for tick_events in (False, True)]
Program = Callable[[Cpu], Op[None]]


class Timetable(VcpuSchedule):
    """A host whose every time away is known beforehand."""

    def __init__(self, away: dict[int, Sequence[tuple[Time, Time]]]) -> None:
        super().__init__(Decimal("0.5"), 1, Streams(1))
        self._table = away

    def stolen_after(self, cpu: CpuId, at: Time) -> Stolen:
        """As it was given."""
        times = self._table.get(cpu, ())
        return next((Stolen(*time) for time in times if time[1] > at), NEVER)


class Guest:
    """Two vCPUs with a lookahead of 1,000, a host with a timetable, and no costs of their own."""

    def __init__(
        self,
        mode: tuple[bool, bool],
        away: dict[int, Sequence[tuple[Time, Time]]],
        ticks: tuple[Time, Time] = (0, 0),
    ) -> None:
        ahead, tick_events = mode
        self.env = Engine(lookahead=1_000, run_ahead=ahead, fast_paths=False, tick_events=tick_events)
        self.cpus = [
            VirtualCpu(
                self.env,
                CpuId(cpu),
                node=NodeId(0),
                transfer=(1, 1),
                tick_period=ticks[0],
                tick_cost=ticks[1],
            )
            for cpu in range(2)
        ]
        for cpu in self.cpus:
            cpu.run_by(Timetable(away))

    def run(self, *programs: Program, until: Time = FAR) -> list[dict[str, Time]]:
        """One program on each vCPU; where their time went, up to a barrier."""
        accounts: list[dict[str, Time]] = []
        end = self.env.event()

        def finish() -> None:
            accounts.extend(split_at(cpu, until) for cpu in self.cpus)
            self.env.stop(end)

        self.env.declare_barrier(until, finish)
        for number, cpu in enumerate(self.cpus):
            bodies = [programs[number](cpu)] if number < len(programs) else []
            cpu.start([Thread(f"on {number}", body) for body in bodies])
        self.env.run_to(end)
        return accounts


def working(seen: list[Time], *costs: Time) -> Program:
    """Charge these, and note the time at the look after each."""

    def program(cpu: Cpu) -> Op[None]:
        for cost in costs:
            yield from cpu.look()
            seen.append(cpu.clock)
            cpu.charge(cost, "work")
        yield from cpu.look()
        seen.append(cpu.clock)

    return program


@pytest.mark.parametrize("mode", MODES)
def test_time_away_lengthens_what_it_falls_into(mode: tuple[bool, bool]) -> None:
    """Work of 100 at a time; away from 250 to 1,250: the third piece ends 1,000 late, nothing is lost."""
    seen: list[Time] = []
    account, _ = Guest(mode, {0: [(250, 1_250)]}).run(working(seen, *[100] * 5))
    assert seen == [0, 100, 200, 1_300, 1_400, 1_500]
    assert (account["work"], account[STEAL]) == (500, 1_000)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_looked_at_from_the_very_moment_on(mode: tuple[bool, bool]) -> None:
    """A piece that ends just when the host takes the vCPU is over; the next begins when it is back."""
    seen: list[Time] = []
    Guest(mode, {0: [(200, 700), (701, 900)]}).run(working(seen, 100, 100, 100))
    assert seen == [0, 100, 700, 999]  # one ps of work between the two times away


@pytest.mark.parametrize("mode", MODES)
def test_a_vcpu_may_be_away_from_the_beginning(mode: tuple[bool, bool]) -> None:
    """Its first look is when it first runs."""
    seen: list[Time] = []
    account, _ = Guest(mode, {0: [(0, 5_000)]}).run(working(seen, 100))
    assert seen == [5_000, 5_100]
    assert account[STEAL] == 5_000


@pytest.mark.parametrize("mode", MODES)
def test_turning_interrupts_off_does_not_keep_the_host_out(mode: tuple[bool, bool]) -> None:
    """As a lock's holder finds: its section is as much longer."""
    ends: list[Time] = []

    def section(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        cpu.charge(100, "held")
        yield from cpu.irq_on()
        yield from cpu.sync()
        ends.append(cpu.clock)

    account, _ = Guest(mode, {0: [(50, 3_050)]}).run(section)
    assert ends == [3_100]
    assert (account["held"], account[STEAL]) == (100, 3_000)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("away", "goes_on", "waited"), [((400, 1_700), 1_700, 400), ((100, 300), 600, 400)])
def test_a_wait_goes_on_when_the_vcpu_is_back(
    mode: tuple[bool, bool], away: tuple[Time, Time], goes_on: Time, waited: Time
) -> None:
    """Woken at 600 while it is away: later; away and back meanwhile: on time, and that is no waiting."""
    seen: list[Time] = []

    def sleeper(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        yield from cpu.wait_until(600, "wait")
        yield from cpu.sync()
        seen.append(cpu.clock)

    account, _ = Guest(mode, {0: [away]}).run(sleeper)
    assert seen == [goes_on]
    assert (account["wait"], account[STEAL]) == (waited, away[1] - away[0])


def asking(target: Cpu, cost: Time, answers: list[tuple[Time, Answer]]) -> Program:
    """Interrupt `target`, 1,000 later, and wait for the answer."""

    def program(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        shot: Shot[Cpu] = Shot(cpu, cpu.clock, 1, cost, lambda _: None, lambda _: 10)
        cpu.send([(cpu.clock + 1_000, target)], shot)
        yield from cpu.wait_for_answers(shot, "answers")
        yield from cpu.sync()
        assert shot.last is not None
        answers.append((cpu.clock, shot.last))

    return program


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupt_waits_for_its_vcpu(mode: tuple[bool, bool]) -> None:
    """It arrives at 1,000; the vCPU is away from 500 to 9,000, then the handler runs, then its own work."""
    answers: list[tuple[Time, Answer]] = []
    seen: list[Time] = []
    guest = Guest(mode, {1: [(500, 9_000)]})
    guest.run(asking(guest.cpus[1], 200, answers), working(seen, 400, 400))
    assert answers == [(9_210, Answer(CpuId(1), 1_000, 0, 8_000, 200, 10))]
    assert seen == [0, 400, 9_500]


@pytest.mark.parametrize("mode", MODES)
def test_a_handler_that_has_begun_is_finished_first(mode: tuple[bool, bool]) -> None:
    """Taken at 1,100 in a handler from 1,000 to 1,200: away from 1,200 on, back as planned."""
    answers: list[tuple[Time, Answer]] = []
    guest = Guest(mode, {1: [(1_100, 9_000)]})
    _, account = guest.run(asking(guest.cpus[1], 200, answers))
    assert [at for at, _ in answers] == [1_210]
    assert account[STEAL] == 7_800


@pytest.mark.parametrize("mode", MODES)
def test_one_tick_waits_for_the_vcpu_and_the_others_are_lost(mode: tuple[bool, bool]) -> None:
    """Ticks every 1,000 that cost 10; away from 1,500 to 4,500: those at 2,000 (late), 3,000 and 4,000."""
    seen: list[Time] = []
    guest = Guest(mode, {0: [(1_500, 4_500)]}, ticks=(1_000, 10))
    account, _ = guest.run(working(seen, 900, 900, 900), until=6_500)
    assert seen == [0, 900, 4_820, 5_730]  # 900 + 900 + 3,000 + ticks at 1,000 and 4,500; then that at 5,000
    assert (guest.cpus[0].ticks, guest.cpus[0].ticks_lost) == (4, 2)
    assert account["tick"] == 40


periods = st.lists(st.integers(1, 3_000), max_size=12).map(
    lambda lengths: [
        (begin, end)
        for begin, end in list(pairwise([sum(lengths[: n + 1]) for n in range(len(lengths))]))[::2]
    ]
)
costs = st.lists(st.integers(0, 900), min_size=1, max_size=12)


@given(own=periods, theirs=periods, work=costs, other=costs, handler=st.integers(0, 500))
def test_no_mode_shows_and_no_look_is_in_a_time_away(
    own: list[tuple[Time, Time]],
    theirs: list[tuple[Time, Time]],
    work: list[Time],
    other: list[Time],
    handler: Time,
) -> None:
    """Whatever the timetables: same looks and same accounts in every mode, and they add up."""
    results = []
    for mode in MODES:
        answers: list[tuple[Time, Answer]] = []
        seen: tuple[list[Time], list[Time]] = ([], [])
        guest = Guest(mode, {0: own, 1: theirs}, ticks=(700, 30))

        target = guest.cpus[1]

        def first(cpu: Cpu) -> Op[None]:
            yield from working(seen[0], *work)(cpu)  # noqa: B023 - runs before the next round
            yield from asking(target, handler, answers)(cpu)  # noqa: B023

        accounts = guest.run(first, working(seen[1], *other), until=60_000)
        results.append((seen, answers, accounts, [(cpu.ticks, cpu.ticks_lost) for cpu in guest.cpus]))
    assert all(result == results[0] for result in results[1:])
    for looks, away in zip(results[0][0], (own, theirs), strict=True):
        assert not [at for at in looks for begin, end in away if begin <= at < end]
