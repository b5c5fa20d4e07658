"""The live allocators against exact models: loss, depot visits, page lists, fragmentation.

Erlang's loss formula, as in Kleinrock, "Queueing systems", 1975; magazines after
Bonwick and Adams, "Magazines and Vmem", USENIX ATC 2001, whose bound of one depot visit
per M operations it states, the rest derived; internal fragmentation after Russell, SIAM
J. Computing 6(4), 1977.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import pairwise
from math import sqrt
from random import Random
from statistics import mean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_kernel import kernel, play, wait_until

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.laws import parse_law
from coalsim.mm.kmem.base import OwnCounts
from coalsim.mm.kmem.magazine_types import fixed_type
from coalsim.units import US, CpuId, NodeId, Pfn, Time
from coalsim.workloads.base import Rendezvous
from coalsim.workloads.synthetic.channel import Channel

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)


def agrees(samples: Sequence[float], expected: float, errors: float = 3.0) -> bool:
    """The mean of independent samples lies within so many standard errors of the expected value."""
    return abs(mean(samples) - expected) <= errors * stdev(samples) / sqrt(len(samples))


# -- a pool of frames as a loss system


def erlang_b(servers: int, offered: float) -> float:
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked


@pytest.mark.parametrize(
    ("frames", "offered", "blocked"),
    [(10, 8, 0.121661), (100, 90, 0.0269574), (100, 100, 0.0757005), (4096, 4000, 0.00212361)],
)
def test_the_loss_formula_gives_the_published_values(frames: int, offered: float, blocked: float) -> None:
    """The check values are those of the recursion."""
    assert erlang_b(frames, offered) == pytest.approx(blocked, rel=5e-6)


GAP = 100 * US


def losses(system: System, offered: int, lifetime: str, count: int, taken_before: int) -> list[bool]:
    """Which of `count` Poisson requests for a frame failed."""
    gap = parse_law(f"exp:{GAP}ps").sampler(system.streams.stream("gap"))
    life = parse_law(lifetime).sampler(system.streams.stream("life"))
    failed: list[bool] = []
    memory = system.memory

    def requests(cpu: Cpu) -> Op[None]:
        for _ in range(taken_before):
            assert (yield from memory.alloc_pages(cpu, 0, "before")) >= 0
        ends: list[tuple[Time, Pfn]] = []
        at = GAP
        for _ in range(count):
            at += gap()
            while ends and ends[0][0] <= at:
                end, pfn = heappop(ends)
                yield from wait_until(cpu, end)
                yield from memory.free_pages(cpu, pfn, 0, "end of life")
            yield from wait_until(cpu, at)
            pfn = yield from memory.alloc_pages(cpu, 0, "request")
            failed.append(pfn < 0)
            if pfn >= 0:
                heappush(ends, (at + life(), pfn))

    play(system, requests)
    assert memory.pages.failures == sum(failed)
    system.memory.validate()
    return failed


def check_losses(frames: str, lifetime: str, count: int) -> None:
    # 128 frames fill whole words of the bitmap; 28 of them are taken from the start.
    system = kernel("ideal", memory="512KiB", frames=frames, pcp_orders="[]")
    failed = losses(system, 90, lifetime, count, taken_before=28)[count // 20 :]
    size = len(failed) // 20
    batches = [sum(failed[at : at + size]) / size for at in range(0, 20 * size, size)]
    assert agrees(batches, erlang_b(100, 90))
    assert mean(batches) == pytest.approx(erlang_b(100, 90), rel=0.25)


LIFETIMES = {"exponential": f"exp:{90 * GAP}ps", "constant": f"const:{90 * GAP}ps"}


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize(("frames", "law"), [("buddy", "exponential"), ("bitmap", "constant")])
def test_requests_fail_as_often_as_the_loss_formula_says(frames: str, law: str) -> None:
    """Frame pool, Poisson requests: P(failure) = B(100, 90) whatever the law of lifetimes."""
    check_losses(frames, LIFETIMES[law], 40_000)


@pytest.mark.slow
@pytest.mark.parametrize("frames", ["buddy", "bitmap"])
@pytest.mark.parametrize("law", LIFETIMES)
def test_requests_of_long_runs_fail_as_often_as_the_loss_formula_says(frames: str, law: str) -> None:
    """The same over 600,000 requests."""
    check_losses(frames, LIFETIMES[law], 600_000)


# -- magazines: visits to the depot

SIZE = 64


def magazine_kernel(rounds: int) -> System:
    return kernel(magazine_types=fixed_type(rounds))


def counts_of(system: System, cpu: int = 0) -> OwnCounts:
    (cache,) = (cache for cache in system.memory.objects.caches if cache.name == f"kmalloc-{SIZE}")
    return cache.counts[cpu]


def visits(system: System, cpu: int = 0) -> int:
    counts = counts_of(system, cpu)
    return counts.depot_allocs + counts.depot_frees


def take(system: System, cpu: Cpu, count: int) -> Op[list[int]]:
    memory, held = system.memory, []
    for _ in range(count):
        address = memory.kmalloc_now(cpu, SIZE) or (yield from memory.kmalloc(cpu, SIZE, "test"))
        assert address
        held.append(address)
    return held


def give(system: System, cpu: Cpu, held: list[int]) -> Op[None]:
    memory = system.memory
    while held:
        address = held.pop()
        if not memory.kfree_now(cpu, address):
            yield from memory.kfree(cpu, address, "test")


def fill_depot(system: System, cpu: Cpu, objects: int) -> Op[None]:
    """Let so many objects go to the depot; from then on the slabs must not be needed."""
    held = yield from take(system, cpu, objects)
    yield from give(system, cpu, held)
    counts_of(system).reset()


def walk(rounds: int, ops: int) -> list[int]:
    """Operations between visits to the depot, in a symmetric random walk."""
    system = magazine_kernel(rounds)
    coin = system.streams.stream("coin").random
    between: list[int] = []

    def program(cpu: Cpu) -> Op[None]:
        room = 5 * round(sqrt(ops)) + 4 * rounds
        held = yield from take(system, cpu, room)
        yield from fill_depot(system, cpu, room)
        last_visit, seen = 0, visits(system)
        for number in range(ops):
            if coin() < 0.5:
                held += yield from take(system, cpu, 1)
            else:
                yield from give(system, cpu, [held.pop()])
            if visits(system) > seen:
                seen += 1
                assert visits(system) == seen, "an operation visits the depot at most once"
                between.append(number - last_visit)
                last_visit = number

    play(system, program)
    assert not counts_of(system).slab_allocs
    return between[1:]  # the first began somewhere


@pytest.mark.parametrize(("rounds", "ops"), [(1, 15_000), (3, 25_000), (7, 50_000), (15, 80_000)])
def test_a_random_walk_visits_the_depot_once_in_m_times_m_plus_2_operations(rounds: int, ops: int) -> None:
    """Two magazines of M rounds: M (M + 2) operations between visits on average."""
    assert agrees(walk(rounds, ops), rounds * (rounds + 2))


@pytest.mark.parametrize("rounds", [1, 3, 7, 15, 32])
def test_alternating_pairs_never_visit_the_depot(rounds: int) -> None:
    """alloc, alloc, free, free at the boundary of a magazine: none, once both are loaded."""
    system = magazine_kernel(rounds)
    found: list[int] = []

    def program(cpu: Cpu) -> Op[None]:
        yield from fill_depot(system, cpu, 10 * rounds)
        held = yield from take(system, cpu, 2 * rounds + 1)  # now M - 1 rounds are left
        held += yield from take(system, cpu, max(0, rounds - 2))  # and now 1
        for _ in range(50):
            pair = yield from take(system, cpu, 2)
            yield from give(system, cpu, pair)
            found.append(visits(system))

    play(system, program)
    assert found[-1] == found[0]


@pytest.mark.parametrize("rounds", [1, 3, 7, 15])
def test_a_stream_from_one_cpu_to_another_visits_the_depot_once_per_magazine(rounds: int) -> None:
    """A only allocates, B only frees: exactly M operations between two visits, on either side."""
    system = magazine_kernel(rounds)
    objects = 40 * rounds
    queue = Channel("stream", 2)
    seen: tuple[list[int], list[int]] = ([], [])  # operations done at each visit, by side

    def note(cpu: Cpu, done: int, before: int) -> None:
        if visits(system, cpu.id) > before:
            seen[cpu.id].append(done)

    def producer(cpu: Cpu) -> Op[None]:
        yield from fill_depot(system, cpu, 20 * rounds + 200)
        for number in range(objects):
            before = visits(system, 0)
            message = yield from take(system, cpu, 1)
            note(cpu, number, before)
            yield from queue.deposit(cpu, message)

    def consumer(cpu: Cpu) -> Op[None]:
        for number in range(objects):
            message = yield from queue.collect(cpu)
            before = visits(system, 1)
            yield from give(system, cpu, message)
            note(cpu, number, before)

    play(system, producer, consumer)
    assert not counts_of(system).slab_allocs
    for side in seen:
        assert len(side) >= 37
        assert [later - earlier for earlier, later in pairwise(side[1:])] == [rounds] * (len(side) - 2)


VISITS_PER_BURST = {  # M: visits by depth of the burst
    15: {1: 0, 10: 0, 15: 0, 32: 2, 50: 4, 100: 10, 1000: 130},
    32: {1: 0, 10: 0, 15: 0, 32: 0, 50: 0, 100: 4, 1000: 60},
    63: {1: 0, 10: 0, 15: 0, 32: 0, 50: 0, 100: 0, 1000: 28},
}


@pytest.mark.parametrize(
    ("rounds", "depth"), [(m, depth) for m, row in VISITS_PER_BURST.items() for depth in row]
)
def test_a_burst_visits_the_depot_as_often_as_it_must(rounds: int, depth: int) -> None:
    """B allocations, B frees: 2 ceil((B - 2M) / M) visits per cycle, none up to B = 2M.

    That holds for the cycle into which a CPU falls that begins without magazines, where
    each burst finds both full.  One that begins elsewhere may stay in another cycle.
    """
    system = magazine_kernel(rounds)
    gate = Rendezvous(2)
    found: list[int] = []

    def bursts(cpu: Cpu) -> Op[None]:
        yield from gate.meet(cpu)
        for _ in range(7):
            held = yield from take(system, cpu, depth)
            yield from give(system, cpu, held)
            found.append(visits(system))

    def fill(cpu: Cpu) -> Op[None]:
        yield from fill_depot(system, cpu, 2 * depth + 10 * rounds)
        yield from gate.meet(cpu)

    play(system, bursts, fill)
    assert {after - before for before, after in pairwise(found)} == {VISITS_PER_BURST[rounds][depth]}
    assert not counts_of(system).slab_allocs


@settings(deadline=None, max_examples=40)
@given(
    rounds=st.integers(1, 8),
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 12)), min_size=1, max_size=30),
)
def test_no_load_visits_the_depot_more_often_than_once_in_m_operations(
    rounds: int, runs: list[tuple[bool, int]]
) -> None:
    """At most 1 + operations / M visits, whatever is asked for."""
    system = magazine_kernel(rounds)
    ops = sum(length for _, length in runs)

    def program(cpu: Cpu) -> Op[None]:
        held = yield from take(system, cpu, ops)
        yield from fill_depot(system, cpu, ops + 4 * rounds)
        for allocates, length in runs:
            if allocates:
                held += yield from take(system, cpu, length)
            else:
                yield from give(system, cpu, [held.pop() for _ in range(length)])

    play(system, program)
    assert not counts_of(system).slab_allocs
    assert visits(system) <= 1 + ops / rounds


# -- per-CPU page lists: visits to the zone's lock


def list_kernel(batch: int, high: int, drains: str = "before-push") -> System:
    return kernel(pcp_batch=str(batch), pcp_high=str(high), pcp_drain=drains)


def zone_visits(system: System) -> int:
    own = system.memory.pages.own[0]
    (mine,) = own.lists.values()
    return mine.refills + mine.drains


def take_pages(system: System, cpu: Cpu, count: int) -> Op[list[Pfn]]:
    held = [Pfn(-1)] * count
    for number in range(count):
        held[number] = yield from system.memory.alloc_pages(cpu, 0, "test")
    return held


def page_walk(system: System, ops: int) -> list[int]:
    """Operations between visits to the zone, in a symmetric random walk."""
    memory, coin = system.memory, system.streams.stream("coin").random
    between: list[int] = []

    def program(cpu: Cpu) -> Op[None]:
        held = yield from take_pages(system, cpu, 5 * round(sqrt(ops)))
        last_visit, seen = 0, zone_visits(system)
        for number in range(ops):
            if coin() < 0.5:
                head = memory.alloc_pages_now(cpu, 0)
                held.append(Pfn(head) if head >= 0 else (yield from memory.alloc_pages(cpu, 0, "test")))
            else:
                pfn = held.pop()
                if not memory.free_pages_now(cpu, pfn, 0):
                    yield from memory.free_pages(cpu, pfn, 0, "test")
            if zone_visits(system) > seen:
                seen = zone_visits(system)
                between.append(number - last_visit)
                last_visit = number

    play(system, program)
    return between[1:]


@pytest.mark.parametrize(("batch", "high", "ops"), [(7, 42, 60_000), (15, 60, 100_000)])
@pytest.mark.parametrize("drains", ["before-push", "after-push"])
def test_a_random_walk_of_pages_visits_the_zone_as_rarely_as_it_may(
    batch: int, high: int, ops: int, drains: str
) -> None:
    """b (H + 2 - b) operations between visits; a list that drains after the push is one of H - 1."""
    limit = high if drains == "before-push" else high - 1
    assert agrees(page_walk(list_kernel(batch, high, drains), ops), batch * (limit + 2 - batch))


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "high", "rate"), [(7, 42, 0.00386100), (15, 60, 0.00141844)])
def test_long_random_walks_of_pages_visit_the_zone_at_the_published_rate(
    batch: int, high: int, rate: float
) -> None:
    """The same over 1.5 million operations, within 5 %."""
    between = page_walk(list_kernel(batch, high), 1_500_000)
    assert agrees(between, 1 / rate)
    assert mean(between) == pytest.approx(1 / rate, rel=0.05)


@pytest.mark.parametrize(("batch", "high"), [(7, 42), (32, 192)])
def test_streams_visit_the_zone_once_per_batch(batch: int, high: int) -> None:
    """Only allocations, or only frees: exactly one visit in b operations."""
    system = list_kernel(batch, high)
    memory = system.memory
    found: list[int] = []

    def program(cpu: Cpu) -> Op[None]:
        held = yield from take_pages(system, cpu, 20 * batch)
        found.append(zone_visits(system))
        for pfn in held[: high + 1]:  # full, and one batch drained
            yield from memory.free_pages(cpu, pfn, 0, "test")
        found.append(zone_visits(system))
        for pfn in held[high + 1 : high + 1 + 10 * batch]:
            yield from memory.free_pages(cpu, pfn, 0, "test")
        found.append(zone_visits(system))

    play(system, program)
    assert found == [20, 21, 31]


# -- fragmentation


FRAGMENTATION = {  # bytes from, to: allocated / requested with the Linux classes, with powers of two only
    (1, 256): (1.17315, 1.32879),
    (1, 1024): (1.32232, 1.33207),
    (1, 8192): (1.33302, 1.33317),
    (65, 192): (1.18288, 1.49416),
}


@pytest.mark.parametrize(("least", "most"), FRAGMENTATION)
def test_internal_fragmentation_is_that_of_the_size_classes(least: int, most: int) -> None:
    """Every size once: the counters' allocated / requested is the exact ratio."""
    system = kernel("coal", "linux-6.0")
    memory = system.memory

    def program(cpu: Cpu) -> Op[None]:
        for size in range(least, most + 1):
            assert (yield from memory.kmalloc(cpu, size, "test"))

    play(system, program)
    counts = [(cache.size, cache.counts[0]) for cache in memory.objects.caches]
    allocated = sum(size * own.allocs for size, own in counts)
    requested = sum(own.requested for _, own in counts)
    assert requested == sum(range(least, most + 1))
    assert allocated / requested == pytest.approx(FRAGMENTATION[least, most][0], rel=5e-6)
    memory.validate()


