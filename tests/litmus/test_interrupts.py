"""Litmus tests of interrupts, ticks and waiting, each with the only right numbers.

Handlers take 100 ps, answers 50 ps back, lock words are swapped in 10 ps and locks
handed over in 20 ps unless a test says otherwise.  Every test holds in every mode.
"""

import pytest
from bench import LOOKAHEAD, MODES, START, WAY_BACK, Bench, Mode, Program, time_of
from one_request import request

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.ipi import CallQueue
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.errors import DeadlockError, KernelBug
from coalsim.locks.queued import QueuedLock
from coalsim.units import Time

pytestmark = pytest.mark.parametrize("mode", MODES, ids=str)


def hold(lock: QueuedLock, times: dict[int, tuple[Time, Time]], length: Time) -> Program:
    """A program that takes `lock` by events, holds it and notes when it had it and gave it up."""

    def program(cpu: Cpu) -> Op[None]:
        yield from lock.acquire(cpu, "hold")
        yield from cpu.sync()
        began = time_of(cpu)
        cpu.charge(length, "held")
        yield from lock.release(cpu)
        times[cpu.id] = (began, time_of(cpu))

    return program


def test_an_interrupt_lengthens_a_section_that_it_may_interrupt(mode: Mode) -> None:
    """held_by_irq: CPU 0 has the lock at 10 for 200, an interrupt at 100: it releases at 310."""
    bench = Bench(mode, 2)
    lock, times = bench.lock(), dict[int, tuple[Time, Time]]()
    bench.run_on(0, hold(lock, times, 200))
    bench.run_on(1, hold(lock, times, 200), at=40)
    bench.ipi(100, 0)
    bench.run()
    assert times == {0: (10, 310), 1: (330, 530)}
    assert lock.stat.row().stolen == 100


def test_a_waiter_in_a_handler_starts_late(mode: Mode) -> None:
    """waiter_in_handler: granted at 230 while in a handler until 300; everyone behind waits longer."""
    bench = Bench(mode, 3)
    lock, times = bench.lock(), dict[int, tuple[Time, Time]]()
    bench.run_on(0, hold(lock, times, 200))
    bench.run_on(1, hold(lock, times, 200), at=40)
    bench.run_on(2, hold(lock, times, 200), at=50)
    bench.ipi(200, 1)
    bench.run()
    assert times == {0: (10, 210), 1: (300, 500), 2: (520, 720)}


def test_an_interrupt_waits_for_the_end_of_a_computed_section(mode: Mode) -> None:
    """window: CPU 1 waits from 60 and releases at 430; what came at 200 is handled from there."""
    bench = Bench(mode, 2)
    lock, spans = bench.lock(), dict[int, tuple[Time, Time, Time]]()

    def program(cpu: Cpu) -> Op[None]:
        asked, released = yield from lock.section(cpu, lambda _: 200, 200, "site")
        yield from cpu.look()
        spans[cpu.id] = (asked - START, released - START, time_of(cpu))

    bench.run_on(0, program)
    bench.run_on(1, program, at=50)
    shot = bench.ipi(200, 1)
    bench.run()
    assert spans == {0: (0, 210, 210), 1: (50, 430, 530)}
    assert shot.last is not None
    assert (shot.done - START, shot.last.off_delay, shot.last.handler) == (580, 230, 100)


def test_interrupts_are_off_until_the_outermost_section_ends(mode: Mode) -> None:
    """nested_off: off, off, interrupt, on, on: handled at the last on."""
    bench = Bench(mode, 1)
    seen: list[Time] = []

    def program(cpu: Cpu) -> Op[None]:
        for ps in (10, 100):
            yield from cpu.irq_off()
            cpu.charge(ps, "off")
        for _ in range(2):
            yield from cpu.irq_on()
            yield from cpu.look()
            seen.append(time_of(cpu))
            cpu.charge(30, "work")

    shot = bench.ipi(50, 0)
    bench.run_on(0, program)
    bench.run()
    assert seen == [110, 240]
    assert shot.last is not None
    assert (shot.last.off_delay, shot.done - START) == (90, 290)


