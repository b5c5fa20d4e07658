"""The reclaimer of a node: woken below low, gone above high, hopeless after 16 runs in vain, revived."""

import pytest
from pressure_bench import PressureBench, give_all, node, take_all

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.reclaim.kswapd import RUNS_IN_VAIN
from coalsim.mm.reclaim.slow_path import ROUNDS_IN_VAIN
from coalsim.units import MS, SEC, US, NodeId, Pfn, Time


class Store:
    """Somebody who has pages that can be given back: a shrinker of frames that a test has taken."""

    def __init__(self, bench: PressureBench) -> None:
        self.bench = bench
        self.kept: list[Pfn] = []
        self.asked: list[tuple[Time, int]] = []  # when, at which priority
        self.given = 0
        self.node: NodeId | None = None  # whose pages they are; none: everybody's
        self.promised = 0  # pages that it says it has, and has not

    def reclaimable(self, node: NodeId, context: AllocContext) -> int:
        """All."""
        return len(self.kept) + self.promised

    def shrink(
        self, cpu: Cpu, node: NodeId, want: int, priority: int, site: str, context: AllocContext
    ) -> Op[int]:
        """As many as are wanted."""
        yield from cpu.sync()
        self.asked.append((cpu.clock, priority))
        given = 0
        while self.kept and given < want and self.node in (None, node):
            yield from self.bench.pages.free(cpu, self.kept.pop(), 0, site)
            given += 1
        self.given += given
        yield from self.bench.pages.drain_cpu(cpu, site)
        return given

    def reset(self) -> None:
        """Nothing is counted."""


def sleep(cpu: Cpu, time: Time) -> Op[None]:
    """Keep the processor busy; others see what it has done."""
    cpu.charge(time, "compute")
    yield from cpu.sync()


def test_it_is_woken_below_low_and_stops_above_high() -> None:
    """Down to one page below low by single frames; afterwards the zone is just above its high mark."""
    bench = PressureBench("linux-6.0", pcp_drain="after-push")
    store = Store(bench)
    bench.pressure.add_shrinker(store)
    zone, kswapd = bench.pages.zones[0], bench.pressure.kswapds[node(0)]
    runs: list[int] = []

    def body(cpu: Cpu) -> Op[None]:
        while not kswapd.runs:
            pfn = yield from bench.pages.alloc(cpu, 0, "test")
            store.kept.append(pfn)
            yield from cpu.sync()
            if zone.free.latest - 1 >= zone.marks.low:
                runs.append(kswapd.runs)
        yield from sleep(cpu, 2 * MS)
        runs.append(zone.free.latest)
        yield from give_all(bench.pages, cpu, store.kept)
        store.kept.clear()

    bench.thread(1, body)
    bench.run()
    assert set(runs[:-1]) == {0}
    assert zone.marks.high < runs[-1] <= zone.marks.high + 2 * 32
    assert store.given >= zone.marks.high - zone.marks.low
    assert not kswapd.is_running
    assert not kswapd.is_hopeless


def test_it_gives_up_after_sixteen_runs_in_vain_and_is_revived_by_somebody_elses_success() -> None:
    """Each run goes through all twelve priorities; a request that reclaims by itself gives it hope again."""
    bench = PressureBench(memory="4MiB")
    store = Store(bench)
    bench.pressure.add_shrinker(store)
    kswapd = bench.pressure.kswapds[node(0)]
    seen: list[tuple[bool, int]] = []

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        yield from take_all(bench.pages, cpu, held, context=AllocContext.ATOMIC)
        yield from sleep(cpu, 5 * MS)
        seen.append((kswapd.is_hopeless, kswapd.runs))
        yield from bench.pages.alloc(cpu, 0, "in vain", context=AllocContext.ATOMIC)
        yield from sleep(cpu, MS)
        seen.append((kswapd.is_hopeless, kswapd.runs))
        store.kept, held = held, []
        held.append((yield from bench.pages.alloc(cpu, 0, "reclaims")))
        seen.append((kswapd.is_hopeless, kswapd.runs))
        store.kept.extend(held)
        yield from take_all(bench.pages, cpu, held, context=AllocContext.ATOMIC)
        yield from sleep(cpu, MS)
        seen.append((kswapd.is_hopeless, kswapd.runs))
        yield from give_all(bench.pages, cpu, list(dict.fromkeys([*store.kept, *held])))
        store.kept.clear()

    bench.thread(1, body)
    bench.run()
    by_itself = [priority for at, priority in store.asked if at < 5 * MS]
    assert by_itself == [*range(12, 0, -1)] * RUNS_IN_VAIN
    assert seen[0] == seen[1] == (True, 1)
    assert seen[2][0] is False
    assert seen[3][1] == 2


