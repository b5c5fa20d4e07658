"""Requests of every context against a machine that runs out of memory."""

import pytest
from pressure_bench import PressureBench, give_all, node, take_all

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.zone import LOW, Zone
from coalsim.units import Pfn

KERNEL, USER, ATOMIC, MUST, RESERVE = (
    AllocContext.KERNEL,
    AllocContext.USER,
    AllocContext.ATOMIC,
    AllocContext.MUST,
    AllocContext.RESERVE,
)


def zone_named(bench: PressureBench, name: str) -> Zone:
    """The first zone of that name."""
    return next(zone for zone in bench.pages.zones if zone.name == name)


@pytest.mark.parametrize("profile", ["linux-6.0", "coal"])
def test_each_context_stops_at_its_own_floor(profile: str) -> None:
    """KERNEL leaves min, ATOMIC three eighths of it, RESERVE nothing; the own list is used up first.

    A list is refilled by batches, so a batch less one may be taken beyond the floor.
    """
    bench = PressureBench(profile)
    zone = bench.pages.zones[0]
    left: list[int] = []

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        for context in (KERNEL, ATOMIC, RESERVE):
            yield from take_all(bench.pages, cpu, held, context=context)
            yield from cpu.sync()
            assert not bench.pages.listed_pages()
            left.append(zone.free.latest)
        yield from give_all(bench.pages, cpu, held)

    bench.thread(0, body)
    bench.run()
    least, batch = zone.marks.min, zone.rules.batch
    for found, context in zip(left, (KERNEL, ATOMIC), strict=False):
        assert context.floor(least) - batch < found <= context.floor(least)
    assert left[2] == 0


def test_a_process_takes_high_memory_first_and_the_kernel_never_does() -> None:
    """And a process goes on with Normal when High is at its floor."""
    bench = PressureBench(machine="core:1 pu:1", memory="900MiB", zones="low-normal-high")
    normal, high = zone_named(bench, "Normal"), zone_named(bench, "High")
    order: list[str] = []

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        for _ in range(high.frames + 2000):
            pfn = yield from bench.pages.alloc(cpu, 0, "user", context=USER)
            held.append(pfn)
            order.append(bench.pages.zone_of(pfn).name)
        kernel = yield from bench.pages.alloc(cpu, 0, "kernel")
        assert bench.pages.zone_of(kernel) is normal
        yield from give_all(bench.pages, cpu, [*held, kernel])

    bench.thread(0, body)
    bench.run()
    first_normal = order.index("Normal")
    assert set(order[:first_normal]) == {"High"}
    assert high.frames - first_normal <= high.marks.low + high.rules.batch
    assert order[-1] == "Normal"


@pytest.mark.slow
def test_a_shortage_of_the_kernels_zones_wakes_the_reclaimer_though_high_memory_is_free() -> None:
    """Only zones that the request may use count as balanced."""
    bench = PressureBench(machine="core:1 pu:1", memory="900MiB", zones="low-normal-high")

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        yield from take_all(bench.pages, cpu, held, context=ATOMIC)
        yield from give_all(bench.pages, cpu, held)

    bench.thread(0, body)
    bench.run()
    assert zone_named(bench, "High").free.latest > zone_named(bench, "High").marks.high
    assert bench.pressure.kswapds[node(0)].runs


def test_a_lower_zone_is_protected_from_requests_that_could_use_a_higher_one() -> None:
    """A process leaves a 32nd of High in Normal on top of the mark; the kernel's own requests do not."""
    bench = PressureBench(machine="core:1 pu:1", memory="1GiB", zones="low-normal-high")
    normal, high = zone_named(bench, "Normal"), zone_named(bench, "High")
    assert normal.mark(USER, LOW) - normal.marks.low == high.frames // 32
    assert normal.mark(KERNEL, LOW) == normal.marks.low


