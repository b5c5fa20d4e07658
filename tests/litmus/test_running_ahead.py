"""Litmus tests of running ahead: one named race each, with the only right numbers.

Handlers take 100 ps, answers 50 ps back, the lookahead is 800 ps unless a test says
otherwise.  Every test holds in every mode.
"""

from fractions import Fraction
from functools import partial

import pytest
from bench import LOOKAHEAD, MODES, START, Bench, Mode, time_of, touches

from coalsim.cpus.bandwidth import Pipe
from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.units import Time

pytestmark = pytest.mark.parametrize("mode", MODES, ids=str)


def test_a_message_in_flight_bounds_private_looks(mode: Mode) -> None:
    """in_flight: CPU 1 touches a page every 50 from 500 on; an invalidation arrives at 800."""
    bench = Bench(mode, 2)
    mapped, hits = [True], list[Time]()

    def sender(cpu: Cpu) -> Op[None]:
        shot = Shot[Cpu](None, cpu.clock, 1, 100, lambda _: mapped.clear(), lambda _: 50)
        cpu.send([(cpu.clock + LOOKAHEAD, bench.cpus[1])], shot)
        yield from ()

    def toucher(cpu: Cpu) -> Op[None]:
        cpu.charge(500, "think")
        yield from cpu.sync()
        yield from touches(cpu, 50, lambda: bool(mapped), hits)

    bench.run_on(0, sender)
    bench.run_on(1, toucher)
    bench.run()
    assert hits == [500, 550, 600, 650, 700, 750]


def test_a_handler_delays_what_was_charged_before_it_came(mode: Mode) -> None:
    """straddle: an operation of 50 begins at 780, the interrupt comes at 800: done at 930."""
    bench = Bench(mode, 1)
    seen: list[Time] = []

    def program(cpu: Cpu) -> Op[None]:
        cpu.charge(780, "think")
        yield from cpu.look()
        seen.append(time_of(cpu))
        cpu.charge(50, "work")
        yield from cpu.look()
        seen.append(time_of(cpu))

    bench.ipi(800, 0)
    bench.run_on(0, program)
    bench.run()
    assert seen == [780, 930]


