"""Starting from the fill of the recorded machine: its free blocks and its per-CPU page lists.

A snapshot says how many free blocks of each order a zone had, and how many pages each CPU's list
held, with its limits.  The simulated zones get the same free blocks; what is not free is memory
that somebody took before the recording began.  Pages on lists come out of that, and so do the
blocks whose frees the trace holds without their allocations.

Not recorded, and so not modelled: where the free blocks lay (they are placed so that no two can
merge), the orders of the blocks on a list (all pages count as single ones), and objects of slabs.

Invariant: afterwards a zone's line of buddyinfo is the recorded one.
Runs before the first operation and costs no simulated time.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.errors import ConfigError, InputError, Problem
from coalsim.locks.view import GuardedCount
from coalsim.mm.manager import MemoryManager
from coalsim.mm.phys.fill import refold, span_for
from coalsim.mm.phys.pagelist import page_list
from coalsim.mm.phys.pagelist_rules import PageListRules
from coalsim.mm.phys.zone import OwnList, Zone
from coalsim.mm.phys.zones import DMA32_END, DMA_END
from coalsim.units import PAGE_SIZE
from coalsim.workloads.trace.procfs import PageSet
from coalsim.workloads.trace.procfs import Zone as RecordedZone
from coalsim.workloads.trace.snapshot import Snapshot

_FIRST_FRAME = {"DMA": 0, "DMA32": DMA_END, "Normal": DMA32_END}
_KEY = "replay.snapshots"


def recorded_zones(snapshot: Snapshot, path: str) -> list[RecordedZone]:
    """The zones that had memory before the recording, in ascending order of frames.

    Raises:
        InputError: there are none, or they are not those of one node of an x86-64 machine.
    """
    zones = [zone for zone in snapshot.before.zones if zone.managed or any(zone.free_blocks)]
    problems = []
    if not any(any(zone.free_blocks) for zone in zones):
        message, remedy = "no /proc/buddyinfo (before) in it", "record it before the trace"
        problems.append(Problem(where=path, message=message, remedy=remedy))
    for zone in zones:
        if zone.node or zone.name not in _FIRST_FRAME:
            message = f"zone {zone.name} of node {zone.node} cannot be the start of a simulation"
            remedy = "replay without --snapshots; only DMA, DMA32 and Normal of one node can"
            problems.append(Problem(where=path, message=message, remedy=remedy))
    if problems:
        raise InputError(problems)
    return sorted(zones, key=lambda zone: _FIRST_FRAME[zone.name])


def memory_needed(zones: Sequence[RecordedZone], max_order: int) -> int:
    """Bytes of the one node of a machine whose zones can hold what was recorded."""
    top = zones[-1]
    frames = span_for(refold(top.free_blocks, max_order), top.managed, max_order)
    return (_FIRST_FRAME[top.name] + frames) * PAGE_SIZE


def start_from(
    memory: MemoryManager, zones: Sequence[RecordedZone], seats: Sequence[tuple[Cpu, int]]
) -> None:
    """Give the zones and page lists their recorded fill.

    Args:
        memory: as booted.
        zones: as recorded.
        seats: processors that replay, each with the number of its CPU in the trace.

    Raises:
        ConfigError: the simulated machine's zones are others.
    """
    _check_zones(memory, zones)
    for zone, recorded in zip(memory.pages.zones, zones, strict=True):
        zone.source.shape(refold(recorded.free_blocks, memory.pages.max_order))
        zone.free = GuardedCount(zone.source.free_frames)
        if zone.high_mark and recorded.high:
            zone.high_mark = recorded.high
        pagesets = {pageset.cpu: pageset for pageset in recorded.pagesets}
        for cpu, number in seats:
            if number in pagesets:
                memory.pages.own[cpu.id].lists[zone.index] = _filled_list(zone, pagesets[number])


def zone_finder(zones: Sequence[RecordedZone]) -> Callable[[int], int]:
    """Which zone, by its place in `zones`, a recorded frame lies in."""
    starts = [zone.start_pfn for zone in zones]
    return lambda frame: max(0, bisect_right(starts, frame) - 1)


def _filled_list(zone: Zone, pageset: PageSet) -> OwnList:
    """A page list with the recorded limits and number of pages."""
    batch = max(1, pageset.batch)
    low = max(pageset.high_min or pageset.high, batch)  # one limit for both before Linux 6.7
    rules = PageListRules(
        generation=zone.rules.generation,
        batch=batch,
        high_min=low,
        high_max=max(pageset.high_max or pageset.high, low),
        cached_orders=zone.rules.cached_orders,
        scale_max=zone.rules.scale_max,
    )
    mine = OwnList(page_list(rules))
    mine.pages.high = min(max(pageset.high, rules.high_min), rules.high_max)
    heads: list[int] = []
    while len(heads) < pageset.count and (head := zone.source.adopt(0)) is not None:
        heads.append(head)
    mine.pages.stock(0, heads)
    return mine


def _check_zones(memory: MemoryManager, zones: Sequence[RecordedZone]) -> None:
    wanted = [zone.name for zone in zones]
    nodes = dict.fromkeys(zone.node for zone in memory.pages.zones)
    if len(nodes) > 1:
        message = f"it is of a machine with one memory node; this machine has {len(nodes)}"
        remedy = 'use a machine with one node, such as --machine "pack:1 numa:1 core:4 pu:1"'
    elif memory.switches.zones != "dma-dma32-normal" or memory.switches.frames != "buddy":
        message = "the kernel has no zones like those of Linux, or no buddy allocator"
        remedy = "use a Linux profile: --set kernel.profile=linux-6.18"
    elif [zone.name for zone in memory.pages.zones] != wanted:
        message = f"it has the zones {', '.join(wanted)}; this machine's memory does not reach as far"
        remedy = f"use --set machine.memory={memory_needed(zones, memory.pages.max_order)}"
    else:
        return
    raise ConfigError([Problem(key=_KEY, message=message, remedy=remedy)])
