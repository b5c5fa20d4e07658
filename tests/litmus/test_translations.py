"""Litmus tests of translations: hits ahead of time, walks, flushes and their judge.

A hit takes 50 ps, the handler of a flush 100 ps, answers 50 ps back; a flush reaches its
targets 800 ps after it began, which is the lookahead, unless a test says otherwise.  TLBs,
walkers, call queues, policies and oracle are the real ones.  Every test holds in every
mode.
"""

from fractions import Fraction

import pytest
from bench import MODES, START, Bench, Mode, Program, time_of
from mmu import ENQUEUE, HIT, PAGES, Mmu, bench_of, kernel_costs, kernel_switches

from coalsim.boot import System, SystemConfig
from coalsim.boot_reach import lookahead
from coalsim.cpus.bandwidth import Pipe
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.translation import Moment
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.locks.queued import QueuedLock
from coalsim.mm.phys.ram import Ram
from coalsim.mm.shootdown.causes import ENQUEUE as ENQUEUEING
from coalsim.mm.shootdown.causes import FLIGHT, REMOTE, WAIT
from coalsim.mm.shootdown.causes import HANDLER as HANDLING
from coalsim.mm.shootdown.causes import WAY_BACK as ACKNOWLEDGING
from coalsim.mm.shootdown.linux import ConcurrentShootdown, LinuxShootdown
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.shootdown.tlbi import TlbiShootdown
from coalsim.mm.virt.frames import UserFrames
from coalsim.mm.virt.lru import LruLists
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import PAGE_SIZE, Pfn, Time, Vpn

pytestmark = pytest.mark.parametrize("mode", MODES, ids=str)

EARLY = -200
"""Test time at which programs begin that fill their TLB first."""


def unmapper(mmu: Mmu, page: int, *, reuse_after: Time = -1) -> Program:
    """A program that unmaps a page, flushes it, and gives its frame away so long after that."""

    def program(cpu: Cpu) -> Op[None]:
        yield from cpu.sync()
        yield from mmu.flush(cpu, mmu.request(page, mmu.unmap(cpu, page)))
        if reuse_after >= 0:
            cpu.charge(reuse_after, "think")
            yield from mmu.reuse(cpu, page)

    return program


# -- flushes and hits ------------------------------------------------------------------------------


def test_a_flush_in_flight_ends_the_hits(mode: Mode) -> None:
    """in_flight: begun at 0; CPU 1 touches every 50 from 500 on: six hits, the last at 750."""
    bench = bench_of(mode, 2)
    mmu, seen = Mmu(bench), list[Time]()

    def toucher(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0)
        cpu.charge(500, "think")
        yield from cpu.sync()
        seen.extend((yield from mmu.hits(cpu, 0, 5000)))

    mmu.run_on(0, unmapper(mmu, 0))
    mmu.run_on(1, toucher, at=EARLY)
    bench.run()
    assert seen == [500, 550, 600, 650, 700, 750]
    assert mmu.judge() == [(at, 1, "stale") for at in seen]
    assert mmu.oracle.worst_stale == 750


def test_an_access_that_straddles_a_flush_is_delayed_by_it(mode: Mode) -> None:
    """straddle: a hit begins at 780, the flush comes at 800: the next look, at 930, misses."""
    bench = bench_of(mode, 2)
    mmu, seen = Mmu(bench), list[tuple[Time, bool]]()

    def toucher(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0)
        cpu.charge(780, "think")
        for _ in range(2):
            yield from cpu.look()
            seen.append((time_of(cpu), mmu.hit(cpu, 0)))

    mmu.run_on(0, unmapper(mmu, 0))
    mmu.run_on(1, toucher, at=EARLY)
    bench.run()
    assert seen == [(780, True), (930, False)]


