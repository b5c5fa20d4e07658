"""A program's accesses one by one, where they hit the first level of the TLB.

    touch_now: hit, hit, hit, ...  noted as page and time only
    settle:    order of use, counts, time spent and uses to be judged, for all of them at once

Loads call nothing as often as `touch_now`.  What a hit changes beside the clock is seen by
nobody before something else happens to this TLB, its counts or its uses: whatever looks at
those calls `settle` first.  So a run of hits costs a look into a dict and two notes each.

Invariant: while a run is open, L1 holds what it held when the run began, and no timer tick
has come: the thread's slice is not over.
Private to the processor: after a look; others may call `settle` at any time.
"""

from collections.abc import Callable

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.oracle import Run, Use
from coalsim.cpus.tlb import Tlb
from coalsim.cpus.tlb_level import NO_PAGES, Pages
from coalsim.cpus.translation import Translation
from coalsim.units import PAGE_SHIFT, Time

USER = "user"

TouchNow = Callable[..., bool]
"""(address, write=True, site="user") -> whether it could be done without waiting."""


class Hits:
    """Hits of one processor.

    Args:
        cpu: whose.
        tlb: its TLB.
        cost: of a hit, in ps.
        unchecked: where uses go that are to be judged; None: nobody judges.
        lookup: `(vpn, write, site, cause)`: the long way to a hit; False: there is none.
        tag: the ASID in force.
    """

    __slots__ = ("settle", "touch_now")

    def __init__(
        self,
        cpu: Cpu,
        tlb: Tlb,
        cost: Time,
        unchecked: list[Use] | None,
        lookup: Callable[[int, bool, str, str], bool],
        tag: Callable[[], int],
    ) -> None:
        held: Pages = NO_PAGES  # by L1 under the run's tag
        used: dict[int, Translation] = {}  # of them, what the run has used: it may do so again
        run_tag, run_write, run_site, account = -1, False, "", cpu.account
        pages: list[int] = []
        times: list[Time] = []
        note_page, note_time = pages.append, times.append

        def touch_now(address: int, write: bool = True, site: str = USER) -> bool:
            clock, limit = cpu.clock, cpu.limit
            if clock >= limit:
                return False
            vpn = address >> PAGE_SHIFT
            if vpn not in used or write is not run_write or site is not run_site:
                entry = held.get(vpn) if write is run_write and site is run_site else None
                if entry is None or (write and not entry.dirty):
                    return begin(vpn, write, site)
                used[vpn] = entry.translation
            note_page(vpn)
            note_time(clock)
            cpu.clock = clock = clock + cost
            if clock > limit:
                cpu.tail.append((USER, cost))
            return True

        def begin(vpn: int, write: bool, site: str) -> bool:
            nonlocal held, run_tag, run_write, run_site, account
            if cpu.queue.slice_over(cpu.ticks):  # the long way gives way behind its access
                return False
            if not lookup(vpn, write, site, USER):  # it settles
                return False
            run_tag, run_write, run_site, account = tag(), write, site, cpu.account
            held = tlb.first_level(run_tag)
            return True

        def settle() -> None:
            nonlocal held, used, pages, times, note_page, note_time
            held = NO_PAGES
            if not pages:
                return
            tlb.note_hits(pages, run_tag)
            account[USER] += len(pages) * cost
            if unchecked is not None:
                unchecked.append((times[0], Run(pages, times, used), run_write, run_site))
            used, pages, times = {}, [], []
            note_page, note_time = pages.append, times.append

        self.touch_now: TouchNow = touch_now
        self.settle: Callable[[], None] = settle
