"""From what a file says about CPUs to places with dense ids.

Files number CPUs, nodes, packages and cores as firmware does: with gaps, and per
package.  Here everything is renumbered densely: CPUs and nodes in the order of
their numbers, sockets, clusters and cores in the order in which the CPUs show them.

Invariant: `place_cpus` returns one place per CPU, `places[i].cpu == i`.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from coalsim.topology.place import CpuPlace
from coalsim.units import CpuId, NodeId

Key: TypeAlias = Hashable
"""Whatever tells two sockets, clusters or cores of a file apart."""


@dataclass(frozen=True, kw_only=True)
class FoundCpu:
    """A CPU as a file describes it; socket, cluster and core are any keys that tell them apart."""

    os_index: int
    node: int
    socket: Key
    cluster: Key
    core: Key


class Numbering:
    """Dense numbers in the order of first asking."""

    def __init__(self) -> None:
        self._number: dict[Key, int] = {}

    def __getitem__(self, key: Key) -> int:
        return self._number.setdefault(key, len(self._number))

    def __len__(self) -> int:
        return len(self._number)


def place_cpus(
    found: Iterable[FoundCpu], nodes: Mapping[int, NodeId], sockets: Numbering
) -> tuple[CpuPlace, ...]:
    """Places of CPUs in the order of their numbers.

    Args:
        found: in any order.
        nodes: firmware's node number to ours; has every node that a CPU names.
        sockets: extended by the sockets met.
    """
    clusters, cores, threads = Numbering(), Numbering(), dict[int, int]()
    places = []
    for index, cpu in enumerate(sorted(found, key=lambda cpu: cpu.os_index)):
        socket = sockets[cpu.socket]
        cluster = clusters[socket, cpu.cluster]
        core = cores[cluster, cpu.core]
        thread = threads[core] = threads.get(core, -1) + 1
        places.append(
            CpuPlace(
                cpu=CpuId(index),
                node=nodes[cpu.node],
                socket=socket,
                cluster=cluster,
                core=core,
                thread=thread,
            )
        )
    return tuple(places)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A regular machine: everything per socket divides evenly."""

    sockets: int
    nodes_per_socket: int
    clusters_per_socket: int
    cores_per_socket: int
    threads_per_core: int

    @property
    def cpus(self) -> int:
        """Logical CPUs."""
        return self.sockets * self.cores_per_socket * self.threads_per_core

    @property
    def node_sockets(self) -> Sequence[int]:
        """The socket of each node."""
        return [node // self.nodes_per_socket for node in range(self.sockets * self.nodes_per_socket)]

    def cpus_found(self) -> Iterable[FoundCpu]:
        """Numbered as Linux usually does: with P cores, CPU c and c + P are threads of one core."""
        cores = self.sockets * self.cores_per_socket
        for cpu in range(self.cpus):
            core = cpu % cores
            socket, within = divmod(core, self.cores_per_socket)
            yield FoundCpu(
                os_index=cpu,
                node=socket * self.nodes_per_socket + within * self.nodes_per_socket // self.cores_per_socket,
                socket=socket,
                cluster=within * self.clusters_per_socket // self.cores_per_socket,
                core=within,
            )
