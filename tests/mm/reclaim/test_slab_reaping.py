"""Reaping object caches: what processors keep comes back, what is in use stays, nothing is lost."""

import pytest
from pressure_bench import MODES, PressureBench, give_all, take_all

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.kmem.magazine_cache import MagazineCache
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.reclaim.slab_reaper import REAP_INTERVAL
from coalsim.units import MS, US, Pfn

KINDS = {"magazines": "coal", "slub": "linux-6.0", "sheaves": "linux-6.18"}
CPUS = 4


def bench_of(kind: str, **mode: bool) -> PressureBench:
    """A small machine whose caches are of that kind."""
    return PressureBench(KINDS[kind], machine="pack:2 core:2 pu:1", memory="64MiB", mode=mode, slab=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_not_in_use_comes_back(kind: str) -> None:
    """Every processor frees 600 objects and keeps 10: after a reap the slabs have little more than those."""
    bench = bench_of(kind)
    memory, reaper = bench.system.memory, bench.pressure.slab_reaper
    kept: list[int] = []
    seen: list[tuple[int, int, int]] = []

    def uses(cpu: Cpu) -> Op[None]:
        mine = []
        for _ in range(610):
            address = yield from memory.kmalloc(cpu, 256, "use")
            mine.append(address)
        for address in mine[10:]:
            yield from memory.kfree(cpu, address, "use")
        kept.extend(mine[:10])

    def reaps(cpu: Cpu) -> Op[None]:
        yield from uses(cpu)
        cpu.charge(20 * MS, "compute")
        yield from cpu.sync()
        assert len(kept) == CPUS * 10
        before = bench.pages.taken_pages()
        gained = yield from reaper.reap_since(cpu, cpu.clock, "test")
        yield from cpu.sync()
        memory.objects.validate()
        cache = next(one for one in memory.objects.caches if one.size == 256 and "256" in one.name)
        line = cache.statistics()
        seen.append((before - bench.pages.taken_pages(), gained, line.num_objs))
        assert line.active_objs == len(kept)
        for address in kept:
            yield from memory.kfree(cpu, address, "after")
        yield from reaper.reap_since(cpu, cpu.clock, "test")
        yield from cpu.sync()
        assert cache.statistics().num_objs == 0

    for cpu in range(CPUS):
        bench.thread(cpu, reaps if cpu == 2 else uses)
    bench.run(check_every=50 * US, checks=500)
    returned, gained, left = seen[0]
    assert returned == gained > 10
    assert len(kept) <= left < 610
    memory.validate()


def test_a_thread_that_frees_while_its_magazines_are_taken_off_goes_on() -> None:
    """Interrupts that take magazines off hit processors in the middle of frees: nothing is lost."""
    bench = bench_of("magazines")
    memory, reaper = bench.system.memory, bench.pressure.slab_reaper
    done: list[int] = []

    def frees(cpu: Cpu) -> Op[None]:
        for _ in range(40):
            mine = []
            for _ in range(30):
                address = memory.kmalloc_now(cpu, 64) or (yield from memory.kmalloc(cpu, 64, "use"))
                mine.append(address)
            assert len(dict.fromkeys(mine)) == 30
            for address in mine:
                if not memory.kfree_now(cpu, address):
                    yield from memory.kfree(cpu, address, "use")
        done.append(cpu.id)

    def reaps(cpu: Cpu) -> Op[None]:
        while len(done) < CPUS - 1:
            yield from reaper.reap_since(cpu, cpu.clock, "test")
            memory.objects.validate()
            cpu.charge(500_000, "compute")
            yield from cpu.sync()

    for cpu in range(CPUS):
        bench.thread(cpu, frees if cpu else reaps)
    bench.run()
    assert reaper.reaps > 20
    memory.validate()


def test_reclaim_reaps_magazines_once_in_a_while() -> None:
    """As a shrinker it does so at most every 15 s; a request that nothing else helps does not wait."""
    bench = bench_of("magazines")
    reaper = bench.pressure.slab_reaper

    def body(cpu: Cpu) -> Op[None]:
        node = cpu.node
        for wait in (0, MS, REAP_INTERVAL, MS):
            cpu.charge(wait, "compute")
            yield from reaper.shrink(cpu, node, 32, 12, "test", AllocContext.KERNEL)
        cpu.charge(MS, "compute")
        yield from cpu.sync()
        yield from reaper.reap_since(cpu, cpu.clock, "test")

    bench.thread(0, body)
    bench.run()
    assert reaper.reaps == 3


@pytest.mark.parametrize("kind", KINDS)
def test_who_comes_while_somebody_reaps_leaves_it_to_them(kind: str) -> None:
    """One reap at a time; the second to come is told that one is under way."""
    bench = bench_of(kind)
    reaper = bench.pressure.slab_reaper
    met: list[bool] = []

    def body(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        met.append(reaper.is_reaping)
        yield from reaper.reap_since(cpu, cpu.clock, "test")

    def first(cpu: Cpu) -> Op[None]:
        address = yield from bench.system.memory.kmalloc(cpu, 64, "use")
        yield from bench.system.memory.kfree(cpu, address, "use")
        yield from body(cpu)

    def second(cpu: Cpu) -> Op[None]:
        while not reaper.is_reaping:
            cpu.charge(20_000, "compute")
            yield from cpu.sync()
        yield from body(cpu)

    bench.thread(0, first)
    bench.thread(1, second)
    bench.run()
    assert met == [False, True]
    assert reaper.reaps == 1


@pytest.mark.parametrize("mode", MODES[1:], ids=str)
def test_magazines_are_taken_off_in_every_mode(mode: dict[str, bool]) -> None:
    """The interrupt may fall into a section under the depot's lock, which the usual mode computes."""

    def run(**mode: bool) -> PressureBench:
        bench = bench_of("magazines", **mode)
        memory = bench.system.memory
        assert any(isinstance(cache, MagazineCache) for cache in memory.objects.caches)
        done: list[int] = []

        def pairs(cpu: Cpu) -> Op[None]:
            held: list[int] = []
            for number in range(400):
                if number // 45 % 2:
                    yield from memory.kfree(cpu, held.pop(), "use")
                else:
                    held.append((yield from memory.kmalloc(cpu, 64, "use")))
            for address in held:
                yield from memory.kfree(cpu, address, "use")
            yield from cpu.sync()
            done.append(cpu.id)

        def reaps(cpu: Cpu) -> Op[None]:
            while len(done) < CPUS - 1:
                yield from bench.pressure.slab_reaper.reap_since(cpu, cpu.clock, "test")
                cpu.charge(300_000, "compute")
                yield from cpu.sync()

        for cpu in range(CPUS):
            bench.thread(cpu, pairs if cpu else reaps)
        return bench.run()

    assert run(**mode).outcome() == run().outcome()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_quarantine_holds_back_is_given_up_before_a_request_fails(kind: str) -> None:
    """One processor has freed 400 objects of 2 KiB that wait for their reuse; another wants every page."""
    bench = PressureBench(KINDS[kind], memory="4MiB", slab=kind, debug_quarantine=4000)
    memory, held_back = bench.system.memory, list[int]()
    assert memory.debug is not None
    debug = memory.debug

    def frees(cpu: Cpu) -> Op[None]:
        mine: list[int] = []
        while len(mine) < 400:
            mine.append((yield from memory.kmalloc(cpu, 2048, "use")))
        for address in mine:
            yield from memory.kfree(cpu, address, "use")

    def wants(cpu: Cpu) -> Op[None]:
        taken: list[Pfn] = []
        cpu.charge(20 * MS, "compute")
        yield from cpu.sync()
        held_back.append(debug.held_back)
        yield from take_all(bench.pages, cpu, taken)
        yield from cpu.sync()
        held_back.append(debug.held_back)
        assert len(taken) > 750
        yield from give_all(bench.pages, cpu, taken)

    bench.thread(0, frees)
    bench.thread(1, wants)
    bench.run()
    assert held_back == [400, 0]
    assert bench.pressure.slab_reaper.reaped > 150
