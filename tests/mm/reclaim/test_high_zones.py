"""Reclaim for requests that cannot use every zone: pages in a High zone are of no help to the kernel."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "virt"))

from vm_bench import VmBench

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.zone import Zone
from coalsim.mm.reclaim.file_lru import FileLru
from coalsim.mm.reclaim.shrinker import CLUSTER
from coalsim.mm.reclaim.slow_path import SlowPath
from coalsim.mm.virt.file_io import read
from coalsim.mm.virt.task import Task
from coalsim.units import MS, PAGE_SIZE, CpuId, NodeId, Pfn

NODE = NodeId(0)
KERNEL, USER, ATOMIC = AllocContext.KERNEL, AllocContext.USER, AllocContext.ATOMIC
PAGES = 40

Blocks = list[tuple[Pfn, int]]


def high_bench() -> VmBench:
    """16 MiB in a High zone, below it what x86-32 maps directly."""
    return VmBench(
        "linux-6.18",
        {"reclaim": "on", "zones": "low-normal-high", "geometry": "x86-32"},
        machine="pack:1 numa:1 core:2 pu:1",
        machine_changes={"memory": "912MiB"},
    )


def zone_of(bench: VmBench, name: str) -> Zone:
    """A zone by its name."""
    return next(zone for zone in bench.system.memory.pages.zones if zone.name == name)


def pressure_of(bench: VmBench) -> SlowPath:
    """Its slow path."""
    assert bench.system.pressure is not None
    return bench.system.pressure


def read_once(task: Task, file: File) -> Op[None]:
    """All of a file into memory, as if nobody had used it."""
    yield from task.read(file, 0, file.pages * PAGE_SIZE)
    yield from task.cpu.sync()
    for page in file.pages_in.values():
        page.referenced = False


def give_blocks(bench: VmBench, cpu: Cpu, blocks: Blocks) -> Op[None]:
    """Blocks of any order go back."""
    for pfn, order in blocks:
        yield from bench.system.memory.pages.free(cpu, pfn, order, "test")


def test_a_request_of_the_kernel_gets_pages_of_its_own_zones_only() -> None:
    """The list has pages of High, older, and of Normal: the first are looked past, at a price, and stay."""
    bench = high_bench()
    first, second = (bench.kernel.cache.new_file(name, PAGES) for name in ("first", "second"))
    high = zone_of(bench, "High")

    def program(task: Task) -> Op[None]:
        cpu, cache, pages = task.cpu, bench.kernel.cache, bench.system.memory.pages
        lru, blocks = FileLru(bench.kernel), Blocks()
        yield from read_once(task, first)
        for order in (5, 0):
            is_high = True
            while is_high:
                pfn = yield from pages.alloc(cpu, order, "test", context=USER)
                blocks.append((pfn, order))
                is_high = pages.zone_of(pfn) is high
        yield from read_once(task, second)
        in_high = [
            page for file in (first, second) for page in file.pages_in.values() if page.pfn >= high.first
        ]
        below = 2 * PAGES - len(in_high)
        assert len(in_high) >= PAGES
        assert below > CLUSTER
        assert lru.reclaimable(NODE, KERNEL) == below
        assert lru.reclaimable(NODE, USER) == 2 * PAGES
        before, scanned = cpu.clock, cache.counts.pgscan_direct
        assert (yield from lru.shrink(cpu, NODE, 2 * PAGES, 0, "test", KERNEL)) == below
        yield from cpu.sync()
        assert cpu.clock - before > len(in_high) * bench.kernel.costs.isolate_page
        assert cache.counts.pgscan_direct - scanned >= below + PAGES
        assert [page for page in cache.by_frame.values() if page in in_high] == in_high
        assert not lru.reclaimable(NODE, KERNEL)
        assert (yield from lru.shrink(cpu, NODE, 2 * PAGES, 0, "test", KERNEL)) == 0
        for page in in_high:
            page.referenced = False
        assert (yield from lru.shrink(cpu, NODE, 2 * PAGES, 0, "test", USER)) == len(in_high)
        yield from give_blocks(bench, cpu, blocks)

    bench.run(program)


def test_the_cache_in_high_memory_survives_a_shortage_of_normal_memory() -> None:
    """The kernel wants a page, and Normal has none: nothing of High is thrown out, and the request ends."""
    bench = high_bench()
    file = bench.kernel.cache.new_file("data", 300)
    result: list[Pfn] = []

    def driver(cpu: Cpu) -> Op[None]:
        pages, blocks = bench.system.memory.pages, Blocks()
        yield from read(bench.kernel, cpu, file, 0, 300 * PAGE_SIZE)
        for order in range(10, -1, -1):
            while (pfn := (yield from pages.alloc(cpu, order, "driver", context=ATOMIC))) >= 0:
                blocks.append((pfn, order))
        result.append((yield from pages.alloc(cpu, 0, "wants one")))
        cpu.charge(50 * MS, "compute")
        yield from cpu.sync()
        yield from give_blocks(bench, cpu, blocks)

    bench.system.run_thread(CpuId(0), "driver", driver(bench.system.cpus[0]))
    bench.finish()
    assert result == [-1]
    assert len(file.pages_in) == 300
    assert not bench.kernel.cache.counts.pgscan_kswapd
    assert pressure_of(bench).counts.allocstall < 4
    assert pressure_of(bench).kswapds[NODE].serves(KERNEL)
