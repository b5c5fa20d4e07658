"""Boot of what happens when memory runs short: reserve, reclaimers, the slow path, the OOM killer.

    reserve -> shrinkers -> a reclaimer per node -> drains -> OOM killer and reaper -> slow path

Built only where the kernel reclaims (`kernel.reclaim`), so that others pay nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.locks.base import Lock, SpinLock
from coalsim.mm.manager import MemoryManager
from coalsim.mm.phys.reserve import EmergencyReserve, set_frames_aside
from coalsim.mm.reclaim.draining import PageDrain
from coalsim.mm.reclaim.kswapd import Kswapd
from coalsim.mm.reclaim.oom import OomKiller
from coalsim.mm.reclaim.oom_reaper import OomReaper
from coalsim.mm.reclaim.shrinker import NodeReclaim
from coalsim.mm.reclaim.slab_reaper import SlabReaper
from coalsim.mm.reclaim.slow_path import SlowPath
from coalsim.mm.reclaim.victim_rules import Badness, VictimRule, rule_at_work
from coalsim.mm.virt.process import Process
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.topology.machine import Machine
from coalsim.units import CpuId, Time

RANK_RESERVE = 48
"""The reserve's lock comes after the LRU lock and before a zone's."""
RANK_DRAIN = 8
"""One drain at a time: a mutex that is taken before every spinlock of the allocators, behind mmap_lock."""


@dataclass(frozen=True, kw_only=True)
class PressureParts:
    """What the rest of the system gives to reclaim."""

    machine: Machine
    cpus: Sequence[Cpu]
    switches: Switches
    costs: KernelCosts
    memory: MemoryManager
    make_spinlock: Callable[[str, int, str], SpinLock]
    make_mutex: Callable[[str, int, str], Lock]
    processes: Callable[[], Sequence[Process]]
    wake_latency: Time
    say: Callable[[Time, str], None]
    victim: type[VictimRule] = Badness


def build_pressure(parts: PressureParts) -> SlowPath:
    """All of it; the page allocator asks it from now on."""
    machine, cpus, costs, pages = parts.machine, parts.cpus, parts.costs, parts.memory.pages
    send = machine.ipi_send.picoseconds(machine.clock_ghz.value)
    reaper = SlabReaper(parts.memory.objects, pages, cpus, costs, machine.ipi_row, send, parts.wake_latency)
    if parts.memory.debug is not None and parts.switches.debug_quarantine:
        reaper.release_held_back = parts.memory.debug.drain_cpu
    reclaim = NodeReclaim([reaper], costs)
    kswapds = {}
    for node in dict.fromkeys(zone.node for zone in pages.zones):
        mine = [cpus[cpu] for cpu in machine.cpus_of_node(node)] or list(cpus)
        zones = [zone for zone in pages.zones if zone.node == node]
        kswapds[node] = Kswapd(node, zones, mine, reclaim, pages, parts.wake_latency)
    drain = PageDrain(
        pages,
        cpus,
        costs,
        parts.make_mutex("pcpu_drain_mutex", RANK_DRAIN, "pcpu_drain_mutex"),
        parts.switches.pcp_drain_by,
        parts.wake_latency,
    )
    oom = OomKiller(pages.zones, parts.processes, costs, parts.switches.oom, rule_at_work(parts.victim))
    oom_reaper = OomReaper(list(cpus), parts.switches.oom_reaper_delay, parts.say)
    oom.start_reaper = oom_reaper.start
    oom.say = parts.say
    slow_path = SlowPath(
        pages, reclaim, kswapds, drain, reaper, oom, oom_reaper, costs, parts.switches.tick_period
    )
    pages.pressure = slow_path
    return slow_path


def set_reserve_aside(parts: PressureParts) -> None:
    """Take the emergency reserve's frames, before anybody else takes any."""
    count = parts.switches.reserve_pages
    if count:
        pages, cpu = parts.memory.pages, parts.cpus[CpuId(0)]
        lock = parts.make_spinlock("reserve->lock", RANK_RESERVE, "reserve")
        cost = parts.costs.pcp_pop
        pages.set_aside = count
        pages.reserve = EmergencyReserve(set_frames_aside(pages.zones, cpu, count), lock, cost)
