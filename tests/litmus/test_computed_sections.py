"""Litmus tests of computed lock sections, each with the only right numbers.

A lock word is swapped in 10 ps and handed over in 20 ps unless a test says
otherwise.  Every test holds in every mode: what is computed on arrival is what
would happen by events.
"""

import pytest
from bench import MODES, START, Bench, FlatLine, Mode, Program, time_of

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Op
from coalsim.engine.streams import Streams
from coalsim.locks.base import LockSetup, SpinLock
from coalsim.locks.lockdep import LockClass
from coalsim.locks.ticket import TicketLock
from coalsim.locks.view import GuardedCount
from coalsim.units import Time

pytestmark = pytest.mark.parametrize("mode", MODES, ids=str)

Times = dict[int, tuple[Time, Time]]


def section(lock: SpinLock, times: Times, hold: Time) -> Program:
    """A program that runs one section and notes its grant and release."""

    def program(cpu: Cpu) -> Op[None]:
        grants: list[Time] = []

        def body(grant: Time) -> Time:
            grants.append(grant - START)
            return hold

        _, released = yield from lock.section(cpu, body, hold, "section")
        times[cpu.id] = (grants[0], released - START)

    return program


def blocking(lock: SpinLock, times: Times, hold: Time) -> Program:
    """The same by events, with interrupts on."""

    def program(cpu: Cpu) -> Op[None]:
        yield from lock.acquire(cpu, "blocking")
        yield from cpu.sync()
        granted = time_of(cpu)
        cpu.charge(hold, "held")
        yield from lock.release(cpu)
        times[cpu.id] = (granted, time_of(cpu))

    return program


def test_sections_queue_in_the_order_of_arrival(mode: Mode) -> None:
    """CPU 2 comes second and CPU 1 third; each is granted 20 after the release before it."""
    bench = Bench(mode, 3)
    lock, times = bench.lock(), Times()
    for number, at in ((0, 0), (2, 50), (1, 60)):
        bench.run_on(number, section(lock, times, 200), at=at)
    bench.run()
    assert times == {0: (10, 210), 2: (230, 430), 1: (450, 650)}
    row = lock.stat.row()
    assert (row.contentions, row.waittime_total, row.waittime_max) == (2, 170 + 380, 380)
    assert (row.acquisitions, row.holdtime_total, row.con_bounces, row.acq_bounces) == (3, 600, 2, 3)


def test_a_hand_over_in_no_time_keeps_the_order(mode: Mode) -> None:
    """zero: handed over in 0 ps, to a lower id in the same instant."""
    bench = Bench(mode, 3, handover=0)
    lock, times = bench.lock(), Times()
    bench.run_on(1, section(lock, times, 200))
    bench.run_on(0, section(lock, times, 200), at=50)
    bench.run_on(2, section(lock, times, 200), at=60)
    bench.run()
    assert times == {1: (10, 210), 0: (210, 410), 2: (410, 610)}


@pytest.mark.parametrize(("cpu", "granted", "contentions"), [(1, 1020, 1), (5, 1000, 0)])
def test_a_release_and_an_arrival_at_one_instant_go_by_id(
    mode: Mode, cpu: int, granted: Time, contentions: int
) -> None:
    """release_tie: holder 3 releases at 1000, when a swap ends: 1 came before that, 5 after."""
    bench = Bench(mode, 6)
    lock, times = bench.lock(), Times()
    bench.run_on(3, section(lock, times, 990))
    bench.run_on(cpu, section(lock, times, 50), at=990)
    bench.run()
    assert times == {3: (10, 1000), cpu: (granted, granted + 50)}
    assert lock.stat.row().contentions == contentions


def test_a_section_queues_behind_a_swap_that_is_under_way(mode: Mode) -> None:
    """pipe: a swap by events lasts from 100 to 160; a section that arrives at 120 comes behind it."""
    bench = Bench(mode, 3)
    lock, times = bench.lock(), Times()
    lock.line = CacheLine("far away")
    first, second = bench.cpus[0], bench.cpus[1]
    first.transfer, first.occupancy = [10, 60, 60, 60], [10, 10, 10, 10]
    second.transfer, second.occupancy = [20, 10, 20, 20], [10, 10, 10, 10]
    bench.run_on(2, section(lock, times, 10))
    bench.run_on(0, blocking(lock, times, 200), at=100)
    bench.run_on(1, section(lock, times, 200), at=120)
    bench.run()
    assert times == {2: (10, 20), 0: (160, 360), 1: (380, 580)}