@pytest.mark.parametrize("bits", [8, 11])
def test_powers_of_two_waste_a_quarter(bits: int) -> None:
    """The coal classes, all sizes up to one of them: 4/3 in the limit, exactly by enumeration."""
    system = kernel("coal", "coal")
    memory = system.memory

    def program(cpu: Cpu) -> Op[None]:
        for size in range(1, 2**bits + 1):
            assert (yield from memory.kmalloc(cpu, size, "test"))

    play(system, program)
    counts = [(cache.size, cache.counts[0]) for cache in memory.objects.caches]
    allocated = sum(size * own.allocs for size, own in counts)
    assert allocated == sum(max(16, 1 << (size - 1).bit_length()) for size in range(1, 2**bits + 1))
    assert allocated / sum(own.requested for _, own in counts) == pytest.approx(4 / 3, rel=0.01)


FREE_BLOCKS = [369.050, 315.584, 231.365, 125.639, 38.5586, 4.17916, 0.0708299]
"""Expected free blocks of each order when 3,686 of 4,096 frames are freed at random."""


def blocks_after_random_frees(seed: int) -> list[int]:
    system = kernel("ideal", memory="16MiB")
    memory, stream = system.memory, Random(seed)

    def program(cpu: Cpu) -> Op[None]:
        frames = []
        while True:
            head = memory.alloc_pages_now(cpu, 0)
            if head < 0:
                head = yield from memory.alloc_pages(cpu, 0, "test")
            if head < 0:
                break
            frames.append(Pfn(head))
        assert len(frames) == 4096
        for pfn in stream.sample(frames, 3686):
            if not memory.free_pages_now(cpu, pfn, 0):
                yield from memory.free_pages(cpu, pfn, 0, "test")
        yield from memory.drain_cpu(cpu, "test")

    play(system, program)
    memory.validate()
    return memory.zones[0].source.free_blocks()