def test_a_broadcast_bounds_the_hits(mode: Mode) -> None:
    """broadcast: TLBI is issued at 100 and lands after 150, interrupts take 800: the last hit is at 200.

    CPU 0 runs first and must not run past 150 by then; nothing is used after the promise at 250.
    """
    bench = bench_of(mode, 2, lookahead=150)
    mmu, seen = Mmu(bench, policy=TlbiShootdown, broadcast_flight=150), list[Time]()

    def toucher(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0)
        seen.extend((yield from mmu.hits(cpu, 0, 5000)))

    mmu.run_on(0, toucher, at=EARLY)
    mmu.run_on(1, unmapper(mmu, 0, reuse_after=0), at=100)
    bench.run()
    assert seen == [0, 50, 100, 150, 200]
    assert mmu.judge() == [(150, 0, "stale"), (200, 0, "stale")]
    assert (mmu.oracle.broken, mmu.counts.broadcasts) == (0, 1)


def test_the_lookahead_of_a_machine_knows_its_broadcasts(mode: Mode) -> None:
    """broadcast: a policy that lands in less than an interrupt takes shortens everybody's window."""
    switches = load_profile("coal").switches
    machine = load_machine("coal").with_overrides({"mmu.broadcast_flight": "150ns"})
    flights = {name: lookahead(machine, policy, switches) for name, policy in SHOOTDOWNS.items()}
    broadcasting = {name for name, policy in SHOOTDOWNS.items() if policy.uses_broadcast}
    assert broadcasting >= {"tlbi", "invlpgb"}
    by_interrupt = flights["linux"]
    assert by_interrupt > 150_000
    assert flights == {name: 150_000 if name in broadcasting else by_interrupt for name in SHOOTDOWNS}


@pytest.mark.parametrize(("at", "is_asked"), [(100, True), (299, True), (300, False)])
def test_a_processor_that_goes_idle_later_is_asked(mode: Mode, at: Time, is_asked: bool) -> None:
    """lazy_flag: CPU 0 comes to idle at 300 while now is 0; at 300 itself its id is the lower one."""
    bench = bench_of(mode, 2)
    mmu = Mmu(bench)

    def target(cpu: Cpu) -> Op[None]:
        for _ in range(6):
            yield from cpu.look()
            cpu.charge(50, "think")

    mmu.run_on(0, target)
    mmu.run_on(1, unmapper(mmu, 0), at=at)
    bench.run()
    assert mmu.loaded[0].is_lazy
    assert (mmu.counts.interrupts, mmu.counts.skipped_lazy) == ((1, 0) if is_asked else (0, 1))


@pytest.mark.parametrize("policy", [LinuxShootdown, ConcurrentShootdown])
def test_two_processors_flush_each_other(mode: Mode, policy: type[LinuxShootdown]) -> None:
    """mutual: both unmap, at 0, a page that the other uses: both end at 950, and no use is broken."""
    bench = bench_of(mode, 2)
    mmu, ended, split = Mmu(bench, policy=policy), dict[int, Time](), dict[int, dict[str, Time]]()

    def program(cpu: Cpu) -> Op[None]:
        mine = int(cpu.id)
        yield from mmu.fill(cpu, 0, 1)
        yield from mmu.flush(cpu, mmu.request(mine, mmu.unmap(cpu, mine)))
        ended[mine] = time_of(cpu)
        assert not mmu.hit(cpu, 1 - mine)

    def sample() -> None:
        split.update((cpu.id, split_at(cpu, cpu.env._now)) for cpu in bench.cpus)

    mmu.run_on(0, program, at=EARLY)
    mmu.run_on(1, program, at=EARLY)
    bench.at_barrier(951, sample)
    bench.run()
    assert ended == {0: 950, 1: 950}
    for parts in split.values():
        own = {cause: parts.get(cause, 0) for cause in (ENQUEUEING, WAIT, FLIGHT, REMOTE, ACKNOWLEDGING)}
        assert own[ENQUEUEING] == ENQUEUE
        assert sum(own.values()) == 850
        assert parts[HANDLING] == 100
    assert mmu.judge() == []


