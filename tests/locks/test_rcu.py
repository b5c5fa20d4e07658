"""RCU: readers cost nothing shared, and a grace period outlasts those that had begun."""

import pytest
from lock_bench import at, plain_lock, plain_machine, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import LockMisuse
from coalsim.locks.rcu import Deferred, Rcu
from coalsim.units import Time

TICK = 10_000


def domain(cpus: list[Cpu]) -> Rcu:
    lock = plain_lock("rcu", name="rcu", cpus=cpus, wake_latency=200)
    assert isinstance(lock, Rcu)
    return lock


def busy(cpu: Cpu, until: Time) -> Op[None]:
    while cpu.clock < until:
        cpu.charge(100, "user")
        yield from cpu.look()


def test_readers_touch_no_line_and_never_wait() -> None:
    """A read section takes its body and nothing else, however many read."""
    env, cpus = plain_machine(4)
    lock = domain(cpus)

    def load(cpu: Cpu) -> Op[None]:
        for _ in range(50):
            asked, released = yield from lock.read_section(cpu, lambda _: 70, 70, "read")
            assert released - asked == 70

    play(env, [(cpu, load(cpu)) for cpu in cpus])
    readers, writers = lock.lock_class.rows()
    assert (readers.acquisitions, readers.contentions, readers.holdtime_total) == (200, 0, 200 * 70)
    assert writers.acquisitions == 0
    assert lock.line.transfers == 0


def test_a_grace_period_waits_for_the_tick_of_every_busy_processor() -> None:
    """It ends with the last tick, plus the time to wake who asked."""
    env, cpus = plain_machine(3, ticks=TICK)
    lock = domain(cpus)
    ended: list[Time] = []

    def writer() -> Op[None]:
        yield from at(cpus[0], 2_000)
        yield from lock.synchronize(cpus[0], "update")
        ended.append(cpus[0].clock)

    play(env, [(cpus[0], writer()), (cpus[1], busy(cpus[1], 50_000)), (cpus[2], busy(cpus[2], 50_000))])
    assert ended == [TICK + 1 + 200]
    assert lock.stat.row().waittime_total == ended[0] - 2_000
    assert lock.periods == 1


@pytest.mark.parametrize("ticks", [0, TICK], ids=["interrupted", "at ticks"])
def test_a_grace_period_outlasts_every_section_that_had_begun(ticks: Time) -> None:
    """A section that a tick finds under way reports at its end, not before."""
    env, cpus = plain_machine(2, ticks=ticks)
    lock = domain(cpus)
    ended: list[Time] = []

    def reader() -> Op[None]:
        yield from lock.acquire(cpus[1], "long read")
        yield from busy(cpus[1], 33_000)
        yield from lock.acquire(cpus[1], "nested")
        yield from lock.release(cpus[1])
        yield from busy(cpus[1], 37_000)
        yield from lock.release(cpus[1])
        yield from busy(cpus[1], 90_000)

    def writer() -> Op[None]:
        yield from at(cpus[0], 1_000)
        yield from lock.synchronize(cpus[0], "update")
        ended.append(cpus[0].clock)

    play(env, [(cpus[0], writer()), (cpus[1], reader())])
    assert ended == [37_000 + 1 + 200]


def test_requests_during_a_grace_period_share_the_next_one() -> None:
    """Three callers that come while one is under way wait for one more period, not for three."""
    env, cpus = plain_machine(4, ticks=TICK)
    lock = domain(cpus)
    ended: list[Time] = []

    def writer(cpu: Cpu) -> Op[None]:
        yield from at(cpu, 1_000 + 1_000 * cpu.id)
        yield from lock.synchronize(cpu, "update")
        ended.append(cpu.clock)

    play(env, [(cpu, writer(cpu)) for cpu in cpus])
    assert lock.periods == 2
    assert sorted(ended)[0] < sorted(ended)[1] == sorted(ended)[3]


def test_callbacks_run_in_batches_after_a_grace_period() -> None:
    """What is deferred while a batch waits forms the next batch, and each pays its price."""
    env, cpus = plain_machine(2, ticks=TICK)
    lock = domain(cpus)
    ran: list[tuple[int, Time]] = []
    deferred: list[Time] = []

    def load() -> Op[None]:
        cpu = cpus[0]
        for number in range(6):
            yield from lock.defer(
                cpu, Deferred(lambda target, number=number: ran.append((number, target.env.now)), 40)
            )
            deferred.append(cpu.clock)
            yield from busy(cpu, cpu.clock + 500)
        yield from busy(cpu, 95_000)

    play(env, [(cpus[0], load()), (cpus[1], busy(cpus[1], 95_000))])
    assert [number for number, _ in ran] == list(range(6))
    batches = sorted({time for _, time in ran})
    assert len(batches) == 2
    assert [number for number, time in ran if time == batches[0]] == [0]
    assert all(time > began for (_, time), began in zip(ran, deferred, strict=True))
    assert cpus[0].spent["handler"] == 6 * 40


@pytest.mark.parametrize("waits_for", ["synchronize", "mutex"])
def test_sleeping_in_a_read_section_is_reported_with_both_sites(waits_for: str) -> None:
    """Neither a grace period nor a mutex may be waited for there."""
    env, cpus = plain_machine(1)
    lock, mutex = domain(cpus), plain_lock("mutex")

    def load() -> Op[None]:
        yield from lock.acquire(cpus[0], "reading here")
        if waits_for == "mutex":
            yield from mutex.acquire(cpus[0], "sleeping there")
        else:
            yield from lock.synchronize(cpus[0], "sleeping there")

    with pytest.raises(LockMisuse, match=r"sleeping there.*rcu.*reading here"):
        play(env, [(cpus[0], load())])


def test_any_lock_may_be_taken_in_a_read_section_and_the_other_way_round() -> None:
    """RCU has no rank."""
    env, cpus = plain_machine(1)
    lock, zone = domain(cpus), plain_lock("mcs", rank=7)

    def load() -> Op[None]:
        yield from lock.acquire(cpus[0], "outside")
        yield from zone.acquire(cpus[0], "inside")
        yield from zone.release(cpus[0])
        yield from lock.release(cpus[0])
        yield from zone.acquire(cpus[0], "outside")
        yield from lock.acquire(cpus[0], "inside")
        yield from lock.release(cpus[0])
        yield from zone.release(cpus[0])

    play(env, [(cpus[0], load())])
    assert not cpus[0].locks_held
