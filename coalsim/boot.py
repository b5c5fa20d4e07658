"""Boot: builds a running system from its configuration, in reading order.

    machine -> engine -> processors -> locks -> memory manager -> meter [-> virtual memory]

Virtual memory (`boot_vm.py`) is built when a load first asks for it.

A `System` is what workloads see as their host.  It also knows when a run is over and
finds systems in which nothing can happen any more.
"""

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from simpy.events import Event

from coalsim.boot_injection import inject
from coalsim.boot_leak_scan import build_leak_scan
from coalsim.boot_pressure import PressureParts, build_pressure, set_reserve_aside
from coalsim.boot_reach import interrupt_latency, lookahead, vcpus_of
from coalsim.boot_room import check_room
from coalsim.boot_stuck import who_is_stuck
from coalsim.boot_vm import VmParts, build_vm
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.cpus.virtual import VirtualCpu
from coalsim.engine.accounts import split_at
from coalsim.engine.clock import Engine, Op
from coalsim.engine.collector import seldom_collecting
from coalsim.engine.probes import Probes
from coalsim.engine.streams import Streams
from coalsim.errors import ConfigError, DeadlockError, Problem
from coalsim.injection import Injection
from coalsim.locks.base import Lock, LockSetup, SpinLock
from coalsim.locks.delayed import delayed
from coalsim.locks.lockdep import LockClass
from coalsim.locks.mutex import Mutex
from coalsim.locks.registry import make_lock
from coalsim.locks.rwsem import RwSemaphore
from coalsim.locks.sped import LockSpeeds, sped
from coalsim.mm.kmem.magazine_types import MagazineTypes
from coalsim.mm.manager import MemoryManager
from coalsim.mm.phys.allocator import FrameAllocator
from coalsim.mm.phys.placement import Placement
from coalsim.mm.reclaim.file_lru import FileLru
from coalsim.mm.reclaim.slow_path import SlowPath
from coalsim.mm.reclaim.victim_rules import Badness, VictimRule
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.linux import LinuxShootdown
from coalsim.mm.virt.system import VirtualMemory
from coalsim.profiles.profile import KernelProfile
from coalsim.topology.machine import Machine
from coalsim.units import CpuId, Time
from coalsim.workloads.base import Meter, Recorder

RANK_LOAD = 10
"""Locks that a load makes for itself are taken before any of the allocator's."""


@dataclass(frozen=True, kw_only=True)
class SystemConfig:
    """Everything that a system is built from.

    `lock` is the policy of the kernel's spinlocks, `load_lock` that of locks which a load
    takes for their own sake (the same, unless it sleeps).  `magazine_types` replaces the published
    table and the kernel's threshold, `placement` and `allocator` what the profile names.
    """

    machine: Machine
    profile: KernelProfile
    lock: type[SpinLock]
    load_lock: type[Lock] | None = None
    recorder: Callable[[], Recorder]
    seed: int = 1
    run_ahead: bool = True
    fast_paths: bool = True
    tick_events: bool = False
    magazine_types: MagazineTypes | None = None
    placement: type[Placement] | None = None
    allocator: type[FrameAllocator] | None = None
    victim: type[VictimRule] = Badness
    shootdown: type[Shootdown] = LinuxShootdown
    injection: Callable[[], Injection] = Injection
    lock_speeds: Mapping[str, Fraction] = field(default_factory=dict)


