"""A live memory manager, a ledger of what it has handed out, and CPUs that take turns."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping

from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.mcs import McsLock
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.topology.presets import load_machine
from coalsim.units import CpuId

KERNELS: dict[str, tuple[str, dict[str, str]]] = {  # name: profile, switches
    "magazines": ("coal", {}),
    "magazines per node": ("coal", {"magazine_depot": "node", "magazine_update": "50us", "frames": "bitmap"}),
    "magazines over bitmap": ("coal", {"frames": "bitmap"}),
    "slub": ("linux-6.0", {}),
    "slub over bitmap": ("linux-3.5", {"frames": "bitmap", "lock": "qspinlock"}),
    "sheaves": ("linux-6.18", {"slab": "sheaves"}),
    "sheaves over bitmap": ("linux-6.7", {"slab": "sheaves", "frames": "bitmap"}),
}


def live_system(
    kernel: str, machine: str = "bdx2", memory: str = "24MiB", mode: Mapping[str, bool] | None = None
) -> System:
    """A system with little memory on each node: on Linux two zones on the first."""
    profile, switches = KERNELS[kernel]
    return System(
        SystemConfig(
            machine=load_machine(machine).with_overrides({"memory": memory}),
            profile=load_profile(profile).with_overrides({"hz": "0", **switches}),
            lock=McsLock,
            recorder=Histogram,
            **(mode or {}),
        )
    )


def play(system: System, *programs: Callable[[Cpu], Op[None]]) -> None:
    """Run the first program on CPU 0 and so on, to the end of all."""
    for number, program in enumerate(programs):
        system.run_thread(CpuId(number), "test", program(system.cpus[number]))
    system.boot()
    end = Event(system.env)
    system.when_finished(lambda: system.env.stop(end))
    system.run(end)


def buddyinfo(system: System) -> list[list[int]]:
    """Free blocks of each order, by zone."""
    return [list(zone.source.free_blocks()) for zone in system.memory.zones]


class Ledger:
    """Ranges of addresses in callers' hands; refuses any that overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # of the same ranges: ascending too, as they do not overlap

    def take(self, start: int, size: int) -> None:
        """Somebody was given a range."""
        at = bisect_right(self._starts, start)
        assert at == 0 or self._ends[at - 1] <= start, f"{start:#x} lies in memory that is taken"
        assert at == len(self._starts) or start + size <= self._starts[at], (
            f"{start:#x} runs into memory that is taken"
        )
        insort(self._starts, start)
        insort(self._ends, start + size)

    def give(self, start: int) -> None:
        """It goes back."""
        at = bisect_left(self._starts, start)
        assert self._starts[at] == start
        del self._starts[at], self._ends[at]

    def __len__(self) -> int:
        return len(self._starts)


class Turns:
    """CPUs act one after the other, in the order of the numbers of their turns."""

    def __init__(self) -> None:
        self._now = 0
        self._waiting: dict[int, Cpu] = {}

    def wait_for(self, cpu: Cpu, number: int) -> Op[None]:
        """Wait for a turn."""
        yield from cpu.sync()
        while self._now != number:
            self._waiting[number] = cpu
            yield from cpu.wait("turn")
            yield from cpu.sync()

    def pass_on(self, cpu: Cpu) -> Op[None]:
        """End it."""
        yield from cpu.sync()
        self._now += 1
        other = self._waiting.pop(self._now, None)
        if other is not None:
            other.alarm.arm(cpu.clock + 1)
