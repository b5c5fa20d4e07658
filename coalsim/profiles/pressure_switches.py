"""PressureSwitches: what a kernel does when memory runs short, and how it looks for mistakes.

A part of `Switches`.  All of it is off unless a profile or a study turns it on: the marks that
reclaim keeps, the reserve, leak tracking and the debug modes cost time, as they do in a kernel.

Invariant: a `Switches` that exists is consistent; `pressure_rules` says what no kernel could be.
Nothing here waits or costs time.
Source: the Linux commits named at the fields.
"""

from dataclasses import dataclass, field
from typing import Literal

from coalsim.units import Time

DrainBy = Literal["remote", "work"]
OomAction = Literal["kill", "panic"]

AS_TIME = {"kind": "time"}  # metadata of fields written as text with a unit, such as "15s"

Rule = tuple[str, object, bool, str, str]
"""Key, value, whether the value fits, what is wrong else, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class PressureSwitches:
    """In which kernels differ when memory is short, and in debugging."""

    # -- reclaim
    reclaim: bool
    """Zones keep their marks: below low a reclaimer per node starts (kswapd), below min requests reclaim by
    themselves, and at last the OOM killer helps.  Off: a request fails when every zone is empty."""
    min_free_kbytes: int
    """KiB kept free over all zones, from which their marks follow; 0 = by the formula, 4 x sqrt of the
    KiB that the kernel reaches directly."""
    reserve_pages: int
    """Frames set aside at boot for requests that cannot fail, when zones have none left."""
    pcp_drain_by: DrainBy
    """Who empties the per-CPU page lists when memory is short: the reclaimer itself, `remote` (6.0,
    443c2accd1b6), or `work` that each CPU has to get round to."""
    oom: OomAction
    """When nothing can be reclaimed: `kill` a process, or `panic` (sysctl panic_on_oom)."""
    victim: str = ""
    """Who is killed: `badness`, Linux's rule, or your own: an entry point of `coalsim.victims`,
    `module:Class` or `./file.py:Class`.  Empty: `badness`."""
    oom_reaper_delay: Time = field(metadata=AS_TIME)
    """How long after the kill the reaper begins to take the victim's memory: at once (4.6), 2 s (5.18,
    e4a38402c36e)."""

    # -- files
    file_faults_by_vma: bool
    """Faults on files hold the area's own lock, too (6.6); off: the lock of the process.  Read only where
    `mmap_lock` is `per_vma`."""

    # -- leaks
    leak_tracking: bool
    """Every object's allocating call site and time are kept."""
    kmemleak: bool
    """A thread scans memory for objects that nothing points to; needs leak_tracking."""
    kmemleak_scan: Time = field(metadata=AS_TIME)
    """Time between two scans: 600 s."""
    kmemleak_first: Time = field(metadata=AS_TIME)
    """Time before the first: 60 s."""
    kmemleak_min_age: Time = field(metadata=AS_TIME)
    """How old an object must be when a scan starts to be reported: 5 s."""

    # -- debug modes
    debug_redzone: bool
    """Known bytes before and behind every object, looked at when it is freed."""
    debug_poison: bool
    """Objects are filled with known bytes when they are allocated and freed, looked at when handed out."""
    debug_quarantine: int
    """Freed objects that each CPU holds back before they may be used again; 0 = none."""
    debug_guard_pages: bool
    """Kernel allocations of whole pages, and kernel stacks, have an unmapped page behind them."""

    def pressure_rules(self) -> list[Rule]:
        """What must hold for each of these switches."""
        counts = (
            ("min_free_kbytes", "use 0 (by the formula) or more"),
            ("reserve_pages", "use 0 (no reserve) or more"),
            ("debug_quarantine", "use 0 (none) or more"),
        )
        return [
            *(
                (key, getattr(self, key), getattr(self, key) >= 0, "negative", remedy)
                for key, remedy in counts
            ),
            (
                "kmemleak",
                "on" if self.kmemleak else "off",
                self.leak_tracking or not self.kmemleak,
                "needs leak_tracking, which knows the objects",
                "set kernel.leak_tracking=on too",
            ),
            (
                "kmemleak_scan",
                f"{self.kmemleak_scan}ps",
                self.kmemleak_scan > 0,
                "no time between two scans",
                "use 600s as Linux does",
            ),
        ]
