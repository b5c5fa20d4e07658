"""Task programs on a small machine, and everything that must hold when they are over."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from coalsim.boot import System, SystemConfig
from coalsim.engine.clock import Op
from coalsim.locks.queued import QueuedLock
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.shootdown.system import FlushCounts
from coalsim.mm.virt.counts import VmCounts
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.system import VirtualMemory
from coalsim.mm.virt.task import Body, Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import PAGE_SHIFT, CpuId, Time, Vpn

T = TypeVar("T")

PRESETS = ("coal", "icx2")
SMALL = "pack:2 numa:1 core:{} pu:1"

PLAIN = {"run_ahead": False, "fast_paths": False, "tick_events": True}
MODES: tuple[Mapping[str, bool], ...] = (
    PLAIN,
    {"run_ahead": False, "fast_paths": False, "tick_events": False},
    {"run_ahead": True, "fast_paths": False, "tick_events": False},
    {"run_ahead": False, "fast_paths": True, "tick_events": False},
    {"run_ahead": True, "fast_paths": True, "tick_events": False},
    {"run_ahead": True, "fast_paths": True, "tick_events": True},
)


class VmBench:
    """A system, programs for its tasks, and a run to the end of all.

    Args:
        profile: of the kernel.
        changes: of its switches and costs.
        machine: a preset's name, or a synthetic description of one.
        machine_changes: of the machine's values.
        mode: of the engine.
        policy: by which TLBs are flushed; None: the profile's own.
    """

    def __init__(
        self,
        profile: str = "coal",
        changes: Mapping[str, str] | None = None,
        *,
        machine: str = SMALL.format(2),
        machine_changes: Mapping[str, str] | None = None,
        mode: Mapping[str, bool] | None = None,
        policy: type[Shootdown] | None = None,
    ) -> None:
        kernel = load_profile(profile).with_overrides(changes or {})
        self.system = System(
            SystemConfig(
                machine=_machine(machine).with_overrides(machine_changes or {}),
                profile=kernel,
                lock=QueuedLock,
                recorder=Histogram,
                shootdown=policy or SHOOTDOWNS[kernel.switches.shootdown],
                **(mode or {}),
            )
        )
        self.vm: VirtualMemory = self.system.vm
        self.kernel = self.vm.kernel
        self.tasks: list[Task] = []
        self._taken_at_boot = self.system.memory.pages.taken_pages()

    @property
    def counts(self) -> VmCounts:
        """What faults and calls did."""
        return self.kernel.counts

    @property
    def flushes(self) -> FlushCounts:
        """What shootdowns did."""
        return self.vm.flush_counts

    def process(self, name: str = "one") -> Process:
        """A new process without an image, so that what its tasks do is all that there is."""
        return self.vm.new_bare_process(name)

    def start(self, process: Process, cpu: int, body: Body) -> Task:
        """A task of a process on a processor, from the beginning of the run."""
        task = self.vm.run_task(process, CpuId(cpu), f"{process.name}/{cpu}", body)
        self.tasks.append(task)
        return task

    def run(self, *bodies: Body) -> "VmBench":
        """One process: the first program on processor 0 and so on; run all, then check everything."""
        process = self.process()
        for cpu, body in enumerate(bodies):
            self.start(process, cpu, body)
        return self.finish()

    def finish(self) -> "VmBench":
        """Run what has been started, then check everything."""
        self.system.boot()
        self.system.run(self.system.finished)
        self.check()
        return self

    def check(self) -> None:
        """What holds whenever all processes have ended."""
        system, vm, kernel = self.system, self.vm, self.kernel
        assert all(process.is_over for process in vm.processes)
        vm.judge_all()
        vm.validate()
        system.memory.validate()
        if kernel.oracle is not None:
            assert kernel.oracle.broken == 0, [one.describe() for one in kernel.oracle.findings()]
        cached = kernel.cache.by_frame.values()  # files stay
        assert not any(page.mapped or page.pins or page.is_locked for page in cached)
        assert not any(file.mappers for file in kernel.cache.files)
        assert kernel.frames.taken == len(cached)
        assert not kernel.frames.shares
        assert not kernel.frames.shared_memory
        if not system.switches.refcache_delay:
            assert system.memory.pages.taken_pages() == self._taken_at_boot + len(cached)
        for process in vm.processes:
            assert process.space.is_dead
            assert not process.space.context.mask
            assert not process.space.context.gathers
            assert not process.space.counts.resident
            assert not any(process.space.rss.total_by_kind)
        assert kernel.counts.tables_made == kernel.counts.tables_freed
        for kind in kernel.operations.kinds.values():
            assert sum(kind.by_cause.values()) == kind.latencies.total, kind.name
        for cpu in system.cpus:
            accounted = cpu.wait_began + cpu.stolen if cpu.waiting else cpu.clock
            assert sum(cpu.spent.values()) == accounted, f"CPU {cpu.id}"


def run(body: Body, profile: str = "coal", changes: Mapping[str, str] | None = None) -> VmBench:
    """One task of one process, and everything checked."""
    return VmBench(profile, changes).run(body)


def _machine(name: str) -> Machine:
    return machine_from_synthetic(name) if ":" in name else load_machine(name)


# -- looking at a task's memory --------------------------------------------------------------


def vpn_of(address: int) -> Vpn:
    """The page of an address."""
    return Vpn(address >> PAGE_SHIFT)


def entry_of(task: Task, address: int) -> int:
    """What the page tables say of a page."""
    return task.process.space.tables.lookup(vpn_of(address))


def maps(task: Task) -> list[tuple[int, int, str]]:
    """The task's areas: first page, number of pages, rights."""
    return [(area.first, area.pages, str(area.rights)) for area in task.process.space.areas]


def at(task: Task, time: Time) -> Op[None]:
    """Wait, in user code that hits nothing, until a time of the run."""
    yield from task.cpu.sync()
    yield from task.cpu.wait_until(time, "user")
    yield from task.cpu.sync()


def timed(task: Task, call: Op[T]) -> Callable[[], Op[tuple[T, Time]]]:
    """A call and how long it takes."""

    def measured() -> Op[tuple[T, Time]]:
        yield from task.cpu.sync()
        began = task.cpu.clock
        result = yield from call
        yield from task.cpu.sync()
        return result, task.cpu.clock - began

    return measured
