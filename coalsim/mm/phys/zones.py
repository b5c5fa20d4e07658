"""Building the zones of a machine: where they lie, their locks, marks and list limits.

    one                 a node is one zone, Normal
    dma-dma32-normal    on the first node DMA (below 16 MiB), DMA32 (below 4 GiB), then
                        Normal; on other nodes Normal only, DMA32 too where they begin below 4 GiB
    low-normal-high     Low (below 1 MiB), Normal (below 896 MiB), and High, which the kernel reaches
                        by temporary mappings only: x86-32, whose higher half has no room for more

Nodes lie one after the other in physical memory, the first from frame 0.  The list
limits come from the switches of the kernel profile; a `pcp_batch` of 0 takes the
batch from the zone's size.
A lower zone keeps some frames from requests that could use a higher one: a share of what lies above it.
Source: Linux mm/page_alloc.c (`setup_per_zone_lowmem_reserve`), arch/x86/mm/init.c (zone borders).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coalsim.errors import ConfigError, Problem
from coalsim.locks.base import SpinLock
from coalsim.mm.phys.allocator import Bitmap, Buddy, FrameAllocator
from coalsim.mm.phys.bitmap import WORD, FrameBitmap
from coalsim.mm.phys.buddy import BuddyAllocator
from coalsim.mm.phys.fragmentation import Watermarks, min_free_kbytes, watermarks
from coalsim.mm.phys.own_source import OwnSource
from coalsim.mm.phys.pagelist_rules import (
    Generation,
    PageListRules,
    batch_size,
    classic_high,
    tuned_limits,
)
from coalsim.mm.phys.source import BitmapSource, BuddySource, FrameSource
from coalsim.mm.phys.zone import Zone
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.topology.distance import Distance
from coalsim.topology.machine import Machine
from coalsim.units import GIB, MIB, PAGE_SIZE, NodeId, Pfn

RANK_ZONE = 50
"""The zone lock is taken last of all allocator locks."""

LockMaker = Callable[[str, int, str], SpinLock]
"""Makes a lock from class name, rank and instance name; classes of one name are one."""

DMA_END = 16 * MIB // PAGE_SIZE
DMA32_END = 4 * GIB // PAGE_SIZE
HIGH = "High"
LOW_END = MIB // PAGE_SIZE
DIRECT_END = 896 * MIB // PAGE_SIZE
"""What x86-32 maps directly: 1 GiB of addresses less 128 MiB for mappings of other kinds."""

PROTECTION_RATIO = {"DMA": 256, "DMA32": 256, "Low": 256, "Normal": 32}
"""One frame in so many of the higher zones is kept (sysctl lowmem_reserve_ratio)."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Where a zone lies."""

    node: NodeId
    name: str
    first: int
    frames: int


def lay_out(machine: Machine, layout: str) -> list[Extent]:
    """The extents of all zones, in ascending order of frames."""
    extents: list[Extent] = []
    first = 0
    for node in machine.nodes:
        end = first + node.memory // PAGE_SIZE
        borders = [("Normal", end)]
        if layout == "dma-dma32-normal":
            borders = [("DMA", DMA_END), ("DMA32", DMA32_END), ("Normal", end)]
        elif layout == "low-normal-high":
            borders = [("Low", LOW_END), ("Normal", DIRECT_END), ("High", end)]
        for name, border in borders:
            stop = min(border, end)
            if stop > first:
                extents.append(Extent(node=node.node, name=name, first=first, frames=stop - first))
                first = stop
    return extents


