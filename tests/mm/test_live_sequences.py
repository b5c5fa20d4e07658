"""The whole memory manager under random operations: nothing twice, nothing lost.

The same sequence is played on one CPU and dealt out to 64 of them, which take turns, so
that nearly every free is of something that another CPU took; everything is recounted
after each step.  Then 64 CPUs work at once on what they share.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_memory import KERNELS, Ledger, Turns, buddyinfo, live_system, play

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.phys.layout import address_of
from coalsim.units import PAGE_SIZE, Pfn
from coalsim.workloads.base import Rendezvous

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

SIZES = (1, 8, 24, 64, 100, 192, 700, 2048, 3000, 8192, 8193, 20_000)
ALIGNS = (8, 64, 256, 4096, 16_384)
CACHES = (("dentry", 192), ("odd", 520), ("page sized", 4096))
ORDERS = (0, 0, 0, 1, 2, 3, 5)


class Held(NamedTuple):
    """Something that somebody took."""

    kind: str
    address: int
    argument: int  # handle of the cache, or order of the block
    frame: int = -1


@dataclass
class Player:
    """Carries operations out and keeps the ledger."""

    system: System
    ledger: Ledger
    held: list[Held]

    def step(self, cpu: Cpu, kind: str, number: int) -> Op[None]:
        """One operation; `number` chooses its argument."""
        if kind == "free":
            if self.held:
                yield from self.free(cpu, self.held.pop(number % len(self.held)))
            return
        memory = self.system.memory
        if kind == "drain":
            yield from memory.drain_cpu(cpu, kind)
            return
        if kind == "pages":
            order = ORDERS[number % len(ORDERS)]
            pfn = memory.alloc_pages_now(cpu, order)
            if pfn < 0:
                pfn = yield from memory.alloc_pages(cpu, order, kind)
            if pfn >= 0:
                yield from cpu.sync()  # what is held is shared
                self.keep(Held(kind, address_of(Pfn(pfn)), order, pfn), PAGE_SIZE << order)
            return
        if kind == "object":
            name, size = CACHES[number % len(CACHES)]
            handle = memory.cache(name, size)
            address = memory.cache_alloc_now(cpu, handle)
            address = address or (yield from memory.cache_alloc(cpu, handle, kind))
            held = Held(kind, address, handle)
        elif kind == "aligned":
            align = ALIGNS[number % len(ALIGNS)]
            size = SIZES[number % len(SIZES)]
            address = yield from memory.kmalloc_aligned(cpu, size, align, kind)
            assert address % align == 0
            held = Held("kmalloc", address, 0)
        else:
            size = SIZES[number % len(SIZES)]
            address = memory.kmalloc_now(cpu, size) or (yield from memory.kmalloc(cpu, size, kind))
            held = Held("kmalloc", address, 0)
        if address:
            yield from cpu.sync()
            assert memory.kmalloc_size(address) >= size
            self.keep(held, memory.kmalloc_size(address))

    def keep(self, held: Held, size: int) -> None:
        """What was handed out must not be in anybody's hands."""
        self.ledger.take(held.address, size)
        self.held.append(held)

    def free(self, cpu: Cpu, held: Held) -> Op[None]:
        """Give one thing back, without waiting where that can be."""
        self.ledger.give(held.address)
        memory = self.system.memory
        if held.kind == "pages":
            if not memory.free_pages_now(cpu, held.frame, held.argument):
                yield from memory.free_pages(cpu, Pfn(held.frame), held.argument, "free")
        elif held.kind == "object":
            if not memory.cache_free_now(cpu, held.argument, held.address):
                yield from memory.cache_free(cpu, held.argument, held.address, "free")
        elif not memory.kfree_now(cpu, held.address):
            yield from memory.kfree(cpu, held.address, "free")


Steps = list[tuple[str, int]]


