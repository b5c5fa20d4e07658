"""Where all memory is: exact by owner, zone and node, and nothing is ever lost."""

import random
from collections import Counter

import pytest
from live_memory import KERNELS, live_system, play

from coalsim.boot import System
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.stats import IN_HANDS, PARTS, Statistics, dump_allocations, memory_stats
from coalsim.mm.virt.task import Task
from coalsim.study.memory_outcome import books_of, statistics
from coalsim.study.vmstat import allocated, event_counters, numa_counters
from coalsim.units import NS, CpuId, Pfn, Time

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)

CPUS = (0, 1, 20)  # two of node 0, one of node 1


def churn(system: System, cpu: Cpu, seed: int, steps: int) -> Op[None]:
    """Objects and blocks of all sizes come and go; a part of them stays."""
    draw, memory = random.Random(seed), system.memory
    objects: list[int] = []
    blocks: list[tuple[Pfn, int]] = []
    for _ in range(steps):
        what = draw.randrange(5)
        if what < 2:
            if address := (yield from memory.kmalloc(cpu, draw.choice((16, 200, 4000, 20_000)), "test")):
                objects.append(address)
        elif what == 2:
            order = draw.choice((0, 0, 1, 3, 5))
            pfn = yield from memory.alloc_pages(cpu, order, "test")
            if pfn >= 0:
                blocks.append((pfn, order))
        elif what == 3 and objects:
            yield from memory.kfree(cpu, objects.pop(draw.randrange(len(objects))), "test")
        elif blocks:
            pfn, order = blocks.pop(draw.randrange(len(blocks)))
            yield from memory.free_pages(cpu, pfn, order, "test")


def churned(kernel: str, every: Time = 400 * NS, mode: dict[str, bool] | None = None) -> tuple[System, int]:
    """Three processors churn; all is counted at many barriers on the way."""
    system = live_system(kernel, mode=mode)
    counted = 0

    def count() -> None:
        nonlocal counted
        statistics(system)
        counted += 1

    for number in range(1, 300):
        system.env.declare_barrier(number * every, count)
    for number in CPUS:
        cpu = system.cpus[number]
        system.run_thread(CpuId(number), "churn", churn(system, cpu, number, 150))
    play(system)
    return system, counted


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_frame_is_lost_at_any_barrier(kernel: str) -> None:
    """Both frame sources and the three slab layers, while blocks are on their way everywhere."""
    system, counted = churned(kernel)

    found = statistics(system)
    assert counted > 20
    assert found.machine.slab > 0
    assert found.machine.kernel > 0
    assert found.machine.user == found.machine.page_tables == found.machine.cache == 0
    assert found.machine.moving == 0, "at rest nothing is on its way"
    assert found.machine.total == sum(zone.frames for zone in system.memory.zones)


def test_the_plain_paths_count_the_same() -> None:
    """By events alone, at the same barriers."""
    quick, _ = churned("magazines")
    plain, _ = churned("magazines", mode={"run_ahead": False, "fast_paths": False})

    assert statistics(quick) == statistics(plain)


def test_zones_add_up_to_nodes_and_nodes_to_the_machine() -> None:
    """Part by part."""
    system, _ = churned("slub")
    found = statistics(system)

    assert [zone.zone for zone in found.zones] == ["DMA", "DMA32", "DMA32"]
    for part in (*PARTS, "total", "used"):
        zones = Counter[int]()
        for zone in found.zones:
            zones[zone.node] += getattr(zone.stats, part)
        assert {node: getattr(stats, part) for node, stats in found.nodes.items()} == dict(zones)
        assert getattr(found.machine, part) == sum(zones.values())


