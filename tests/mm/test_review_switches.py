"""What single switches of a kernel profile change."""

import pytest
from live_memory import play

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import ConfigError
from coalsim.locks.mcs import McsLock
from coalsim.mm.kmem.geometry import slub_geometry
from coalsim.mm.kmem.slub import FREE_SPILL, SlubCache, cpu_partial_objects
from coalsim.mm.phys.pagelist import page_list
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.memory_outcome import memory
from coalsim.topology.presets import load_machine
from coalsim.units import US
from coalsim.workloads.base import Rendezvous

pytestmark = pytest.mark.fast_one_in(3, in_turn=True)


def system_with(profile: str, machine: str = "bdx2", **switches: str) -> System:
    """A profile with switches changed."""
    return System(
        SystemConfig(
            machine=load_machine(machine),
            profile=load_profile(profile).with_overrides({"hz": "0", **switches}),
            lock=McsLock,
            recorder=Histogram,
        )
    )


@pytest.mark.parametrize(("tolerated", "resizes"), [("0", True), ("1_000_000", False)])
def test_magazines_grow_when_more_tries_failed_than_are_tolerated(tolerated: str, resizes: bool) -> None:
    """The threshold is that of the kernel, not of the table of sizes."""
    slow = {"cost.depot_section": "5us", "magazine_update": "200us"}
    system = system_with("coal", magazine_threshold=tolerated, **slow)
    manager, gate = system.memory, Rendezvous(16)

    def program(cpu: Cpu) -> Op[None]:
        for _ in range(4):
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
    assert bool(row["resizes"]) == resizes


@pytest.mark.parametrize(("scale_max", "most"), [("0", 1), ("2", 4), ("5", 32)])
def test_refills_double_up_to_the_cap(scale_max: str, most: int) -> None:
    """In units of the batch, with no free in between and room on the list."""
    system = system_with("linux-6.7", pcp_scale_max=scale_max)
    rules = system.memory.zones[-1].rules
    pages = page_list(rules)
    pages.high = rules.high_max
    assert max(pages.refill_amount(0) for _ in range(10)) == most * rules.batch


def test_partial_slabs_of_old_kernels_are_limited_by_free_objects() -> None:
    """Up to 5.15: 30, 13, 6 or 2 free objects, as they were when the slabs came; then all spill."""
    assert [cpu_partial_objects(slub_geometry(size, 4)) for size in (64, 256, 1024, 4096)] == [30, 13, 6, 2]
    cache = SlubCache("any", slub_geometry(256, 4), {}, [0, 0], "objects")
    per_slab = cache.geometry.objects
    slabs: list[list[int]] = []
    for number in range(16):
        cache.add_slab(0, number << cache.geometry.order, 0)
        slabs.append([cache.alloc(0)[0] or 0 for _ in range(per_slab)])
    cache.validate()
    levels = [cache.free(1, objects[0])[0] for objects in slabs[:15]]
    cache.validate()
    assert [number for number, level in enumerate(levels) if level == FREE_SPILL] == [14]
    for address in slabs[0][1:]:
        cache.free(1, address)  # onto the node's list: counts no more
    # a CPU that takes from the node stops once it has more than half of the limit
    cpu = cache.cpus[0]
    _, _, moved = cache.alloc(0)
    assert (moved, len(cpu.partial)) == (2, 1) or sum(cpu.kept) <= cache.cpu_partial // 2
    cache.validate()


