"""Draining the page lists of all processors, by whatever means, while they are used."""

from collections.abc import Mapping
from random import Random

import pytest
from pressure_bench import MODES, PressureBench

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.units import US, Pfn

BY = ("remote", "work")
PROFILES = ("coal", "linux-6.0", "linux-6.18")


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_drain_empties_every_list(profile: str, by: str) -> None:
    """Single frames and blocks, of every processor; all of it is free afterwards, and it says how much."""
    bench = PressureBench(profile, machine="pack:2 core:2 pu:1", memory="32MiB", pcp_drain_by=by)
    gains: list[tuple[int, int, int]] = []

    def fills(cpu: Cpu) -> Op[None]:
        held: list[tuple[int, Pfn]] = []
        for order in (0, 1, 0, 2, 3, 0, 0, 0, 0):
            pfn = yield from bench.pages.alloc(cpu, order, "fill")
            held.append((order, pfn))
        for order, pfn in held:
            yield from bench.pages.free(cpu, pfn, order, "fill")

    def drains(cpu: Cpu) -> Op[None]:
        yield from fills(cpu)
        cpu.charge(500 * US, "compute")
        yield from cpu.sync()
        before = bench.pages.listed_pages()
        gained = yield from bench.pressure.drain.drain(cpu, "test")
        yield from cpu.sync()
        gains.append((before, gained, bench.pages.listed_pages()))

    for cpu in range(4):
        bench.thread(cpu, drains if cpu == 1 else fills)
    bench.run(check_every=US // 4, checks=4000)
    (before, gained, after) = gains[0]
    assert before == gained > 0
    assert after == 0
    assert bench.pages.taken_pages() == 0
    bench.system.memory.validate()


def churn(bench: PressureBench, rng: Random) -> object:
    """A kernel thread that allocates and frees pages and objects at random."""
    memory, pages = bench.system.memory, bench.pages

    def body(cpu: Cpu) -> Op[None]:
        objects: list[int] = []
        blocks: list[tuple[Pfn, int]] = []
        for _ in range(250):
            draw = rng.random()
            if draw < 0.35:
                objects.append(memory.kmalloc_now(cpu, 128) or (yield from memory.kmalloc(cpu, 128, "churn")))
            elif draw < 0.6 and objects:
                address = objects.pop(rng.randrange(len(objects)))
                if not memory.kfree_now(cpu, address):
                    yield from memory.kfree(cpu, address, "churn")
            elif draw < 0.8:
                order = rng.choice((0, 0, 0, 1, 3))
                blocks.append(((yield from pages.alloc(cpu, order, "churn")), order))
            elif blocks:
                pfn, order = blocks.pop(rng.randrange(len(blocks)))
                if not pages.give_now(cpu, pfn, order):
                    yield from pages.free(cpu, pfn, order, "churn")
            yield from cpu.preempt_point()
        for address in objects:
            yield from memory.kfree(cpu, address, "end")
        for pfn, order in blocks:
            yield from pages.free(cpu, pfn, order, "end")

    return body


def churned(profile: str, by: str, seed: int, mode: Mapping[str, bool]) -> PressureBench:
    """Six processors that churn, and a thread that drains and reaps them all the while."""
    bench = PressureBench(profile, machine="pack:2 core:3 pu:1", memory="64MiB", mode=mode, pcp_drain_by=by)

    def nags(cpu: Cpu) -> Op[None]:
        rng = Random(seed)
        for _ in range(20):
            cpu.charge(rng.randrange(1, 40) * US // 5, "compute")
            yield from cpu.sync()
            if rng.random() < 0.5:
                yield from bench.pressure.drain.drain(cpu, "nag")
            else:
                yield from bench.pressure.slab_reaper.reap_since(cpu, cpu.clock, "nag")

    for cpu in range(6):
        bench.thread(cpu, churn(bench, Random(100 * seed + cpu)))  # type: ignore[arg-type]
    bench.thread(5, nags)
    bench.run()
    bench.system.memory.objects.validate()
    return bench


@pytest.mark.fast_one_in(5)
@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_lists_and_magazines_that_are_used_meanwhile_lose_nothing_in_any_mode(
    profile: str, by: str, seed: int
) -> None:
    """Frames and objects are all there at the end, and every mode of the engine gives the same run."""
    first, *others = (churned(profile, by, seed, mode).outcome() for mode in MODES)
    for other in others:
        assert other == first


@pytest.mark.slow
@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_for_many_seeds(profile: str, by: str) -> None:
    """The rarest meetings, of a refill with a drain, need many."""
    for seed in range(5, 35):
        first, *others = (churned(profile, by, seed, mode).outcome() for mode in MODES)
        for other in others:
            assert other == first, seed