def test_blocking_and_short_sections_mix_on_one_lock(mode: Mode) -> None:
    """mixed_lock: whoever comes later waits for whoever came earlier, however each uses the lock."""
    bench = Bench(mode, 6)
    lock, times = bench.lock(), Times()
    uses = ((blocking, 0), (section, 50), (blocking, 60), (section, 240), (section, 700), (blocking, 720))
    for number, (use, at) in enumerate(uses):
        bench.run_on(number, use(lock, times, 100), at=at)
    bench.run()
    assert times == {
        0: (10, 110),
        1: (130, 230),
        2: (250, 350),
        3: (370, 470),
        4: (710, 810),
        5: (830, 930),
    }


def test_a_section_nests_in_a_lock_that_is_taken_by_events(mode: Mode) -> None:
    """An interrupt lengthens the outer hold only where interrupts are on: after the section."""
    bench = Bench(mode, 2)
    outer, inner, times = bench.lock("outer", rank=0), bench.lock("inner"), dict[str, Time]()

    def program(cpu: Cpu) -> Op[None]:
        yield from outer.acquire(cpu, "outer")
        yield from inner.section(cpu, lambda _: 200, 200, "inner")
        yield from cpu.look()
        times[f"{cpu.id} in"] = time_of(cpu)
        yield from outer.release(cpu)
        times[f"{cpu.id} out"] = time_of(cpu)

    bench.run_on(0, program)
    bench.run_on(1, program, at=50)
    shot = bench.ipi(100, 0)
    bench.run()
    # swaps of 10 each, 200 held, 100 of handler from 220 on; then 20 of hand-over
    assert times == {"0 in": 320, "0 out": 320, "1 in": 340 + 10 + 200, "1 out": 550}
    assert shot.last is not None
    assert shot.last.off_delay == 120
    assert outer.stat.row().stolen == 100


def test_a_late_waiter_still_slows_a_ticket_lock(mode: Mode) -> None:
    """ticket_late: the third arrives after the second, but before the release: the hand-over counts it."""
    waits = []
    for third in (False, True):
        bench = Bench(mode, 3)
        lock, times = TicketLock(LockClass("ticket", 1), "ticket", LockSetup(streams=Streams(1))), Times()
        lock.line = FlatLine("ticket")
        bench.run_on(0, section(lock, times, 200))
        bench.run_on(1, section(lock, times, 200), at=50)
        if third:
            bench.run_on(2, section(lock, times, 200), at=100)
        bench.run()
        waits.append(times[1])
    assert waits == [(220, 420), (230, 430)]


# -- what others see of a section -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "at", "value"), [(2, 300, 10), (0, 520, 10), (2, 520, 6), (2, 519, 10), (0, 521, 6)]
)
def test_a_read_without_the_lock_sees_only_the_past(mode: Mode, reader: int, at: Time, value: int) -> None:
    """lockless_read: 10 free; a section that arrived at 100 is granted at 520 and takes 4."""
    bench = Bench(mode, 3)
    lock, free, times, seen = bench.lock(), GuardedCount(10), Times(), list[object]()

    def take(cpu: Cpu) -> Op[None]:
        def body(grant: Time) -> Time:
            assert grant == START + 520
            free.add(grant, cpu, -4)
            return 10

        yield from lock.section(cpu, body, 10, "take")

    def holder_and_reader(cpu: Cpu) -> Op[None]:
        if cpu.id == 0:
            yield from section(lock, times, 490)(cpu)
        if cpu.id == reader:
            yield from cpu.sync()
            yield from cpu.wait_until(START + at, "pause")
            seen.append(free.read(cpu))

    bench.run_on(0, holder_and_reader)
    bench.run_on(1, take, at=90)
    if reader:
        bench.run_on(reader, holder_and_reader)
    bench.run()
    assert seen == [value]


