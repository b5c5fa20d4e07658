"""A translation: one incarnation of a virtual page, and what the oracle knows of its life.

    made --filled into TLBs--> cached --unmapped or rights lost--> dead --reported done--> promised
                                                                       --frame given out--> reused

A page that is unmapped and mapped again, or that loses rights, gets a new
translation; entries of the old one that are still in some TLB are stale.  It is
made when a TLB first caches the page, so pages that nobody touches cost nothing.

Times are pairs (time, processor), compared as pairs: the order of an instant.
Invariant: `cached` is the number of TLB levels, over all processors, that hold it.
"""

from typing import NamedTuple

from coalsim.units import CpuId, Pfn, Time, Vpn


class Moment(NamedTuple):
    """When, on which processor and where in the kernel something happened."""

    time: Time
    cpu: CpuId
    site: str


class Translation:
    """What a TLB entry says: this page of this space is in that frame, with these rights.

    Args:
        space: number of the address space.
        vpn: the virtual page.
        pfn: its frame.
        writable: stores are allowed.
        user: user code may use it.
        is_global: it is the same in every address space.
    """

    __slots__ = (
        "cached",
        "died",
        "is_global",
        "older",
        "pending",
        "pfn",
        "promised",
        "reused",
        "space",
        "unmapped",
        "user",
        "vpn",
        "writable",
    )

    def __init__(
        self, space: int, vpn: Vpn, pfn: Pfn, writable: bool, user: bool = True, is_global: bool = False
    ) -> None:
        self.space = space
        self.vpn = vpn
        self.pfn = pfn
        self.writable = writable
        self.user = user
        self.is_global = is_global
        self.cached = 0
        self.older: Translation | None = None  # the same page and frame before it gained rights
        self.died: Moment | None = None  # it lost the right to write, or was unmapped: nobody may write
        self.unmapped: Moment | None = None  # nobody may read either; later than `died`, or the same
        self.pending = ""  # the flush that has not been finished, in words
        self.promised: Moment | None = None  # the policy said that nobody uses it any more
        self.reused: Moment | None = None  # its frame was given out again