@pytest.mark.parametrize(
    ("profile", "switch", "lock"),
    [
        ("linux-6.0", "list_lock_irqsave", "n->list_lock"),
        ("linux-6.0", "zone_irqsave", "zone->lock"),
        ("coal", "zone_irqsave", "zone->lock"),
        ("coal", "depot_irqsave", "depot->lock"),
        ("coal", "slab_irqsave", "kmem_cache->lock"),
        ("linux-6.18", "barn_irqsave", "barn->lock"),
    ],
)
@pytest.mark.parametrize("off", [True, False])
def test_each_lock_is_taken_with_interrupts_as_the_kernel_says(
    profile: str, switch: str, lock: str, off: bool
) -> None:
    """Interrupts are off in its sections, and so are they nowhere if the switch is off."""
    slab = {"slab": "sheaves"} if switch == "barn_irqsave" else {}
    system = system_with(profile, **{switch: str(off).lower()}, **slab)
    manager = system.memory

    def program(cpu: Cpu) -> Op[None]:
        taken: list[int] = []
        for _ in range(600):
            one = yield from manager.kmalloc(cpu, 1024, "take")
            taken.append(one)
        for address in taken:
            yield from manager.kfree(cpu, address, "give")
        assert not cpu.irq_depth

    play(system, program)
    (found,) = (each for each in system.lock_classes if each.name == lock)
    assert found.stat.row().acquisitions
    assert bool(found.taken_irqs_off_at) == off


@pytest.mark.parametrize(
    ("placement", "nodes", "expected"),
    [("bind", "1", (0, 8)), ("preferred", "1", (0, 8)), ("interleave", "1,0", (4, 4)), ("bind", "", (8, 0))],
)
def test_placement_keeps_to_the_nodes_that_the_kernel_names(
    placement: str, nodes: str, expected: tuple[int, int]
) -> None:
    """Eight pages for a processor of node 0."""
    system = system_with("coal", placement=placement, placement_nodes=nodes)
    manager = system.memory
    got = [0, 0]

    def program(cpu: Cpu) -> Op[None]:
        for _ in range(8):
            pfn = yield from manager.alloc_pages(cpu, 0, "take")
            got[manager.pages.zone_of(pfn).node] += 1

    play(system, program)
    assert tuple(got) == expected


def test_nodes_that_the_machine_has_not_are_refused_with_their_key() -> None:
    """The name of the policy and both nodes, at once."""
    with pytest.raises(ConfigError) as caught:
        system_with("coal", placement="nearest", placement_nodes="2,1,7")
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["kernel.placement", "kernel.placement_nodes", "kernel.placement_nodes"]


def test_a_block_without_a_list_pays_for_none() -> None:
    """Order 5 has no list: its price has neither the list's lock nor its push and pop."""
    system = system_with("linux-6.0", zones="one")
    manager, costs = system.memory, system.costs
    spent: dict[str, int] = {}

    def program(cpu: Cpu) -> Op[None]:
        pfn = yield from manager.alloc_pages(cpu, 5, "take")
        yield from manager.free_pages(cpu, pfn, 5, "give")
        yield from cpu.sync()
        spent.update(cpu.spent)

    play(system, program)
    ready = costs.page_prep + 31 * costs.page_prep_tail_cold
    assert spent["page alloc"] == costs.page_alloc_entry + costs.watermark_test + ready
    assert spent["page free"] == costs.page_free_entry + costs.free_checks + 31 * costs.free_checks_tail


def test_the_first_free_from_afar_moves_the_slabs_descriptor() -> None:
    """It was last written by the processor that made the slab."""
    system = system_with("linux-6.0")
    manager, gate, taken = system.memory, Rendezvous(2), list[int]()

    def taker(cpu: Cpu) -> Op[None]:
        for _ in range(64):
            one = yield from manager.kmalloc(cpu, 256, "take")
            taken.append(one)
        yield from gate.meet(cpu)
        cpu.charge(100 * US, "user")
        yield from cpu.sync()

    moved: list[int] = []

    def freer(cpu: Cpu) -> Op[None]:
        yield from gate.meet(cpu)
        yield from manager.kfree(cpu, taken[0], "give")
        yield from cpu.sync()
        moved.append(cpu.spent["line:slab descriptor"])
        moved.append(cpu.transfer[0])

    play(system, taker, freer)
    assert moved[0] >= moved[1]
