"""A load on address spaces, run to its end; then everything that must hold is checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from coalsim.boot import System, SystemConfig
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.virt.counts import VmCounts
from coalsim.observe.document import ResultDocument, dump
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.loads import WORKLOADS
from coalsim.study.measuring import measure
from coalsim.topology.presets import load_machine
from coalsim.workloads.base import Workload

EXEC_PAGES = 2
"""What exec writes: the top of the stack and a page of data."""


@dataclass
class Finished:
    """A system whose load has ended, and the result document."""

    system: System
    document: ResultDocument

    @property
    def counts(self) -> VmCounts:
        """What faults and calls did."""
        return self.system.vm.kernel.counts

    @property
    def ops(self) -> int:
        """Operations that the load counted."""
        return self.document["throughput"]["ops"]

    def calls(self, name: str) -> int:
        """How often the kernel was entered for a call."""
        return self.system.vm.kernel.operations.kind(name).latencies.count

    @property
    def faults(self) -> int:
        """Faults of the programs, without those of exec."""
        return self.counts.faults - EXEC_PAGES * self.calls("exec")

    @property
    def anonymous(self) -> int:
        """Frames that the programs got, without those of exec."""
        return self.counts.anonymous - EXEC_PAGES * self.calls("exec")

    @property
    def zapped(self) -> int:
        """Pages that the programs unmapped, without those of exec, which go at the exit."""
        return self.counts.pages_zapped - EXEC_PAGES * self.calls("exec")

    @property
    def flushes(self) -> int:
        """Calls that flushed, without exits."""
        return self.system.vm.flush_counts.flushes - self.calls("exit")

    def count_of(self, phase: str) -> int:
        """Operations of a phase."""
        return self.document["phases"][phase]["latency_ns"]["count"]

    @property
    def text(self) -> str:
        """Everything that may not differ between the engine's modes."""
        return dump({key: value for key, value in self.document.items() if key not in ("host_s", "events")})

    def check(self) -> None:
        """Nobody lives, nothing is left, and no promise was broken."""
        vm = self.system.vm
        assert vm.processes
        assert all(process.is_over and process.space.is_dead for process in vm.processes)
        assert not [task.signal for process in vm.processes for task in process.tasks if task.signal]
        assert vm.kernel.frames.taken == len(vm.kernel.cache.by_frame)  # files stay
        assert self.counts.tables_made == self.counts.tables_freed
        assert self.system.meter.failed == 0
        assert vm.kernel.oracle is not None
        assert vm.kernel.oracle.broken == 0, [one.describe() for one in vm.kernel.oracle.findings()]
        self.system.memory.validate()


def load_of(kind: str, parameters: Mapping[str, object]) -> Workload:
    """A fresh load from the keys of a study's [workload] table."""
    load: Workload = WORKLOADS[kind].model_validate(dict(parameters)).build()  # type: ignore[attr-defined]
    return load


def run_to_end(
    kind: str,
    parameters: Mapping[str, object],
    *,
    machine: str = "coal",
    machine_changes: Mapping[str, str] | None = None,
    profile: str = "linux-6.18",
    switches: Mapping[str, str] | None = None,
    mode: Mapping[str, bool] | None = None,
) -> Finished:
    """Run a load that ends by itself, and check what must hold then."""
    chosen = load_profile(profile).with_overrides(switches or {})
    system = System(
        SystemConfig(
            machine=load_machine(machine).with_overrides(machine_changes or {}),
            profile=chosen,
            lock=QueuedSpinLock,
            shootdown=SHOOTDOWNS[chosen.switches.shootdown],
            recorder=Histogram,
            **(mode or {}),
        )
    )
    load = load_of(kind, parameters)
    load.start(system)
    system.boot()
    finished = Finished(system, measure(system, load, kind, 0, 0))
    finished.check()
    return finished


Runner = Callable[..., Finished]


@pytest.fixture
def run_load() -> Runner:
    """Run a load by kind and parameters until all its tasks have ended."""
    return run_to_end
