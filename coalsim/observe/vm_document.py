"""The part of a result document about virtual memory: operations, shootdowns, the oracle.

An operation's `by_cause_ns` adds up to its number times its mean: where its latency went.
`shootdown_ns` runs from the generation's increment to the last answer seen, over the flushes that
reached another processor.

The oracle's counts are those of the whole run, its warm-up included.  Over replications they are
sums and the findings those of all runs, since a promise that is broken once is broken; all other
numbers are means.
"""

from typing import NotRequired, TypedDict

from coalsim.observe.quantities import Count, Latency, Nanoseconds


class OperationEntry(TypedDict):
    """All operations of one name."""

    latency_ns: Latency
    by_cause_ns: dict[str, Nanoseconds]  # sums over all of them


class FindingEntry(TypedDict):
    """One use of a dead translation; `kind` is stale (allowed), promise or reuse (broken)."""

    time_ns: Nanoseconds
    cpu: int
    kind: str
    space: int
    page: int
    frame: int
    write: bool
    text: str  # all of it in words
    run: NotRequired[int]  # in a document of means: which run, from 1


class OracleEntry(TypedDict):
    """What the stale-translation oracle found."""

    checked: Count
    stale: Count
    broken: Count
    worst_stale_ns: Nanoseconds
    findings: list[FindingEntry]


class VirtualMemoryEntry(TypedDict):
    """Counts of the whole machine."""

    policy: str
    faults: dict[str, Count]
    shootdowns: dict[str, Count]
    tlb: dict[str, Count]
    walks: Count
    table_dram_reads: Count
    context_switches: Count
    switch_flushes: Count
    files: NotRequired[dict[str, Count]]  # of runs that have files
    lru: NotRequired[dict[str, Count]]
    frames_in_use: Count
    signals: NotRequired[list[str]]  # task and signal
