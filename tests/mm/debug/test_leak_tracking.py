"""Tracking: who holds what, since when, and what it costs to know."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaking import MODES, SCANNED, TRACKED, held, play, system_with, tracking_of

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import DoubleFree
from coalsim.mm.debug.sites import MOST_SITES, MOST_SLOTS, OTHER_SITES, Sites
from coalsim.mm.debug.tracking import TRACKING
from coalsim.units import KIB, US, Pfn, Time


def churn(system: System, cpu: Cpu) -> Op[None]:
    """Allocations of every kind by chance, most of them freed."""
    memory, draw = system.memory, random.Random(int(cpu.id))
    handle = memory.cache("things", 200)
    objects: list[int] = []
    blocks: list[tuple[Pfn, int]] = []
    for _ in range(300):
        kind = draw.randrange(6)
        if kind == 0:
            objects.append((yield from memory.kmalloc(cpu, draw.randrange(1, 300), "small")))
        elif kind == 1:
            objects.append((yield from memory.kmalloc(cpu, draw.randrange(9, 40) * KIB, "large")))
        elif kind == 2:
            order = draw.randrange(3)
            blocks.append(((yield from memory.alloc_pages(cpu, order, "pages")), order))
        elif kind == 3:
            address = yield from memory.cache_alloc(cpu, handle, "cached")
            if draw.random() < 0.9:
                yield from memory.cache_free(cpu, handle, address, "gone")
        elif kind == 4 and objects:
            yield from memory.kfree(cpu, objects.pop(draw.randrange(len(objects))), "gone")
        elif kind == 5 and blocks:
            yield from memory.free_pages(cpu, *blocks.pop(), "gone")
        cpu.charge(draw.randrange(1, 3 * US), "think")


def test_every_object_is_known_with_its_site_bytes_processor_and_time() -> None:
    """And none that has been freed; bytes are those asked for, of caches and pages the whole thing."""
    times: dict[int, tuple[Time, Time]] = {}

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory = system.memory
        handle = memory.cache("things", 200)
        for number, (size, freed) in enumerate([(100, False), (64, True), (5000, False), (20_000, False)]):
            yield from cpu.sync()
            began = cpu.clock
            address = yield from memory.kmalloc(cpu, size, f"site {number}")
            yield from cpu.sync()
            times[address] = (began, cpu.clock)
            if freed:
                yield from memory.kfree(cpu, address, "elsewhere")
        yield from memory.cache_alloc(cpu, handle, "cached")
        yield from memory.alloc_pages(cpu, 2, "pages")
        yield from memory.kmalloc_aligned(cpu, 100, 128, "aligned")

    system = play(system_with(TRACKED), program)
    assert held(system) == {
        ("site 0", "kmalloc"): (1, 100),
        ("site 2", "kmalloc"): (1, 5000),
        ("site 3", "kmalloc"): (1, 20_000),
        ("cached", "things"): (1, 200),
        ("pages", "pages"): (1, 16 * KIB),
        ("aligned", "kmalloc"): (1, 100),
    }
    spent = {site.name: site.allocated for site in tracking_of(system).sites if site.live}
    assert spent == {
        "site 0": 128,
        "site 2": 8192,
        "site 3": 32 * KIB,
        "cached": 200,
        "pages": 16 * KIB,
        "aligned": 128,
    }
    for tracked in tracking_of(system).objects.values():
        assert (tracked.cpu, tracked.comm) == (0, "test/0")
        began, ended = times.get(tracked.address, (0, system.env._now))
        assert began < tracked.born <= ended


@pytest.mark.parametrize("profile", ["coal", "linux-6.18", "linux-6.0"])
def test_what_is_tracked_does_not_depend_on_the_mode(profile: str) -> None:
    """Sites, times of birth and growth, to the picosecond, with a timer that interrupts all the time."""
    seen = []
    for mode in MODES:
        system = play(system_with({**TRACKED, "hz": "10000"}, profile, mode), churn, churn, churn)
        tracking = tracking_of(system)
        records = [*tracking.objects.values(), *tracking.blocks.values()]
        seen.append(
            (
                sorted((one.address, one.born, one.cpu, one.size, one.site.name) for one in records),
                [(one.name, one.allocs, one.frees, sorted(one.slots.items())) for one in tracking.sites],
                system.env._now,
            )
        )
        assert system.memory.objects.held_objects == len(tracking.objects)
    assert all(one == seen[0] for one in seen)


def test_an_object_freed_on_another_processor_is_struck_out() -> None:
    """The free counts for the site that allocated."""
    passed: list[int] = []

    def maker(system: System, cpu: Cpu) -> Op[None]:
        passed.append((yield from system.memory.kmalloc(cpu, 64, "maker")))
        yield from cpu.sync()

    def breaker(system: System, cpu: Cpu) -> Op[None]:
        cpu.charge(100 * US, "think")
        yield from cpu.sync()
        yield from system.memory.kfree(cpu, passed.pop(), "breaker")

    system = play(system_with(TRACKED), maker, breaker)
    assert not held(system)
    (site,) = tracking_of(system).sites
    assert (site.name, site.allocs, site.frees) == ("maker", 1, 1)


def test_tracking_costs_what_the_profile_says() -> None:
    """An allocation: a record made and put into the index; a free: found there.  Under its own cause."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        for _ in range(10):
            address = yield from system.memory.kmalloc(cpu, 64, "site")
            yield from system.memory.kfree(cpu, address, "site")

    tracked, plain = play(system_with(TRACKED), program), play(system_with({}), program)
    costs = tracked.costs
    expected = 10 * (costs.track_object + 2 * costs.index_object)
    assert costs.track_object > costs.index_object > 0
    assert tracked.cpus[0].spent[TRACKING] == expected
    assert tracked.env._now == plain.env._now + expected
    assert TRACKING not in plain.cpus[0].spent


