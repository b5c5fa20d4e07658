"""The sleeping mutex: who spins, who sleeps, who is handed the lock."""

from lock_bench import at, plain_lock, plain_machine, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.locks.base import Lock
from coalsim.units import Time

WAKE_UP, LATENCY = 300, 200


def mutex(name: str = "mutex", rank: int = 1) -> Lock:
    return plain_lock("mutex", name=name, rank=rank, wake_up=WAKE_UP, wake_latency=LATENCY)


def hold(
    lock: Lock, cpu: Cpu, arrival: Time, length: Time, log: list[tuple[str, Time]], name: str
) -> Op[None]:
    yield from at(cpu, arrival)
    yield from lock.acquire(cpu, name)
    yield from cpu.sync()
    log.append((name, cpu.clock))
    cpu.charge(length, "inside")
    yield from lock.release(cpu)
    yield from cpu.sync()
    log.append((f"{name} over", cpu.clock))


def test_a_waiter_spins_while_the_owner_runs() -> None:
    """The release passes the lock to the first spinner at one transfer; nobody sleeps or is woken."""
    env, cpus = plain_machine(3)
    lock, log = mutex(), list[tuple[str, Time]]()
    play(
        env,
        [
            (cpu, hold(lock, cpu, start, 1000, log, name))
            for cpu, start, name in zip(cpus, (0, 50, 100), "abc", strict=True)
        ],
    )
    # a: swap 10, hold 1000, the release's swap 10 (the line has moved to the last to come: c)
    assert log[0] == ("a", 10)
    assert log[1] == ("a over", 1020)
    assert log[2] == ("b", 1030)
    assert [name for name, _ in log] == ["a", "a over", "b", "b over", "c", "c over"]
    assert all("lock:mutex:wake-up" not in cpu.spent for cpu in cpus)
    assert lock.stat.row().contentions == 2


def test_a_waiter_sleeps_when_another_thread_wants_its_processor() -> None:
    """Its processor runs the other thread meanwhile; the releaser pays for waking it."""
    env, cpus = plain_machine(2)
    lock, log = mutex(), list[tuple[str, Time]]()

    def other() -> Op[None]:
        cpus[1].charge(700, "other work")
        yield from cpus[1].sync()
        log.append(("other over", cpus[1].clock))

    play(
        env,
        [
            (cpus[0], hold(lock, cpus[0], 0, 2000, log, "owner")),
            (cpus[1], hold(lock, cpus[1], 50, 100, log, "sleeper")),
            (cpus[1], other()),
        ],
    )
    times = dict(log)
    assert times["other over"] == 60 + 700  # ran while the other slept
    assert times["owner over"] == 10 + 2000 + 10 + WAKE_UP
    # woken after the wake-up was paid, runs after the latency, then swaps the word
    assert times["sleeper"] == 2020 + WAKE_UP + LATENCY + 10
    assert cpus[0].spent["lock:mutex:wake-up"] == WAKE_UP
    assert cpus[1].spent.get("lock:mutex:hand-over", 0) == 0


def test_spinners_go_to_sleep_when_the_owner_does() -> None:
    """Who waits for a thread that sleeps itself gives its processor away."""
    env, cpus = plain_machine(3)
    outer, inner = mutex("outer", 1), mutex("inner", 2)
    log: list[tuple[str, Time]] = []
    idle_at_5000: list[Time] = []

    def nested() -> Op[None]:
        cpu = cpus[0]
        yield from outer.acquire(cpu, "outer")
        yield from at(cpu, 1000)
        yield from hold(inner, cpu, 1000, 100, log, "nested")
        yield from outer.release(cpu)

    def neighbour() -> Op[None]:
        cpus[0].charge(500, "other work")
        yield from cpus[0].sync()

    def stuck() -> Op[None]:
        yield from hold(inner, cpus[1], 0, 10_000, log, "inner")

    env.declare_barrier(5000, lambda: idle_at_5000.append(cpus[2].wait_began))
    play(
        env,
        [
            (cpus[0], nested()),
            (cpus[0], neighbour()),  # so that the nested thread sleeps instead of spinning
            (cpus[1], stuck()),
            (cpus[2], hold(outer, cpus[2], 500, 100, log, "third")),
        ],
    )
    assert cpus[2].wait_cause == "idle"
    assert 1000 < idle_at_5000[0] < 1100  # it spun from 500 until the owner slept
    names = [name for name, _ in log]
    assert names == ["inner", "inner over", "nested", "nested over", "third", "third over"]


def test_a_sleeper_that_lost_once_is_handed_the_mutex() -> None:
    """A processor that takes the mutex again and again cannot starve one that sleeps."""
    env, cpus = plain_machine(2)
    lock = mutex()
    taken: list[Time] = []
    rounds = 0

    def greedy() -> Op[None]:
        nonlocal rounds
        cpu = cpus[0]
        while not taken:
            yield from lock.acquire(cpu, "greedy")
            cpu.charge(1000, "inside")
            yield from lock.release(cpu)
            rounds += 1

    def patient() -> Op[None]:
        cpu = cpus[1]
        yield from at(cpu, 50)
        yield from lock.acquire(cpu, "patient")
        taken.append(cpu.clock)
        yield from lock.release(cpu)

    def neighbour() -> Op[None]:
        for _ in range(10):
            cpus[1].charge(100, "other work")
            yield from cpus[1].sync()

    play(env, [(cpus[0], greedy()), (cpus[1], patient()), (cpus[1], neighbour())])
    assert taken
    assert rounds <= 3  # lost the first release's race, was handed the lock by the next


def test_handlers_that_run_while_a_thread_sleeps_steal_nothing_from_it() -> None:
    """They take the idle processor's time; what the owner loses to its own handlers is counted."""
    env, cpus = plain_machine(3)
    lock, log = mutex(), list[tuple[str, Time]]()

    def neighbour() -> Op[None]:
        cpus[1].charge(10, "other work")
        yield from cpus[1].sync()

    def sender() -> Op[None]:
        yield from at(cpus[2], 200)
        shot = Shot[Cpu](None, 200, 2, 70, lambda _: None, lambda _: 1)
        cpus[2].send([(1000, cpus[0]), (1000, cpus[1])], shot)

    play(
        env,
        [
            (cpus[0], hold(lock, cpus[0], 0, 2000, log, "owner")),
            (cpus[1], hold(lock, cpus[1], 50, 100, log, "sleeper")),
            (cpus[1], neighbour()),
            (cpus[2], sender()),
        ],
    )
    assert cpus[0].spent["handler"] == cpus[1].spent["handler"] == 70
    assert lock.stat.row().stolen == 70


def test_a_section_runs_with_interrupts_on() -> None:
    """A message to the holder of a mutex is handled at once, in the middle of the section."""
    env, cpus = plain_machine(2)
    lock = mutex()
    depths: list[int] = []

    def load() -> Op[None]:
        def body(_: Time) -> Time:
            depths.append(cpus[0].irq_depth)
            return 100

        yield from lock.section(cpus[0], body, 100, "section")

    play(env, [(cpus[0], load())])
    assert depths == [0]