class System:
    """A machine that runs a kernel and a load."""

    def __init__(self, config: SystemConfig) -> None:
        self.config = config
        machine = self.machine = config.machine
        switches = self.switches = config.profile.switches
        self.costs = config.profile.costs(machine.clock_ghz.value)
        self.streams = Streams(config.seed)
        self.injection = config.injection()
        self.vcpus = vcpus_of(machine, self.streams, self.injection)
        self.env = Engine(
            lookahead=lookahead(machine, config.shootdown, switches),
            run_ahead=config.run_ahead and not config.lock_speeds,  # holders are played charge by charge
            # the host may interrupt a computed section
            fast_paths=config.fast_paths and self.vcpus is None and not config.lock_speeds,
            tick_events=config.tick_events,
        )
        self.probes = Probes()
        kind = Cpu if self.vcpus is None else VirtualCpu
        self._cpu_kind = sped(kind, LockSpeeds(config.lock_speeds)) if config.lock_speeds else kind
        self.cpus = [self._new_cpu(CpuId(number)) for number in range(machine.num_cpus)]
        self._wake_latency = max(1, interrupt_latency(machine))
        self._setup = LockSetup(
            taking=self.costs.lock_uncontended,
            releasing=self.costs.lock_release,
            pause=max(1, self.costs.pause),
            wake_up=self.costs.wake_up,
            wake_latency=self._wake_latency,
            tas_winner=switches.tas_winner,
            streams=self.streams,
            cpus=self.cpus,
            probes=self.probes,
        )
        self._lock_classes: dict[str, LockClass] = {}
        self._instances: dict[str, int] = {}
        self.memory = MemoryManager(
            machine,
            self.cpus,
            switches,
            self.costs,
            self.make_ranked_lock,
            config.magazine_types,
            config.placement,
            config.allocator,
        )
        inject(self.injection, self.memory, self.env, self.streams)
        self.meter = Meter(machine.num_cpus, config.recorder)
        self._threads: list[list[Thread]] = [[] for _ in self.cpus]
        self._running = 0
        self._vm: VirtualMemory | None = None
        self.kernel_log: list[tuple[Time, str]] = []
        self.pressure = self._build_pressure() if switches.reclaim or switches.reserve_pages else None
        self.kmemleak = build_leak_scan(self.memory, self.cpus, switches, self.costs, self._wake_latency)
        self.finished = Event(self.env)
        self.env.stuck = self._stuck
        if switches.debug_guard_pages:
            _ = self.vm  # guard pages are holes in page tables

    def _build_pressure(self) -> SlowPath | None:
        """What happens when memory runs short."""
        parts = PressureParts(
            machine=self.machine,
            cpus=self.cpus,
            switches=self.switches,
            costs=self.costs,
            memory=self.memory,
            make_spinlock=self.make_ranked_lock,
            make_mutex=self._make_mutex,
            processes=lambda: () if self._vm is None else self._vm.processes,
            wake_latency=self._wake_latency,
            say=lambda at, text: self.kernel_log.append((at, text)),
            victim=self.config.victim,
        )
        set_reserve_aside(parts)
        return build_pressure(parts) if self.switches.reclaim else None

    def _make_mutex(self, class_name: str, rank: int, name: str) -> Lock:
        return make_lock(Mutex, self._class_of(Mutex, class_name, rank), name, self._setup)

    def _new_cpu(self, cpu: CpuId) -> Cpu:
        machine, period = self.machine, self.switches.tick_period
        transfer, occupancy = machine.transfer_row(cpu), machine.occupancy_row(cpu)
        new = self._cpu_kind(
            self.env,
            cpu,
            node=machine.node_of(cpu),
            transfer=transfer,
            # one row for both, where they are equal: a large machine has many, and the host's cache is small
            occupancy=transfer if occupancy == transfer else occupancy,
            tick_period=period,
            tick_cost=self.costs.tick,
            # Ticks are spread over the period, so that they do not all hit one instant.
            first_tick=period + period * cpu // machine.num_cpus,
            switch_cost=self.costs.context_switch,
            slice_ticks=self.switches.time_slice_ticks,
        )
        if self.vcpus is not None and isinstance(new, VirtualCpu):
            new.run_by(self.vcpus)
        return new

    # -- locks

    def make_ranked_lock(self, class_name: str, rank: int, name: str) -> SpinLock:
        """A spinlock of the kernel's policy; all of one class share rank and statistics."""
        policy = delayed(self.config.lock, class_name, self.injection.lock_delays)
        lock = make_lock(policy, self._class_of(self.config.lock, class_name, rank), name, self._setup)
        assert isinstance(lock, SpinLock)
        return lock

    def make_lock(self, class_name: str, name: str) -> Lock:
        """A lock for loads that measure locks themselves."""
        policy = self.config.load_lock or self.config.lock
        slow = delayed(policy, class_name, self.injection.lock_delays)
        return make_lock(slow, self._class_of(policy, class_name, RANK_LOAD), name, self._setup)

    def _class_of(self, policy: type[Lock], class_name: str, rank: int) -> LockClass:
        lock_class = self._lock_classes.get(class_name)
        if lock_class is None:
            lock_class = self._lock_classes[class_name] = policy.make_class(class_name, rank)
        self._instances[class_name] = self._instances.get(class_name, 0) + 1
        return lock_class

    @property
    def instances_of_class(self) -> dict[str, int]:
        """How many locks each class has."""
        return self._instances

    @property
    def lock_classes(self) -> list[LockClass]:
        """All lock classes, by name."""
        return [self._lock_classes[name] for name in sorted(self._lock_classes)]

    def make_rwsem(self, class_name: str, rank: int, name: str) -> RwSemaphore:
        """A reader-writer semaphore of the kernel's own."""
        policy = delayed(RwSemaphore, class_name, self.injection.lock_delays)
        lock = make_lock(policy, self._class_of(RwSemaphore, class_name, rank), name, self._setup)
        assert isinstance(lock, RwSemaphore)
        return lock

    @property
    def vm(self) -> VirtualMemory:
        """Virtual memory, built at the first call, which has to come before the run."""
        if self._vm is None:
            self._vm = build_vm(
                VmParts(
                    env=self.env,
                    machine=self.machine,
                    cpus=self.cpus,
                    switches=self.switches,
                    costs=self.costs,
                    memory=self.memory,
                    make_spinlock=self.make_ranked_lock,
                    make_rwsem=self.make_rwsem,
                    make_mutex=self._make_mutex,
                    recorder=self.config.recorder,
                    policy=self.config.shootdown,
                    new_thread=self._new_thread,
                    put_thread=lambda cpu, thread: self._threads[cpu].append(thread),
                    wake_latency=self._wake_latency,
                    vcpus=self.vcpus,
                    ipi_delays=self.injection.ipi_delays,
                    streams=self.streams,
                )
            )
            if self.pressure is not None:
                self.pressure.add_shrinker(FileLru(self._vm.kernel))
            if self.pressure is not None and self._vm.kernel.policy.is_lazy:
                self.pressure.flush_lazily_freed = self._vm.kernel.policy.drain
        return self._vm

    @property
    def has_vm(self) -> bool:
        """A load has used virtual memory."""
        return self._vm is not None

    # -- threads

    def _new_thread(self, name: str, body: Op[None]) -> Thread:
        """A thread that counts for the end of the run."""
        self._running += 1
        return Thread(name, body, self._thread_ended)

    def run_thread(self, cpu: CpuId, name: str, body: Op[None]) -> None:
        """Put a thread on a processor, before the run.

        Raises:
            ConfigError: the machine has no such processor.
        """
        if not 0 <= cpu < len(self.cpus):
            raise ConfigError(
                [
                    Problem(
                        key="workload.cpus",
                        value=str(cpu + 1),
                        message=f"machine {self.machine.name} has {len(self.cpus)} CPUs",
                        remedy=f"use at most {len(self.cpus)}, or a larger machine",
                    )
                ]
            )
        if self.memory.stacks is not None:
            body = self.memory.stacks.around(self.cpus[cpu], name, body)
        self._threads[cpu].append(self._new_thread(name, body))

    def _thread_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self.finished.succeed()

    def when_finished(self, action: Callable[[], None]) -> None:
        """Call `action` when all threads have ended, before anything that happens later."""
        self.finished.callbacks.append(lambda _: action())

    # -- running

    def reset_counters(self) -> None:
        """Forget what was counted, at the end of the warm-up; what is under way will count."""
        self.meter.reset()
        self.memory.reset_counters()
        if self._vm is not None:
            self._vm.reset_counters()
        if self.pressure is not None:
            self.pressure.reset()
        for cpu in self.cpus:
            cpu.lock_waits[:] = array("q", (0, 0, 0, 0))
        for lock_class in self.lock_classes:
            lock_class.reset()

    def boot(self) -> None:
        """Start the processors and the periodic work of the kernel.

        Raises:
            ConfigError: the machine has less memory than its tasks need to begin.
        """
        check_room(self.memory, self._threads, self.machine)
        for cpu, threads in zip(self.cpus, self._threads, strict=True):
            cpu.start(threads)
        period = self.switches.magazine_update
        if period and self.switches.slab == "magazines":
            self._repeat(period, period, lambda _: self.memory.update_magazines())
        if self.kmemleak is not None:
            self._repeat(self.switches.kmemleak_first, self.switches.kmemleak_scan, self.kmemleak.wake)

    def _repeat(self, at: Time, period: Time, work: Callable[[Time], None]) -> None:
        """Work of the kernel at a fixed time, and every period from then on, at barriers."""

        def due() -> None:
            if stuck := self._stuck():  # or this, which never ends, would hide it
                raise DeadlockError(stuck)
            work(at)
            self._repeat(at + period, period, work)

        self.env.declare_barrier(at, due)

    def run(self, until: Event) -> None:
        """Run until the event has been served.

        Raises:
            DeadlockError: nothing can happen any more, or somebody waits for what nobody will do.
        """
        with seldom_collecting():
            ended = self.env.run_to(until)
        if not ended:
            raise DeadlockError(self._stuck() or "nothing can happen any more")
        if stuck := self._stuck():
            raise DeadlockError(stuck)

    def _stuck(self) -> str:
        """Who can never go on; empty if everybody can."""
        return who_is_stuck(self.cpus, self._threads, self.env)

    def time_by_cause(self, at: Time) -> list[dict[str, Time]]:
        """Each processor's time from 0 to the barrier at `at`, cause to ps."""
        return [split_at(cpu, at) for cpu in self.cpus]
