"""Kernel threads and tasks on a machine that is short of memory, and the count of its frames."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.queued import QueuedLock
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.reclaim.slow_path import SlowPath
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.task import Body, Task
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import CpuId, NodeId, Pfn, Time

MODES: tuple[Mapping[str, bool], ...] = (
    {},
    {"run_ahead": False},
    {"fast_paths": False},
    {"tick_events": True},
    {"run_ahead": False, "fast_paths": False, "tick_events": True},
)
"""The engine's modes, the usual one first: all have to give the same."""

KernelThread = Callable[[Cpu], Op[None]]


class PressureBench:
    """A system whose kernel reclaims.

    Args:
        profile: of the kernel.
        machine: a synthetic description.
        memory: of each node.
        mode: of the engine.
        switches: changed ones of the kernel.
    """

    def __init__(
        self,
        profile: str = "linux-6.18",
        *,
        machine: str = "pack:1 core:2 pu:1",
        memory: str = "8MiB",
        mode: Mapping[str, bool] | None = None,
        **switches: object,
    ) -> None:
        changes = {"reclaim": "on", "oom_reaper_delay": "0"} | {
            key: str(value) for key, value in switches.items()
        }
        modes = mode or {}
        self.system = System(
            SystemConfig(
                machine=load_machine(machine).with_overrides({"memory": memory}),
                profile=load_profile(profile).with_overrides(changes),
                lock=QueuedLock,
                recorder=Histogram,
                run_ahead=modes.get("run_ahead", True),
                fast_paths=modes.get("fast_paths", True),
                tick_events=modes.get("tick_events", False),
            )
        )
        self.barriers = 0

    @property
    def pages(self) -> PageAllocator:
        """The page allocator."""
        return self.system.memory.pages

    @property
    def pressure(self) -> SlowPath:
        """The slow path and what belongs to it."""
        pressure = self.system.pressure
        assert pressure is not None
        return pressure

    # -- what runs --------------------------------------------------------------------------

    def thread(self, cpu: int, body: KernelThread) -> None:
        """A kernel thread."""
        self.system.run_thread(CpuId(cpu), f"thread/{cpu}", body(self.system.cpus[cpu]))

    def task(self, process: Process, cpu: int, body: Body) -> Task:
        """A task of a process."""
        return self.system.vm.run_task(process, CpuId(cpu), f"{process.name}/{cpu}", body)

    def process(self, name: str, adjustment: int = 0) -> Process:
        """A process without an image."""
        process = self.system.vm.new_bare_process(name)
        process.oom_score_adj = adjustment
        return process

    def run(self, *, check_every: Time = 0, checks: int = 0) -> "PressureBench":
        """To the end of all threads; the frames are counted at so many barriers before, and at the end."""

        def check() -> None:
            self.barriers += 1
            self.count_frames()

        for number in range(1, checks + 1):
            self.system.env.declare_barrier(number * check_every, check)
        self.system.boot()
        self.system.run(self.system.finished)
        self.count_frames()
        return self

    # -- what must hold ---------------------------------------------------------------------

    def count_frames(self) -> None:
        """Every frame is in one place: free, listed, taken, moving, never handed out, or in the reserve."""
        pages = self.pages
        free = sum(zone.source.free_frames + zone.source.unheld_frames() for zone in pages.zones)
        reserve = 0 if pages.reserve is None else len(pages.reserve.frames())
        held = pages.listed_pages() + pages.taken_pages() + pages.moving_pages() + reserve
        assert free + held == sum(zone.frames for zone in pages.zones)

    def outcome(self) -> object:
        """All that the modes have to agree on."""
        system, pages = self.system, self.pages
        lists = [
            [
                (at, mine.allocs, mine.frees, mine.refills, mine.pages.heads())
                for at, mine in own.lists.items()
            ]
            for own in pages.own
        ]
        return (
            system.env._now,
            [
                {cause: time for cause, time in sorted(causes.items()) if time}
                for causes in system.time_by_cause(system.env._now)
            ],
            [(zone.free.latest, zone.source.free_blocks()) for zone in pages.zones],
            [cache.statistics() for cache in system.memory.objects.caches],
            lists,
            system.kernel_log,
        )


def take_all(pages: PageAllocator, cpu: Cpu, held: list[Pfn], **how: object) -> Op[None]:
    """Take frames until there are none for this context; they go to `held`."""
    while (pfn := (yield from pages.alloc(cpu, 0, "take_all", **how))) >= 0:  # type: ignore[arg-type]
        held.append(pfn)


def give_all(pages: PageAllocator, cpu: Cpu, held: Sequence[Pfn]) -> Op[None]:
    """Give frames back."""
    for pfn in held:
        yield from pages.free(cpu, pfn, 0, "give_all")


def waited_for(bench: PressureBench) -> None:
    """No victim was chosen before the one before it had gone or lost its memory."""
    ends = {process.pid: process for process in bench.system.vm.processes}
    for before, after in pairwise(bench.pressure.oom.kills):
        assert ends[before.pid].is_over or ends[before.pid].is_spent
        assert before.at < after.at


def node(number: int) -> NodeId:
    """A node."""
    return NodeId(number)
