"""The OOM killer's report, in the layout of the kernel's log.

    who asked for what -> where -> memory by zone and block size -> the processes -> the verdict

Free pages by zone are counted as the kernel counts them: with the zone's lock held.
Source: Linux mm/oom_kill.c (`dump_header`, `dump_tasks`, `__oom_kill_process`),
mm/show_mem.c (`show_free_areas`), as of 6.18.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.fragmentation import free_pages
from coalsim.mm.phys.zone import Zone
from coalsim.mm.virt.process import Process
from coalsim.units import PAGE_SIZE, SEC, NodeId

KIB = PAGE_SIZE // 1024
US_PER_S = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ZoneState:
    """One zone when the report was written."""

    zone: Zone
    free_blocks: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the report is about."""

    zones: Sequence[ZoneState]
    processes: Sequence[Process]
    total: int
    constraint: tuple[NodeId, ...]


def zone_states(cpu: Cpu, zones: Sequence[Zone]) -> Op[list[ZoneState]]:
    """Every zone, read under its lock."""
    states: list[ZoneState] = []
    for zone in zones:
        yield from cpu.irq_off()
        yield from zone.lock.acquire(cpu, "show_free_areas")
        yield from cpu.sync()
        states.append(ZoneState(zone=zone, free_blocks=tuple(zone.source.free_blocks())))
        yield from zone.lock.release(cpu)
        yield from cpu.irq_on()
    return states


def report_of(
    machine: Machine,
    cpu: Cpu,
    order: int,
    context: AllocContext,
    site: str,
    process: Process | None,
    victim: Process | None,
) -> str:
    """The whole text; synchronised."""
    name = process.name if process is not None else "kernel"
    pid = process.pid if process is not None else 0
    adjustment = process.oom_score_adj if process is not None else 0
    lines = [
        f"{name} invoked oom-killer: gfp_mask={context.gfp}, order={order}, oom_score_adj={adjustment}",
        f"CPU: {cpu.id} UID: 0 PID: {pid} Comm: {name}",
        "Call Trace:",
        f" {site}",
        "Mem-Info:",
        *(line for state in machine.zones for line in _zone_lines(state)),
        *(_buddy_line(state) for state in machine.zones),
        f"{sum(state.zone.frames for state in machine.zones)} pages RAM",
        "Tasks state (memory values in pages):",
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        *(_task_line(one) for one in machine.processes),
    ]
    if victim is not None:
        lines += _verdict(machine, victim)
    stamp = f"[{cpu.clock // SEC:5}.{cpu.clock % SEC * US_PER_S // SEC:06}] "
    return "\n".join(stamp + line for line in lines)


def _zone_lines(state: ZoneState) -> list[str]:
    zone, marks = state.zone, state.zone.marks
    free = free_pages(state.free_blocks)
    return [
        f"Node {zone.node} {zone.name} free:{free * KIB}kB boost:0kB min:{marks.min * KIB}kB "
        f"low:{marks.low * KIB}kB high:{marks.high * KIB}kB managed:{zone.frames * KIB}kB",
        "lowmem_reserve[]: " + " ".join(map(str, zone.protection)),
    ]


def _buddy_line(state: ZoneState) -> str:
    cells = [f"{count}*{KIB << order}kB" for order, count in enumerate(state.free_blocks)]
    total = free_pages(state.free_blocks) * KIB
    return f"Node {state.zone.node} {state.zone.name}: {' '.join(cells)} = {total}kB"


def _task_line(process: Process) -> str:
    space = process.space
    return (
        f"[{process.pid:7}] {0:5} {process.pid:5} {total_vm(process):8} {max(0, space.rss.written):8} "
        f"{space.tables.num_tables * PAGE_SIZE:14} {0:8} {process.oom_score_adj:13} {process.name}"
    )


def _verdict(machine: Machine, victim: Process) -> list[str]:
    nodes = ",".join(map(str, machine.constraint))
    constraint, mask = ("CONSTRAINT_MEMORY_POLICY", nodes) if nodes else ("CONSTRAINT_NONE", "(null)")
    space = victim.space
    return [
        f"oom-kill:constraint={constraint},nodemask={mask},task={victim.name},pid={victim.pid},uid=0",
        f"Out of memory: Killed process {victim.pid} ({victim.name}) total-vm:{total_vm(victim) * KIB}kB, "
        f"anon-rss:{max(0, space.rss.written) * KIB}kB, UID:0 pgtables:{space.tables.num_tables * KIB}kB "
        f"oom_score_adj:{victim.oom_score_adj}",
    ]


def total_vm(process: Process) -> int:
    """Pages of all its areas; synchronised."""
    return sum(area.pages for area in process.space.areas)
