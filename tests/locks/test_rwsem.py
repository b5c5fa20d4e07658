"""The reader-writer semaphore: who gets in beside whom, and in what order."""

from lock_bench import at, plain_lock, plain_machine, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.rwsem import HANDOFF_AFTER, SPIN_FOR_READERS, RwSemaphore
from coalsim.units import Time


def semaphore() -> RwSemaphore:
    lock = plain_lock("rwsem", name="mmap", wake_up=300, wake_latency=200)
    assert isinstance(lock, RwSemaphore)
    return lock


def use(
    lock: RwSemaphore, cpu: Cpu, arrival: Time, length: Time, log: dict[int, tuple[Time, Time]], *, read: bool
) -> Op[None]:
    """Note when the processor was in, by its id."""
    yield from at(cpu, arrival)
    section = lock.read_section if read else lock.section
    granted: list[Time] = []

    def body(grant: Time) -> Time:
        granted.append(grant)
        return length

    yield from section(cpu, body, length, "read" if read else "write")
    log[cpu.id] = (granted[0], granted[0] + length)


def test_readers_are_in_together_and_writers_alone() -> None:
    """Readers overlap; nobody overlaps a writer."""
    env, cpus = plain_machine(6)
    lock, log = semaphore(), dict[int, tuple[Time, Time]]()
    kinds = [True, True, False, False, True, True]
    play(
        env,
        [
            (cpu, use(lock, cpu, 30 * cpu.id, 2000, log, read=read))
            for cpu, read in zip(cpus, kinds, strict=True)
        ],
    )
    assert len(log) == 6
    writers = [log[cpu] for cpu in range(6) if not kinds[cpu]]
    for cpu, (start, end) in log.items():
        for other_start, other_end in writers:
            if (start, end) != (other_start, other_end):
                assert end <= other_start or other_end <= start, f"CPU {cpu} overlaps a writer"
    assert log[0][1] > log[1][0]  # the first two read together


def test_readers_that_sleep_are_let_in_as_a_group() -> None:
    """A writer's release admits every sleeping reader, and pays for waking each."""
    env, cpus = plain_machine(5)
    lock, log = semaphore(), dict[int, tuple[Time, Time]]()
    play(
        env,
        [(cpu, use(lock, cpu, 30 * cpu.id, 2000, log, read=cpu.id > 0)) for cpu in cpus],
    )
    starts = [log[cpu][0] for cpu in range(1, 5)]
    assert cpus[0].spent["lock:mmap:wake-up"] == 4 * 300
    assert starts == sorted(starts)
    assert [later - starts[0] for later in starts] == [0, 300, 600, 900]
    readers, writers = lock.lock_class.rows()
    assert (readers.type, writers.type) == ("rwsem:R", "rwsem:W")
    assert (readers.acquisitions, readers.contentions) == (4, 4)
    assert (writers.acquisitions, writers.contentions) == (1, 0)


def test_readers_pass_a_writer_that_spins_for_readers_but_not_for_long() -> None:
    """With readers in and a writer spinning, the next reader gets in at first; after 25 us it queues."""
    for comes, overtakes in ((2_000, True), (SPIN_FOR_READERS + 2_000, False)):
        env, cpus = plain_machine(3)
        lock, log = semaphore(), dict[int, tuple[Time, Time]]()
        play(
            env,
            [
                (cpus[0], use(lock, cpus[0], 0, SPIN_FOR_READERS + 10_000, log, read=True)),
                (cpus[1], use(lock, cpus[1], 100, 3000, log, read=False)),
                (cpus[2], use(lock, cpus[2], comes, 3000, log, read=True)),
            ],
            until=3 * SPIN_FOR_READERS,
        )
        assert log[1][0] >= log[0][1]
        assert (log[2][0] < log[1][0]) == overtakes


