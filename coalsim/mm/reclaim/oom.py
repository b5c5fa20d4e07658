"""The OOM killer: when nothing can be reclaimed, a process has to go.

    out_of_memory -> a victim is dying already --> wait for it, if it may use the nodes in question
                  -> memory has come back -------> take it
                  -> kernel.oom=panic ---------> panic, unless the request may use some nodes only
                  -> nobody to kill -----------> the caller panics, or fails
                  -> the choice is exiting ----> it becomes a victim, and no word is said about it
                  -> kill: SIGKILL to every thread, its requests may go below the marks,
                     the reaper takes its memory if it does not go by itself

One at a time, behind a lock that is only tried: who comes second lets the first one work.
The report shows the processes at the moment of the choice, so the points can be recomputed from it.
Source: Linux mm/oom_kill.c (`out_of_memory`, `check_panic_on_oom`, `oom_evaluate_task`,
`task_will_free_mem`, `oom_kill_process`), mm/page_alloc.c (`__alloc_pages_may_oom`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.zone import Zone
from coalsim.mm.reclaim.oom_report import Machine, TaskRow, report_of, row_of, stamped, zone_states
from coalsim.mm.reclaim.victim_rules import VictimRule
from coalsim.mm.reclaim.victims import (
    Candidate,
    Footprint,
    badness,
    eligible,
    may_help,
    oom_score,
)
from coalsim.mm.virt.process import Process
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.pressure_switches import OomAction
from coalsim.units import NodeId, Time

OOM = "oom killer"
PANIC = "Kernel panic - not syncing"


@dataclass(frozen=True, kw_only=True)
class Need:
    """The request that could not be served."""

    order: int
    nodes: tuple[NodeId, ...]
    context: AllocContext
    site: str


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One victim: when, who, why; for results and tests."""

    at: Time
    pid: int
    name: str
    points: int
    score: int
    runner_up: int  # the most points of anybody else, or the victim's own
    by: str
    report: str


