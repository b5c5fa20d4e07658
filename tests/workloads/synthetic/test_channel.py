"""The bounded queue between two CPUs."""

import pytest
from load_bench import MODES, system
from simpy.events import Event

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.units import NS, US, CpuId, Time
from coalsim.workloads.synthetic.channel import EMPTY, FULL, LINE, Channel


def stream(host: System, slots: int, produce: Time, consume: Time, count: int = 60) -> list[tuple[int, Time]]:
    """Messages in the order of their arrival, and when each was taken."""
    queue = Channel("test", slots)
    taken: list[tuple[int, Time]] = []

    def producer(cpu: Cpu) -> Op[None]:
        for number in range(count):
            cpu.charge(produce, "work")
            yield from queue.deposit(cpu, [number, -number])

    def consumer(cpu: Cpu) -> Op[None]:
        for _ in range(count):
            number, negative = yield from queue.collect(cpu)
            assert number == -negative
            taken.append((number, cpu.clock))
            cpu.charge(consume, "work")

    host.run_thread(CpuId(0), "producer", producer(host.cpus[0]))
    host.run_thread(CpuId(2), "consumer", consumer(host.cpus[2]))
    host.boot()
    end = Event(host.env)
    host.when_finished(lambda: host.env.stop(end))
    host.run(end)
    return taken


@pytest.mark.parametrize("slots", [1, 2, 7])
@pytest.mark.parametrize(
    ("produce", "consume"), [(100 * NS, 2 * US), (2 * US, 100 * NS), (500 * NS, 500 * NS)]
)
def test_messages_arrive_once_in_order_and_in_every_mode_at_the_same_time(
    slots: int, produce: Time, consume: Time
) -> None:
    """Whoever is slower; the slower side never waits but for lines."""
    outcomes = [stream(system(mode=mode), slots, produce, consume) for mode in MODES]
    assert [number for number, _ in outcomes[0]] == list(range(60))
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_the_faster_side_waits_for_the_slower_one() -> None:
    """A full queue stops the producer, an empty one the consumer; a line crosses twice a message."""
    fast_producer, fast_consumer = system(), system()
    stream(fast_producer, 4, 100 * NS, 2 * US)
    assert fast_producer.cpus[0].spent[FULL] > 60 * US
    assert not fast_producer.cpus[0].spent[EMPTY]
    stream(fast_consumer, 4, 2 * US, 100 * NS)
    assert fast_consumer.cpus[2].spent[EMPTY] > 60 * US
    assert not fast_consumer.cpus[2].spent[FULL]
    crossing = fast_consumer.machine.transfer_row(CpuId(2))[0]
    assert fast_consumer.cpus[2].spent[LINE] == 60 * crossing  # the producer wrote each line last


def test_a_queue_holds_as_many_messages_as_it_has_slots() -> None:
    """A consumer that has not begun lets exactly so many through."""
    host = system()
    queue = Channel("test", 3)
    sent: list[int] = []

    def producer(cpu: Cpu) -> Op[None]:
        for number in range(9):
            yield from queue.deposit(cpu, [number])
            sent.append(number)

    host.run_thread(CpuId(0), "producer", producer(host.cpus[0]))
    host.boot()
    end = Event(host.env)
    host.env.declare_barrier(100 * US, lambda: host.env.stop(end))
    host.run(end)
    assert sent == [0, 1, 2]
