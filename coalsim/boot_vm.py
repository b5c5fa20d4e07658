"""Boot of virtual memory: MMUs, page tables, shootdown policy and processes of one system.

    oracle -> lines of tables -> translation units -> policy -> LRU, frames -> kernel's space -> face

Built when a load first asks for it, so that loads without processes pay nothing.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from coalsim.cpus.bandwidth import Pipe
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delayed_delivery import DelayedDelivery, IpiDelay
from coalsim.cpus.delivery import DELIVERIES, Delivery, DeliveryCosts
from coalsim.cpus.ipi import CallQueue
from coalsim.cpus.operation import Operations
from coalsim.cpus.oracle import Oracle
from coalsim.cpus.runqueue import Thread
from coalsim.cpus.tablelines import LineCosts, TableLines
from coalsim.cpus.tlb import Shape
from coalsim.cpus.vcpu import VcpuSchedule
from coalsim.cpus.walked import WalkCosts
from coalsim.cpus.walker import TranslationUnit
from coalsim.engine.clock import Engine, Op
from coalsim.engine.streams import Streams
from coalsim.locks.base import Lock, SpinLock
from coalsim.locks.rwsem import RwSemaphore
from coalsim.mm.cache.page_cache import PageCache
from coalsim.mm.manager import MemoryManager
from coalsim.mm.paging.context import Loaded
from coalsim.mm.paging.entry import ACCESSED
from coalsim.mm.paging.geometry import GEOMETRIES, Geometry
from coalsim.mm.paging.kernel_space import KernelSpace
from coalsim.mm.paging.layout import region
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.registry import make_shootdown
from coalsim.mm.shootdown.switching import Switching
from coalsim.mm.shootdown.system import FlushTimes, Recorder, ShootdownSystem
from coalsim.mm.virt.frames import UserFrames
from coalsim.mm.virt.kernel import RANK_LRU, VmKernel
from coalsim.mm.virt.kernel_stack import KernelStacks
from coalsim.mm.virt.lru import LruLists
from coalsim.mm.virt.system import VirtualMemory
from coalsim.mm.virt.temporary import TemporaryMappings
from coalsim.mm.virt.vmalloc import RANK_PURGE, RANK_VMAP, Vmalloc, VmallocParts
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.topology.costs import assumed_costs
from coalsim.topology.machine import Machine
from coalsim.units import GIB, PAGE_SIZE, CpuId, NodeId, Pfn, Time

X86_32_LIMIT = 4 * GIB
WINDOW_PAGES = 4096
"""Frames that the kernel maps for itself at the start: its image, 16 MiB."""
WARM_BYTES = 512 * 1024
"""How much of what it freed lately a CPU's cache still has: half of a second level of 1 MiB, assumed."""


@dataclass(frozen=True, kw_only=True)
class VmParts:
    """What the rest of the system gives to virtual memory."""

    env: Engine
    machine: Machine
    cpus: Sequence[Cpu]
    switches: Switches
    costs: KernelCosts
    memory: MemoryManager
    make_spinlock: Callable[[str, int, str], SpinLock]
    make_rwsem: Callable[[str, int, str], RwSemaphore]
    make_mutex: Callable[[str, int, str], Lock]
    recorder: Callable[[], Recorder]
    policy: type[Shootdown]
    new_thread: Callable[[str, Op[None]], Thread]
    put_thread: Callable[[CpuId, Thread], None]
    wake_latency: Time
    vcpus: VcpuSchedule | None = None
    ipi_delays: Sequence[IpiDelay] = ()
    streams: Streams | None = None


def delivery_of(machine: Machine, switches: Switches) -> Delivery:
    """The interrupt model of a kernel on a machine."""
    name = machine.ipi_model if switches.ipi == "machine" else switches.ipi
    guest = machine.guest or assumed_costs().guest
    return DELIVERIES[name](DeliveryCosts.of(machine, guest, all_but_self=switches.all_but_self))


def _late(delivery: Delivery, parts: VmParts) -> Delivery:
    """The delivery with the delays that are injected."""
    if not parts.ipi_delays or parts.streams is None:
        return delivery
    return DelayedDelivery(delivery, parts.ipi_delays, parts.streams)


