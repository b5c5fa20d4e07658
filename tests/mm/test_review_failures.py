"""Where memory is short, missing or asked for in a wrong way."""

import pytest
from live_memory import KERNELS, live_system, play

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelBug
from coalsim.locks.mcs import McsLock
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.memory_outcome import memory
from coalsim.topology.presets import load_machine
from coalsim.units import NodeId, Pfn
from coalsim.workloads.base import Rendezvous

pytestmark = pytest.mark.fast_one_in(2, in_turn=True)


def system_with(profile: str, machine: dict[str, str], **switches: str) -> System:
    """The two-node default machine, changed."""
    return System(
        SystemConfig(
            machine=load_machine("coal").with_overrides(machine),
            profile=load_profile(profile).with_overrides({"hz": "0", **switches}),
            lock=McsLock,
            recorder=Histogram,
        )
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [0, -8, -5000])
def test_no_bytes_are_refused_by_both_verbs(kernel: str, size: int) -> None:
    """The verb that never waits leaves a wrong size to the one that names the culprit."""
    system = live_system(kernel)
    manager = system.memory

    def program(cpu: Cpu) -> Op[None]:
        warm = yield from manager.kmalloc(cpu, 8, "warm")
        yield from manager.kfree(cpu, warm, "warm")
        large = yield from manager.kmalloc(cpu, 2048, "warm")
        yield from manager.kfree(cpu, large, "warm")
        assert not manager.kmalloc_now(cpu, size)
        yield from manager.kmalloc(cpu, size, "wrong")

    with pytest.raises(KernelBug, match="at wrong on CPU 0"):
        play(system, program)


@pytest.mark.parametrize("profile", ["coal", "linux-6.0"])
@pytest.mark.parametrize("empty", [0, 1])
@pytest.mark.parametrize("depot", ["cache", "node"])
def test_processors_of_a_node_without_memory_use_the_nearest(profile: str, empty: int, depot: str) -> None:
    """Pages and objects come from the other node, and count as wanted there."""
    machine = load_machine("coal")
    system = system_with(profile, {f"node.{empty}.memory": "0"}, magazine_depot=depot)
    manager = system.memory
    (cpu_id, *_) = machine.cpus_of_node(NodeId(empty))

    def program(cpu: Cpu) -> Op[None]:
        pages: list[Pfn] = []
        for order in (0, 0, 4):
            one = yield from manager.alloc_pages(cpu, order, "take")
            pages.append(one)
        assert all(manager.pages.zone_of(pfn).node == 1 - empty for pfn in pages)
        assert (yield from manager.alloc_pages(cpu, 0, "take", NodeId(empty))) == -1
        address = yield from manager.kmalloc(cpu, 100, "take")
        assert address
        yield from manager.kfree(cpu, address, "give")
        for pfn, order in zip(pages, (0, 0, 4), strict=True):
            yield from manager.free_pages(cpu, pfn, order, "give")

    system.run_thread(cpu_id, "test", program(system.cpus[cpu_id]))
    system.boot()
    system.run(system.finished)
    rows = memory(manager)["numa"]
    assert [row["numa_miss"] for row in rows] == [0, 0]
    assert rows[1 - empty]["numa_hit"]


def test_a_depot_per_node_falls_back_to_the_memory_of_the_other() -> None:
    """Its slabs come from its own node while that has memory, and from the next one after that."""
    system = live_system("magazines per node", memory="2MiB")
    manager = system.memory
    nodes = len(system.machine.nodes)

    def program(cpu: Cpu) -> Op[None]:
        taken: list[int] = []
        while address := (yield from manager.kmalloc(cpu, 2048, "take")):
            taken.append(address)
        assert len(taken) == nodes * 2 * 512
        for address in taken:
            yield from manager.kfree(cpu, address, "give")
        manager.validate()
        yield from manager.drain_cpu(cpu, "end")
        yield from manager.drain_shared(cpu, "end")

    play(system, program)
    assert not manager.pages.taken_pages()
    manager.validate()


def test_a_barn_may_get_one_sheaf_too_many() -> None:
    """CPUs that saw room at one time all give their full sheaf: as in Linux, the limit is not strict."""
    system = live_system("sheaves")
    manager, gate = system.memory, Rendezvous(8)

    def program(cpu: Cpu) -> Op[None]:
        taken: list[int] = []
        for _ in range(60 * 9):
            one = yield from manager.kmalloc(cpu, 64, "take")
            taken.append(one)
        for address in taken:
            yield from gate.meet(cpu)
            yield from manager.kfree(cpu, address, "give")
        yield from gate.meet(cpu)
        manager.validate()

    play(system, *([program] * 8))


def test_an_empty_zone_is_passed_by_without_its_lock() -> None:
    """Once a zone is known to be empty, requests go on to the next without queueing for it."""
    system = live_system("magazines", memory="2MiB")
    manager = system.memory
    first, second, *_ = manager.zones

    def program(cpu: Cpu) -> Op[None]:
        for _ in range(first.frames + 40):
            assert (yield from manager.alloc_pages(cpu, 0, "take")) >= 0
        visits = first.lock.stat.row().acquisitions
        for _ in range(100):
            pfn = yield from manager.alloc_pages(cpu, 0, "take")
            assert manager.pages.zone_of(pfn) is second
        assert first.lock.stat.row().acquisitions == visits

    play(system, program)
