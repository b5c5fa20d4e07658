"""Who is to die: the OOM killer's choice, by Linux's arithmetic.

    points = resident + swap + page-table pages + adjustment x (total / 1000)

The process with the most points is the victim; of equal ones the one made last.  An adjustment
of -1000 makes a process unkillable, and one whose exit has begun to give its memory back is past
choosing.  A request that may only use some nodes chooses among processes that may use one of them,
and while one of those is a victim on its way out whose memory has not been taken either, nobody
else is chosen.

All divisions truncate towards zero, as C's do.
Nothing here waits; a scan of the processes costs time, which the killer charges.
Source: Linux mm/oom_kill.c (`oom_badness`, `oom_evaluate_task`), commit 9066e5cfb73c (oom_score).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coalsim.units import NodeId

UNKILLABLE = -1000


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a process costs, in pages."""

    rss: int
    swap: int = 0
    tables: int = 0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A process, as the OOM killer sees it.

    Args:
        footprint: its memory.
        oom_score_adj: -1000 (unkillable) to 1000.
        is_over: it has gone, or its memory is going, or it has been a victim already.
        allowed_nodes: the nodes that it may use; none: all.
        pid, name: which it is.
    """

    footprint: Footprint
    oom_score_adj: int = 0
    is_over: bool = False
    allowed_nodes: Sequence[NodeId] = ()
    pid: int = 0
    name: str = ""


def truncated(numerator: int, denominator: int) -> int:
    """A quotient as C has it."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def badness(memory: Footprint, adjustment: int, total: int) -> int:
    """Points of a process.

    Args:
        memory: of the process, in pages.
        adjustment: its oom_score_adj.
        total: pages of the machine, or of the nodes that a request may use.
    """
    return memory.rss + memory.swap + memory.tables + adjustment * (total // 1000)


def oom_score(points: int, total: int) -> int:
    """What /proc/PID/oom_score shows for so many points: 0 to 2000."""
    return truncated((1000 + truncated(points * 1000, total)) * 2, 3)


def eligible(candidate: Candidate, nodes: Sequence[NodeId]) -> bool:
    """Whether its death could help a request that may only use these nodes; none: all."""
    if candidate.is_over or candidate.oom_score_adj == UNKILLABLE:
        return False
    return may_help(candidate.allowed_nodes, nodes)


def may_help(allowed: Sequence[NodeId], nodes: Sequence[NodeId]) -> bool:
    """Whether a process that may use some nodes can have memory of others; none: all."""
    return not nodes or not allowed or any(node in nodes for node in allowed)


def choose(candidates: Sequence[Candidate], total: int, nodes: Sequence[NodeId]) -> int:
    """The index of the process with the most points, or -1."""
    best, most = -1, 0
    for index, candidate in enumerate(candidates):
        if eligible(candidate, nodes):
            points = badness(candidate.footprint, candidate.oom_score_adj, total)
            if best < 0 or points >= most:
                best, most = index, points
    return best
