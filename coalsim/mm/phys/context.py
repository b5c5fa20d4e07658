"""Allocation contexts: what a caller can bear while memory is short.

    KERNEL   may sleep, reclaim and fail; not from zones that need a temporary mapping
    USER     the same for a process's page, from every zone; the OOM killer may have to help
    AHEAD    as USER for a page that nobody has asked for yet: reclaim is tried once, then it fails
    ATOMIC   cannot sleep: an interrupt handler's, which may dig into the minimum instead
    MUST     cannot fail: it is served or the kernel panics
    RESERVE  of whoever frees memory by using some: no mark holds it up

A request first passes zones above their low mark, then, once the reclaimer has been woken, those
above the context's own floor.

Nothing here waits or costs time.
Source: Linux include/linux/gfp_types.h; include/linux/pagemap.h (`readahead_gfp_mask`);
mm/page_alloc.c (`gfp_to_alloc_flags`, `__zone_watermark_ok`) for the floors.
"""

from enum import Enum


class AllocContext(Enum):
    """What the caller of an allocation can bear."""

    KERNEL = "kernel"
    USER = "user"
    AHEAD = "ahead"
    ATOMIC = "atomic"
    MUST = "must"
    RESERVE = "reserve"

    @property
    def may_sleep(self) -> bool:
        """It may wait for memory to be reclaimed."""
        return self is not AllocContext.ATOMIC and self is not AllocContext.RESERVE

    @property
    def uses_high(self) -> bool:
        """It does with frames that the kernel cannot reach without a temporary mapping."""
        return self is AllocContext.USER or self is AllocContext.AHEAD

    @property
    def gives_up_soon(self) -> bool:
        """One try of direct reclaim is all that it is worth: nobody is killed for it."""
        return self is AllocContext.AHEAD

    @property
    def gfp(self) -> str:
        """The kernel's name for it, as the log of the OOM killer prints it."""
        return GFP_NAMES[self]

    @property
    def gfp_mask(self) -> int:
        """The same as bits."""
        return GFP_MASKS[self]

    def floor(self, minimum: int, *, is_victim: bool = False) -> int:
        """Free pages that it leaves in a zone with this min mark; victims of the OOM killer leave half."""
        if self is AllocContext.RESERVE:
            return 0
        if self is AllocContext.ATOMIC:
            minimum -= minimum // 2
            minimum -= minimum // 4
        return minimum - minimum // 2 if is_victim else minimum


GFP_NAMES = {
    AllocContext.KERNEL: "GFP_KERNEL",
    AllocContext.USER: "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO",
    AllocContext.AHEAD: "GFP_HIGHUSER_MOVABLE|__GFP_NOWARN|__GFP_NORETRY",
    AllocContext.ATOMIC: "GFP_ATOMIC",
    AllocContext.MUST: "GFP_KERNEL|__GFP_NOFAIL",
    AllocContext.RESERVE: "GFP_KERNEL|__GFP_MEMALLOC",
}
GFP_MASKS = {
    AllocContext.KERNEL: 0xCC0,
    AllocContext.USER: 0x140DCA,
    AllocContext.AHEAD: 0x112CCA,
    AllocContext.ATOMIC: 0x820,
    AllocContext.MUST: 0x8CC0,
    AllocContext.RESERVE: 0x20CC0,
}
"""Bits of 6.18: high memory 0x2, movable 0x8, high 0x20, io 0x40, fs 0x80, zero 0x100, direct reclaim 0x400,
kswapd 0x800, no warning 0x2000, nofail 0x8000, no retry 0x10000, memalloc 0x20000, compound 0x40000,
hardwall 0x100000."""
