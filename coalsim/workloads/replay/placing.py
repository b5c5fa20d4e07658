"""Where the CPUs of a trace run: the way from (copy, seat) to a simulated CPU.

    compact   nodes are filled one after the other, each by CPU number
    scatter   one CPU of each node in turn
    node      each copy on a node of its own as long as there are free ones; all CPUs of a copy
              on one node

Copies are placed one after the other.  No simulated CPU is used twice.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from coalsim.cpus.cpu import Cpu
from coalsim.errors import ConfigError, Problem

Placing: TypeAlias = Literal["compact", "scatter", "node"]


def place(cpus: Sequence[Cpu], seats: int, copies: int, placing: Placing) -> list[list[Cpu]]:
    """The simulated CPU of each seat, for each copy.

    Args:
        cpus: of the machine.
        seats: CPUs of the trace.
        copies: how often it is replayed.
        placing: see above.

    Raises:
        ConfigError: there are not enough CPUs.
    """
    if seats * copies > len(cpus):
        raise _too_many(seats, copies, len(cpus))
    nodes = dict.fromkeys(cpu.node for cpu in sorted(cpus, key=lambda cpu: cpu.node))
    by_node = [[cpu for cpu in cpus if cpu.node == node] for node in nodes]
    if placing == "node":
        return _one_node_each(by_node, seats, copies)
    order = [cpu for node in by_node for cpu in node]
    if placing == "scatter":
        longest = max(map(len, by_node))
        order = [node[turn] for turn in range(longest) for node in by_node if turn < len(node)]
    return [order[copy * seats : (copy + 1) * seats] for copy in range(copies)]


def _one_node_each(by_node: Sequence[list[Cpu]], seats: int, copies: int) -> list[list[Cpu]]:
    free = [list(node) for node in by_node]
    placed: list[list[Cpu]] = []
    while len(placed) < copies:
        fitting = [node for node in free if len(node) >= seats]
        if not fitting:
            message = f"only {len(placed)} of {copies} copies of {seats} CPUs fit on one node each"
            remedy = "use replay.map=compact, fewer clones, or a machine with larger nodes"
            raise ConfigError([Problem(key="replay.map", value="node", message=message, remedy=remedy)])
        for node in fitting[: copies - len(placed)]:
            placed.append(node[:seats])
            del node[:seats]
    return placed


def _too_many(seats: int, copies: int, available: int) -> ConfigError:
    wanted = f"{seats} CPUs" if copies == 1 else f"{copies} times {seats} CPUs"
    fewer = f"--clone {available // seats}, or " if copies > 1 and available >= seats else ""
    return ConfigError(
        [
            Problem(
                key="replay.clone",
                value=str(copies),
                message=f"the trace needs {wanted}; this machine has {available}",
                remedy=f"use {fewer}--machine with at least {seats * copies} CPUs",
            )
        ]
    )
