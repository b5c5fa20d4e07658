"""The parts of a result document that loads bring along, and what was injected into their run.

All of it is of the whole run, its warm-up included.
"""

from typing import NotRequired, TypedDict

from coalsim.observe.quantities import Count


class AtomicEntry(TypedDict):
    """What drivers got that cannot wait; zones are named `node/zone`, pages are counted."""

    bursts: Count
    bursts_short: Count  # that got less than they asked for
    pages_dropped: Count
    ordinary_stop: dict[str, Count]  # free pages at which ordinary requests pass a zone over
    atomic_stop: dict[str, Count]  # the same for drivers; the refill before it may go on below
    lowest_free: dict[str, Count]


class AgeingEntry(TypedDict):
    """How long huge blocks could be had."""

    huge_asked: Count
    huge_had: Count
    huge_had_percent: list[float]  # in each tenth of the requests
    failed: dict[str, Count]  # requests, by kind; huge ones too


class RuleEntry(TypedDict):
    """What one rule of [inject] has done."""

    name: str  # its key and, from 0, its place there
    hits: Count
    chances: NotRequired[Count]  # what fitted it; times away have none


class InjectedEntry(TypedDict):
    """What went wrong on purpose."""

    refused: dict[str, dict[str, Count]]  # rule of inject.fail -> call site
    lock_delays: Count
    ipi_delays: Count
    rules: NotRequired[list[RuleEntry]]
