"""How large a per-CPU page list may be, and which kernel's rules move its pages.

    generation    refill                       drain when            amount
    coal          b                            before a push at H    b
    linux-2.6     b                            count >= high         b
    linux-5.14    b                            count >= high         b doubled per drain, halved per alloc
    linux-6.7     b doubled per refill,        count >= high,        pages freed in a row,
                  halved per free, up to 2^5   which tunes itself    up to 2^5 b
    linux-6.16    as 6.7, but lists drain later when blocks of several pages stream in

(b: `batch`, H: `high_max`.)  `batch_size`, `classic_high` and `tuned_limits` are the
kernel's integer arithmetic for the three numbers.

Source: Linux mm/page_alloc.c (`zone_batchsize`, `zone_highsize`, `nr_pcp_alloc`,
`nr_pcp_free`, `nr_pcp_high`), commits 3b12e7e97938 (5.14), c0a242394cb9, 52166607ecc9,
90b41691b988 and 51a755c56dc0 (6.7), "mm: pcp: increase pcp->free_count threshold to
trigger free_high" (6.16), d8a759b57035 (the batch's cap doubled, 4.19).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from coalsim.errors import ConfigError, Problem

Generation = Literal["coal", "linux-2.6", "linux-5.14", "linux-6.7", "linux-6.16"]
GENERATIONS: tuple[str, ...] = get_args(Generation)

BATCH_CAP = 256
"""Pages behind the largest batch: 1 MiB (63 pages after rounding)."""
BATCH_CAP_BEFORE_4_19 = 128
"""The same up to 4.18: 512 KiB (31 pages)."""
HIGH_MAX_FRACTION = 8
"""The lists of all CPUs together hold at most this fraction of the zone."""
SCALE_MAX = 5
"""Batches grow to at most 2^5 b by default (6.7 on)."""


@dataclass(frozen=True, kw_only=True)
class PageListRules:
    """Everything that one per-CPU page list needs to know.

    `high_min` and `high_max` bound the pages on the list; only the generations from
    6.7 on tune between them, the others stay at `high_min`.  `cached_orders` are the
    block sizes that the list keeps, ascending.  `scale_max` caps the doubling of batches, from 6.7 on.
    """

    generation: Generation
    batch: int
    high_min: int
    high_max: int
    cached_orders: tuple[int, ...] = (0,)
    scale_max: int = SCALE_MAX

    def __post_init__(self) -> None:
        problems = [
            Problem(key=f"page list {key}", value=str(value), message=message, remedy=remedy)
            for bad, key, value, message, remedy in (
                (
                    self.generation not in GENERATIONS,
                    "generation",
                    self.generation,
                    "is not known",
                    f"use one of {', '.join(GENERATIONS)}",
                ),
                (self.batch < 1, "batch", self.batch, "moves no pages", "give at least 1"),
                (
                    self.high_min < self.batch,
                    "high_min",
                    self.high_min,
                    "is less than one batch",
                    f"give at least {self.batch}",
                ),
                (
                    self.high_max < self.high_min,
                    "high_max",
                    self.high_max,
                    "is below high_min",
                    f"give at least {self.high_min}",
                ),
                (
                    not self.cached_orders or list(self.cached_orders) != sorted({*self.cached_orders}),
                    "cached_orders",
                    self.cached_orders,
                    "is empty or not ascending",
                    "list each order once, smallest first",
                ),
            )
            if bad
        ]
        if problems:
            raise ConfigError(problems)


def batch_size(managed: int, cap: int = BATCH_CAP) -> int:
    """Pages that move between a list and its zone at once, for a zone of `managed` pages.

    >>> batch_size(1 << 20), batch_size(1 << 20, BATCH_CAP_BEFORE_4_19), batch_size(3840)
    (63, 31, 1)
    """
    quarter = max(min(managed // 1024, cap) // 4, 1)
    rounded = 1 << ((quarter + quarter // 2).bit_length() - 1)
    return max(rounded - 1, 1)


def classic_high(batch: int) -> int:
    """Limit of a list up to Linux 5.13, the same for every zone."""
    return 6 * batch


def tuned_limits(managed: int, low_watermark: int, cpus: int, batch: int) -> tuple[int, int]:
    """Lower and upper limit of a list from Linux 5.14 on.

    Args:
        managed: pages of the zone.
        low_watermark: the zone's low watermark in pages.
        cpus: CPUs of the zone's node (all CPUs, when the node has none).
        batch: as `batch_size` gives it.
    """
    floor = 4 * batch
    return max(low_watermark // cpus, floor), max(managed // HIGH_MAX_FRACTION // cpus, floor)
