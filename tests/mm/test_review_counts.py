"""What the allocators count adds up: each call once, where it was served, from the same moment on."""

import pytest
from live_memory import KERNELS, live_system, play

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.mcs import McsLock
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.memory_outcome import memory
from coalsim.topology.presets import load_machine
from coalsim.units import Pfn
from coalsim.workloads.base import Rendezvous

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_call_is_counted_once_where_it_was_served(kernel: str) -> None:
    """Half of the objects of a burst are freed by another CPU; calls and counts agree."""
    system = live_system(kernel)
    manager, gate, taken = system.memory, Rendezvous(2), list[int]()

    def taker(cpu: Cpu) -> Op[None]:
        for _ in range(400):
            one = yield from manager.kmalloc(cpu, 512, "take")
            taken.append(one)
        yield from gate.meet(cpu)
        for address in taken[::2]:
            yield from manager.kfree(cpu, address, "give")

    def freer(cpu: Cpu) -> Op[None]:
        yield from gate.meet(cpu)
        for address in taken[1::2]:
            yield from manager.kfree(cpu, address, "give")

    play(system, taker, freer)
    (row,) = (row for row in memory(manager)["magazines"] if row["cache"] == "kmalloc-512")
    assert (row["allocs"], row["frees"]) == (400, 400)
    assert row["allocs"] == row["alloc_hits"] + row["depot_allocs"] + row["slab_allocs"]
    assert row["frees"] == row["free_hits"] + row["depot_frees"] + row["slab_frees"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_requests_that_fail_waste_no_memory(kernel: str) -> None:
    """Bytes given out are those of objects that callers got, also when memory has run out."""
    system = live_system(kernel, memory="512KiB")
    manager = system.memory
    got: list[int] = []

    def program(cpu: Cpu) -> Op[None]:
        for _ in range(1200):
            address = yield from manager.kmalloc(cpu, 2048, "take")
            if address:
                got.append(address)

    play(system, program)
    assert len(got) < 1200
    objects = memory(manager)["fragmentation"]["objects"]
    assert objects == {"requested": 2048 * len(got), "allocated": 2048 * len(got)}


def page_counts(system: System) -> tuple[int, int, int]:
    """Calls that lists served or refilled for, and refills."""
    rows = memory(system.memory)["pagelists"]
    allocs = sum(int(row["allocs"]) for row in rows)
    hits = sum(int(row["alloc_hits"]) for row in rows)
    return allocs, hits, sum(int(row["refills"]) for row in rows)


@pytest.mark.parametrize("kernel", ["magazines", "slub"])
def test_a_page_counts_in_the_zone_that_gave_it(kernel: str) -> None:
    """Zones that were asked in vain do not count the call: allocations are hits and refills."""
    system = live_system(kernel, memory="2MiB")
    manager = system.memory
    got: list[int] = []

    def program(cpu: Cpu) -> Op[None]:
        while (pfn := (yield from manager.alloc_pages(cpu, 0, "take"))) >= 0:
            got.append(pfn)

    play(system, program)
    allocs, hits, refills = page_counts(system)
    assert allocs == len(got) == sum(zone.frames for zone in system.memory.zones)
    assert allocs == hits + refills


def test_free_hits_are_the_frees_that_drained_nothing() -> None:
    """Giving whole lists back at the end is no free of a page."""
    system = live_system("magazines")
    manager = system.memory

    def program(cpu: Cpu) -> Op[None]:
        pages: list[Pfn] = []
        for _ in range(100):
            one = yield from manager.alloc_pages(cpu, 0, "take")
            pages.append(one)
        for pfn in pages:
            yield from manager.free_pages(cpu, pfn, 0, "give")
        yield from manager.drain_cpu(cpu, "drain")

    play(system, program)
    (row,) = memory(manager)["pagelists"]
    assert row["drains"] == 1, "the list never was full"
    assert (row["frees"], row["free_hits"]) == (100, 100)


def test_blocks_without_a_list_count_among_the_frees() -> None:
    """Remote frees are a part of all frees, whatever the order."""
    system = live_system("magazines")
    manager, gate, taken = system.memory, Rendezvous(2), list[Pfn]()

    def taker(cpu: Cpu) -> Op[None]:
        for order in (0, 3, 5):
            one = yield from manager.alloc_pages(cpu, order, "take")
            taken.append(one)
        yield from gate.meet(cpu)

    def freer(cpu: Cpu) -> Op[None]:
        yield from gate.meet(cpu)
        for pfn, order in zip(taken, (0, 3, 5), strict=True):
            yield from manager.free_pages(cpu, pfn, order, "give")

    play(system, taker, freer)
    frees = memory(manager)["remote_frees"]
    assert (frees["pages"], frees["pages_remote"]) == (3, 3)


@pytest.mark.parametrize("kernel", ["magazines", "sheaves"])
def test_the_end_of_the_warm_up_forgets_all_counts(kernel: str) -> None:
    """Contended visits, resizes and single blocks are forgotten with the rest."""
    profile, switches = KERNELS[kernel]
    slow = {"cost.depot_section": "5us", "cost.barn_section": "5us", "hz": "0"}
    system = System(
        SystemConfig(
            machine=load_machine("bdx2"),
            profile=load_profile(profile).with_overrides({**switches, **slow}),
            lock=McsLock,
            recorder=Histogram,
        )
    )
    manager, gate = system.memory, Rendezvous(16)

    def program(cpu: Cpu) -> Op[None]:
        pfn = yield from manager.alloc_pages(cpu, 5, "take")
        yield from manager.free_pages(cpu, pfn, 5, "give")
        for _ in range(5):
            yield from gate.meet(cpu)
            taken: list[int] = []
            for _ in range(150):
                one = yield from manager.kmalloc(cpu, 64, "take")
                taken.append(one)
            yield from gate.meet(cpu)
            for address in taken:
                yield from manager.kfree(cpu, address, "give")

    play(system, *([program] * 16))
    (row,) = (row for row in memory(manager)["magazines"] if row["cache"] == "kmalloc-64")
    assert row["contended"]
    manager.update_magazines()
    system.reset_counters()
    assert not memory(manager)["magazines"]
    cache = manager.objects.caches[manager.cache("kmalloc-64", 64)]
    assert (cache.layer().contended, cache.layer().resizes) == (0, 0)
    assert not any(own.allocs or own.frees for own in manager.pages.own)
