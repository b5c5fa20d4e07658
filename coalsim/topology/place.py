"""Where things are in a machine: CPUs, memory nodes, and firmware's idea of their distances."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from coalsim.provenance import Sourced, Status
from coalsim.topology.distance import Distance, of_hops
from coalsim.units import CpuId, NodeId


@dataclass(frozen=True, kw_only=True)
class CpuPlace:
    """Where a CPU sits; cluster and core ids are machine-wide, `thread` counts within the core."""

    cpu: CpuId
    node: NodeId
    socket: int
    cluster: int
    core: int
    thread: int


@dataclass(frozen=True, kw_only=True)
class MemoryNode:
    """A memory node: its home socket, bytes of DRAM and bandwidth (GB/s).

    `os_index` is the number that firmware and Linux give it, which may have gaps.
    """

    node: NodeId
    socket: int
    memory: int
    bandwidth: Sourced
    os_index: int
    memory_source: str
    memory_status: Status

    @property
    def installed(self) -> Sourced:
        """The memory with its provenance."""
        return Sourced(
            value=Decimal(self.memory), unit="B", source=self.memory_source, status=self.memory_status
        )


@dataclass(frozen=True, kw_only=True)
class Slit:
    """Firmware's relative distances between nodes (10 = local): shown, never used as latencies."""

    rows: tuple[tuple[int, ...], ...]
    source: str
    status: Status


def clusters_that_fill_a_socket(cpus: Sequence[CpuPlace]) -> dict[int, bool]:
    """Per cluster: is it the only one of its socket, and so no class of distance of its own?"""
    clusters: dict[int, dict[int, None]] = {}
    for place in cpus:
        clusters.setdefault(place.socket, {})[place.cluster] = None
    return {cluster: len(members) == 1 for members in clusters.values() for cluster in members}


def occurring_distances(cpus: Sequence[CpuPlace], hops: Sequence[Sequence[int]]) -> tuple[Distance, ...]:
    """The classes that CPUs in such places can be apart; SELF and SOCKET always count."""
    farther = {of_hops(hop) for row in hops for hop in row}
    occurs = {
        Distance.SELF: True,
        Distance.SMT: any(place.thread for place in cpus),
        Distance.CLUSTER: not all(clusters_that_fill_a_socket(cpus).values()),
        **{distance: distance in farther for distance in Distance if distance >= Distance.SOCKET},
    }
    return tuple(distance for distance in Distance if occurs[distance])
