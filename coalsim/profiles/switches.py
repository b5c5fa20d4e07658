"""Switches: the ways in which one kernel version differs from another.

Measured curves come from many kernels, so a profile is a set of these switches
and not one number.  Each switch names the Linux version (and commit, where one
is known) that brought it.  A switch exists only if some mechanism reads it.
Those of allocators, locks and time are here; those of virtual memory are in
`vm_switches.py`, those of memory pressure and debugging in `pressure_switches.py`.

Invariant: a `Switches` that exists is consistent; its constructor refuses what
no kernel could be.  Nothing here waits or costs time.
Source: the Linux commits named at the fields; Bonwick and Adams, "Magazines and
Vmem", USENIX ATC 2001, for the magazine layer.
"""

from dataclasses import dataclass, field
from typing import Literal

from coalsim.errors import ConfigError, Problem
from coalsim.profiles.pressure_switches import AS_TIME, Rule
from coalsim.profiles.vm_switches import VmSwitches
from coalsim.units import SEC, Time

SlabLayer = Literal["magazines", "slub", "sheaves"]
DepotPer = Literal["cache", "node"]
FrameSource = Literal["buddy", "bitmap"]
KmallocClasses = Literal["pow2", "linux"]
HighRule = Literal["fixed", "six-batches", "watermark", "tuned"]
AllocScale = Literal["none", "6.7"]
FreeScale = Literal["none", "5.14", "6.7", "6.16"]
ListLock = Literal["none", "spinlock"]
DrainTime = Literal["before-push", "after-push"]
ZoneLayout = Literal["one", "dma-dma32-normal", "low-normal-high"]
TasWinner = Literal["random", "nearest"]

KMALLOC_SIZES: dict[str, tuple[int, ...]] = {
    "pow2": (16, 32, 64, 128, 256, 512, 1024, 2048),
    "linux": (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192),
}
"""Object sizes that kmalloc serves from the slab layer; larger requests get whole pages."""


