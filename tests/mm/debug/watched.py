"""Systems whose kernel looks for memory errors, and programs that make some."""

from collections.abc import Callable, Mapping

from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.queued import QueuedLock
from coalsim.mm.debug.report import Finding
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import CpuId

ZONES = {"debug_redzone": "on"}
POISON = {"debug_poison": "on"}
BOTH = {**ZONES, **POISON}
GUARDS = {"debug_guard_pages": "on"}
Program = Callable[[System, Cpu], Op[None]]


def watched(
    switches: Mapping[str, str],
    *programs: Program,
    profile: str = "linux-6.18",
    mode: Mapping[str, bool] | None = None,
    memory: str = "64MiB",
) -> System:
    """Run programs, the first on CPU 0 and so on, to the end of all."""
    system = System(
        SystemConfig(
            machine=load_machine("bdx2").with_overrides({"memory": memory}),
            profile=load_profile(profile).with_overrides({"hz": "0", **switches}),
            lock=QueuedLock,
            recorder=Histogram,
            **(mode or {}),
        )
    )
    for number, program in enumerate(programs):
        system.run_thread(CpuId(number), "test", program(system, system.cpus[number]))
    system.boot()
    end = Event(system.env)
    system.when_finished(lambda: system.env.stop(end))
    system.run(end)
    return system


def findings(system: System, *, at_the_end: bool = True) -> list[Finding]:
    """What was found, with a last look at every object."""
    debug = system.memory.debug
    assert debug is not None
    if at_the_end:
        debug.validate_at_the_end(system.env._now)
    return debug.findings