def flush_times(machine: Machine) -> FlushTimes:
    """What invalidations cost on a machine."""

    def ps(key: str) -> Time:
        return machine.mmu[key].picoseconds(machine.clock_ghz.value)

    return FlushTimes(
        invlpg=ps("invlpg"),
        invlpg_next=ps("invlpg_next"),
        asid_flush=ps("cr3_flush"),
        interrupt_entry=ps("interrupt_entry"),
        interrupt_exit=ps("interrupt_exit"),
        broadcast_issue=ps("broadcast_issue"),
        broadcast_pages=machine.mmu.count("broadcast_pages"),
        broadcast_flight=ps("broadcast_flight"),
        broadcast_sync=ps("broadcast_sync"),
        action=ps("rar_action"),
    )


def geometry_of(machine: Machine, switches: Switches) -> Geometry:
    """The shape of page tables."""
    if switches.geometry != "auto":
        return GEOMETRIES[switches.geometry]
    return GEOMETRIES["x86-32" if machine.memory <= X86_32_LIMIT else "x86-64"]


def walk_costs(machine: Machine, geometry: Geometry) -> WalkCosts:
    """What walks cost, and the sizes of what they fill."""
    mmu, clock = machine.mmu, machine.clock_ghz.value

    def ps(key: str) -> Time:
        return mmu[key].picoseconds(clock)

    caches = (mmu.count("pde_entries"), mmu.count("pdpte_entries"), mmu.count("pml4e_entries"))
    used = [entries for entries in caches[: geometry.levels - 1] if entries]
    l1_hit = ps("cache_l1_hit")
    return WalkCosts(
        l1_hit=l1_hit,
        l2_hit=l1_hit + ps("l2_hit"),
        walk_fixed=ps("walk_fixed"),
        set_accessed=ps("set_accessed"),
        l1=Shape(mmu.count("l1_entries"), mmu.count("l1_ways")),
        l2=Shape(mmu.count("l2_entries"), mmu.count("l2_ways")),
        structure_entries=tuple(used),
        leaf_bits=geometry.leaf_bits,
        index_bits=geometry.bits,
        root_accessed=bool(geometry.root_flags & ACCESSED),
        entry_bytes=geometry.entry_bytes,
    )


