"""The `pressure` part of the result document: what happened when memory ran short.

Counts carry the names of /proc/vmstat where it has them.  `kernel_log` holds the texts of the
kernel's log, `panic` the report of a run that a panic has ended: the document then says what was
so up to that moment.
"""

from typing import NotRequired, TypedDict

from coalsim.observe.quantities import Count, Nanoseconds


class KswapdEntry(TypedDict):
    """The reclaimer of one node."""

    node: int
    runs: Count
    pgsteal_kswapd: Count
    hopeless: Count  # 1: it had given up at the end


class ReserveEntry(TypedDict):
    """The emergency reserve, in frames."""

    size: Count
    held: Count
    taken: Count
    lowest: Count


class KillEntry(TypedDict):
    """A victim of the OOM killer."""

    time_ns: Nanoseconds
    pid: int
    name: str
    points: int
    oom_score: int
    runner_up: int  # the most points of anybody else who could have been chosen
    by: str
    run: NotRequired[int]


class LogEntry(TypedDict):
    """A text of the kernel's log."""

    time_ns: Nanoseconds
    text: str
    run: NotRequired[int]


class PressureEntry(TypedDict):
    """All of it."""

    counts: dict[str, Count]
    kswapd: list[KswapdEntry]
    kills: list[KillEntry]
    reserve: NotRequired[ReserveEntry]