def test_a_writer_spins_for_a_writer_and_for_readers() -> None:
    """Nobody has to be woken; a reader that finds a writer in sleeps."""
    for first_reads, second_reads, slept in (
        (False, False, False),
        (True, False, False),
        (False, True, True),
    ):
        env, cpus = plain_machine(2)
        lock, log = semaphore(), dict[int, tuple[Time, Time]]()
        play(
            env,
            [
                (cpus[0], use(lock, cpus[0], 0, 3000, log, read=first_reads)),
                (cpus[1], use(lock, cpus[1], 50, 100, log, read=second_reads)),
            ],
        )
        assert (cpus[0].spent.get("lock:mmap:wake-up", 0) > 0) == slept
        assert (cpus[1].spent.get("lock:mmap:wait", 0) > 2000) != slept


def test_a_writer_may_go_on_as_a_reader() -> None:
    """A downgrade lets the readers in that sleep, and keeps the next writer out until it has read."""
    env, cpus = plain_machine(3)
    lock, log = semaphore(), dict[int, tuple[Time, Time]]()
    lowered = []

    def writer(cpu: Cpu) -> Op[None]:
        yield from lock.acquire(cpu, "write")
        cpu.charge(2000, "work")
        yield from lock.downgrade(cpu)
        yield from cpu.sync()
        lowered.append(cpu.clock)
        cpu.charge(20_000, "work")
        yield from lock.release_read(cpu)
        yield from cpu.sync()
        log[0] = (lowered[0], cpu.clock)

    play(
        env,
        [
            (cpus[0], writer(cpus[0])),
            (cpus[1], use(lock, cpus[1], 100, 500, log, read=True)),
            (cpus[2], use(lock, cpus[2], 200, 500, log, read=False)),
        ],
    )
    assert lowered[0] <= log[1][0] < log[0][1]
    assert log[2][0] >= log[0][1]


def test_a_reader_that_waits_for_long_is_handed_the_lock() -> None:
    """Writers that spin go first, but not for more than 4 ms."""
    env, cpus = plain_machine(3)
    lock, log = semaphore(), dict[int, tuple[Time, Time]]()
    length = HANDOFF_AFTER // 20

    def writer(cpu: Cpu) -> Op[None]:
        yield from at(cpu, 10 * cpu.id)
        while 2 not in log:
            yield from lock.section(cpu, lambda _: length, length, "write")

    play(
        env,
        [
            (cpus[0], writer(cpus[0])),
            (cpus[1], writer(cpus[1])),
            (cpus[2], use(lock, cpus[2], 1000, 100, log, read=True)),
        ],
        until=4 * HANDOFF_AFTER,
    )
    assert HANDOFF_AFTER < log[2][0] < HANDOFF_AFTER + 3 * length


def test_a_spinner_gives_way_to_a_reader_that_was_let_in_while_it_slept() -> None:
    """Two threads of CPU 0: one spins for `outer`, whose owner waits for `inner`, which the other may read.

    The reader has got `inner` in its sleep and needs the processor to give it back; a spinner
    that kept it would have all three wait for ever.
    """
    env, cpus = plain_machine(3)
    inner, outer = semaphore(), plain_lock("rwsem", name="outer", rank=0, wake_up=300, wake_latency=200)
    done: list[str] = []

    def reader() -> Op[None]:
        yield from at(cpus[0], 1_000)
        yield from inner.read_section(cpus[0], lambda _: 500, 500, "reader")
        done.append("reader")

    def spinner() -> Op[None]:
        yield from at(cpus[0], 4_000)
        yield from outer.section(cpus[0], lambda _: 500, 500, "spinner")
        done.append("spinner")

    def owner() -> Op[None]:
        yield from at(cpus[1], 2_000)
        yield from outer.acquire(cpus[1], "owner")
        yield from at(cpus[1], 12_000)
        yield from inner.section(cpus[1], lambda _: 500, 500, "owner")
        yield from outer.release(cpus[1])
        done.append("owner")

    def writer() -> Op[None]:
        yield from inner.section(cpus[2], lambda _: 10_000, 10_000, "writer")

    play(env, [(cpus[0], reader()), (cpus[0], spinner()), (cpus[1], owner()), (cpus[2], writer())])
    assert done == ["reader", "owner", "spinner"]