def build_vm(parts: VmParts) -> VirtualMemory:
    """All of virtual memory."""
    machine, switches, costs, cpus = parts.machine, parts.switches, parts.costs, parts.cpus
    geometry, pages = geometry_of(machine, switches), parts.memory.pages
    ram = parts.memory.ram
    oracle = Oracle(len(cpus)) if switches.oracle else None

    starts, nodes = [zone.first for zone in pages.zones], [zone.node for zone in pages.zones]

    def node_of(pfn: int) -> int:
        return nodes[bisect_right(starts, pfn) - 1]

    clock = machine.clock_ghz.value
    lines = TableLines(
        LineCosts(
            own_hit=machine.mmu["cache_l2_hit"].picoseconds(clock),
            shared_hit=machine.mmu["cache_l3_hit"].picoseconds(clock),
            own_lines=max(1, machine.mmu.count("table_lines_l2")),
            shared_lines=max(1, machine.mmu.count("table_lines_l3")),
        ),
        [place.socket for place in machine.cpus],
        [[machine.dram_latency(here.node, there.node) for there in machine.nodes] for here in machine.nodes],
        node_of,
    )
    walking = walk_costs(machine, geometry)
    units = [TranslationUnit(cpu, walking, lines, ram.table, oracle) for cpu in cpus]
    policy = make_shootdown(
        parts.policy,
        ShootdownSystem(
            cpus=cpus,
            units=units,
            loaded=[Loaded(switches.asid_slots) for _ in cpus],
            queues=[CallQueue(cpu) for cpu in cpus],
            delivery=_late(delivery_of(machine, switches), parts),
            times=flush_times(machine),
            switches=switches,
            costs=costs,
            oracle=oracle,
            latencies=parts.recorder(),
            vcpus=parts.vcpus,
        ),
    )
    switching = Switching(policy)
    for cpu in cpus:
        cpu.switcher = switching
    lru_locks = [
        parts.make_spinlock("lruvec->lru_lock", RANK_LRU, f"node {n}") for n in range(machine.num_nodes)
    ]
    high = {zone.node: range(zone.first, zone.first + zone.frames) for zone in pages.zones if zone.is_high}
    high_of = [high.get(node.node, range(0)) for node in machine.nodes]
    cache = PageCache(costs, high_of, parts.make_spinlock, parts.make_rwsem)
    lru = LruLists(lru_locks, node_of, costs, switches, len(cpus), cache.lists)
    pipes = [Pipe(f"node {node.node}", Fraction(node.bandwidth.value)) for node in machine.nodes]
    frames = UserFrames(
        pages,
        ram,
        costs,
        lru,
        pipes,
        WARM_BYTES // PAGE_SIZE,
        oracle,
        len(cpus),
        late=switches.refcache_delay,
        policy=policy,
    )
    boot = BootFrames(parts.memory, cpus[0])
    kernel_space = KernelSpace(geometry, ram, boot.take, boot.give)
    kernel_space.map_window(min(WINDOW_PAGES, machine.memory // PAGE_SIZE // 4))
    kernel_space.paging_enable()
    if any(zone.is_high for zone in pages.zones):
        frames.temporary = TemporaryMappings(kernel_space, len(cpus), costs, flush_times(machine).invlpg)
    frames.zero_frame = boot.take()
    kernel = VmKernel(
        cpus=cpus,
        units=units,
        policy=policy,
        switching=switching,
        oracle=oracle,
        operations=Operations(parts.recorder),
        costs=costs,
        switches=switches,
        geometry=geometry,
        ram=ram,
        frames=frames,
        cache=cache,
        lines=lines,
        kernel_space=kernel_space,
        num_nodes=machine.num_nodes,
        make_spinlock=parts.make_spinlock,
        make_rwsem=parts.make_rwsem,
        table_node=table_placer(machine, switches),
        wake_latency=parts.wake_latency,
    )
    virtual = VirtualMemory(kernel, parts.new_thread, parts.put_thread)
    if switches.debug_guard_pages:
        virtual.around = guard_kernel(parts, kernel).around
    return virtual


class BootFrames:
    """Frames for the kernel's own tables, taken before the run in no time; the kernel keeps them.

    Args:
        memory: where they come from.
        cpu: who is said to have taken them.
    """

    def __init__(self, memory: MemoryManager, cpu: Cpu) -> None:
        self._memory = memory
        self._cpu = cpu

    def take(self) -> Pfn:
        """A frame."""
        return self._memory.pages.take_at_boot(self._cpu)

    def give(self, pfn: Pfn) -> None:
        """The kernel's own tables are never freed."""
        raise AssertionError(f"frame {pfn:#x} of the kernel's own tables is not freed")


def table_placer(machine: Machine, switches: Switches) -> Callable[[Cpu], NodeId | None]:
    """Where page tables go, as `kernel.table_placement` says."""
    if switches.table_node is not None:
        node = NodeId(switches.table_node)  # `study/fitting.py` has refused one that is not there
        return lambda _: node
    if switches.table_placement != "interleave":
        return lambda _: None
    turns = [0] * machine.num_cpus

    def next_node(cpu: Cpu) -> NodeId:
        turns[cpu.id] += 1
        return NodeId((cpu.id + turns[cpu.id]) % machine.num_nodes)

    return next_node


def guard_kernel(parts: VmParts, kernel: VmKernel) -> KernelStacks:
    """Guard pages behind the kernel's allocations of whole pages, and below its stacks."""
    machine, memory, geometry = parts.machine, parts.memory, kernel.geometry
    has_map_of_linux = bool(geometry.hole_pages)
    heap, stacks = ("vmalloc", "vmalloc") if has_map_of_linux else ("kernel heap", "kernel stacks")
    mapped = Vmalloc(
        VmallocParts(
            space=kernel.kernel_space,
            ram=memory.ram,
            pages=memory.pages,
            cpus=parts.cpus,
            costs=parts.costs,
            lock=parts.make_spinlock("vmap_area_lock", RANK_VMAP, "vmap_area_lock"),
            purge_lock=parts.make_mutex("vmap_purge_lock", RANK_PURGE, "vmap_purge_lock"),
            flights=machine.ipi_row,
            send_cost=machine.ipi_send.picoseconds(machine.clock_ghz.value),
        ),
        region(geometry, heap),
    )
    made = KernelStacks(mapped, region(geometry, stacks), memory.bytes, parts.costs)
    memory.guard_pages(mapped, made)
    return made
