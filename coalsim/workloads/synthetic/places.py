"""Which CPUs a load of N threads uses, one thread each.

    compact   the first hardware thread of every core, node after node, then the second ones
    node      all hardware threads of the first node, then of the next
    scatter   one CPU of each node in turn, within a node as in compact

So a load that fits into one node stays there, unless it is scattered.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from coalsim.errors import ConfigError, Problem
from coalsim.topology.machine import Machine
from coalsim.topology.place import CpuPlace
from coalsim.units import CpuId

Spread = Literal["compact", "node", "scatter"]
Key = Callable[[CpuPlace], tuple[int, ...]]


def choose_cpus(machine: Machine, count: int, spread: Spread) -> list[CpuId]:
    """The first `count` CPUs of the machine in the order of `spread`.

    Raises:
        ConfigError: the machine has fewer.
    """
    if count > machine.num_cpus:
        problem = Problem(
            key="workload.cpus",
            value=str(count),
            message=f"machine {machine.name} has {machine.num_cpus} CPUs",
            remedy=f"use at most {machine.num_cpus}, or a larger machine",
        )
        raise ConfigError([problem])
    if spread == "scatter":
        turn = {
            cpu: turn
            for node in machine.nodes
            for turn, cpu in enumerate(_sorted(machine.cpus_of_node(node.node), machine, _thread_first))
        }
        every = sorted(turn, key=lambda cpu: (turn[cpu], machine.node_of(cpu), cpu))
    else:
        every = _sorted(
            range(machine.num_cpus), machine, _thread_first if spread == "compact" else _node_first
        )
    return every[:count]


def _sorted(cpus: Iterable[int], machine: Machine, key: Key) -> list[CpuId]:
    return [place.cpu for place in sorted((machine.cpus[cpu] for cpu in cpus), key=key)]


def _thread_first(place: CpuPlace) -> tuple[int, ...]:
    return (place.thread, place.socket, place.node, place.core, place.cpu)


def _node_first(place: CpuPlace) -> tuple[int, ...]:
    return (place.socket, place.node, place.thread, place.core, place.cpu)
