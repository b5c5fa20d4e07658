"""PressureCosts: what the steps of reclaim, the page cache and the debug modes cost on one machine.

A part of `KernelCosts`, under the same rule: a step is what the code does by itself, on lines
that this CPU owns.

    reclaim of a page   scan_page + [rmap_walk + table locks, flush] + cache_remove + page free
    isolation           the LRU lock around isolate_page per page

Invariant: as in `KernelCosts`, no cost has a default.
"""

from dataclasses import dataclass

from coalsim.units import Time


@dataclass(frozen=True, kw_only=True)
class PressureCosts:
    """Costs of memory pressure in picoseconds, resolved on a machine's clock."""

    # -- reclaim
    isolate_page: Time
    """Take a page off its LRU list, or put it back, under the list's lock."""
    scan_page: Time
    """Look at one isolated page: its flags, whether it is mapped, what to do with it."""
    reclaim_fixed: Time
    """One round of the reclaimer over one node, beside its pages: scan counts, shrinkers asked."""
    magazine_detach: Time
    """Take one cache's two magazines off a processor, in an interrupt handler."""
    oom_scan_task: Time
    """The OOM killer's look at one process."""
    oom_fixed: Time
    """The OOM killer's own way, with its report."""
