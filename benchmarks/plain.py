"""The same work as plain SimPy programs, written the way a SimPy user would.

Each function runs one of coalsim's loads with `Resource`, `Store` and timeouts and
collects the same statistics, so that both sides of a comparison give the same answer.
Times are picoseconds, as in coalsim.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

Steps = Generator[simpy.Event, Any, None]
Draw = Callable[[], int]


@dataclass
class LockCounts:
    """What lock_stat would say, and where each CPU's time went."""

    acquisitions: int = 0
    contentions: int = 0
    acq_bounces: int = 0
    con_bounces: int = 0
    wait_total: int = 0
    wait_max: int = 0
    wait_min: int = 0
    hold_total: int = 0
    hold_max: int = 0
    hold_min: int = 0
    by_cpu: dict[int, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    by_site: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    time: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    latency: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    last: int = -1


def lock_loop(
    cpus: int, until: int, think: list[Draw], hold: list[Draw], swap: int, passing: int
) -> LockCounts:
    """A contended FIFO lock: think, swap the lock word, queue, hold."""
    env = simpy.Environment()
    lock = simpy.Resource(env)
    word = simpy.Resource(env)  # the line that arrivals swap, served one at a time
    counts = LockCounts()
    free_at = 0

    def cpu(number: int) -> Steps:
        nonlocal free_at
        while True:
            length = think[number]()
            yield env.timeout(length)
            counts.time[number, "user"] += length
            asked = env.now
            with word.request() as turn:
                yield turn
                yield env.timeout(swap)
            counts.time[number, "line"] += env.now - asked
            arrived = env.now
            contended = lock.count > 0
            with lock.request() as request:
                yield request
                if contended:
                    yield env.timeout(passing)
                    wait = env.now - arrived
                    counts.contentions += 1
                    counts.con_bounces += counts.last != number
                    counts.wait_total += wait
                    counts.wait_max = max(counts.wait_max, wait)
                    counts.wait_min = min(counts.wait_min or wait, wait)
                    for row in (counts.by_cpu[number], counts.by_site["loop"]):
                        row[0] += 1
                        row[1] += wait
                        row[2] = max(row[2], wait)
                    counts.time[number, "wait"] += wait - passing
                    counts.time[number, "hand-over"] += passing
                held = hold[number]()
                yield env.timeout(held)
                counts.acquisitions += 1
                counts.acq_bounces += counts.last != number
                counts.hold_total += held
                counts.hold_max = max(counts.hold_max, held)
                counts.hold_min = min(counts.hold_min or held, held)
                counts.time[number, "hold"] += held
                counts.last = number
            counts.latency[(env.now - asked) >> 10] += 1

    for number in range(cpus):
        env.process(cpu(number))
    env.run(until)
    return counts


@dataclass
class PairCounts:
    """What the magazine layer would say of alloc and free pairs."""

    pairs: int = 0
    requested: int = 0
    hits: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    live: dict[int, tuple[int, int]] = field(default_factory=dict)
    time: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    latency: dict[int, int] = field(default_factory=lambda: defaultdict(int))


def pairs_with_stores(cpus: int, until: int, size: int, alloc: int, free: int, rounds: int) -> PairCounts:
    """kmalloc and kfree that hit: a Store per magazine, a timeout per call."""
    env = simpy.Environment()
    counts = PairCounts()

    def cpu(number: int) -> Steps:
        magazine = simpy.Store(env, capacity=rounds)
        magazine.items.extend(range(number * rounds, number * rounds + rounds // 2))
        while True:
            began = env.now
            address = yield magazine.get()
            yield env.timeout(alloc)
            _allocated(counts, number, address, size, alloc)
            yield magazine.put(address)
            yield env.timeout(free)
            _freed(counts, number, address, free)
            counts.pairs += 1
            counts.latency[(env.now - began) >> 10] += 1

    for number in range(cpus):
        env.process(cpu(number))
    env.run(until)
    return counts


def pairs_with_lists(cpus: int, until: int, size: int, alloc: int, free: int, rounds: int) -> PairCounts:
    """The same with a list per magazine: nobody waits for it, so only time is an event."""
    env = simpy.Environment()
    counts = PairCounts()

    def cpu(number: int) -> Steps:
        magazine = list(range(number * rounds, number * rounds + rounds // 2))
        while True:
            began = env.now
            address = magazine.pop()
            yield env.timeout(alloc)
            _allocated(counts, number, address, size, alloc)
            magazine.append(address)
            yield env.timeout(free)
            _freed(counts, number, address, free)
            counts.pairs += 1
            counts.latency[(env.now - began) >> 10] += 1

    for number in range(cpus):
        env.process(cpu(number))
    env.run(until)
    return counts


def _allocated(counts: PairCounts, cpu: int, address: int, size: int, cost: int) -> None:
    counts.live[address] = (cpu, size)
    counts.requested += size
    counts.hits[cpu] += 1
    counts.time[cpu, "alloc"] += cost


def _freed(counts: PairCounts, cpu: int, address: int, cost: int) -> None:
    del counts.live[address]
    counts.hits[cpu] += 1
    counts.time[cpu, "free"] += cost


def lock_loop_on_a_heap(
    cpus: int, until: int, think: list[Draw], hold: list[Draw], swap: int, passing: int
) -> LockCounts:
    """The lock loop without SimPy: generators on a bare heap, to see what the event loop itself costs."""
    counts = LockCounts()
    queue: list[tuple[int, int, Generator[int, None, None]]] = []
    free_at = word_free = 0

    def cpu(number: int) -> Generator[int, None, None]:
        nonlocal free_at, word_free
        now = 0
        while True:
            length = think[number]()
            counts.time[number, "user"] += length
            now = now + length
            yield now
            asked = now
            word_free = max(word_free, now) + swap
            arrived = word_free
            counts.time[number, "line"] += arrived - asked
            contended = free_at > arrived
            grant = free_at + passing if contended else arrived
            if contended:
                wait = grant - arrived
                counts.contentions += 1
                counts.con_bounces += counts.last != number
                counts.wait_total += wait
                counts.wait_max = max(counts.wait_max, wait)
                counts.wait_min = min(counts.wait_min or wait, wait)
                for row in (counts.by_cpu[number], counts.by_site["loop"]):
                    row[0] += 1
                    row[1] += wait
                    row[2] = max(row[2], wait)
                counts.time[number, "wait"] += wait - passing
                counts.time[number, "hand-over"] += passing
            held = hold[number]()
            counts.acquisitions += 1
            counts.acq_bounces += counts.last != number
            counts.hold_total += held
            counts.hold_max = max(counts.hold_max, held)
            counts.hold_min = min(counts.hold_min or held, held)
            counts.time[number, "hold"] += held
            counts.last = number
            now = free_at = grant + held
            counts.latency[(now - asked) >> 10] += 1

    for number in range(cpus):
        steps = cpu(number)
        heapq.heappush(queue, (next(steps), number, steps))
    while queue[0][0] < until:
        _, number, steps = heapq.heappop(queue)
        heapq.heappush(queue, (next(steps), number, steps))
    return counts