def test_free_pages_stay_between_the_marks_in_a_steady_load() -> None:
    """A process that takes for ever what the reclaimer gives back: between min and a bit above high."""
    bench = PressureBench(memory="16MiB")
    store = Store(bench)
    bench.pressure.add_shrinker(store)
    zone = bench.pages.zones[0]
    free: list[int] = []

    def body(cpu: Cpu) -> Op[None]:
        for _ in range(12_000):
            store.kept.insert(0, (yield from bench.pages.alloc(cpu, 0, "steady", context=AllocContext.USER)))
            yield from sleep(cpu, 2 * US)
            free.append(zone.free.latest)
        yield from sleep(cpu, 20 * MS)
        yield from give_all(bench.pages, cpu, store.kept)
        store.kept.clear()

    bench.thread(1, body)
    bench.run(check_every=100 * US, checks=200)
    short = next(index for index, pages in enumerate(free) if pages < zone.marks.low)
    steady = free[short + 1000 :]
    assert len(steady) > 3000
    assert min(steady) >= zone.marks.min - (zone.rules.batch << zone.rules.scale_max)
    assert max(steady) <= zone.marks.high + 128
    assert bench.system.env._now < SEC


def test_a_node_that_gives_nothing_stays_hopeless() -> None:
    """A request reclaims on one node: only that node's reclaimer has hope again."""
    bench = PressureBench(machine="pack:2 numa:1 core:2 pu:1", memory="4MiB")
    store, given_up = Store(bench), list[bool]()
    bench.pressure.add_shrinker(store)
    kswapds = [bench.pressure.kswapds[node(number)] for number in range(2)]

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        yield from take_all(bench.pages, cpu, held, context=AllocContext.ATOMIC)
        yield from sleep(cpu, 5 * MS)
        assert all(kswapd.is_hopeless for kswapd in kswapds)
        store.kept, held = (
            [pfn for pfn in held if bench.pages.zone_of(pfn).node == 0],
            [pfn for pfn in held if bench.pages.zone_of(pfn).node == 1],
        )
        store.node = node(0)
        held.append((yield from bench.pages.alloc(cpu, 0, "reclaims")))
        given_up.extend(kswapd.is_hopeless for kswapd in kswapds)
        yield from give_all(bench.pages, cpu, [*store.kept, *held])
        store.kept.clear()

    bench.thread(0, body)
    bench.run()
    assert given_up == [False, True]


@pytest.mark.parametrize(("order", "rounds"), [(4, 1), (3, ROUNDS_IN_VAIN)])
def test_nobody_reclaims_for_a_large_block_for_long(order: int, rounds: int) -> None:
    """Blocks of more than 8 pages get one round of direct reclaim, smaller ones all 16, each in vain."""
    bench = PressureBench(memory="4MiB")
    store = Store(bench)
    bench.pressure.add_shrinker(store)
    stalls: list[int] = []

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        yield from take_all(bench.pages, cpu, held, context=AllocContext.ATOMIC)
        store.promised = len(held)
        assert (yield from bench.pages.alloc(cpu, order, "test")) < 0
        stalls.append(bench.pressure.counts.allocstall)
        yield from give_all(bench.pages, cpu, held)

    bench.thread(0, body)
    bench.run()
    assert stalls == [rounds]
