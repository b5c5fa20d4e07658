"""The same work as plain SimPy programs, written the way a SimPy user would.

Each function runs one of coalsim's loads with `Resource`, `Store` and timeouts and
collects the same statistics, so that both sides of a comparison give the same answer.
Times are picoseconds, as in coalsim.
"""

import heapq
from collections import OrderedDict, defaultdict
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


def shootdowns(
    rounds: int, flights: list[int], answers: list[int], before: int, handler: int, after: int
) -> list[int]:
    """A broadcast to targets with a process and a store each, `rounds` times; returns how long each took.

    Args:
        rounds: how many.
        flights: from the send to the arrival, by target.
        answers: from a handler's end to its answer being seen, by target.
        before: the initiator's own work up to the send.
        handler, after: the handler up to its answer, and its rest.
    """
    env = simpy.Environment()
    requests = [simpy.Store(env) for _ in flights]
    answered = simpy.Store(env)
    taken = [0] * len(flights)
    latencies: list[int] = []

    def deliver(number: int) -> Steps:
        yield env.timeout(flights[number])
        yield requests[number].put(env.now)

    def answer(number: int) -> Steps:
        yield env.timeout(answers[number])
        yield answered.put(number)

    def target(number: int) -> Steps:
        while True:
            yield requests[number].get()
            yield env.timeout(handler)
            env.process(answer(number))
            yield env.timeout(after)
            taken[number] += handler + after

    def initiator() -> Steps:
        for _ in range(rounds):
            began = env.now
            yield env.timeout(before)
            for number in range(len(flights)):
                env.process(deliver(number))
            for _ in flights:
                yield answered.get()
            latencies.append(env.now - began)

    for number in range(len(flights)):
        env.process(target(number))
    env.run(env.process(initiator()))
    return latencies


@dataclass
class Mapping:
    """A translation, and since when it has been dead."""

    page: int
    frame: int
    dirty: bool = True
    died: int | None = None


class Tlb:
    """One level of sets, least recently used out."""

    def __init__(self, entries: int, ways: int) -> None:
        self.ways = ways
        self.sets: list[OrderedDict[tuple[int, int], Mapping]] = [
            OrderedDict() for _ in range(entries // ways)
        ]

    def lookup(self, page: int, tag: int) -> Mapping | None:
        """What is known of a page."""
        ways = self.sets[page % len(self.sets)]
        found = ways.get((page, tag))
        if found is not None:
            ways.move_to_end((page, tag))
        return found

    def insert(self, page: int, tag: int, mapping: Mapping) -> None:
        """Remember a page."""
        ways = self.sets[page % len(self.sets)]
        if len(ways) == self.ways:
            ways.popitem(last=False)
        ways[page, tag] = mapping


@dataclass
class TouchCounts:
    """What was used, and where each CPU's time went."""

    hits: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    time: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    stale: list[tuple[int, int, int]] = field(default_factory=list)


def touches(cpus: int, pages: int, sweeps: int, cost: int) -> TouchCounts:
    """Accesses that hit the TLB, a timeout each; uses of dead translations are found."""
    env = simpy.Environment()
    counts = TouchCounts()

    def cpu(number: int) -> Steps:
        tlb = Tlb(64, 4)
        for page in range(pages):
            tlb.insert(page, number, Mapping(page, number * pages + page))
        for _ in range(sweeps):
            for page in range(pages):
                mapping = tlb.lookup(page, number)
                if mapping is None or not mapping.dirty:
                    raise AssertionError("all pages fit into the TLB")
                counts.hits[number] += 1
                if mapping.died is not None and mapping.died < env.now:
                    counts.stale.append((env.now, number, page))
                yield env.timeout(cost)
                counts.time[number, "user"] += cost

    for number in range(cpus):
        env.process(cpu(number))
    env.run()
    return counts