def test_bytes_say_the_same_as_frames() -> None:
    """Total is free, on lists, used and taken before; and used is its parts."""
    system, _ = churned("sheaves")
    sizes = statistics(system).machine.in_bytes()

    assert sizes["total"] == sizes["free"] + sizes["percpu"] + sizes["outside"] + sizes["used"]
    assert sizes["used"] == sum(sizes[part] for part in (*IN_HANDS, "reserve", "moving"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_was_allocated_and_not_freed_is_what_is_taken(kernel: str) -> None:
    """pgalloc less pgfree, by zone and in all; pgalloc by zone is numa_hit and numa_miss by node."""
    system, _ = churned(kernel)
    pages, counters = system.memory.pages, event_counters(system)
    by_node = Counter[int]()
    for zone in pages.zones:
        by_node[zone.node] += allocated(pages, zone)

    for node, got in by_node.items():
        counts = numa_counters(pages, node, interleaves=False)
        assert got == counts["numa_hit"] + counts["numa_miss"] == counts["numa_local"] + counts["numa_other"]
    assert sum(by_node.values()) - counters["pgfree"] == pages.taken_pages()


def test_a_dump_has_every_block_once_with_its_owner() -> None:
    """Their pages add up to what the statistics say, owner by owner."""
    system, _ = churned("slub")
    books = books_of(system.memory)
    dump = list(dump_allocations(books))

    by_owner = Counter[str]()
    for block in dump:
        by_owner[block.owner] += 1 << block.order
    stats = memory_stats(books).machine
    assert by_owner == +Counter({part: getattr(stats, part) for part in IN_HANDS})
    assert [block.pfn for block in dump] == sorted({block.pfn for block in dump})
    assert {int(block.cpu) for block in dump} == set(CPUS)
    assert all(block.what.startswith("kmalloc-") == (block.owner == "slab") for block in dump)


def test_a_block_of_two_frames_shows_where_it_was_taken() -> None:
    """Order, processor, node and zone of one block, alone in the machine."""
    system = live_system("magazines")

    def program(cpu: Cpu) -> Op[None]:
        yield from system.memory.alloc_pages(cpu, 1, "test")

    system.run_thread(CpuId(20), "test", program(system.cpus[20]))
    play(system)

    (block,) = dump_allocations(books_of(system.memory))
    assert (block.order, block.cpu, block.node, block.zone, block.owner) == (1, 20, 1, "Normal", "kernel")


def of_processes(profile_kernel: str, pages: int) -> tuple[Statistics, Statistics, int]:
    """A bare process writes some pages: what is held meanwhile, and after its end; tables it had."""
    system = live_system(profile_kernel)
    process = system.vm.new_bare_process("test")
    held: list[Statistics] = []
    tables: list[int] = []

    def body(task: Task) -> Op[None]:
        address = yield from task.mmap(pages << 12)
        for page in range(pages):
            yield from task.store(address + (page << 12), b"x")
        yield from task.cpu.sync()
        held.append(statistics(system))
        tables.append(process.space.tables.num_tables)

    before = statistics(system).machine.page_tables
    system.vm.run_task(process, CpuId(20), "test", body)
    play(system)
    return held[0], statistics(system), tables[0] + before


@pytest.mark.parametrize("kernel", ["magazines", "slub", "slub over bitmap"])
def test_pages_of_a_process_are_its_own_on_its_node(kernel: str) -> None:
    """So many as were written, where the processor is; and its tables are tables, the kernel's too."""
    held, after, tables = of_processes(kernel, 37)

    assert held.nodes[1].user == held.machine.user == 37  # type: ignore[index]
    assert held.machine.page_tables == tables
    assert after.machine.user == 0
    assert after.machine.page_tables < held.machine.page_tables


def test_a_frame_that_nobody_has_is_noticed_with_its_zone() -> None:
    """The statistics do not count what is left as somebody's."""
    system, _ = churned("slub")
    lost = system.memory.zones[2].source.take(0, system.cpus[0])

    assert lost[0] >= 0
    with pytest.raises(AssertionError, match="node 1, zone DMA32: frames were lost or made"):
        statistics(system)