class OomKiller:
    """Kills processes.

    Args:
        zones: of the machine.
        processes: all there are, in the order in which they were made.
        costs: of the kernel.
        action: what is done.
        rule: who is chosen.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        processes: Callable[[], Sequence[Process]],
        costs: KernelCosts,
        action: OomAction,
        rule: VictimRule,
    ) -> None:
        self._zones = zones
        self._processes = processes
        self._costs = costs
        self._action = action
        self._rule = rule
        self._is_busy = False
        self.kills: list[Kill] = []
        self.let_go: list[int] = []  # pids of those that were chosen while they were exiting
        self.say: Callable[[Time, str], None] | None = None  # takes a text for the kernel's log
        self.start_reaper: Callable[[Cpu, Process], None] | None = None

    def begin(self, cpu: Cpu, need: Need) -> Op[bool]:
        """Whether it is the caller who may kill: nobody else is about to, and no victim is on its way out.

        A victim that may use none of the nodes in question does not count.  The caller tries once more to
        get its memory, and ends with `out_of_memory` or `never_mind`.
        """
        yield from cpu.sync()
        if self._is_busy or self._somebody_is_dying(self._constraint(need)):
            return False
        self._is_busy = True
        return True

    def never_mind(self) -> None:
        """The last try has been lucky; synchronised."""
        self._is_busy = False

    def out_of_memory(self, cpu: Cpu, need: Need) -> Op[bool]:
        """Make room by killing; False: there is nobody left to kill.

        Raises:
            KernelPanic: `kernel.oom` says so.
        """
        constraint, total = self._constraint(need), self._total(need)
        if self._action == "panic" and not constraint:
            text = yield from self.report(cpu, need)
            verdict = f"{PANIC}: Out of memory: system-wide panic_on_oom is enabled"
            raise KernelPanic(f"{text}\n{stamped(cpu.clock, [verdict])}")
        processes = [process for process in self._processes() if not process.is_over]
        cpu.charge(len(processes) * self._costs.oom_scan_task, OOM)
        yield from cpu.sync()
        candidates = [candidate_of(process) for process in processes]
        chosen = self._rule.choose(candidates, total, constraint)
        if chosen < 0:
            self._is_busy = False
            return False
        victim = processes[chosen]
        if victim.is_exiting:
            self._let_go(cpu, victim)
            return True
        points = [badness(one.footprint, one.oom_score_adj, total) for one in candidates]
        others = [
            number
            for index, number in enumerate(points)
            if index != chosen and eligible(candidates[index], constraint)
        ]
        victim.is_victim = victim.space.is_victim = True
        at, rows = cpu.clock, self._rows(need)
        cpu.charge(self._costs.oom_fixed, OOM)
        report = yield from self.report(cpu, need, rows, row_of(victim))
        yield from cpu.sync()
        self.kills.append(
            Kill(
                at=at,
                pid=victim.pid,
                name=victim.name,
                points=points[chosen],
                score=oom_score(points[chosen], total),
                runner_up=max(others, default=points[chosen]),
                by=f"{need.site} on CPU {cpu.id}",
                report=report,
            )
        )
        if self.say is not None:
            self.say(cpu.clock, report)
        self._kill(cpu, victim)
        self._is_busy = False
        return True

    def _somebody_is_dying(self, constraint: Sequence[NodeId]) -> bool:
        """A victim that can help has not gone, and its memory has not been taken; synchronised."""
        return any(
            one.is_victim and not one.is_over and not one.is_spent and may_help(one.allowed_nodes, constraint)
            for one in self._processes()
        )

    def _constraint(self, need: Need) -> tuple[NodeId, ...]:
        """The nodes that the request may use; none: all that have memory."""
        everywhere = dict.fromkeys(zone.node for zone in self._zones)
        return () if all(node in need.nodes for node in everywhere) else need.nodes

    def _total(self, need: Need) -> int:
        constraint = self._constraint(need)
        return sum(zone.frames for zone in self._zones if not constraint or zone.node in constraint)

    def _let_go(self, cpu: Cpu, victim: Process) -> None:
        """It goes by itself: others wait for it, and the reaper helps; synchronised."""
        victim.is_victim = victim.space.is_victim = True
        self.let_go.append(victim.pid)
        if self.start_reaper is not None:
            self.start_reaper(cpu, victim)
        self._is_busy = False

    def _kill(self, cpu: Cpu, victim: Process) -> None:
        """SIGKILL to every thread, awake or asleep; synchronised."""
        for task in victim.tasks:
            if not task.has_ended:
                cpu.post(task.cpu, task.take_kill)
        if self.start_reaper is not None:
            self.start_reaper(cpu, victim)

    def _rows(self, need: Need) -> list[TaskRow]:
        """The processes that the request could be helped by, as they are now; synchronised."""
        constraint = self._constraint(need)
        return [
            row_of(one)
            for one in self._processes()
            if one.has_memory and may_help(one.allowed_nodes, constraint)
        ]

    def report(
        self, cpu: Cpu, need: Need, rows: Sequence[TaskRow] | None = None, victim: TaskRow | None = None
    ) -> Op[str]:
        """The text that the kernel's log gets; with the processes as the choice saw them."""
        states = yield from zone_states(cpu, self._zones)
        yield from cpu.sync()
        process = next(
            (one for one in self._processes() if cpu.current in [t.thread for t in one.tasks]), None
        )
        return report_of(
            Machine(
                zones=states,
                tasks=self._rows(need) if rows is None else rows,
                constraint=self._constraint(need),
            ),
            cpu,
            need.order,
            need.context,
            need.site,
            process,
            victim,
        )


def candidate_of(process: Process) -> Candidate:
    """A process as the choice sees it; synchronised."""
    space = process.space
    return Candidate(
        footprint=Footprint(rss=space.rss.written_by_kind.pages, tables=space.tables.num_tables),
        oom_score_adj=process.oom_score_adj,
        is_over=not process.has_memory or process.is_victim,
        allowed_nodes=process.allowed_nodes,
        pid=process.pid,
        name=process.name,
    )