def test_turning_interrupts_on_finds_what_has_arrived(mode: Mode) -> None:
    """irq_on_ahead: interrupts go on at 900, past an arrival at 850 that is not delivered yet."""
    bench = Bench(mode, 1)
    seen: list[Time] = []

    def program(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        cpu.charge(900, "off")
        yield from cpu.irq_on()
        yield from cpu.look()
        seen.append(time_of(cpu))

    shot = bench.ipi(850, 0)
    bench.run_on(0, program)
    bench.run()
    assert seen == [1000]
    assert shot.last is not None
    assert (shot.last.off_delay, shot.last.queue, shot.done - START) == (50, 0, 1050)


def test_two_processors_that_shoot_at_each_other(mode: Mode) -> None:
    """mutual: both handle the other's request while they wait: 850 of waiting and 100 of handler."""
    bench = Bench(mode, 2)
    ended: dict[int, Time] = {}
    split: dict[int, dict[str, Time]] = {}

    def program(cpu: Cpu) -> Op[None]:
        other = bench.cpus[1 - cpu.id]
        shot = Shot[Cpu](cpu, cpu.clock, 1, 100, lambda _: None, lambda _: WAY_BACK)
        cpu.send([(cpu.clock + LOOKAHEAD, other)], shot)
        yield from cpu.wait_for_answers(shot, "answers")
        yield from cpu.look()
        ended[cpu.id] = time_of(cpu)

    bench.run_on(0, program)
    bench.run_on(1, program)
    bench.at_barrier(950, lambda: split.update((cpu.id, split_at(cpu, cpu.env._now)) for cpu in bench.cpus))
    bench.run()
    assert ended == {0: 950, 1: 950}
    assert split == {n: {"start": START, "answers": 850, "handler": 100} for n in (0, 1)}


def test_a_tick_delays_the_interrupt_behind_it(mode: Mode) -> None:
    """tick_then_ipi: a tick at 300 takes 50, so an interrupt at 310 is handled from 350 to 450."""
    bench = Bench(mode, 1, ticks=(1_000_000, 50, 300))
    seen: list[Time] = []

    def program(cpu: Cpu) -> Op[None]:
        yield from cpu.wait_until(START + 500, "sleep")
        yield from cpu.look()
        seen.append(time_of(cpu))

    shot = bench.ipi(310, 0)
    bench.run_on(0, program)
    bench.run()
    assert seen == [500]
    assert shot.last is not None
    assert (shot.last.queue, shot.done - START) == (40, 450 + WAY_BACK)


def test_at_a_tie_the_tick_comes_before_the_interrupt(mode: Mode) -> None:
    """A tick and an interrupt at 300: the tick runs first, whether or not it is an event."""
    bench = Bench(mode, 1, ticks=(1_000_000, 50, 300))
    shot = bench.ipi(300, 0)
    bench.run_on(0, lambda cpu: cpu.wait_until(START + 500, "sleep"))
    bench.run()
    assert shot.done - START == 300 + 50 + 100 + WAY_BACK


def test_ticks_that_interrupts_off_delay_are_lost_but_one(mode: Mode) -> None:
    """lost_ticks: off for three tick periods: one is handled, two are counted as lost."""
    bench = Bench(mode, 1, ticks=(100, 10, 100))
    seen: list[tuple[int, int, Time]] = []

    def program(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        cpu.charge(350, "off")
        yield from cpu.irq_on()
        yield from cpu.look()
        seen.append((cpu.ticks, cpu.ticks_lost, time_of(cpu)))

    bench.run_on(0, program)
    bench.run()
    assert seen == [(1, 2, 360)]


def test_ticks_are_lost_in_a_computed_section_too(mode: Mode) -> None:
    """A section from 0 to 310 with ticks at 110, 210 and 310: the last finds interrupts still off."""
    bench = Bench(mode, 1, ticks=(100, 10, 110))
    lock, seen = bench.lock(), []

    def program(cpu: Cpu) -> Op[None]:
        _, released = yield from lock.section(cpu, lambda _: 300, 300, "site")
        assert released == START + 310
        yield from cpu.look()
        seen.append((cpu.ticks, cpu.ticks_lost, time_of(cpu)))

    bench.run_on(0, program)
    bench.run()
    assert seen == [(1, 2, 320)]


# -- requests that join a handler -------------------------------------------------------------------


def call(queue: CallQueue, done: dict[Time, Time], cost: Time, flight: Time = 100) -> Program:
    """A program that makes one request and notes when it was made and answered."""

    def program(cpu: Cpu) -> Op[None]:
        asked = time_of(cpu)
        shot = Shot[Cpu](cpu, cpu.clock, 1, cost, lambda _: None, lambda _: WAY_BACK)
        request(queue, cpu, cpu.clock + flight, shot)
        yield from cpu.wait_for_answers(shot, "answers")
        done[asked] = shot.done - START

    return program


def test_a_request_joins_a_handler_that_has_not_started(mode: Mode) -> None:
    """coalesce: a handler is busy until 500; requests at 200 and 300 cost 100 each: one interrupt."""
    bench = Bench(mode, 3, lookahead=100)
    queue, done = CallQueue(bench.cpus[0]), dict[Time, Time]()
    bench.ipi(100, 0, cost=400)
    bench.run_on(0, lambda cpu: cpu.wait_until(START + 1000, "sleep"))
    bench.run_on(1, call(queue, done, 100), at=200)
    bench.run_on(2, call(queue, done, 100), at=300)
    bench.run()
    assert done == {200: 650, 300: 750}
    assert queue.interrupts == 1


def test_a_request_does_not_overtake_a_tick_that_came_before_it(mode: Mode) -> None:
    """A handler starts at 500; a tick of 30 at 350; a request that joins at 400 is served behind it."""
    bench = Bench(mode, 3, lookahead=100, ticks=(1_000_000, 30, 350))
    queue, done = CallQueue(bench.cpus[0]), dict[Time, Time]()
    bench.ipi(100, 0, cost=400)
    bench.run_on(0, lambda cpu: cpu.wait_until(START + 1000, "sleep"))
    bench.run_on(1, call(queue, done, 100), at=200)
    bench.run_on(2, call(queue, done, 100), at=400)
    bench.run()
    assert done == {200: 650, 400: 500 + 100 + 30 + 100 + WAY_BACK}
    assert queue.interrupts == 1


def test_a_request_joins_what_waits_for_the_end_of_a_section(mode: Mode) -> None:
    """Off until 510: requests at 100 and 400 share a handler, before an interrupt that came at 300."""
    bench = Bench(mode, 3, lookahead=100)
    lock, queue, done = bench.lock(), CallQueue(bench.cpus[0]), dict[Time, Time]()
    seen: list[Time] = []

    def program(cpu: Cpu) -> Op[None]:
        yield from lock.section(cpu, lambda _: 500, 500, "site")
        yield from cpu.look()
        seen.append(time_of(cpu))

    bench.run_on(0, program)
    bench.run_on(1, call(queue, done, 100), at=100)
    bench.run_on(2, call(queue, done, 100), at=400)
    shot = bench.ipi(300, 0)
    bench.run()
    assert done == {100: 660, 400: 760}
    assert shot.done - START == 510 + 300 + WAY_BACK
    assert seen == [810]
    assert queue.interrupts == 1


@pytest.mark.parametrize(("caller", "interrupts"), [(0, 1), (2, 2)])
def test_a_tie_with_the_start_of_a_handler_goes_by_id(mode: Mode, caller: int, interrupts: int) -> None:
    """A request at 510, when CPU 1's section ends: that of CPU 0 still joins, that of CPU 2 does not."""
    bench = Bench(mode, 4, lookahead=100)
    lock, queue, done = bench.lock(), CallQueue(bench.cpus[1]), dict[Time, Time]()

    def one_section(cpu: Cpu) -> Op[None]:
        yield from lock.section(cpu, lambda _: 500, 500, "site")

    bench.run_on(1, one_section)
    bench.run_on(3, call(queue, done, 100), at=100)
    bench.run_on(caller, call(queue, done, 100), at=510)
    bench.run()
    assert done == {100: 660, 510: 760}
    assert queue.interrupts == interrupts


def test_a_request_that_joins_is_never_in_flight_for_less_than_nothing(mode: Mode) -> None:
    """The interrupt arrives at 200 with interrupts off until 500; a request of 400 joins it there."""
    bench = Bench(mode, 2, lookahead=100)
    queue = CallQueue(bench.cpus[0])
    shots: list[Shot[Cpu]] = []

    def off(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        cpu.charge(500, "off")
        yield from cpu.irq_on()

    def caller(cpu: Cpu) -> Op[None]:
        for at in (100, 400):
            yield from cpu.wait_until(START + at, "pause")
            shots.append(Shot[Cpu](None, cpu.clock, 1, 100, lambda _: None, lambda _: WAY_BACK))
            request(queue, cpu, cpu.clock + 100, shots[-1])

    bench.run_on(0, off)
    bench.run_on(1, caller)
    bench.run()
    assert [shot.last and tuple(shot.last) for shot in shots] == [
        (0, 100, 300, 0, 100, WAY_BACK),
        (0, 0, 100, 100, 100, WAY_BACK),
    ]


def test_a_handler_bounds_the_run_ahead_until_it_starts(mode: Mode) -> None:
    """Two handlers pending at 300; the second starts at 320, and what joins it before delays all else."""
    bench = Bench(mode, 3, lookahead=100)
    queue, done = CallQueue(bench.cpus[0]), dict[Time, Time]()
    seen: list[Time] = []

    def program(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        cpu.charge(300, "off")
        yield from cpu.irq_on()
        yield from cpu.look()
        seen.append(time_of(cpu))

    bench.ipi(150, 0, cost=20)
    bench.run_on(0, program)
    bench.run_on(1, call(queue, done, 20), at=100)
    bench.run_on(2, call(queue, done, 40), at=310)
    bench.run()
    assert done == {100: 390, 310: 430}
    assert seen == [380]


# -- deadlocks ----------------------------------------------------------------------------------------


def test_a_waiter_for_answers_and_a_spinner_with_interrupts_off(mode: Mode) -> None:
    """spin_off_deadlock: CPU 0 holds the lock and waits for CPU 1, which spins on it, interrupts off."""
    bench = Bench(mode, 2, ticks=(1000, 10, 1000))
    lock = bench.lock("mmap_lock")

    def holder(cpu: Cpu) -> Op[None]:
        yield from lock.acquire(cpu, "unmap")
        yield from cpu.sync()
        shot = Shot[Cpu](cpu, cpu.clock, 1, 100, lambda _: None, lambda _: WAY_BACK)
        cpu.send([(cpu.clock + LOOKAHEAD, bench.cpus[1])], shot)
        yield from cpu.wait_for_answers(shot, "answers")

    def spinner(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        yield from lock.acquire(cpu, "fault")

    bench.run_on(0, holder)
    bench.run_on(1, spinner, at=100)
    with pytest.raises(DeadlockError) as caught:
        bench.run()
    assert "CPU 0 waits for the answer of CPU 1 (interrupts off)" in str(caught.value)
    assert "CPU 1 waits for lock mmap_lock (held by CPU 0 since unmap)" in str(caught.value)


def test_waiting_for_answers_with_interrupts_off_is_a_bug_at_once(mode: Mode) -> None:
    """Two such initiators would wait for each other for ever; one is reported right away."""
    bench = Bench(mode, 2)

    def program(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        yield from cpu.sync()
        shot = Shot[Cpu](cpu, cpu.clock, 1, 100, lambda _: None, lambda _: WAY_BACK)
        cpu.send([(cpu.clock + LOOKAHEAD, bench.cpus[1])], shot)
        yield from cpu.wait_for_answers(shot, "answers")

    bench.run_on(0, program)
    with pytest.raises(KernelBug, match="CPU 0 waits for answers with interrupts off"):
        bench.run()