def test_requests_to_one_processor_share_an_interrupt(mode: Mode) -> None:
    """coalesce: a handler is busy until 500; flushes of 200 and 300 join it: one interrupt, 650 and 750."""
    bench = bench_of(mode, 3, lookahead=200 - ENQUEUE)
    mmu, ended = Mmu(bench, users=[0], flight=200), dict[int, Time]()

    def flusher(page: int) -> Program:
        def program(cpu: Cpu) -> Op[None]:
            yield from cpu.sync()
            yield from mmu.flush(cpu, mmu.request(page, mmu.unmap(cpu, page)))
            ended[page] = time_of(cpu)

        return program

    def target(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0, 1)
        yield from cpu.wait_until(START + 1000, "sleep")
        assert not mmu.hit(cpu, 0)
        assert not mmu.hit(cpu, 1)

    bench.ipi(200, 0, cost=300)
    mmu.run_on(0, target, at=EARLY)
    bench.run_on(1, flusher(0), at=200)
    bench.run_on(2, flusher(1), at=300)
    bench.run()
    assert ended == {0: 650, 1: 750}
    assert (mmu.counts.interrupts, mmu.counts.joined, mmu.policy.system.queues[0].interrupts) == (1, 1, 1)
    assert mmu.judge() == []


def test_a_target_that_is_woken_before_its_handler_starts_may_not_run_ahead(mode: Mode) -> None:
    """coalesce ahead of time: a flush starts at 320, the target wakes at 310, a flush joins at 315: 520."""
    bench = bench_of(mode, 3, lookahead=200 - ENQUEUE)
    mmu, seen = Mmu(bench, users=[0], flight=200), list[Time]()

    def target(cpu: Cpu) -> Op[None]:
        yield from cpu.wait_until(START + 310, "sleep")
        yield from cpu.look()
        seen.append(time_of(cpu))

    bench.ipi(290, 0, cost=30)
    mmu.run_on(0, target)
    bench.run_on(1, unmapper(mmu, 0), at=100)
    bench.run_on(2, unmapper(mmu, 1), at=315)
    bench.run()
    assert (mmu.counts.interrupts, mmu.counts.joined) == (1, 1)
    assert seen == [520]


# -- walks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("other", "at", "found"), [(0, 300, False), (0, 400, False), (2, 400, True)])
def test_a_walk_reads_the_table_at_its_time(mode: Mode, other: int, at: Time, found: bool) -> None:
    """walk_ahead: CPU 1 gets to its walk at 400 while now is 0; the page goes before, or at 400 by id."""
    bench = bench_of(mode, 3)
    mmu, seen = Mmu(bench), list[bool]()

    def walker(cpu: Cpu) -> Op[None]:
        for _ in range(8):
            yield from cpu.look()
            cpu.charge(50, "think")
        yield from cpu.sync()
        seen.append(mmu.walk(cpu, 0))

    mmu.run_on(1, walker)
    mmu.run_on(other, unmapper(mmu, 0), at=at)
    bench.run()
    assert seen == [found]


def test_a_walk_fills_at_the_instant_at_which_it_reads(mode: Mode) -> None:
    """late_fill: a walk of 1,500 from 0; the page goes at 100, the flush comes at 900 and finds the entry.

    The frame has a new owner at 1,060; the next use, at 1,600, misses and faults.
    """
    bench = bench_of(mode, 2)
    mmu, seen = Mmu(bench, walk=1500), list[object]()

    def walker(cpu: Cpu) -> Op[None]:
        assert mmu.walk(cpu, 0)
        yield from cpu.look()
        seen.append((time_of(cpu), mmu.hit(cpu, 0)))
        yield from cpu.sync()
        seen.append(mmu.walk(cpu, 0))

    def unmap(cpu: Cpu) -> Op[None]:
        yield from mmu.flush(cpu, mmu.request(0, mmu.unmap(cpu, 0)))
        cpu.charge(10, "think")
        assert (yield from mmu.reuse(cpu, 0)) == 1060

    mmu.run_on(0, walker)
    mmu.run_on(1, unmap, at=100)
    bench.run()
    assert seen == [(1600, False), False]
    assert mmu.judge() == []