def test_the_lower_id_goes_first_at_a_tie(mode: Mode) -> None:
    """tie_order: both reach the lock at 400, after different numbers of private operations."""
    bench = Bench(mode, 4)
    lock, order = bench.lock(), []

    def program(steps: int, cpu: Cpu) -> Op[None]:
        for _ in range(steps):
            yield from cpu.look()
            cpu.charge(400 // steps, "think")

        def body(grant: Time) -> Time:
            order.append((cpu.id, grant - START))
            return 30

        yield from lock.section(cpu, body, 30, "tie")

    for number, steps in enumerate((8, 1, 4, 2)):
        bench.run_on(number, partial(program, steps))
    bench.run()
    assert order == [(0, 410), (1, 460), (2, 510), (3, 560)]


def test_a_charge_of_nothing_does_not_yield(mode: Mode) -> None:
    """zero: what a processor does at one instant is not torn apart by another."""
    bench = Bench(mode, 2)
    order: list[str] = []

    def program(cpu: Cpu) -> Op[None]:
        cpu.charge(100 * (cpu.id + 1), "think")
        yield from cpu.sync()
        cpu.charge(100 * (1 - cpu.id), "think")
        yield from cpu.sync()
        order.append(f"{cpu.id} first")
        cpu.charge(0, "nothing")
        yield from cpu.look()
        yield from cpu.sync()
        order.append(f"{cpu.id} second")

    bench.run_on(1, program)
    bench.run_on(0, program)
    bench.run()
    assert order == ["0 first", "0 second", "1 first", "1 second"]


def test_a_hit_in_the_own_cache_is_shared_state(mode: Mode) -> None:
    """hot_counter: CPU 0 increments its own line every 20; CPU 1 takes it at 50."""
    bench = Bench(mode, 2)
    line, done = CacheLine("counter"), list[Time]()

    def owner(cpu: Cpu) -> Op[None]:
        for _ in range(6):
            yield from cpu.sync()
            finished = line.rmw(cpu)
            done.append(finished - START)
            cpu.charge(finished - cpu.clock, "line")
            cpu.charge(10, "think")

    def thief(cpu: Cpu) -> Op[None]:
        cpu.charge(50, "think")
        yield from cpu.sync()
        assert line.rmw(cpu) == START + 70

    bench.run_on(0, owner)
    bench.run_on(1, thief)
    bench.run()
    # hits of 10 at 0, 20 and 40; at 60 the line is on its way to CPU 1 until 70
    assert done == [10, 30, 50, 90, 110, 130]


def test_a_flag_that_others_read_is_synchronised_before_it_changes(mode: Mode) -> None:
    """lazy_flag: the target goes lazy at 300 while global time is 0; at 100 it is not lazy yet."""
    bench = Bench(mode, 2)
    lazy, sent = [False], list[tuple[Time, bool]]()

    def target(cpu: Cpu) -> Op[None]:
        for _ in range(6):
            yield from cpu.look()
            cpu.charge(50, "think")
        yield from cpu.sync()
        lazy[0] = True

    def sender(cpu: Cpu) -> Op[None]:
        for _ in range(3):
            cpu.charge(100, "think")
            yield from cpu.sync()
            sent.append((time_of(cpu), not lazy[0]))

    bench.run_on(0, target)
    bench.run_on(1, sender)
    bench.run()
    assert sent == [(100, True), (200, True), (300, False)]  # at 300, CPU 0 comes before CPU 1


def test_a_setting_of_another_processor_is_seen_one_lookahead_later(mode: Mode) -> None:
    """remote_high: CPU 0 sets CPU 1's limit at 100; CPU 1 sees it from 900 on."""
    bench = Bench(mode, 2)
    high, old = [6], list[Time]()

    def setter(cpu: Cpu) -> Op[None]:
        cpu.charge(100, "think")
        yield from cpu.sync()
        arrives = cpu.post(bench.cpus[1], lambda _: high.__setitem__(0, 63))
        assert arrives == START + 900

    def reader(cpu: Cpu) -> Op[None]:
        yield from touches(cpu, 50, lambda: high[0] == 6, old)
        assert time_of(cpu) == 900

    bench.run_on(0, setter)
    bench.run_on(1, reader)
    bench.run()
    assert old == list(range(0, 900, 50))


def test_the_lookahead_is_that_of_the_fastest_message(mode: Mode) -> None:
    """broadcast: an invalidation lands after 150, an interrupt after 800; both find the right state."""
    bench = Bench(mode, 2, lookahead=150)
    mapped, hits, flushed = [True], list[Time](), list[Time]()

    def sender(cpu: Cpu) -> Op[None]:
        shot = Shot[Cpu](None, cpu.clock, 1, 100, lambda cpu: flushed.append(hits[-1]), lambda _: 50)
        cpu.send([(cpu.clock + 800, bench.cpus[1])], shot)
        broadcast = Shot[Cpu](None, cpu.clock, 1, 0, lambda _: mapped.__setitem__(0, False), lambda _: 50)
        cpu.send([(cpu.clock + 150, bench.cpus[1])], broadcast)
        yield from ()

    def toucher(cpu: Cpu) -> Op[None]:
        yield from touches(cpu, 50, lambda: mapped[0], hits)
        yield from touches(cpu, 50, lambda: not flushed, hits)

    bench.run_on(0, sender)
    bench.run_on(1, toucher)
    bench.run()
    assert hits[:3] == [0, 50, 100]
    assert hits[3:] == list(range(150, 800, 50))
    assert flushed == [750]


def test_a_message_within_the_lookahead_is_refused(mode: Mode) -> None:
    """A sender cannot undercut the lookahead that others rely on."""
    bench = Bench(mode, 2)

    def sender(cpu: Cpu) -> Op[None]:
        shot = Shot[Cpu](None, cpu.clock, 1, 100, lambda _: None, lambda _: 50)
        cpu.send([(cpu.clock + LOOKAHEAD - 1, bench.cpus[1])], shot)
        yield from ()

    bench.run_on(0, sender)
    with pytest.raises(AssertionError, match="lookahead"):
        bench.run()


def test_shared_state_is_read_at_its_time(mode: Mode) -> None:
    """walk_ahead: a shared word read at 400 was cleared at 300, though the reader got to 400 first."""
    bench = Bench(mode, 2)
    entry, found = [True], list[bool]()

    def reader(cpu: Cpu) -> Op[None]:
        cpu.charge(400, "think")
        yield from cpu.sync()
        found.append(entry[0])

    def clearer(cpu: Cpu) -> Op[None]:
        cpu.charge(300, "think")
        yield from cpu.sync()
        entry[0] = False

    bench.run_on(0, reader)
    bench.run_on(1, clearer)
    bench.run()
    assert found == [False]


def test_bandwidth_is_served_in_the_order_of_time(mode: Mode) -> None:
    """bandwidth: CPU 0 moves a page at 500 and is processed first; CPU 1's at 300 is served first."""
    bench = Bench(mode, 2)
    pipe, done = Pipe("node 0", Fraction(10)), dict[int, Time]()

    def zero_a_page(at: Time, cpu: Cpu) -> Op[None]:
        while time_of(cpu) < at:
            cpu.charge(50, "think")
            yield from cpu.look()
        yield from cpu.sync()
        done[cpu.id] = pipe.move(cpu, 4) - START

    bench.run_on(0, lambda cpu: zero_a_page(500, cpu))
    bench.run_on(1, lambda cpu: zero_a_page(300, cpu))
    bench.run()
    assert done == {1: 700, 0: 1100}


# -- barriers -----------------------------------------------------------------------------------


def test_the_end_of_a_run_counts_what_began_before_it(mode: Mode) -> None:
    """end_of_run: touches every 50, the run ends at 1000: 20 each."""
    bench = Bench(mode, 3)
    hits: list[list[Time]] = [[] for _ in bench.cpus]
    counted: list[int] = []

    def program(cpu: Cpu) -> Op[None]:
        yield from touches(cpu, 50, lambda: True, hits[cpu.id])

    for number in range(3):
        bench.run_on(number, program)
    bench.at_barrier(1000, lambda: counted.extend(len(own) for own in hits))
    bench.run(until=1000)
    assert counted == [20, 20, 20]


def test_a_tick_pushes_a_charge_over_the_barrier(mode: Mode) -> None:
    """pushed_over: the charge would end at 95; a tick at 90 takes 10; the barrier is at 100."""
    bench = Bench(mode, 1, ticks=(1_000_000, 10, 90))
    split: dict[str, Time] = {}

    def program(cpu: Cpu) -> Op[None]:
        cpu.charge(95, "work")
        yield from cpu.look()
        cpu.charge(50, "more")
        yield from cpu.sync()

    bench.at_barrier(100, lambda: split.update(split_at(bench.cpus[0], START + 100)))
    bench.run_on(0, program)
    bench.run()
    assert split == {"start": START, "work": 90, "tick": 10}


def test_a_barrier_comes_before_everything_at_its_time(mode: Mode) -> None:
    """Ticks, messages and processors at a barrier's time come after it."""
    bench = Bench(mode, 1, ticks=(1_000_000, 0, 500))
    seen: list[str] = []

    def program(cpu: Cpu) -> Op[None]:
        cpu.charge(500, "think")
        yield from cpu.look()
        seen.append(f"processor after {cpu.ticks} tick")

    bench.ipi(500, 0, cost=0, effect=lambda cpu: seen.append(f"message after {cpu.ticks} tick"))
    bench.at_barrier(500, lambda: seen.append("barrier"))
    bench.run_on(0, program)
    bench.run()
    assert seen == ["barrier", "message after 1 tick", "processor after 1 tick"]
