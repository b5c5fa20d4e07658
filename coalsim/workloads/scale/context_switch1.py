"""context_switch1: two tasks hand a byte back and forth over two pipes.

Each task of the team starts a partner, which inherits its core: as a thread of the same
process, or forked.  An operation is one way: a round trip counts two, and half of its
time for each.  The partner runs on the task's own CPU, or on the other hardware thread
of its core; a real kernel may move it between them.

A pipe is a wake-up and a sleep, each in a system call: a byte that was written before
the reader sleeps is the wake-up that came before.  Buffer and lock of the pipe cost
nothing.
Source: will-it-scale, tests/context_switch1.c (Blanchard).
"""

from dataclasses import dataclass
from typing import Literal

from coalsim.engine.clock import Op
from coalsim.errors import ConfigError, Problem
from coalsim.mm.virt.task import Task
from coalsim.topology.machine import Machine
from coalsim.units import CpuId
from coalsim.workloads.base import CpuMeter, VirtualHost
from coalsim.workloads.vm.team import TeamLoad

Partner = Literal["same", "sibling"]


@dataclass(frozen=True, kw_only=True)
class ContextSwitch1(TeamLoad):
    """Every task of the team has a partner.

    Args:
        partner: runs on the `same` CPU, or on the `sibling` hardware thread.
    """

    partner: Partner = "same"

    def start(self, host: VirtualHost) -> None:
        """One pair per CPU, or per core.

        Raises:
            ConfigError: a partner has no hardware thread for itself.
        """
        places = _partners(host.machine, self.team.chosen(host.machine), self.partner)

        def loop(task: Task, meter: CpuMeter) -> Op[None]:
            return self._play(task, meter, places[task.cpu.id])

        self.team.start(host, "context_switch1", loop)

    def _play(self, task: Task, meter: CpuMeter, place: CpuId) -> Op[None]:
        partner = yield from self._partner(task, place)
        if partner is None:
            meter.failed += 1
            return
        cpu = task.cpu
        yield from cpu.look()
        began = cpu.clock
        for _ in self.team.turns():
            yield from _write(task, partner)
            yield from _read(task)
            yield from cpu.look()
            trip = cpu.clock - began
            meter.done(trip // 2)
            meter.done(trip - trip // 2)
            began = cpu.clock

    def _partner(self, task: Task, place: CpuId) -> Op[Task | None]:
        def answer(partner: Task) -> Op[None]:
            for _ in self.team.turns():
                yield from _read(partner)
                yield from _write(partner, task)

        if self.team.mode == "threads":
            return (yield from task.spawn(place, "partner", answer))
        child = yield from task.fork("partner", answer, place)
        return child.tasks[0] if child is not None else None


def _write(task: Task, reader: Task) -> Op[None]:
    running = yield from task.system_call("write")
    yield from task.wake(reader)
    yield from task.system_return(running)


def _read(task: Task) -> Op[None]:
    running = yield from task.system_call("read")
    yield from task.sleep_until_woken()
    yield from task.system_return(running)


def _partners(machine: Machine, chosen: list[CpuId], partner: Partner) -> dict[CpuId, CpuId]:
    """Where the partner of each CPU's task runs."""
    if partner == "same":
        return {cpu: cpu for cpu in chosen}
    taken = dict.fromkeys(chosen)
    free: dict[int, list[CpuId]] = {}
    for place in machine.cpus:
        if place.cpu not in taken:
            free.setdefault(place.core, []).append(place.cpu)
    found = {cpu: free[core].pop() for cpu in chosen if free.get(core := machine.cpus[cpu].core)}
    if len(found) < len(chosen):
        problem = Problem(
            key="workload.partner",
            value="sibling",
            message=f"not every core of these CPUs of machine {machine.name} has a free hardware thread",
            remedy="use same, or fewer CPUs of a machine whose cores have two",
        )
        raise ConfigError([problem])
    return found