def test_a_pointer_to_a_table_is_filled_at_that_instant_too(mode: Mode) -> None:
    """late_fill in paging-structure caches: the table goes during a walk of 1,500; the next one faults."""
    bench = bench_of(mode, 2)
    mmu, seen = Mmu(bench, walk=1500), list[bool]()

    def walker(cpu: Cpu) -> Op[None]:
        assert mmu.walk(cpu, 0)
        yield from cpu.sync()
        assert not mmu.units[cpu.id].structure_caches.leaf_pointers
        seen.append(mmu.walk(cpu, 1))

    def unmap(cpu: Cpu) -> Op[None]:
        dead = [one for page in range(PAGES) for one in mmu.unmap(cpu, page)]
        table = mmu.table.unlink(Vpn(0), 1)
        dead += mmu.context.end_table(table, Moment(cpu.clock, cpu.id, "unmap"), "flush of the test")
        assert len(dead) == 2
        yield from mmu.flush(cpu, mmu.request(0, dead, freed_tables=True))
        mmu.oracle.given_out(table, Moment(cpu.clock, cpu.id, "alloc"))

    mmu.run_on(0, walker)
    mmu.run_on(1, unmap, at=100)
    bench.run()
    assert seen == [False]
    assert mmu.judge() == []


# -- the oracle ------------------------------------------------------------------------------------


class PromisesEarly(ConcurrentShootdown):
    """Does not wait for the answers."""

    def wait_for(self, cpu: Cpu, shot: Shot[Cpu], site: str) -> Op[None]:
        yield from ()


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("bulk", [False, True])
def test_hits_ahead_of_time_are_judged_by_time(mode: Mode, reuse: bool, bulk: bool) -> None:
    """oracle_ahead: CPU 1 hits at 0, 50 .. 700 while now is 0; freed at 300, reused at 400: 7 violations.

    At 300 and 400 CPU 0 comes before CPU 1, so 300 is stale and 400 is broken; hits in
    bulk are judged one by one.
    """
    bench = bench_of(mode, 2)
    mmu = Mmu(bench, policy=PromisesEarly)

    def toucher(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0)
        if bulk:
            yield from touch_in_bulk(mmu, cpu, 15)
        else:
            assert (yield from mmu.hits(cpu, 0, 701)) == list(range(0, 701, HIT))
        yield from cpu.sync()
        assert time_of(cpu) == 750

    # enqueueing takes from 300 to 400, where the flush returns
    mmu.run_on(0, unmapper(mmu, 0, reuse_after=0 if reuse else -1), at=300)
    mmu.run_on(1, toucher, at=EARLY)
    bench.run()
    stale = [(at, 1, "stale") for at in (300, 350)]
    broken = [(at, 1, "reuse" if reuse else "promise") for at in range(400, 701, HIT)]
    assert mmu.judge() == stale + broken
    assert (mmu.oracle.stale, mmu.oracle.broken, mmu.oracle.checked) == (2, 7, 15)
    assert mmu.oracle.worst_stale == 50


def test_a_run_of_hits_is_not_judged_before_its_end(mode: Mode) -> None:
    """oracle_ahead in bulk, when there is much to judge: a run from 3,500 on, freed at 3,600: 7 violations.

    Seventy hits are not judged yet when the run begins at global time; those of the run
    itself lie ahead of it.
    """
    bench = bench_of(mode, 2)
    mmu = Mmu(bench, policy=PromisesEarly)

    def toucher(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0)
        assert len((yield from mmu.hits(cpu, 0, 3500))) == 70
        yield from cpu.sync()
        yield from touch_in_bulk(mmu, cpu, 11)

    mmu.run_on(0, unmapper(mmu, 0, reuse_after=0), at=3600)
    mmu.run_on(1, toucher, at=EARLY)
    bench.run()
    stale = [(at, 1, "stale") for at in (3600, 3650)]
    assert mmu.judge() == stale + [(at, 1, "reuse") for at in range(3700, 4001, HIT)]