def test_without_the_switch_nobody_stands_between_callers_and_the_allocator() -> None:
    """The very functions: no frame more, no time more."""
    memory = system_with({}).memory
    assert memory.tracking is None
    assert memory.kmalloc == memory.objects.kmalloc
    assert memory.kfree_now == memory.objects.kfree_now
    assert memory.alloc_pages == memory.pages.alloc
    assert memory.free_pages == memory.pages.free


def test_a_double_free_is_named_as_without_tracking() -> None:
    """The layer is no judge."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        address = yield from system.memory.kmalloc(cpu, 64, "site")
        yield from system.memory.kfree(cpu, address, "first")
        yield from system.memory.kfree(cpu, address, "second")

    with pytest.raises(DoubleFree, match="second"):
        play(system_with(TRACKED), program)


@pytest.mark.parametrize("switches", [TRACKED, SCANNED], ids=["without a lock", "with a lock"])
def test_an_address_that_changes_hands_at_once_is_never_known_twice(switches: dict[str, str]) -> None:
    """Processors pass large blocks to each other through the zone, as fast as they can."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        for turn in range(200):
            address = yield from system.memory.kmalloc(cpu, 4096 * KIB, f"site {cpu.id}")
            assert address
            cpu.charge(1 + (cpu.id * 37 + turn * 11) % 90_000, "think")
            yield from system.memory.kfree(cpu, address, "gone")

    system = play(system_with(switches), program, program, program, program)
    assert not held(system)
    assert [site.frees for site in tracking_of(system).sites] == [200] * 4


changes = st.lists(
    st.tuples(st.integers(0, 10_000 * US), st.integers(1, 4096), st.integers(0, 3000 * US)), max_size=40
)


@given(changes, st.randoms())
def test_growth_is_the_plain_sum_at_every_border_in_any_order(
    objects: list[tuple[Time, int, Time]], shuffle: random.Random
) -> None:
    """However often slots were joined, whoever came first; a lifetime of 0 is one without an end."""
    events = [(born, size) for born, size, _ in objects]
    events += [(born + life, -size) for born, size, life in objects if life]
    end = max((at for at, _ in events), default=0) + 1
    answers = []
    for _ in range(2):
        sites = Sites()
        site = sites.site("one", "kmalloc")
        for at, size in events:
            (sites.allocated if size > 0 else sites.freed)(site, at, abs(size), 4096)
        borders = sites.borders(end)
        assert len(borders) <= MOST_SLOTS
        assert sites.growth(site, end) == [
            sum(size for at, size in events if at < border) for border in borders
        ]
        answers.append((sites.width, [*filter(None, sites.growth(site, end))]))
        shuffle.shuffle(events)
    assert answers[0] == answers[1]


def test_call_sites_beyond_the_most_are_counted_together() -> None:
    """A trace may name any number of them; nothing is lost, and memory stays bounded."""
    sites = Sites()
    for number in range(MOST_SITES + 100):
        sites.allocated(sites.site(f"site {number}", "kmalloc"), 0, 8, 16)
    sites.freed(sites.site(f"site {MOST_SITES + 1}", "kmalloc"), 0, 8, 16)
    every = list(sites)
    assert len(every) == MOST_SITES + 1
    (other,) = (site for site in every if site.name == OTHER_SITES)
    assert (other.live, other.bytes, other.allocated) == (99, 99 * 8, 99 * 16)