def check_free_blocks(runs: int) -> None:
    found = [blocks_after_random_frees(seed) for seed in range(runs)]
    for order, expected in enumerate(FREE_BLOCKS[:6]):
        assert agrees([blocks[order] for blocks in found], expected), order


@pytest.mark.slow
def test_random_frees_leave_the_expected_free_blocks() -> None:
    """All frames taken, 90 % freed through lists and zone: the exact mean number of each order."""
    check_free_blocks(16)


@pytest.mark.slow
def test_random_frees_leave_the_expected_free_blocks_over_many_runs() -> None:
    """The same over 300 runs."""
    check_free_blocks(300)


@pytest.mark.parametrize("largest", [4, 6])
def test_one_taken_page_per_block_leaves_one_free_block_of_each_smaller_order(largest: int) -> None:
    """The adversary: nearly all memory is free, and no block of the largest order."""
    system = kernel("ideal", memory="16MiB", max_order=str(largest))
    memory = system.memory

    def program(cpu: Cpu) -> Op[None]:
        frames = []
        while (pfn := (yield from memory.alloc_pages(cpu, 0, "test", NodeId(0)))) >= 0:
            frames.append(pfn)
        for pfn in frames:
            if pfn % (1 << largest):
                yield from memory.free_pages(cpu, pfn, 0, "test")
        yield from memory.drain_cpu(cpu, "test")
        assert (yield from memory.alloc_pages(cpu, largest, "test")) == -1

    play(system, program)
    assert memory.zones[0].source.free_blocks() == [4096 >> largest] * largest + [0]
    assert system.cpus[CpuId(0)].clock > 0
