"""Loads that find no room: refused before the run, and told where only the run can show it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.engine.laws import Law
from coalsim.errors import ConfigError
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.mm.virt.area import READ_WRITE
from coalsim.mm.virt.task import Task
from coalsim.observe.document import ResultDocument
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.measuring import measure
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine
from coalsim.units import MS, PAGE_SIZE, US, CpuId, NodeId
from coalsim.workloads.base import CpuMeter, VirtualHost, Workload
from coalsim.workloads.scale.malloc1 import Malloc1
from coalsim.workloads.scale.mmap1 import Mmap1
from coalsim.workloads.scale.page_fault1 import PageFault1
from coalsim.workloads.scale.tlb_flush2 import TlbFlush2
from coalsim.workloads.vm.flush_range import FlushRange
from coalsim.workloads.vm.fork_cow import ForkCow
from coalsim.workloads.vm.gc_mprotect import GcMprotect
from coalsim.workloads.vm.madvise_shootdown import MadviseShootdown
from coalsim.workloads.vm.mapbench import BASE
from coalsim.workloads.vm.mmap_touch_munmap import MmapTouchMunmap
from coalsim.workloads.vm.munmap_shared import LEAF_SPAN, MunmapShared
from coalsim.workloads.vm.page_table_placement import PageTablePlacement
from coalsim.workloads.vm.pft import Pft
from coalsim.workloads.vm.radixvm_pipeline import RadixvmPipeline
from coalsim.workloads.vm.room import mappable
from coalsim.workloads.vm.team import Loop, Team

Runner = Callable[..., Any]


def system_of(machine: Machine | None = None, **switches: str) -> System:
    """A small machine under Linux."""
    return System(
        SystemConfig(
            machine=machine or load_machine("coal"),
            profile=load_profile("linux-6.18").with_overrides(switches),
            lock=QueuedSpinLock,
            recorder=Histogram,
        )
    )


def run_on(system: System, load: Workload, warmup: int = 0) -> ResultDocument:
    """The load, to its end."""
    load.start(system)
    system.boot()
    return measure(system, load, "room", warmup, 0)


def all_ended(system: System) -> bool:
    """No task waits for ever, and none got a signal."""
    processes = system.vm.processes
    return all(process.is_over for process in processes) and not system.vm.kernel.counts.signals


# -- before the run


@pytest.mark.parametrize("guard", ["1", "256"])
@pytest.mark.parametrize("geometry", ["x86-32", "pae", "x86-64", "x86-64-5"])
def test_the_room_of_a_new_process_is_what_mmap_finds_there(geometry: str, guard: str) -> None:
    """One mapping of all of it succeeds where one of a page more has failed."""
    system = system_of(geometry=geometry, stack_guard_pages=guard)
    room, found = mappable(system), list[int]()

    def program(task: Task) -> Op[None]:
        for pages in (len(room) + 1, len(room)):
            found.append((yield from task.mmap(pages * PAGE_SIZE)))

    @dataclass(frozen=True)
    class Program:
        endless, headline = False, ""

        def start(self, host: VirtualHost) -> None:
            host.vm.run_task(host.vm.new_process("program"), CpuId(0), "program", program)

        def results(self) -> dict[str, object]:
            return {}

    run_on(system, Program())
    refused, whole = found
    assert refused < 0
    assert whole == room.start * PAGE_SIZE


@pytest.mark.parametrize(
    ("kind", "parameters", "key"),
    [
        ("gc_mprotect", {"pages": 3072, "regions": 256, "rounds": 1}, "pages = 3072"),
        ("pft", {"mib": 3000}, "mib = 3000"),
        ("page_fault1", {"mib": 1000, "cpus": 3, "mode": "threads", "rounds": 1}, "mib = 1000"),
        ("mmap1", {"mib": 1000, "cpus": 3, "mode": "threads", "rounds": 1}, "mib = 1000"),
        ("malloc1", {"mib": 1000, "cpus": 3, "mode": "threads", "rounds": 1}, "mib = 1000"),
        (
            "mmap_touch_munmap",
            {"pages": 256_000, "cpus": 3, "mode": "threads", "rounds": 1},
            "pages = 256000",
        ),
        (
            "flush_range",
            {"pages": 200_000, "others": 200_000, "cpus": 2, "mode": "threads", "rounds": 1},
            "pages = 200000",
        ),
        (
            "page_table_placement",
            {"working_set": "4MiB", "stride": 1024, "rounds": 1},
            "working_set = 4194304",
        ),
        ("radixvm_pipeline", {"pages": 4, "cpus": 4, "rounds": 3}, "apart = 268435456"),
        ("radixvm_local", {"pages": 1024, "cpus": 4, "rounds": 3}, "pages = 1024"),
        ("radixvm_global", {"pages": 180_000, "cpus": 4, "rounds": 3}, "pages = 180000"),
    ],
)
def test_more_than_the_addresses_of_a_process_is_refused(
    run_load: Runner, kind: str, parameters: dict[str, object], key: str
) -> None:
    """3 GiB, on a machine with the memory for it: with key, value, the limit and a remedy."""
    limit = r"(more than a process has room for|the last region would end at) .*x86-32 page tables"
    remedy = "use less, fewer CPUs, or a kernel.geometry with more addresses"
    with pytest.raises(ConfigError, match=f"workload.{key}: .*{limit}.*{remedy}"):
        run_load(kind, parameters, switches={"geometry": "x86-32"})


@pytest.mark.parametrize("load", [ForkCow, MunmapShared])
def test_one_area_that_no_process_has_room_for_is_refused(load: type[ForkCow | MunmapShared]) -> None:
    """By the page, and before any process is made."""
    system = system_of(geometry="x86-32")
    team = Team(cpus=2, mode="threads", rounds=1)
    with pytest.raises(ConfigError, match=r"room for with x86-32 page tables \(2.871 GiB\)"):
        load(team=team, pages=len(mappable(system)) + 1).start(system)
    assert not system.vm.processes
    load(team=team, pages=len(mappable(system))).start(system)


def test_processes_have_addresses_of_their_own(run_load: Runner) -> None:
    """What three threads have no room for, three processes have."""
    ran = run_load("mmap1", {"mib": 1000, "cpus": 3, "rounds": 2}, switches={"geometry": "x86-32"})
    assert ran.ops == 6


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize(("kind", "pages"), [("radixvm_pipeline", 1), ("radixvm_local", 256)])
def test_the_regions_that_fit_are_all_used(run_load: Runner, kind: str, pages: int) -> None:
    """Eleven, 256 MiB apart, fit below the stack of x86-32; the twelfth thread has nowhere to go."""

    def run(cpus: int) -> Any:
        return run_load(
            kind,
            {"cpus": cpus, "pages": pages, "rounds": 3},
            machine="hsx2",
            machine_changes={"memory": "256MiB"},
            switches={"geometry": "x86-32"},
        )

    assert run(11).calls("munmap") == 33
    with pytest.raises(
        ConfigError, match=r"the last region would end at 0xc0[01]0[01]000.* end at 0xb8000000"
    ):
        run(12)


def test_nodes_without_cpus_are_not_proposed_for_the_loader() -> None:
    """The remedy lists those that can be asked for."""
    coal = load_machine("coal")
    lame = replace(coal, cpus=tuple(replace(place, node=NodeId(0)) for place in coal.cpus))
    load = PageTablePlacement(team=Team(cpus=1, mode="threads", rounds=1), data_node=1)
    with pytest.raises(ConfigError, match=r"data_node = 1: .* no such node with CPUs; use 0$"):
        load.start(system_of(lame))


# -- in the run


@dataclass(frozen=True, kw_only=True)
class Crowded(Team):
    """A team whose tasks first map all addresses that are left."""

    def start(self, host: VirtualHost, name: str, loop: Loop, phase: str = "") -> None:
        """As always, but for that."""

        def crowded(task: Task, meter: CpuMeter) -> Op[None]:
            for shift in range(56, 11, -1):
                while (yield from task.mmap(1 << shift, name="crowd")) >= 0:
                    pass
            yield from loop(task, meter)

        super().start(host, name, crowded, phase)


THREADS = Crowded(cpus=3, mode="threads", rounds=2)
PROCESSES = Crowded(cpus=3, mode="processes", rounds=2)


@pytest.mark.parametrize(
    ("load", "cpus"),
    [
        (lambda: GcMprotect(team=THREADS, think=Law(kind="const", mean=US)), "0"),
        (lambda: MunmapShared(team=THREADS), "0"),
        (lambda: MunmapShared(team=THREADS, barrier="spin", call="madvise"), "0"),
        (lambda: MadviseShootdown(team=THREADS), "0"),
        (lambda: Pft(team=THREADS, mib=1), "0, 1, 2"),
        (lambda: Pft(team=THREADS, mib=1, areas="own"), "0, 1, 2"),
        (lambda: Pft(team=PROCESSES, mib=1), "0, 1, 2"),
        (lambda: FlushRange(team=PROCESSES), "0, 1, 2"),
        (lambda: MmapTouchMunmap(team=THREADS), "0, 1, 2"),
        (lambda: PageFault1(team=THREADS, mib=1), "0, 1, 2"),
        (lambda: Mmap1(team=THREADS), "0, 1, 2"),
        (lambda: Malloc1(team=PROCESSES), "0, 1, 2"),
        (lambda: TlbFlush2(team=THREADS), "0, 1, 2"),
    ],
)
def test_tasks_that_find_no_room_end_and_are_told(load: Callable[[], Workload], cpus: str) -> None:
    """No address is made of the error, and nobody waits for them."""
    system = system_of()
    result = run_on(system, load())
    assert f"no room for a mapping: the load's task ended early on CPU {cpus}" in result["warnings"]
    assert all_ended(system)
    assert "pft" not in result


def test_a_warm_up_does_not_hide_that_tasks_have_ended() -> None:
    """The meters begin anew behind it; the warning stays."""
    system = system_of()

    def bystander(task: Task) -> Op[None]:
        yield from task.compute(2 * MS)

    system.vm.run_task(system.vm.new_process("bystander"), CpuId(3), "bystander", bystander)
    result = run_on(system, Mmap1(team=THREADS), warmup=MS)
    assert system.meter.failed == 0
    assert "no room for a mapping: the load's task ended early on CPU 0, 1, 2" in result["warnings"]


@dataclass(frozen=True, kw_only=True)
class Late(Team):
    """A team whose threads on even CPUs come when the others already wait."""

    def start(self, host: VirtualHost, name: str, loop: Loop, phase: str = "") -> None:
        """They work on something else before."""

        def late(task: Task, meter: CpuMeter) -> Op[None]:
            yield from task.compute(0 if task.cpu.id % 2 else 100 * US * (1 + task.cpu.id))
            yield from loop(task, meter)

        super().start(host, name, late, phase)


def test_one_thread_that_finds_no_room_stops_the_whole_pipeline() -> None:
    """Every second region begins within a page; who waits for it to be filled is not left at its bell."""
    system = system_of()
    team = Late(cpus=4, mode="threads", rounds=3)
    result = run_on(system, RadixvmPipeline(team=team, apart=LEAF_SPAN + PAGE_SIZE // 2))
    assert "no room for a mapping: the load's task ended early on CPU 0" in result["warnings"]
    assert all_ended(system)


@dataclass(frozen=True, kw_only=True)
class Beside(Team):
    """A team whose first task has a page where munmap_shared would put the neighbour of its area."""

    at: int

    def start(self, host: VirtualHost, name: str, loop: Loop, phase: str = "") -> None:
        """The page is written before the load and compared behind it."""

        def kept(task: Task, meter: CpuMeter) -> Op[None]:
            if task.cpu.id:
                yield from loop(task, meter)
                return
            assert (yield from task.mmap(PAGE_SIZE, address=self.at, rights=READ_WRITE)) == self.at
            yield from task.store(self.at, b"mine")
            yield from loop(task, meter)
            assert (yield from task.load(self.at, 4)) == b"mine"

        super().start(host, name, kept, phase)


def test_what_lies_beside_the_shared_pages_is_not_replaced() -> None:
    """A page there keeps the table as the load's own neighbour would."""
    system = system_of(geometry="x86-32")
    at = mappable(system).stop * PAGE_SIZE - LEAF_SPAN
    assert at > BASE
    load = MunmapShared(team=Beside(cpus=2, mode="threads", rounds=4, at=at), pages=3)
    result = run_on(system, load)
    assert all_ended(system)
    assert result["throughput"]["ops"] == 4
    assert system.vm.kernel.operations.kind("mmap").latencies.count == 1 + 4
