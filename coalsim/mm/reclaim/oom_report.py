"""The OOM killer's report, in the layout of the kernel's log.

    who asked for what -> where -> memory by zone and block size -> the processes -> the verdict

Resident pages are those that the kernel's own counters say, by kind; their sum is rss.
Free pages by zone are counted as the kernel counts them: with the zone's lock held.
Source: Linux mm/oom_kill.c (`dump_header`, `dump_task`, `dump_oom_victim`, `__oom_kill_process`),
kernel/cgroup/cpuset.c (`cpuset_print_current_mems_allowed`), mm/memcontrol.c
(`mem_cgroup_print_oom_context`), lib/vsprintf.c (%*pbl), mm/show_mem.c (`show_free_areas`), as of 6.18.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.fragmentation import free_pages
from coalsim.mm.phys.zone import Zone
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.rss import Resident
from coalsim.units import PAGE_SIZE, SEC, NodeId, Time

KIB = PAGE_SIZE // 1024
US_PER_S = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ZoneState:
    """One zone when the report was written."""

    zone: Zone
    free_blocks: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One process when the victim was chosen; in pages."""

    pid: int
    name: str
    total_vm: int
    resident: Resident
    tables: int
    oom_score_adj: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the report is about."""

    zones: Sequence[ZoneState]
    tasks: Sequence[TaskRow]
    constraint: tuple[NodeId, ...]


def row_of(process: Process) -> TaskRow:
    """A process as it is now; synchronised."""
    space = process.space
    return TaskRow(
        pid=process.pid,
        name=process.name,
        total_vm=sum(area.pages for area in space.areas),
        resident=space.rss.written_by_kind,
        tables=space.tables.num_tables,
        oom_score_adj=process.oom_score_adj,
    )


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
    victim: TaskRow | None,
) -> str:
    """The whole text; synchronised."""
    name = process.name if process is not None else "kernel"
    pid = process.pid if process is not None else 0
    adjustment = process.oom_score_adj if process is not None else 0
    lines = [
        f"{name} invoked oom-killer: gfp_mask={context.gfp_mask:#x}({context.gfp}), order={order}, "
        f"oom_score_adj={adjustment}",
        f"CPU: {cpu.id} UID: 0 PID: {pid} Comm: {name}",
        "Call Trace:",
        f" {site}",
        "Mem-Info:",
        *(line for state in machine.zones for line in _zone_lines(state)),
        *(_buddy_line(state) for state in machine.zones),
        f"{sum(state.zone.frames for state in machine.zones)} pages RAM",
        "Tasks state (memory values in pages):",
        "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents "
        "oom_score_adj name",
        *(_task_line(one) for one in machine.tasks),
    ]
    if victim is not None:
        lines += _verdict(machine, victim)
    return stamped(cpu.clock, lines)


def stamped(at: Time, lines: Sequence[str]) -> str:
    """Lines as the kernel's log has them: each with the time since boot."""
    stamp = f"[{at // SEC:5}.{at % SEC * US_PER_S // SEC:06}] "
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


def _task_line(row: TaskRow) -> str:
    """As the kernel prints it, whose columns are not those of its heading."""
    anon, file, shmem = row.resident
    return (
        f"[{row.pid:7}] {0:5} {row.pid:5} {row.total_vm:8} {row.resident.pages:8} "
        f"{anon:8} {file:8} {shmem:9} {row.tables * PAGE_SIZE:8} {0:8}         "
        f"{row.oom_score_adj:5} {row.name}"
    )


def _verdict(machine: Machine, victim: TaskRow) -> list[str]:
    anon, file, shmem = victim.resident
    nodes = _ranges(machine.constraint)
    constraint, mask = ("CONSTRAINT_MEMORY_POLICY", nodes) if nodes else ("CONSTRAINT_NONE", "(null)")
    allowed = _ranges([state.zone.node for state in machine.zones])
    return [
        f"oom-kill:constraint={constraint},nodemask={mask},cpuset=/,mems_allowed={allowed},global_oom,"
        f"task_memcg=/,task={victim.name},pid={victim.pid},uid=0",
        f"Out of memory: Killed process {victim.pid} ({victim.name}) total-vm:{victim.total_vm * KIB}kB, "
        f"anon-rss:{anon * KIB}kB, file-rss:{file * KIB}kB, shmem-rss:{shmem * KIB}kB, UID:0 "
        f"pgtables:{victim.tables * KIB}kB oom_score_adj:{victim.oom_score_adj}",
    ]


def _ranges(nodes: Sequence[NodeId]) -> str:
    """Numbers as the kernel prints the bits of a mask: 0-3,6."""
    runs: list[tuple[int, int]] = []
    for node in sorted(dict.fromkeys(nodes)):
        if runs and runs[-1][1] == node - 1:
            runs[-1] = (runs[-1][0], node)
        else:
            runs.append((node, node))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