def test_nodes_are_tried_by_distance() -> None:
    """The own node down to its low mark, then the nearer of the others."""
    bench = PressureBench(machine="pack:2 numa:2 core:1 pu:1", memory="4MiB")
    machine = bench.system.machine
    nodes: list[int] = []

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        for _ in range(3500):
            pfn = yield from bench.pages.alloc(cpu, 0, "user", context=USER)
            held.append(pfn)
            nodes.append(bench.pages.zone_of(pfn).node)
        yield from give_all(bench.pages, cpu, held)

    bench.thread(2, body)
    bench.run()
    seen = list(dict.fromkeys(nodes))
    home = bench.system.cpus[2].node
    assert seen == list(machine.nodes_by_distance(home))[: len(seen)]
    assert len(seen) == 4


def test_the_reserve_is_touched_last_and_topped_up() -> None:
    """RESERVE and MUST take its frames when the zones have none; the reclaimer puts as many back."""
    bench = PressureBench(reserve_pages=16)
    reserve = bench.pages.reserve
    assert reserve is not None
    assert reserve.held == 16
    got: list[int] = []

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        yield from take_all(bench.pages, cpu, held, context=ATOMIC)
        assert reserve.taken == 0
        yield from take_all(bench.pages, cpu, held, context=RESERVE)
        yield from cpu.sync()
        got.extend((reserve.taken, reserve.held, bench.pages.zones[0].free.latest))
        yield from give_all(bench.pages, cpu, held)
        again = yield from bench.pages.alloc(cpu, 0, "again")
        yield from bench.pages.free(cpu, again, 0, "again")
        for _ in range(50):
            cpu.charge(1_000_000_000, "compute")
            yield from cpu.sync()

    def wakes(cpu: Cpu) -> Op[None]:
        cpu.charge(40_000_000_000, "compute")
        yield from cpu.sync()

    bench.thread(0, body)
    bench.thread(1, wakes)
    bench.run(check_every=250_000, checks=4000)
    assert bench.barriers > 100
    assert got == [16, 0, 0]
    assert reserve.taken == 16


def test_a_critical_request_uses_the_reserve_and_then_panics() -> None:
    """Nobody can be killed: there are no processes."""
    bench = PressureBench(reserve_pages=4)
    served: list[Pfn] = []

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        yield from take_all(bench.pages, cpu, held, context=KERNEL)
        while True:
            served.append((yield from bench.pages.alloc(cpu, 0, "critical", context=MUST)))

    bench.thread(0, body)
    with pytest.raises(KernelPanic, match="no killable processes") as panic:
        bench.run()
    assert len(served) == 4
    assert min(served) >= 0
    assert "gfp_mask=0x8cc0(GFP_KERNEL|__GFP_NOFAIL)" in str(panic.value)
    bench.count_frames()


def test_the_reserve_serves_a_kernel_that_does_not_reclaim() -> None:
    """Its zones are emptied to the last frame; then those who cannot fail have the reserve."""
    bench = PressureBench(reclaim="off", reserve_pages=4)
    got: dict[AllocContext, int] = {}

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        for context in (KERNEL, USER, ATOMIC, RESERVE, MUST):
            before = len(held)
            yield from take_all(bench.pages, cpu, held, context=context)
            got[context] = len(held) - before
        yield from give_all(bench.pages, cpu, held)

    bench.thread(0, body)
    bench.run()
    assert got[KERNEL] > 1000
    assert (got[USER], got[ATOMIC], got[RESERVE], got[MUST]) == (0, 0, 4, 0)


def test_blocks_beyond_order_3_fail_without_a_panic() -> None:
    """Nobody is killed for them."""
    bench = PressureBench()
    asked: list[int] = []

    def body(cpu: Cpu) -> Op[None]:
        held: list[Pfn] = []
        yield from take_all(bench.pages, cpu, held)
        asked.append((yield from bench.pages.alloc(cpu, 4, "large", context=USER)))
        yield from give_all(bench.pages, cpu, held)

    bench.thread(0, body)
    bench.run()
    assert asked == [-1]
