"""Kernels with guard pages, and programs on them."""

from collections.abc import Callable, Mapping

from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.queued import QueuedLock
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import CpuId


def guarded(
    geometry: str,
    memory: str = "64MiB",
    mode: Mapping[str, bool] | None = None,
    switches: Mapping[str, str] | None = None,
) -> System:
    """A system with guard pages that nothing runs on yet."""
    chosen = {"hz": "0", "geometry": geometry, "debug_guard_pages": "on", **(switches or {})}
    return System(
        SystemConfig(
            machine=load_machine("bdx2").with_overrides({"memory": memory}),
            profile=load_profile("coal").with_overrides(chosen),
            lock=QueuedLock,
            recorder=Histogram,
            **(mode or {}),
        )
    )


def run_program(system: System, *programs: Callable[[Cpu], Op[None]]) -> None:
    """Run the first on CPU 0 and so on, to the end of all."""
    for number, program in enumerate(programs):
        system.run_thread(CpuId(number), f"test {number}", program(system.cpus[number]))
    system.boot()
    end = Event(system.env)
    system.when_finished(lambda: system.env.stop(end))
    system.run(end)