def protections(extents: Sequence[Extent]) -> list[tuple[int, ...]]:
    """For each zone of one node, lowest first: the frames kept from requests, by their highest zone."""
    kept = []
    for low, extent in enumerate(extents):
        ratio, above, row = PROTECTION_RATIO.get(extent.name, 0), 0, [0] * (low + 1)
        for higher in extents[low + 1 :]:
            above += higher.frames
            row.append(above // ratio if ratio else 0)
        kept.append(tuple(row))
    return kept


def build_zones(
    machine: Machine,
    switches: Switches,
    costs: KernelCosts,
    make_lock: LockMaker,
    allocator: type[FrameAllocator] | None = None,
) -> list[Zone]:
    """All zones of the machine, in ascending order of frames.

    Args:
        machine, switches, costs, make_lock: of the system.
        allocator: of the frames; None: the one that `kernel.frames` names.

    Raises:
        ConfigError: the memory does not fit the frame source, or the switches contradict each other.
    """
    extents = lay_out(machine, switches.zones)
    direct_kib = _direct(extents) * PAGE_SIZE // 1024
    if switches.min_free_kbytes >= direct_kib:
        problem = Problem(
            key="kernel.min_free_kbytes",
            value=str(switches.min_free_kbytes),
            message=f"the kernel's zones have {direct_kib} KiB, all of which would have to stay free",
            remedy="use less, 0 for the kernel's formula, or give the machine more memory",
        )
        raise ConfigError([problem])
    least = switches.min_free_kbytes or min_free_kbytes(direct_kib)
    marks = watermarks(least, [extent.frames for extent in extents], [e.name == HIGH for e in extents])
    near = machine.line_transfer.get(Distance.SOCKET, machine.line_transfer[Distance.SELF])
    near_ps = near.picoseconds(machine.clock_ghz.value)
    farthest = max(number.picoseconds(machine.clock_ghz.value) for number in machine.line_transfer.values())
    of_node = {
        node: [extent for extent in extents if extent.node == node]
        for node in {e.node: None for e in extents}
    }
    kept = {node: protections(mine) for node, mine in of_node.items()}
    zones = []
    for index, (extent, mark) in enumerate(zip(extents, marks, strict=True)):
        source = _source(extent, switches, costs, near_ps, max(near_ps, farthest), allocator)
        cpus = len(machine.cpus_of_node(extent.node)) or machine.num_cpus
        siblings = of_node[extent.node]
        level = siblings.index(extent)
        zones.append(
            Zone(
                name=extent.name,
                node=extent.node,
                index=index,
                source=source,
                first=Pfn(extent.first),
                frames=extent.frames,
                lock=make_lock("zone->lock", RANK_ZONE, f"zone {extent.node}/{extent.name}"),
                rules=list_rules(switches, extent.frames, mark, cpus),
                high_mark=mark.high if switches.pcp_high_rule == "tuned" else 0,
                irqsave=switches.zone_irqsave,
                marks=mark,
                level=level,
                protection=kept[extent.node][level],
                kernel_level=sum(sibling.name != HIGH for sibling in siblings) - 1,
                is_high=extent.name == HIGH,
            )
        )
    return zones


def _direct(extents: Sequence[Extent]) -> int:
    """Frames that the kernel reaches without temporary mappings."""
    return sum(extent.frames for extent in extents if extent.name != HIGH)


def _source(
    extent: Extent,
    switches: Switches,
    costs: KernelCosts,
    near: int,
    farthest: int,
    allocator: type[FrameAllocator] | None,
) -> FrameSource:
    frames = switches.frames
    if allocator is Buddy or allocator is Bitmap:  # ours come with prices of their own
        frames = "buddy" if allocator is Buddy else "bitmap"
    elif allocator is not None:
        return OwnSource(allocator, extent.first, extent.frames, switches.max_order, costs, farthest)
    if frames == "bitmap":
        if extent.frames % WORD:
            raise ConfigError(
                [
                    Problem(
                        key="kernel.frames",
                        value="bitmap",
                        message=f"zone {extent.name} of node {extent.node} has {extent.frames} frames, "
                        f"which do not fill words of {WORD} bits",
                        remedy="give the node a multiple of 256 KiB, or use kernel.frames=buddy",
                    )
                ]
            )
        return BitmapSource(FrameBitmap(extent.first, extent.frames), costs, switches.max_order)
    return BuddySource(BuddyAllocator(extent.first, extent.frames, switches.max_order), costs, near, farthest)


def list_rules(switches: Switches, frames: int, mark: Watermarks, cpus: int) -> PageListRules:
    """The limits of the per-CPU lists of one zone.

    Args:
        switches: of the kernel.
        frames: of the zone.
        mark: the zone's watermarks.
        cpus: of its node.
    """
    batch = switches.pcp_batch or batch_size(frames, switches.pcp_batch_bytes // PAGE_SIZE)
    low, high = tuned_limits(frames, mark.low, cpus, batch)
    limits = {
        "fixed": (switches.pcp_high, switches.pcp_high),
        "six-batches": (classic_high(batch), classic_high(batch)),
        "watermark": (low, low),
        "tuned": (low, max(low, high)),
    }[switches.pcp_high_rule]
    return PageListRules(
        generation=_generation(switches),
        batch=batch,
        high_min=limits[0],
        high_max=limits[1],
        cached_orders=switches.pcp_orders or (0,),
        scale_max=switches.pcp_scale_max,
    )


def _generation(switches: Switches) -> Generation:
    """The rules that a combination of switches means; kernels had only these."""
    known: dict[tuple[str, str, str], Generation] = {
        ("before-push", "none", "none"): "coal",
        ("after-push", "none", "none"): "linux-2.6",
        ("after-push", "none", "5.14"): "linux-5.14",
        ("after-push", "6.7", "6.7"): "linux-6.7",
        ("after-push", "6.7", "6.16"): "linux-6.16",
    }
    chosen = (switches.pcp_drain, switches.pcp_alloc_scale, switches.pcp_free_scale)
    if chosen not in known:
        raise ConfigError(
            [
                Problem(
                    key="kernel.pcp_drain, pcp_alloc_scale, pcp_free_scale",
                    value=", ".join(chosen),
                    message="no kernel moved its page lists like that",
                    remedy="use one of " + "; ".join(", ".join(one) for one in known),
                )
            ]
        )
    return known[chosen]
