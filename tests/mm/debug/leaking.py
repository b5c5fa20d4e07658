"""Systems that track leaks, and programs that plant some."""

from collections.abc import Callable, Mapping

from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.queued import QueuedLock
from coalsim.mm.debug.kmemleak import Kmemleak
from coalsim.mm.debug.tracking import Tracking
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import CpuId

TRACKED = {"leak_tracking": "on"}
SCANNED = {
    **TRACKED,
    "kmemleak": "on",
    "kmemleak_first": "100us",
    "kmemleak_scan": "200us",
    "kmemleak_min_age": "50us",
}
MODES: tuple[dict[str, bool], ...] = (
    {"run_ahead": False, "fast_paths": False, "tick_events": True},  # the reference
    {"run_ahead": False},
    {"fast_paths": False},
    {},
)
Program = Callable[[System, Cpu], Op[None]]


def system_with(
    switches: Mapping[str, str], profile: str = "linux-6.18", mode: Mapping[str, bool] | None = None
) -> System:
    """A system that nothing runs on yet."""
    return System(
        SystemConfig(
            machine=load_machine("coal"),
            profile=load_profile(profile).with_overrides(switches),
            lock=QueuedLock,
            recorder=Histogram,
            **(mode or {}),
        )
    )


def play(system: System, *programs: Program) -> System:
    """Run the first program on CPU 0 and so on, to the end of all; then recount everything."""
    for number, program in enumerate(programs):
        system.run_thread(CpuId(number), f"test/{number}", program(system, system.cpus[number]))
    system.boot()
    end = Event(system.env)
    system.when_finished(lambda: system.env.stop(end))
    system.run(end)
    system.memory.validate()
    return system


def tracking_of(system: System) -> Tracking:
    """The layer that tracks."""
    assert system.memory.tracking is not None
    return system.memory.tracking


def scanner_of(system: System) -> Kmemleak:
    """The scanner."""
    assert system.kmemleak is not None
    return system.kmemleak


def held(system: System) -> dict[tuple[str, str], tuple[int, int]]:
    """Objects and bytes of each call site and kind that holds any."""
    return {
        (site.name, site.cache): (site.live, site.bytes) for site in tracking_of(system).sites if site.live
    }


def reported(system: System) -> dict[int, str]:
    """Addresses that scans have reported, with their call sites."""
    reports = scanner_of(system).reports
    found = {report.tracked.address: report.tracked.site.name for report in reports}
    assert len(found) == len(reports) == scanner_of(system).counts.reported, "each object once"
    return found