def test_a_barrier_does_not_see_a_section_that_is_granted_after_it(mode: Mode) -> None:
    """barrier_section: a sample at 1000, an arrival at 900, its grant at 1100: nothing taken yet."""
    bench = Bench(mode, 2)
    lock, free, times, seen = bench.lock(), GuardedCount(10), Times(), list[object]()

    def take(cpu: Cpu) -> Op[None]:
        def body(grant: Time) -> Time:
            assert grant == START + 1100
            free.add(grant, cpu, -4)
            return 10

        yield from lock.section(cpu, body, 10, "take")

    def sample() -> None:
        row = lock.stat.row()
        split = split_at(bench.cpus[1], bench.env._now)
        seen.append((free.at_barrier(bench.env._now), row.acquisitions, row.contentions, split))

    bench.at_barrier(1000, sample)
    bench.at_barrier(1200, sample)
    bench.run_on(0, section(lock, times, 1070))
    bench.run_on(1, take, at=890)
    bench.run()
    start = {"start": START + 890, "line:zone": 10}
    waited = {"lock:zone:wait": 180, "lock:zone:hand-over": 20, "lock:zone:hold": 10, "idle": 90}
    assert seen == [(10, 0, 0, start | {"lock:zone:wait": 100}), (6, 2, 1, start | waited)]


def test_a_section_that_reaches_a_barrier_is_played_by_events(mode: Mode) -> None:
    """A hold from 10 to 210 with a sample at each of 9, 10, 11, 209, 210 and 211."""
    bench = Bench(mode, 1)
    lock, times, seen = bench.lock(), Times(), list[object]()
    cpu = bench.cpus[0]

    def sample() -> None:
        seen.append((bench.env._now - START, lock.stat.row().acquisitions, split_at(cpu, bench.env._now)))

    for at in (9, 10, 11, 209, 210, 211):
        bench.at_barrier(at, sample)
    bench.run_on(0, section(lock, times, 200))
    bench.run()
    start = {"start": START}
    held = start | {"line:zone": 10}
    assert seen == [
        (9, 0, start | {"line:zone": 9}),
        (10, 0, held),
        (11, 0, held | {"lock:zone:hold": 1}),
        (209, 0, held | {"lock:zone:hold": 199}),
        (210, 0, held | {"lock:zone:hold": 200}),
        (211, 1, held | {"lock:zone:hold": 200, "idle": 1}),
    ]


def test_the_end_of_a_section_lets_a_thread_give_way(mode: Mode) -> None:
    """A tick falls due in a section: the slice is over at its end, so the other thread is next."""
    bench = Bench(mode, 1, ticks=(1_000_000, 0, 100))
    lock, order = bench.lock(), []

    def program(name: str, cpu: Cpu) -> Op[None]:
        for turn in range(2):
            yield from lock.section(cpu, lambda _: 200, 200, "site")
            order.append((name, turn))
            yield from cpu.preempt_point()

    def first(cpu: Cpu) -> Op[None]:
        yield from program("first", cpu)

    def second(cpu: Cpu) -> Op[None]:
        yield from program("second", cpu)

    bench.run_on(0, first)
    bench.run_on(0, second)
    bench.run()
    assert order == [("first", 0), ("second", 0), ("second", 1), ("first", 1)]


def test_a_computed_section_costs_one_event(mode: Mode) -> None:
    """Of 40 sections on a saturated lock none needs a second event, and all need fewer than by events."""
    bench = Bench(mode, 4)
    lock = bench.lock()

    def program(cpu: Cpu) -> Op[None]:
        for _ in range(10):
            yield from lock.section(cpu, lambda _: 200, 200, "site")

    for number in range(4):
        bench.run_on(number, program)
    bench.run()
    assert lock.stat.row().acquisitions == 40
    # for each processor: the process, its first alarm, its start, its end; then the sender and the barrier
    fixed = 4 * 4 + 4
    if mode.fast_paths:
        assert bench.env.events <= 40 + fixed
    else:
        assert bench.env.events > 2 * 40
