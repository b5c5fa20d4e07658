"""Team: the same loop on several CPUs, as threads of one process or as processes.

Tasks are pinned one to a CPU, in the machine's order: with the default spread the
first hardware thread of every core of the first socket, then of the next one, and only
then the second threads, which is where will-it-scale puts its tasks, too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from coalsim.engine.clock import Op
from coalsim.mm.virt.task import Task
from coalsim.topology.machine import Machine
from coalsim.units import US, CpuId, Time
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.synthetic.places import Spread, choose_cpus

Mode = Literal["threads", "processes"]
Start = Literal["together", "spread"]
Loop = Callable[[Task, CpuMeter], Op[None]]

START_WIDTH = 10 * US
"""Tasks that start spread begin within this time: longer than a call, far shorter than a warm-up."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """Who runs a load, and how often.

    Args:
        cpus: how many, one task each.
        mode: `threads` of one process, or `processes` of one task.
        spread: which CPUs.
        rounds: of each task's loop; 0 = for ever.
        starts: `together`, all at one instant; or `spread`, each after a time of its own, drawn
            evenly from 0 to `START_WIDTH`: what makes replications of a load that draws nothing differ.
    """

    cpus: int
    mode: Mode = "processes"
    spread: Spread = "compact"
    rounds: int = 0
    starts: Start = "together"

    @property
    def endless(self) -> bool:
        """The loops never end."""
        return not self.rounds

    @property
    def sharers(self) -> int:
        """Tasks in one address space."""
        return self.cpus if self.mode == "threads" else 1

    def turns(self) -> Iterable[int]:
        """What a task's loop runs over."""
        return range(self.rounds) if self.rounds else count()

    def chosen(self, machine: Machine) -> list[CpuId]:
        """The team's CPUs, in order."""
        return choose_cpus(machine, self.cpus, self.spread)

    def start(self, host: VirtualHost, name: str, loop: Loop, phase: str = "") -> None:
        """Give every CPU a task; its operations are counted in `phase`."""
        process = host.vm.new_process(name) if self.mode == "threads" else None
        for cpu_id in self.chosen(host.machine):
            home = process or host.vm.new_process(name)
            meter = host.meter.cpu(cpu_id, phase)
            uniform = host.streams.stream("start", cpu_id).random
            delay = int(uniform() * START_WIDTH) if self.starts == "spread" else 0

            def body(task: Task, meter: CpuMeter = meter, delay: Time = delay) -> Op[None]:
                if delay:
                    return _later(task, meter, delay, loop)
                return loop(task, meter)

            host.vm.run_task(home, cpu_id, name, body)


def _later(task: Task, meter: CpuMeter, delay: Time, loop: Loop) -> Op[None]:
    """The loop, after some work of the task's own."""
    yield from task.compute(delay)
    yield from loop(task, meter)


@dataclass(frozen=True, kw_only=True)
class TeamLoad:
    """What the loads that a team runs have in common.

    Args:
        team: who runs it.
    """

    team: Team
    gave_up: list[CpuId] = field(default_factory=list, init=False, repr=False, compare=False)

    headline = ""

    @property
    def endless(self) -> bool:
        """Unless the team counts its rounds."""
        return self.team.endless

    def give_up(self, task: Task, meter: CpuMeter) -> None:
        """A task has found no room for a mapping and ends; kept beside the meter, which a warm-up resets."""
        meter.failed += 1
        self.gave_up.append(task.cpu.id)

    def results(self) -> Mapping[str, object]:
        """Nothing beyond the meter, unless tasks have given up."""
        if not self.gave_up:
            return {}
        where = ", ".join(str(cpu) for cpu in sorted(self.gave_up))
        return {"warnings": [f"no room for a mapping: the load's task ended early on CPU {where}"]}
