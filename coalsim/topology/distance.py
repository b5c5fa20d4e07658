"""How far apart two CPUs are, in classes.

A line hand-over or an IPI is priced by the class of the pair, not by the pair: the
classes of published core-to-core matrices are tight, and six numbers can be cited.

    SELF      the CPU itself
    SMT       another thread of its core
    CLUSTER   another core of its cluster (cores that share an L3 or a core complex)
    SOCKET    elsewhere in its socket
    CROSS     another socket, one link away
    CROSS2    another socket, two or more links away

A cluster that fills its whole socket is no class of its own: its pairs are SOCKET.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum


class Distance(IntEnum):
    """Class of a pair of CPUs, from near to far."""

    SELF = 0
    SMT = 1
    CLUSTER = 2
    SOCKET = 3
    CROSS = 4
    CROSS2 = 5

    @property
    def key(self) -> str:
        """Its name in machine files."""
        return self.name.lower()


UNREACHABLE = -1


def socket_hops(sockets: int, links: Iterable[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Links on the shortest way from socket to socket; `UNREACHABLE` where there is none."""
    neighbours: list[list[int]] = [[] for _ in range(sockets)]
    for a, b in links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    return tuple(_hops_from(start, neighbours) for start in range(sockets))


def _hops_from(start: int, neighbours: Sequence[Sequence[int]]) -> tuple[int, ...]:
    hops = [UNREACHABLE] * len(neighbours)
    hops[start] = 0
    todo = deque([start])
    while todo:
        here = todo.popleft()
        for there in neighbours[here]:
            if hops[there] == UNREACHABLE:
                hops[there] = hops[here] + 1
                todo.append(there)
    return tuple(hops)


def of_hops(hops: int) -> Distance:
    """The class of two CPUs whose sockets are so many links apart."""
    if hops == 0:
        return Distance.SOCKET
    return Distance.CROSS if hops == 1 else Distance.CROSS2
