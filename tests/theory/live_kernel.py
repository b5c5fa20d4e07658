"""A booted kernel that test programs run on, one per CPU."""

from collections.abc import Callable, Mapping

from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.mcs import McsLock
from coalsim.mm.kmem.magazine_types import MagazineTypes
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import CpuId, Time

Program = Callable[[Cpu], Op[None]]


def kernel(
    machine: str = "coal",
    profile: str = "coal",
    memory: str = "",
    magazine_types: MagazineTypes | None = None,
    **switches: str,
) -> System:
    changes: Mapping[str, str] = {"memory": memory} if memory else {}
    return System(
        SystemConfig(
            machine=load_machine(machine).with_overrides(changes),
            profile=load_profile(profile).with_overrides({"hz": "0", **switches}),
            lock=McsLock,
            recorder=Histogram,
            magazine_types=magazine_types,
        )
    )


def play(system: System, *programs: Program) -> None:
    """Run the first program on CPU 0 and so on, to the end of all."""
    for number, program in enumerate(programs):
        system.run_thread(CpuId(number), "test", program(system.cpus[number]))
    system.boot()
    end = Event(system.env)
    system.when_finished(lambda: system.env.stop(end))
    system.run(end)


def wait_until(cpu: Cpu, at: Time) -> Op[None]:
    yield from cpu.sync()
    yield from cpu.wait_until(at, "idle")
