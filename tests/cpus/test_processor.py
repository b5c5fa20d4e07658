"""A processor: interrupts, messages, threads, waiting."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_request import request
from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.ipi import CallQueue
from coalsim.cpus.runqueue import RunQueue, Thread
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Engine, Op
from coalsim.engine.messages import Shot
from coalsim.errors import KernelBug
from coalsim.units import CpuId, NodeId, Time

LOOKAHEAD = 100

Body = Callable[[Cpu], Op[None]]


class Machine:
    """A few processors and what they saw."""

    def __init__(self, cpus: int, *, run_ahead: bool = True, **costs: Time) -> None:
        self.env = Engine(lookahead=LOOKAHEAD, run_ahead=run_ahead)
        rows = [[1] * cpus for _ in range(cpus)]
        self.cpus = [
            Cpu(self.env, CpuId(n), node=NodeId(0), transfer=rows[n], occupancy=rows[n], **costs)
            for n in range(cpus)
        ]
        self.threads: list[list[Thread]] = [[] for _ in self.cpus]
        self.seen: list[tuple[Time, str]] = []

    def thread(self, cpu: int, body: Body, name: str = "") -> Thread:
        target = self.cpus[cpu]
        thread = Thread(name or f"thread {cpu}", body(target), lambda: self.note(target, f"{name} ended"))
        self.threads[cpu].append(thread)
        return thread

    def note(self, cpu: Cpu, what: str) -> None:
        self.seen.append((cpu.clock, what))

    def run(self, until: Time = 10_000) -> None:
        for cpu, threads in zip(self.cpus, self.threads, strict=True):
            cpu.start(threads)
        end = Event(self.env)
        self.env.declare_barrier(until, lambda: self.env.stop(end))
        assert self.env.run_to(end)


def work(*costs: Time) -> Body:
    def body(cpu: Cpu) -> Op[None]:
        for cost in costs:
            yield from cpu.look()
            cpu.charge(cost, "work")

    return body


# -- interrupts -----------------------------------------------------------------------------------


def test_interrupts_cannot_be_turned_on_twice() -> None:
    """The report names the processor."""
    machine = Machine(1)

    def body(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        yield from cpu.irq_on()
        yield from cpu.irq_on()

    machine.thread(0, body)
    with pytest.raises(KernelBug, match="CPU 0 turns interrupts on that are on"):
        machine.run()


@pytest.mark.parametrize("run_ahead", [False, True])
def test_interrupts_go_off_at_their_time_and_not_before(run_ahead: bool) -> None:
    """Off from 200 on: an interrupt that came at 150 has been handled by then."""
    machine = Machine(2, run_ahead=run_ahead)

    def sender(cpu: Cpu) -> Op[None]:
        cpu.charge(50, "think")
        yield from cpu.sync()
        shot = Shot[Cpu](None, cpu.clock, 1, 7, lambda _: None, lambda _: 1)
        cpu.send([(150, machine.cpus[0])], shot)
        yield from cpu.wait_until(1000, "pause")
        assert shot.last is not None
        machine.note(cpu, f"off delay {shot.last.off_delay}")

    def target(cpu: Cpu) -> Op[None]:
        cpu.charge(200, "work")
        yield from cpu.irq_off()
        machine.note(cpu, "off")
        cpu.charge(100, "work")
        yield from cpu.irq_on()

    machine.thread(1, sender)
    machine.thread(0, target)
    machine.run()
    assert machine.seen[0] == (207, "off")
    assert (1000, "off delay 0") in machine.seen


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40)), max_size=8))
@settings(deadline=None)
def test_nested_sections_handle_at_the_outermost_end(moves: list[tuple[int, Time]]) -> None:
    """Whatever the nesting: never with interrupts off, and at once when the depth falls to 0."""
    machine = Machine(2)
    depths: list[int] = []

    def sender(cpu: Cpu) -> Op[None]:
        for _ in range(20):
            cpu.charge(11, "think")
            yield from cpu.sync()
            shot = Shot[Cpu](
                None, cpu.clock, 1, 3, lambda target: depths.append(target.irq_depth), lambda _: 1
            )
            cpu.send([(cpu.clock + LOOKAHEAD, machine.cpus[0])], shot)

    def target(cpu: Cpu) -> Op[None]:
        depth = 0
        for down, cost in [(0, 0), *moves, *[(1, 0)] * (len(moves) + 1)]:
            if not down:
                yield from cpu.irq_off()
                depth += 1
            elif depth:
                yield from cpu.irq_on()
                depth -= 1
            assert cpu.irq_depth == depth
            assert depth or not cpu.pending
            cpu.charge(cost, "work")

    machine.thread(0, target)
    machine.thread(1, sender)
    machine.run()
    assert depths == [0] * 20


def test_the_answer_that_comes_last_explains_the_wait() -> None:
    """Two targets: one is busy with interrupts off; the initiator's wait divides along that one."""
    machine = Machine(3)

    def initiator(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        shot = Shot(cpu, cpu.clock, 2, 10, lambda _: None, lambda target: 5 + target)
        cpu.send([(cpu.clock + 120, target) for target in machine.cpus[1:]], shot)
        cpu.charge(40, "own work")
        yield from cpu.wait_for_answers(shot, "answers")
        yield from cpu.look()
        assert shot.last is not None
        assert tuple(shot.last) == (2, 120, 180, 0, 10, 7)
        assert cpu.clock == shot.done == 317
        assert cpu.spent == {"own work": 40, "answers": sum(shot.last[1:]) - 40}
        machine.note(cpu, "answered")

    def off(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        cpu.charge(300, "work")
        yield from cpu.irq_on()

    machine.thread(0, initiator)
    machine.thread(2, off)
    machine.run()
    assert (317, "answered") in machine.seen


def test_of_equally_late_answers_the_lowest_id_explains_the_wait() -> None:
    """The order in which they were computed does not show."""
    for order in ((1, 2), (2, 1)):
        shot = Shot[Cpu](None, 0, 2, 10, lambda _: None, lambda _: 5)
        for cpu in order:
            shot.answer(CpuId(cpu), 100, 100, 100, 110)
        assert shot.last is not None
        assert (shot.last.cpu, shot.done, shot.left) == (1, 115, 0)


def test_answers_that_are_there_already_are_not_waited_for() -> None:
    """The initiator comes back from its own work after the last answer."""
    machine = Machine(2)

    def initiator(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        shot = Shot(cpu, cpu.clock, 1, 10, lambda _: None, lambda _: 5)
        cpu.send([(cpu.clock + LOOKAHEAD, machine.cpus[1])], shot)
        cpu.charge(500, "own work")
        yield from cpu.wait_for_answers(shot, "answers")
        machine.note(cpu, "answered")
        assert shot.done == 115
        assert "answers" not in cpu.spent

    machine.thread(0, initiator)
    machine.run()
    assert (500, "answered") in machine.seen


def test_a_request_to_an_idle_queue_sends_one_interrupt_and_the_rest_join() -> None:
    """Three requests while the interrupt flies: one interrupt, one handler after the other."""
    machine = Machine(4)
    queue = CallQueue(machine.cpus[0])
    done: dict[CpuId, Time] = {}

    def caller(cpu: Cpu) -> Op[None]:
        cpu.charge(10 * cpu.id, "think")
        yield from cpu.sync()
        shot = Shot[Cpu](cpu, cpu.clock, 1, 20, lambda _: None, lambda _: 5)
        request(queue, cpu, cpu.clock + LOOKAHEAD, shot)
        yield from cpu.wait_for_answers(shot, "answers")
        done[cpu.id] = shot.done

    for number in (1, 2, 3):
        machine.thread(number, caller)
    machine.run()
    assert queue.interrupts == 1
    assert done == {1: 110 + 20 + 5, 2: 110 + 40 + 5, 3: 110 + 60 + 5}


# -- settings and user's events -----------------------------------------------------------------------


def test_a_posted_setting_costs_nothing_and_does_not_interrupt() -> None:
    """It arrives one lookahead later, even with interrupts off."""
    machine = Machine(2)

    def poster(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        at = cpu.post(machine.cpus[1], lambda target: machine.note(target, f"depth {target.irq_depth}"))
        assert at == LOOKAHEAD

    def target(cpu: Cpu) -> Op[None]:
        yield from cpu.irq_off()
        for _ in range(5):
            cpu.charge(30, "work")
            yield from cpu.look()
        yield from cpu.irq_on()
        assert cpu.clock == 150
        assert cpu.handler_until == 0

    machine.thread(0, poster)
    machine.thread(1, target)
    machine.run()
    assert (120, "depth 1") in machine.seen


def test_a_processor_waits_for_a_users_event_and_goes_on_a_moment_later() -> None:
    """The value comes back; an event that has happened is not waited for."""
    machine = Machine(1)
    bell = machine.env.event()

    def user() -> Op[None]:
        yield machine.env.timeout(70)
        bell.succeed("rung")

    def body(cpu: Cpu) -> Op[None]:
        for _ in range(2):
            value = yield from cpu.wait_for(bell, "bell")
            machine.note(cpu, str(value))
        assert cpu.spent["bell"] == 71

    machine.env.process(user())
    machine.thread(0, body)
    machine.run()
    assert machine.seen[:2] == [(71, "rung"), (71, "rung")]


# -- threads -------------------------------------------------------------------------------------------


def test_threads_run_one_after_the_other_with_a_switch_between() -> None:
    """Without ticks nobody gives way; the first thread needs no switch; the rest of the time is idle."""
    machine = Machine(1, switch_cost=5)
    machine.thread(0, work(20, 20), "a")
    machine.thread(0, work(30), "b")
    machine.run(until=100)
    assert machine.seen == [(40, "a ended"), (75, "b ended")]
    cpu = machine.cpus[0]
    assert cpu.switches == 1
    assert split_at(cpu, 100) == {"work": 70, "switch": 5, "idle": 25}


def test_threads_take_turns_by_ticks() -> None:
    """Round robin: a slice is one tick; each thread does three operations of 10 in 30 of slice."""
    machine = Machine(1, tick_period=30)
    order: list[str] = []

    def body(name: str) -> Body:
        def run(cpu: Cpu) -> Op[None]:
            for _ in range(6):
                yield from cpu.look()
                order.append(name)
                cpu.charge(10, "work")
                yield from cpu.preempt_point()

        return run

    for name in "abc":
        machine.thread(0, body(name), name)
    machine.run()
    assert "".join(order) == "aaabbbccc" * 2


def test_a_thread_that_runs_alone_is_not_switched() -> None:
    """Its slice ends and another begins, at no cost."""
    machine = Machine(1, tick_period=30, switch_cost=5)

    def body(cpu: Cpu) -> Op[None]:
        for _ in range(20):
            cpu.charge(10, "work")
            yield from cpu.preempt_point()

    machine.thread(0, body, "a")
    machine.run()
    assert machine.seen == [(200, "a ended")]
    assert machine.cpus[0].switches == 0


def test_a_thread_that_is_taken_up_begins_a_slice() -> None:
    """A thread that parked and comes back at 95 keeps the processor until the tick at 120, not less."""
    machine = Machine(2, tick_period=30)
    order: list[tuple[str, Time]] = []

    def sleeper(cpu: Cpu) -> Op[None]:
        yield from cpu.park()
        for _ in range(4):
            yield from cpu.look()
            order.append(("sleeper", cpu.clock))
            cpu.charge(10, "work")
            yield from cpu.preempt_point()

    thread = machine.thread(0, sleeper)
    machine.thread(0, work(95), "other")

    def late(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        order.append(("late", cpu.clock))

    def waker(cpu: Cpu) -> Op[None]:
        yield from cpu.wait_until(80, "pause")
        machine.cpus[0].enqueue(thread, 81)
        machine.cpus[0].enqueue(Thread("late", late(machine.cpus[0])), 81)

    machine.thread(1, waker)
    machine.run()
    assert order == [("sleeper", 95), ("sleeper", 105), ("sleeper", 115), ("late", 125), ("sleeper", 125)]


@pytest.mark.parametrize("what", ["interrupts", "preemption"])
def test_nobody_gives_way_with_interrupts_or_preemption_off(what: str) -> None:
    """The slice is over at 30, but the other thread has to wait for the end of the section."""
    machine = Machine(1, tick_period=30)

    def body(cpu: Cpu) -> Op[None]:
        if what == "interrupts":
            yield from cpu.irq_off()
        else:
            cpu.preempt_depth += 1
        for _ in range(5):
            cpu.charge(10, "work")
            yield from cpu.preempt_point()
        machine.note(cpu, "end of section")
        if what == "interrupts":
            yield from cpu.irq_on()
        else:
            cpu.preempt_depth -= 1
        yield from cpu.preempt_point()

    machine.thread(0, body, "a")
    machine.thread(0, work(10), "b")
    machine.run()
    assert [what for _, what in machine.seen] == ["end of section", "b ended", "a ended"]


def test_a_parked_thread_runs_again_where_it_is_put() -> None:
    """An idle processor takes it up at the time of the wake-up; it may be another one."""
    machine = Machine(3)

    def body(cpu: Cpu) -> Op[None]:
        cpu.charge(10, "work")
        yield from cpu.park()
        home = thread.cpu
        assert isinstance(home, Cpu)
        machine.note(home, f"on CPU {home.id}")
        home.charge(10, "work")

    thread = machine.thread(0, body, "wanderer")

    def waker(cpu: Cpu) -> Op[None]:
        yield from cpu.wait_until(50, "pause")
        machine.cpus[2].enqueue(thread, 57)

    machine.thread(1, waker, "waker")
    machine.run()
    assert machine.seen == [(50, "waker ended"), (57, "on CPU 2"), (10, "wanderer ended")]
    assert [cpu.spent["work"] for cpu in machine.cpus] == [10, 0, 10]


def test_nothing_crosses_in_no_time() -> None:
    """A thread cannot be made ready for the present instant."""
    machine = Machine(2)

    def body(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        machine.cpus[1].enqueue(Thread("t", work(1)(machine.cpus[1])), cpu.clock)

    machine.thread(0, body)
    with pytest.raises(AssertionError, match="no time"):
        machine.run()


def test_a_handler_that_runs_past_the_wake_up_delays_the_thread() -> None:
    """An idle processor is woken at 110 while it handles an interrupt until 130."""
    machine = Machine(2)

    def waker(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        shot = Shot[Cpu](None, 0, 1, 30, lambda _: None, lambda _: 1)
        cpu.send([(100, machine.cpus[1])], shot)
        yield from cpu.wait_until(105, "pause")
        machine.cpus[1].enqueue(Thread("t", late(machine.cpus[1])), 110)

    def late(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        machine.note(cpu, "begins")

    machine.thread(0, waker)
    machine.run(until=200)
    assert (130, "begins") in machine.seen
    assert split_at(machine.cpus[1], 200) == {"idle": 170, "handler": 30}


def test_the_run_queue_is_first_come_first_served() -> None:
    """Threads leave in the order in which they came; a slice is over after one tick."""
    queue = RunQueue()
    threads = [Thread(str(n), work(1)(Machine(1).cpus[0])) for n in range(3)]
    assert queue.take() is None
    for thread in threads:
        queue.put(thread)
    assert not queue.is_empty
    assert [queue.take() for _ in range(3)] == threads
    assert queue.is_empty
    queue.new_slice(ticks=4)
    assert (queue.slice_over(4), queue.slice_over(5)) == (False, True)
    longer = RunQueue(slice_ticks=3)
    longer.new_slice(ticks=4)
    assert (longer.slice_over(6), longer.slice_over(7)) == (False, True)


# -- what a verb needs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb",
    [
        lambda machine, cpu: cpu.send([], Shot[Cpu](None, 0, 0, 0, lambda _: None, lambda _: 1)),
        lambda machine, cpu: cpu.post(machine.cpus[1], lambda _: None),
        lambda machine, cpu: next(cpu.wait("cause")),
        lambda machine, cpu: request(
            CallQueue(machine.cpus[1]), cpu, 1000, Shot[Cpu](None, 0, 1, 0, lambda _: None, lambda _: 1)
        ),
    ],
    ids=["send", "post", "wait", "call"],
)
def test_shared_verbs_need_a_sync_before(verb: Callable[[Machine, Cpu], object]) -> None:
    """A clock that has run ahead is caught by an assertion."""
    machine = Machine(2)
    machine.cpus[0].charge(10, "work")
    with pytest.raises(AssertionError, match=r"sync before|needs sync"):
        verb(machine, machine.cpus[0])
