"""The sequence lock: readers retry, writers exclude each other."""

from lock_bench import at, plain_lock, plain_machine, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.units import Time


def test_a_reader_alone_reads_once_and_takes_nothing() -> None:
    """Two reads of the sequence and the body, no contention."""
    env, cpus = plain_machine(1)
    lock = plain_lock("seqlock", name="time")
    attempts: list[Time] = []

    def body(now: Time) -> Time:
        attempts.append(now)
        return 100

    def load() -> Op[None]:
        asked, released = yield from lock.read_section(cpus[0], body, 100, "read")
        assert (asked, released) == (0, 10 + 100 + 10)

    play(env, [(cpus[0], load())])
    readers, writers = lock.lock_class.rows()
    assert attempts == [10]
    assert (readers.acquisitions, readers.contentions, writers.acquisitions) == (1, 0, 0)


def test_a_reader_tries_again_when_a_writer_came_between() -> None:
    """Its first attempt is waiting; it starts anew when the writer is done."""
    env, cpus = plain_machine(2)
    lock = plain_lock("seqlock", name="time")
    attempts: list[Time] = []
    written: list[Time] = []

    def body(now: Time) -> Time:
        attempts.append(now)
        return 1000

    def reader(cpu: Cpu) -> Op[None]:
        yield from lock.read_section(cpu, body, 1000, "read")

    def writer(cpu: Cpu) -> Op[None]:
        yield from at(cpu, 500)
        _, released = yield from lock.section(cpu, lambda _: 2000, 2000, "write")
        written.append(released)

    play(env, [(cpus[0], reader(cpus[0])), (cpus[1], writer(cpus[1]))])
    readers, _ = lock.lock_class.rows()
    assert len(attempts) == 2
    assert attempts[1] >= written[0] - 10  # the sequence is even before the lock is free
    assert readers.contentions == 1
    assert readers.waittime_total == attempts[1] - 10
    assert readers.holdtime_total == 1000 + 10
    assert cpus[0].spent["lock:time:wait"] == readers.waittime_total


def test_readers_do_not_hold_up_writers() -> None:
    """Writers alone and writers among readers take the lock equally often, but for the sequence's line."""

    def writes(readers: int) -> int:
        env, cpus = plain_machine(1 + readers)
        lock = plain_lock("seqlock")
        count = 0

        def writer(cpu: Cpu) -> Op[None]:
            nonlocal count
            while True:
                cpu.charge(1000, "user")
                yield from lock.section(cpu, lambda _: 100, 100, "write")
                count += 1

        def reader(cpu: Cpu) -> Op[None]:
            while True:
                cpu.charge(300, "user")
                yield from lock.read_section(cpu, lambda _: 50, 50, "read")

        play(
            env,
            [(cpus[0], writer(cpus[0])), *((cpu, reader(cpu)) for cpu in cpus[1:])],
            until=200_000,
        )
        return count

    assert writes(4) > 0.9 * writes(0) > 0