def touch_in_bulk(mmu: Mmu, cpu: Cpu, count: int) -> Op[None]:
    """Use page 0 so often, as many times at once as the processor may run ahead."""
    unit, done = mmu.units[cpu.id], 0
    while done < count:
        yield from cpu.look()
        room = max(1, -(-(cpu.limit - cpu.clock) // HIT))
        part = [0] * min(room, count - done)
        unit.settle()
        assert unit.tlb.lookup_run(part, unit.asid) == len(part)
        unit.note_run(part, len(part), False, "touch")
        cpu.charge(len(part) * HIT, "touch")
        done += len(part)


def test_what_a_flush_comes_in_time_for_is_not_held_against_it(mode: Mode) -> None:
    """oracle_ahead, of a policy that waits: freed at 300, promised at 1,250: hits are stale, none broken."""
    bench = bench_of(mode, 2)
    mmu, seen = Mmu(bench), list[Time]()

    def toucher(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0)
        seen.extend((yield from mmu.hits(cpu, 0, 5000)))

    mmu.run_on(0, unmapper(mmu, 0, reuse_after=0), at=300)
    mmu.run_on(1, toucher, at=EARLY)
    bench.run()
    assert seen == list(range(0, 1100, HIT))
    assert mmu.judge() == [(at, 1, "stale") for at in range(300, 1100, HIT)]
    assert mmu.oracle.broken == 0


def test_a_use_by_a_lower_id_at_the_instant_of_the_death_is_fine(mode: Mode) -> None:
    """oracle_ahead at a tie: the pair (time, processor) decides: CPU 1 unmaps at 300, when CPU 0 hits."""
    bench = bench_of(mode, 2)
    mmu = Mmu(bench)

    def toucher(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0)
        yield from mmu.hits(cpu, 0, 351)

    mmu.run_on(0, toucher, at=EARLY)
    mmu.run_on(1, unmapper(mmu, 0), at=300)
    bench.run()
    assert mmu.judge() == [(350, 0, "stale")]


def test_loads_of_a_page_that_lost_the_right_to_write_are_fine(mode: Mode) -> None:
    """Only stores through the old entry are stale: stores at 300 and 400, a load at 350."""
    bench = bench_of(mode, 2)
    mmu = Mmu(bench)

    def toucher(cpu: Cpu) -> Op[None]:
        yield from mmu.fill(cpu, 0, write=True)
        cpu.charge(250, "think")
        for write in (True, True, False, True):
            yield from cpu.look()
            assert mmu.hit(cpu, 0, write=write)

    def protect(cpu: Cpu) -> Op[None]:
        moment = Moment(cpu.clock, cpu.id, "mprotect")
        mmu.context.end_translation(0, moment, "flush", lost_frame=False)
        yield from ()

    mmu.run_on(0, protect, at=300)
    mmu.run_on(1, toucher, at=EARLY)
    bench.run()
    assert mmu.judge() == [(300, 1, "stale"), (400, 1, "stale")]


# -- zeroing ---------------------------------------------------------------------------------------


def test_pages_are_zeroed_in_the_order_of_time(mode: Mode) -> None:
    """bandwidth: a page takes 400; CPU 0 clears one at 500 and is processed first; CPU 1's at 300 is."""
    bench = bench_of(mode, 2)
    frames, done = _user_frames(bench), dict[int, Time]()

    def zero_a_page(at: Time, pfn: int) -> Program:
        def program(cpu: Cpu) -> Op[None]:
            while time_of(cpu) < at:
                cpu.charge(50, "think")
                yield from cpu.look()
            yield from frames.zero(cpu, Pfn(pfn))
            yield from cpu.look()
            done[cpu.id] = time_of(cpu)

        return program

    bench.run_on(0, zero_a_page(500, 1000))
    bench.run_on(1, zero_a_page(300, 1001))
    bench.run()
    assert done == {1: 700, 0: 1100}


def _user_frames(bench: Bench) -> UserFrames:
    """Frames of one node whose memory clears a page in 400 ps; the core's own time is nothing."""
    profile, switches = load_profile("linux-6.0"), kernel_switches()
    machine = machine_from_synthetic("pack:1 numa:1(memory=64MB) core:1 pu:1")
    pages = System(
        SystemConfig(machine=machine, profile=profile, lock=QueuedLock, recorder=Histogram)
    ).memory.pages
    costs = kernel_costs()
    return UserFrames(
        pages,
        Ram(),
        costs,
        LruLists([], lambda _: 0, costs, switches, len(bench.cpus)),
        [Pipe("node 0", Fraction(PAGE_SIZE * 1000, 400))],
        warm_frames=1,
        oracle=None,
        num_cpus=len(bench.cpus),
    )
