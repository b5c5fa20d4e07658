"""kmemleak: what it finds, what it does not, when, and what it costs."""

from statistics import mean

import pytest
from leaking import MODES, SCANNED, Program, play, reported, scanner_of, system_with

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import DeadlockError, KernelBug
from coalsim.locks.nap import Bell, nap
from coalsim.mm.debug.kmemleak import SCAN, checksum
from coalsim.mm.debug.marking import Marking
from coalsim.mm.debug.roots import RootWords
from coalsim.mm.debug.sites import Site
from coalsim.mm.debug.tracking import Tracked
from coalsim.mm.phys.layout import DIRECT_MAP
from coalsim.units import KIB, MS, US, CpuId, Pfn, Time

PLANTED = 20
LINK = 24


DEBUG = {"debug_redzone": "on", "debug_poison": "on", "debug_quarantine": "16", "debug_guard_pages": "on"}


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("switches", [{}, DEBUG, {"slab": "sheaves"}], ids=["plain", "debug", "sheaves"])
def test_twenty_planted_leaks_are_found_and_none_is_invented(switches: dict[str, str]) -> None:
    """Among thousands of objects in lists, each lost in its own way and named by its own site."""
    lost: dict[int, str] = {}
    system = system_with({**SCANNED, **switches})
    play(system, _planter(system, lost), _lists(system, 1), _lists(system, 2))
    assert len(lost) == PLANTED
    assert reported(system) == lost
    assert sum(own.allocs for cache in system.memory.objects.caches for own in cache.counts) > 3000
    for report in scanner_of(system).reports:
        assert report.tracked.is_live
        assert report.found > report.tracked.born