def play_in_turns(kernel: str, steps: Steps, cpus: int, memory: str = "24MiB") -> System:
    """Deal the steps out, recount after each; then free all, drain all, and compare with the start."""
    system = live_system(kernel, memory=memory)
    manager, turns = system.memory, Turns()
    player = Player(system, Ledger(), [])
    initial = buddyinfo(system)

    def free_all(cpu: Cpu) -> Op[None]:
        while player.held:
            yield from player.free(cpu, player.held.pop())

    def drain(cpu: Cpu) -> Op[None]:
        yield from manager.drain_cpu(cpu, "end")

    def drain_shared(cpu: Cpu) -> Op[None]:
        yield from manager.drain_shared(cpu, "end")

    acts: list[Callable[[Cpu], Op[None]]] = [
        *(lambda cpu, step=step: player.step(cpu, *step) for step in steps),
        free_all,
        *([drain] * cpus),  # consecutive turns, so each CPU has one
        drain_shared,
    ]

    def program(cpu: Cpu) -> Op[None]:
        for number in range(cpu.id, len(acts), cpus):
            yield from turns.wait_for(cpu, number)
            yield from acts[number](cpu)
            yield from cpu.sync()
            if number <= len(steps) or number == len(acts) - 1:
                manager.validate()
            yield from turns.pass_on(cpu)

    play(system, *([program] * cpus))
    assert not player.ledger
    assert not manager.objects.held_objects
    assert not manager.pages.taken_pages(), "slabs kept pages"
    assert not manager.pages.listed_pages(), "page lists kept pages"
    assert buddyinfo(system) == initial, "memory did not coalesce to what it was"
    return system


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ("kmalloc", "kmalloc", "free", "free", "free", "object", "pages", "aligned", "drain")
        ),
        st.integers(0, 10_000),
    ),
    min_size=1,
    max_size=60,
)


@pytest.mark.parametrize("kernel", KERNELS)
@settings(deadline=None, max_examples=3, suppress_health_check=[HealthCheck.too_slow])
@given(steps=OPERATIONS)
def test_the_same_operations_on_1_and_64_cpus_keep_memory_whole(kernel: str, steps: Steps) -> None:
    """Nothing is handed out twice or lost after any step, and all coalesces at the end."""
    play_in_turns(kernel, steps, 1)
    play_in_turns(kernel, steps, 64)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(steps=OPERATIONS)
def test_many_operations_on_1_and_64_cpus_keep_memory_whole(kernel: str, steps: Steps) -> None:
    """The same with many more sequences."""
    play_in_turns(kernel, steps, 1)
    play_in_turns(kernel, steps, 64)


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("kernel", KERNELS)
def test_bursts_deeper_than_every_cache_keep_memory_whole(kernel: str) -> None:
    """Each of two CPUs takes more than its caches hold; both free all of it, whoever took it."""
    steps = [("kmalloc", 3)] * 300 + [("free", 7 * number) for number in range(300)]
    play_in_turns(kernel, steps, 2)


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("kernel", KERNELS)
def test_memory_that_runs_out_stays_whole(kernel: str) -> None:
    """Requests fail in every layer once memory is short, and nothing is lost on the way."""
    wanted = [("kmalloc", 11), ("pages", 0), ("object", 2), ("kmalloc", 3), ("pages", 5), ("aligned", 3)]
    steps = wanted * 25 + [("free", 5 * number) for number in range(60)] + wanted * 15
    system = play_in_turns(kernel, steps, 4, memory="512KiB")
    assert system.memory.pages.failures


def play_at_once(kernel: str, cpus: int, rounds: int, mode: dict[str, bool]) -> tuple[int, list[int]]:
    """All CPUs work at once: what one takes goes into a pool from which any frees."""
    system = live_system(kernel, memory="64MiB", mode=mode)
    memory, gate = system.memory, Rendezvous(cpus)
    player = Player(system, Ledger(), [])
    initial = buddyinfo(system)

    def program(cpu: Cpu) -> Op[None]:
        uniform = system.streams.stream("test", cpu.id).random
        for _ in range(rounds):
            yield from cpu.sync()  # the pool is shared
            kinds = ("free", "free") if len(player.held) > 6 * cpus else ("kmalloc", "pages", "object")
            kind = kinds[int(uniform() * len(kinds))]
            yield from player.step(cpu, kind, int(uniform() * 10_000))
        yield from gate.meet(cpu)
        if not cpu.id:
            memory.validate()
            while player.held:
                yield from player.free(cpu, player.held.pop())
        yield from gate.meet(cpu)
        yield from memory.drain_cpu(cpu, "end")
        yield from gate.meet(cpu)
        if not cpu.id:
            yield from memory.drain_shared(cpu, "end")

    play(system, *([program] * cpus))
    memory.validate()
    assert not memory.pages.taken_pages()
    assert buddyinfo(system) == initial
    frees = sum(own.frees for cache in memory.objects.caches for own in cache.counts)
    return system.env._now, [frees, sum(own.remote_frees for own in memory.pages.own)]


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("cpus", [4, 64])
def test_cpus_at_work_at_once_keep_memory_whole(kernel: str, cpus: int) -> None:
    """The same while 4 and 64 CPUs meet at every lock, in the quick mode as in the reference mode."""
    reference = {"run_ahead": False, "fast_paths": False, "tick_events": True}
    outcomes = [play_at_once(kernel, cpus, 600 // cpus, mode) for mode in ({}, reference)]
    assert outcomes[0] == outcomes[1]
    _, (frees, remote) = outcomes[0]
    assert frees
    assert remote