@dataclass(frozen=True, kw_only=True)
class Switches(VmSwitches):
    """Everything in which kernel profiles differ, apart from costs."""

    # -- object caches
    slab: SlabLayer
    """What stands in front of the slabs: per-CPU `magazines` (Bonwick), `slub` (per-CPU slabs, Linux
    2.6.23), or `sheaves` (per-CPU arrays with a barn per node; opt-in 6.18, 815c8e35511d; all caches 7.0)."""
    slab_colouring: bool
    """Successive slabs of a cache start at different cache-line offsets (Bonwick 1994); SLUB does not."""
    magazine_depot: DepotPer
    """A depot of magazines per `cache`, as published, or per cache and `node`, our variation."""
    magazine_update: Time = field(metadata=AS_TIME)
    """How often each depot's contention is looked at (illumos kmem.c: 15 s); 0 = sizes stay as they are."""
    magazine_threshold: int
    """A depot whose try-lock failed more often than this in one interval steps to the next magazine size."""
    slub_cpu_partial: Literal["objects", "slabs"]
    """Limit of SLUB's per-CPU partial list: counted in free `objects` (30, 13, 6, 2 by size; 3.2), or in
    `slabs` that would hold 120, 52, 24, 6 objects half full (5.16, b47291ef02b0)."""
    kmalloc_classes: KmallocClasses
    """`pow2`: powers of two, 16 to 2,048 bytes.  `linux`: 8 to 8,192 bytes with 96 and 192."""

    # -- frames
    frames: FrameSource
    """Where page lists and slabs get frames: the binary `buddy` or the next-fit `bitmap`."""
    allocator: str = ""
    """Your own in place of these: a name of the allocator registry, an entry point of `coalsim.allocators`,
    `module:Class` or `./file.py:Class`.  Empty: what `frames` says."""
    max_order: int
    """Largest buddy block is 2**max_order pages; buddyinfo prints max_order + 1 columns."""
    zones: ZoneLayout
    """`one` zone per node, or `dma-dma32-normal`: on the first node 16 MiB of DMA, DMA32 up to 4 GiB,
    Normal above; only Normal elsewhere (x86-64); or `low-normal-high`: 1 MiB of Low, Normal up to 896 MiB,
    High above, which the kernel reaches by temporary mappings only (x86-32)."""
    placement: str
    """Node choice when the caller names none: local, bind, interleave or preferred."""
    placement_nodes: tuple[int, ...]
    """The nodes of bind, interleave and preferred; none = all of them."""

    # -- per-CPU page lists in front of each zone
    pcp_batch: int
    """Pages per refill and drain; 0 = from the zone's size (63 above 1 GiB, see `pcp_batch_bytes`)."""
    pcp_batch_bytes: int
    """Cap of the computed batch: a quarter of this many bytes.  512 KiB gives 31; 1 MiB gives 63 (4.19,
    d8a759b57035)."""
    pcp_high: int
    """Pages at which a list is drained, when `pcp_high_rule` is `fixed`; else 0."""
    pcp_high_rule: HighRule
    """`fixed`; `six-batches` (until 5.13); `watermark`: the zone's low watermark over the node's CPUs, at
    least four batches (5.14); `tuned`: between that and managed/8 over the CPUs, grown at refills,
    an eighth given back each second (6.7, 90b41691b988, 51a755c56dc0)."""
    pcp_orders: tuple[int, ...]
    """Orders that have per-CPU lists: 0; since 5.14 also 1, 2, 3 and 9 (44042b449872)."""
    pcp_alloc_scale: AllocScale
    """Whether the refill batch doubles in runs of allocations (6.7, c0a242394cb9)."""
    pcp_free_scale: FreeScale
    """Whether the drain batch doubles in runs of frees: not; per drain (5.14, 3b12e7e97938); as pages freed
    in a row (6.7); the same with a higher threshold for streams of larger blocks (6.16)."""
    pcp_scale_max: int
    """Doubling stops at batch << this (6.7, 52166607ecc9: 5).  Not read where nothing is capped."""
    pcp_drain: DrainTime
    """A free at the limit drains `before-push` (coal) or pushes first and drains at count >= high
    (`after-push`, Linux)."""
    pcp_lock: ListLock
    """What guards a list beside being per-CPU: nothing, or a `spinlock` (6.0, 4b23a68f9536)."""
    pcp_irqs_off: bool
    """Interrupts are off while a list is used; on since 6.2 (574907741599)."""

    # -- locks
    lock: str
    """Policy of every spinlock unless a lock has its own: ticket (2.6.25), qspinlock (4.2), or any other name
    of the lock registry, `module:Class` or `./file.py:Class`."""
    tas_winner: TasWinner
    """Who wins a test-and-set race.  Hardware decides, not the kernel: any waiter alike, or the nearest."""
    zone_irqsave: bool
    """The zone lock is taken with interrupts off (they go off before the wait begins)."""
    list_lock_irqsave: bool
    """The same for SLUB's list of partial slabs per node."""
    barn_irqsave: bool
    """The same for the barn of full and empty sheaves per node."""
    depot_irqsave: bool
    """The same for a depot of magazines."""
    slab_irqsave: bool
    """The same for the lock of a cache's slabs under the magazines."""

    # -- time
    hz: int
    """Timer interrupts per second and CPU; 0 = none."""

    def __post_init__(self) -> None:
        problems = [
            Problem(key=f"kernel.{key}", value=str(value), message=message, remedy=remedy)
            for key, value, fits, message, remedy in (
                *self._rules(),
                *self.vm_rules(),
                *self.pressure_rules(),
            )
            if not fits
        ]
        if problems:
            raise ConfigError(problems)

    def _rules(self) -> list[Rule]:
        orders = self.pcp_orders
        return [
            ("max_order", self.max_order, 0 <= self.max_order <= 20, "no such block size", "use 0 to 20"),
            ("hz", self.hz, 0 <= self.hz <= 10_000, "no such tick rate", "use 0 (no tick) to 10000"),
            (
                "magazine_threshold",
                self.magazine_threshold,
                self.magazine_threshold >= 0,
                "negative",
                "use 0 or more",
            ),
            ("pcp_batch", self.pcp_batch, self.pcp_batch >= 0, "negative", "use 0 (by zone size) or more"),
            (
                "pcp_batch_bytes",
                self.pcp_batch_bytes,
                self.pcp_batch_bytes >= 16_384,
                "less than four pages",
                "use 1048576 as Linux does",
            ),
            (
                "pcp_high",
                self.pcp_high,
                self.pcp_high >= max(self.pcp_batch, 1)
                if self.pcp_high_rule == "fixed"
                else self.pcp_high == 0,
                "does not fit pcp_high_rule and pcp_batch",
                "give at least pcp_batch (and 1) with pcp_high_rule=fixed, and 0 with any other rule",
            ),
            (
                "pcp_orders",
                ",".join(map(str, orders)),
                all(0 <= order <= self.max_order for order in orders) and sorted(set(orders)) == list(orders),
                "not ascending orders up to max_order",
                "write them like 0,1,2,3,9, or an empty list for no page lists",
            ),
            (
                "pcp_scale_max",
                self.pcp_scale_max,
                0 <= self.pcp_scale_max <= 6,
                "no such doubling",
                "use 0 to 6 (the range of CONFIG_PCP_BATCH_SCALE_MAX)",
            ),
            ("lock", self.lock, bool(self.lock), "no name", "name a lock policy, for example qspinlock"),
            (
                "placement_nodes",
                ",".join(map(str, self.placement_nodes)),
                min(self.placement_nodes, default=0) >= 0
                and len(set(self.placement_nodes)) == len(self.placement_nodes),
                "not different nodes",
                "write them like 0,2, or an empty list for all",
            ),
            ("placement", self.placement, bool(self.placement), "no name", "use for example local"),
        ]

    @property
    def kmalloc_sizes(self) -> tuple[int, ...]:
        """Object sizes of the kmalloc caches, ascending."""
        return KMALLOC_SIZES[self.kmalloc_classes]

    @property
    def tick_period(self) -> Time:
        """Time between timer interrupts of one CPU; 0 = none."""
        return SEC // self.hz if self.hz else 0