def _planter(system: System, lost: dict[int, str]) -> Program:
    """Loses 20 objects of all kinds of memory and in all kinds of shapes."""
    stack = system.memory.pointers.new_roots("stack", 2)
    handle = system.memory.cache("things", 200)

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory, pointers = system.memory, system.memory.pointers
        for number in range(PLANTED):
            site = f"plant {number}"
            if number % 4 == 1:
                address = yield from memory.cache_alloc(cpu, handle, site)
            else:
                asked = {0: 64, 2: 300, 3: 20 * KIB}[number % 4]
                address = yield from memory.kmalloc(cpu, asked, site)
            size = memory.kmalloc_size(address)
            yield from pointers.set_root(cpu, stack, 0, address + size // 2)  # in use: an interior pointer
            yield from pointers.clear(cpu, address, size)
            if number % 3 == 0:  # a ring of itself
                yield from pointers.store(cpu, address, LINK, address)
            elif number % 3 == 1 and lost:  # a chain of what is lost
                yield from pointers.store(cpu, address, LINK, next(reversed(lost)))
            yield from nap(cpu, 120 * US, "planter")
            lost[address] = site
        yield from pointers.set_root(cpu, stack, 0, 0)
        yield from nap(cpu, 1 * MS, "planter")

    return program


def _lists(system: System, seed: int) -> Program:
    """A long list whose objects move from its head to its end all the time; most of them are freed."""
    root = system.memory.pointers.new_roots(f"list {seed}", 1)
    hand = system.memory.pointers.new_roots(f"hand {seed}", 1)

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory, pointers = system.memory, system.memory.pointers
        listed: list[int] = []
        for step in range(2000):
            if len(listed) > 60 and step % 3:
                address = listed.pop(0)  # moved to the end
                yield from pointers.set_root(cpu, hand, 0, address)
                yield from pointers.set_root(cpu, root, 0, listed[0] + LINK)
            else:
                address = yield from memory.kmalloc(cpu, 96, "listed")
                yield from pointers.set_root(cpu, hand, 0, address)
            yield from pointers.clear(cpu, address, 96)
            if listed:
                yield from pointers.store(cpu, listed[-1], LINK, address + LINK)
            else:
                yield from pointers.set_root(cpu, root, 0, address + LINK)
            listed.append(address)
            if len(listed) > 100:
                oldest = listed.pop(0)
                yield from pointers.set_root(cpu, root, 0, listed[0] + LINK)
                yield from memory.kfree(cpu, oldest, "listed")
            for _ in range(3):
                address = yield from memory.kmalloc(cpu, 96, "short")
                yield from memory.kfree(cpu, address, "short")
        while listed:
            yield from memory.kfree(cpu, listed.pop(), "listed")

    return program


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("profile", ["coal", "linux-6.18"])
def test_findings_do_not_depend_on_the_mode(profile: str) -> None:
    """Objects, times, checksums, what the scans cost, and who waited for their lock."""
    seen = []
    for mode in MODES:
        lost: dict[int, str] = {}
        system = system_with(SCANNED, profile, mode)
        play(system, _planter(system, lost), _lists(system, 1), _lists(system, 2))
        scanner = scanner_of(system)
        reports = [
            (one.tracked.address, one.tracked.born, one.found, one.checksum) for one in scanner.reports
        ]
        seen.append((reports, scanner.counts, system.env._now, system.time_by_cause(system.env._now)))
    assert all(one == seen[0] for one in seen)
    assert seen[0][0]


def test_latency_follows_its_formula() -> None:
    """A leak at a random time, period T, least age A: uniform on A..A+T, its mean A + T/2.

    T = 600 s and A = 5 s, a million times smaller: mean 305, p95 575, at most 605.
    """
    period, age, leaks = 600 * US, 5 * US, 800
    lost: dict[int, Time] = {}
    switches = {**SCANNED, "kmemleak_first": "60us", "kmemleak_scan": "600us", "kmemleak_min_age": "5us"}
    system = system_with(switches)
    draw = system.streams.stream("leaks").random
    system.memory.pointers.new_roots("roots", 1)

    def program(system: System, cpu: Cpu) -> Op[None]:
        for _ in range(leaks):
            yield from nap(cpu, round(2 * period * draw()), "leaker")
            address = yield from system.memory.kmalloc(cpu, 64, "leaker")
            lost[address] = cpu.clock
        yield from nap(cpu, 2 * period, "leaker")

    play(system, program)
    scanner = scanner_of(system)
    assert len(scanner.reports) == leaks == len(lost)
    waits = sorted(report.found - report.tracked.born for report in scanner.reports)
    scan = scanner.counts.longest
    assert scan < period // 10, "near enough to the instant that the formula takes it for"
    error = period / (12 * leaks) ** 0.5
    assert age + period / 2 - 3 * error < mean(waits) < age + period / 2 + scan + 3 * error
    assert waits[0] >= age
    assert waits[-1] <= age + period + scan
    assert abs(waits[leaks * 95 // 100] - (age + 0.95 * period)) < 3 * error + scan


KEEPING = ("its first byte", "its last byte", "a root", "a number that looks like a pointer")
NOT_KEEPING = ("one byte behind", "one byte before", "a freed object", "an object's last bytes", "nobody")


def _keeper(keep: str, roots: RootWords) -> Program:
    """Allocates an object that something or nobody points to, and waits for scans."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory, pointers = system.memory, system.memory.pointers
        address = yield from memory.kmalloc(cpu, 128, "target")
        holder = yield from memory.kmalloc(cpu, 64, "holder")
        yield from pointers.clear(cpu, holder, 64)
        yield from pointers.set_root(cpu, roots, 0, holder)
        word = {
            "its first byte": address,
            "its last byte": address + 127,
            "a number that looks like a pointer": address + 77,
            "one byte behind": address + 128,
            "one byte before": address - 1,
        }.get(keep)
        if word is not None:
            yield from pointers.store(cpu, holder, 56, word)
        elif keep == "a root":
            yield from pointers.set_root(cpu, roots, 1, address + 1)
        elif keep == "a freed object":
            ghost = yield from memory.kmalloc(cpu, 64, "ghost")
            yield from pointers.store(cpu, ghost, 0, address)
            yield from memory.kfree(cpu, ghost, "ghost")
            yield from pointers.set_root(cpu, roots, 1, ghost)
        elif keep == "an object's last bytes":
            short = yield from memory.kmalloc(cpu, 20, "short")
            yield from pointers.set_root(cpu, roots, 1, short)
            yield from pointers.store(cpu, short, 16, address)
        yield from nap(cpu, 1 * MS, "keeper")

    return program


@pytest.mark.parametrize("keep", [*KEEPING, *NOT_KEEPING])
def test_what_keeps_an_object_from_being_reported(keep: str) -> None:
    """A whole word of a live object or a root that leads anywhere into it; nothing else."""
    system = system_with(SCANNED)
    play(system, _keeper(keep, system.memory.pointers.new_roots("roots", 2)))
    assert list(reported(system).values()) == ([] if keep in KEEPING else ["target"])


def test_what_is_freed_while_marking_goes_on_points_to_nothing_any_more() -> None:
    """Though it was reached before: its pointers died with it."""
    system = system_with(SCANNED)
    pointers = system.memory.pointers
    first, second, third = (
        Tracked(DIRECT_MAP + 4096 * place, 64, 64, Site("site", "kmalloc"), CpuId(0), "", 0)
        for place in (1, 2, 3)
    )
    system.memory.ram.write(Pfn(1), 8, second.address.to_bytes(8, "little"))
    system.memory.ram.write(Pfn(2), 8, third.address.to_bytes(8, "little"))
    marking = Marking([first, second, third], [first.address])
    assert marking.read_block(pointers) == 3 * 64
    assert marking.white() == []
    marking = Marking([first, second, third], [first.address])
    first.is_live = False
    assert marking.has_grey
    assert marking.read_block(pointers) == 0
    assert marking.white() == [second, third]


def test_without_roots_nobody_is_accused() -> None:
    """A load that keeps its pointers in Python's variables would look as if it had lost everything."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        yield from system.memory.kmalloc(cpu, 64, "used")
        yield from nap(cpu, 1 * MS, "test")

    system = play(system_with(SCANNED), program)
    assert scanner_of(system).counts.scans == 5
    assert not reported(system)
    assert not scanner_of(system).has_roots


def test_an_object_is_reported_at_the_least_age_and_once() -> None:
    """Not by the scan that finds it too young; not again by the next ones."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        yield from nap(cpu, 70 * US, "test")  # the first scan comes 30 us later
        yield from system.memory.kmalloc(cpu, 64, "lost")
        yield from nap(cpu, 2 * MS, "test")

    system = system_with(SCANNED)
    system.memory.pointers.new_roots("roots", 1)
    play(system, program)
    (report,) = scanner_of(system).reports
    assert 300 * US < report.found < 310 * US
    assert scanner_of(system).counts.scans == 10


def test_a_scan_costs_time_by_objects_and_bytes() -> None:
    """Visits of all objects, and reading of those that are reached, under its own cause."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        memory, pointers = system.memory, system.memory.pointers
        roots = next(one for one in pointers.roots if one.name == "roots")
        for at in range(4):
            address = yield from memory.kmalloc(cpu, 32 * KIB, "big")
            if at < 3:
                yield from pointers.set_root(cpu, roots, at, address)
        yield from nap(cpu, 290 * US - cpu.clock, "test")

    system = system_with(SCANNED)
    system.memory.pointers.new_roots("roots", 128)
    play(system, program)
    counts = scanner_of(system).counts
    assert (counts.scans, counts.objects, counts.bytes) == (1, 4, 97 * KIB)
    spent = sum(cpu.spent[SCAN] for cpu in system.cpus)
    assert spent == 4 * system.costs.scan_object + 97 * system.costs.scan_kib
    assert counts.longest > spent


def test_a_run_ends_when_its_load_does() -> None:
    """Neither a scan to come nor one under way holds it up."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        for _ in range(100):
            yield from system.memory.kmalloc(cpu, 64, "lost")
        cpu.charge(1 * MS - 5 * US, "think")
        yield from cpu.sync()

    often = play(system_with({**SCANNED, "kmemleak_first": "500us"}), program)
    never = play(system_with({**SCANNED, "kmemleak_first": "60s"}), program)
    assert scanner_of(often).counts.scans > 1
    assert scanner_of(never).counts.scans == 0
    assert often.env._now == never.env._now


def test_scans_do_not_hide_a_dead_system() -> None:
    """They come for ever; a load that nobody will ever wake is still noticed."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        yield from Bell().wait(cpu, "nobody")

    with pytest.raises(DeadlockError, match="sleeps until woken"):
        play(system_with({**SCANNED, "hz": "0"}), program)


def test_a_first_scan_may_come_at_boot() -> None:
    """It finds nothing, and the others follow."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        yield from nap(cpu, 500 * US, "test")

    assert scanner_of(play(system_with({**SCANNED, "kmemleak_first": "0"}), program)).counts.scans == 3


def test_a_pointer_where_no_scan_looks_is_a_mistake_of_the_load() -> None:
    """Words lie at multiples of eight."""

    def program(system: System, cpu: Cpu) -> Op[None]:
        address = yield from system.memory.kmalloc(cpu, 64, "site")
        yield from system.memory.pointers.store(cpu, address, 4, address)

    with pytest.raises(KernelBug, match="no multiple of 8"):
        play(system_with(SCANNED), program)


def test_the_checksum_is_that_of_the_kernel() -> None:
    """crc32 with seed 0 and no inversion: zero for zeros."""
    assert checksum(bytes(192)) == 0
    assert checksum(b"123456789") == 0x2DFD2D88
