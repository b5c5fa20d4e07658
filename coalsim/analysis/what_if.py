"""What-if: what a change would gain, predicted by making it, with intervals and checks.

The change is made in the model, and the same load is run with the same random numbers; so the
gain is the mean of paired ratios, and its interval is that of pairs.  Two things are said of each
prediction besides: whether the laws of `bounds.py` hold in the changed runs, and whether it lies
within the bound that the unchanged runs set for it, if the change is of locks alone.

    next bottleneck    the largest cause is taken away; what is largest then comes next; a lock has
                       what CPUs idled while threads slept for it

Invariant: base and changed run of a pair have the same seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import inf, prod

from coalsim.analysis.bounds import (
    Bound,
    Demands,
    bound_of,
    contradiction,
    law_faults,
    mean_demands,
)
from coalsim.analysis.cases import Cases, metric_of
from coalsim.analysis.stacks import LOCK, stack_of
from coalsim.errors import ConfigError
from coalsim.locks.sped import names_lock
from coalsim.observe.document import ResultDocument
from coalsim.observe.where import added, used_cpus
from coalsim.stats.effects import RatioInterval, paired_effect, ratio_interval
from coalsim.stats.student import Interval, paired_difference
from coalsim.study.what_if import LOCK as LOCK_KIND
from coalsim.study.what_if import Change, WhatIf
from coalsim.units import NS

THROUGHPUT = "throughput.ops_per_s"
OWN = ("user", "think", "idle", "asleep", "tick", "steal", "rendezvous")
"""Groups that are the load's own, or nobody's: not bottlenecks of the kernel."""
SLEEPING = ("rwsem", "mutex", "percpu-rwsem")
"""Types of locks that are waited for asleep."""
SPINNING = ("wait", "hand-over")
REMOVALS: dict[str, tuple[str, ...]] = {
    "shootdown": ("ipi=0", "machine:mmu.invlpg*=0", "machine:mmu.broadcast_[fs]*=0.001"),
    "handler": ("ipi=0", "machine:mmu.invlpg*=0"),
    "zeroing": ("cost:zero_page*=0", "machine:bandwidth=1000"),
    "copying": ("cost:copy_page=0", "machine:bandwidth=1000"),
    "walk": ("machine:mmu.walk_fixed=0", "machine:mmu.cache_l?_hit=0"),
    "line": ("machine:line_*=0.001",),
    "exception": ("cost:exception_*=0",),
    "syscall": ("cost:syscall=0",),
    "fault": ("cost:fault_fixed=0",),
    "exit": ("cost:exit_fixed=0",),
    "fork": ("cost:fork_fixed=0",),
    "switch": ("cost:context_switch=0", "cost:switch_mm=0"),
    "areas": ("cost:area_*=0", "cost:gap_search=0"),
    "area lookup": ("cost:area_find=0",),
    "lru": ("cost:lru_*=0",),
    "page alloc": ("cost:page_alloc_entry=0", "cost:pcp_*=0", "cost:page_prep*=0"),
    "page free": ("cost:page_free_entry=0", "cost:pcp_*=0", "cost:free_checks*=0"),
}
"""By group of causes, which numbers stand for it."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a change does to a metric.

    Args:
        what_if: the change.
        base, changed: the metric in each pair.
        ratio: changed over base with its interval; None over a single pair.
        difference: changed less base.
        effect: the difference in spreads of differences; None over a single pair.
        bound: the most that the unchanged runs allow, of a change of locks alone; None where unknown.
        flags: every law or bound that it contradicts, in words.
        notes: what else is to be known.
    """

    what_if: WhatIf
    base: tuple[float, ...]
    changed: tuple[float, ...]
    ratio: RatioInterval | None
    difference: Interval
    effect: float | None
    bound: Bound | None
    flags: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The change in words."""
        return " ".join(map(str, self.what_if.changes))

    @property
    def gain(self) -> float:
        """Changed over base, less one."""
        first, second = sum(self.base), sum(self.changed)
        return second / first - 1 if first else inf


def predict(cases: Cases, what_if: WhatIf, count: int, metric: str = THROUGHPUT) -> Prediction:
    """What a change gains, over so many pairs of runs.

    Raises:
        ConfigError: the change cannot be made, or a run failed.
    """
    changed_case = cases.with_changes(what_if)
    cases.check(changed_case)
    cases.run((case, number) for number in range(count) for case in (cases.base, changed_case))
    base, changed = cases.documents(cases.base, count), cases.documents(changed_case, count)
    return compared(what_if, base, changed, metric)


def compared(
    what_if: WhatIf,
    base: Sequence[ResultDocument],
    changed: Sequence[ResultDocument],
    metric: str = THROUGHPUT,
) -> Prediction:
    """What pairs of runs say of a change."""
    first, second = metric_of(base, metric), metric_of(changed, metric)
    has_ratio = len(first) > 1 and sum(first) != 0
    flags = [fault for run in changed for fault in law_faults(run)]
    bound = lock_bound(what_if, mean_demands(base)) if metric == THROUGHPUT else None
    if bound is not None and (text := contradiction(sum(second) / len(second), bound)):
        flags.append(text)
    return Prediction(
        what_if=what_if,
        base=tuple(first),
        changed=tuple(second),
        ratio=ratio_interval(first, second) if has_ratio else None,
        difference=paired_difference(first, second),
        effect=paired_effect(first, second) if len(first) > 1 else None,
        bound=bound,
        flags=tuple(dict.fromkeys(flags)),
        notes=tuple(
            dict.fromkeys(text for run in changed for text in run.get("warnings", []) if "what_if" in text)
        ),
    )


def lock_bound(what_if: WhatIf, demands: Demands | None) -> Bound | None:
    """The bound on a change of locks alone; None where it also changes something else."""
    if demands is None or any(change.kind != LOCK_KIND for change in what_if.changes):
        return None
    scale = {
        station.name: prod(
            float(change.factor) for change in what_if.changes if names_lock(change.pattern, station.name)
        )
        for station in demands.stations
    }
    return bound_of(demands, scale)


# -- the next bottleneck ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Step:
    """One bottleneck.

    Args:
        group: of causes; share: of the used CPUs' time, before it goes.
        removal: what takes it away; None if no number stands for it.
        prediction: of taking it away as well as those before; None if that cannot be done.
        why: it cannot be done; "" if it can.
        bound: the most that the runs before it goes allow.
    """

    group: str
    share: float
    removal: WhatIf | None
    prediction: Prediction | None
    why: str
    bound: Bound | None


def next_bottlenecks(cases: Cases, steps: int, count: int, metric: str = THROUGHPUT) -> list[Step]:
    """The largest causes, each found after those before it were taken away."""
    found: list[Step] = []
    taken = WhatIf()
    gone: dict[str, None] = {}  # an ordered set
    for _ in range(steps):
        case = cases.with_changes(taken)
        runs = cases.documents(case, count)
        group, share = _largest(runs, [*gone])
        if not group:
            break
        demands = mean_demands(runs)
        bound = bound_of(demands) if demands is not None else None
        removal = removal_of(group)
        step = Step(group=group, share=share, removal=removal, prediction=None, why="", bound=bound)
        if removal is None:
            found.append(
                _with_why(step, "no single number stands for it: look at its costs with --elasticities")
            )
            gone[group] = None
            continue
        more = taken.then(_fitting(cases, taken, removal))
        try:
            prediction = predict(cases, more, count, metric)
        except ConfigError as error:
            found.append(_with_why(step, "; ".join(problem.message for problem in error.problems)))
            gone[group] = None
            continue
        found.append(
            Step(group=group, share=share, removal=removal, prediction=prediction, why="", bound=bound)
        )
        taken, gone[group] = more, None
    return found


def removal_of(group: str) -> WhatIf | None:
    """The changes that take a group of causes away; None if no number stands for it."""
    if group.startswith(f"{LOCK}:"):
        return WhatIf(changes=(Change(target=group, factor=Decimal(0)),))
    texts = REMOVALS.get(group)
    if texts is None:
        return None
    parts = [text.rpartition("=") for text in texts]
    return WhatIf(changes=tuple(Change(target=target, factor=Decimal(factor)) for target, _, factor in parts))


def _fitting(cases: Cases, taken: WhatIf, removal: WhatIf) -> WhatIf:
    """Those changes of a removal that this machine and kernel have."""
    kept: list[Change] = []
    for change in removal.changes:
        try:
            cases.check(cases.with_changes(taken.then(WhatIf(changes=(*kept, change)))))
        except ConfigError:
            continue
        kept.append(change)
    return WhatIf(changes=tuple(kept)) if kept else removal


def _with_why(step: Step, why: str) -> Step:
    return Step(
        group=step.group, share=step.share, removal=step.removal, prediction=None, why=why, bound=step.bound
    )


def _largest(runs: Sequence[ResultDocument], gone: Sequence[str]) -> tuple[str, float]:
    """The largest group of causes that is neither the load's own nor gone, and its share."""
    stack = stack_of(runs)
    times = dict(stack.times)
    for group, time in slept_for_locks(runs).items():
        times[group] = times.get(group, Fraction(0)) + time
    left = [(time, group) for group, time in times.items() if group not in OWN and group not in gone]
    if not left:
        return "", 0.0
    time, group = max(left)
    return group, float(time / stack.spent)


def slept_for_locks(runs: Sequence[ResultDocument]) -> dict[str, Fraction]:
    """By group of a lock, the time that CPUs idled while threads slept for it, in ps.

    That is what its table counts as waits beyond what CPUs spent waiting; of all locks together at
    most the time that used CPUs idled, for a CPU may have had another thread to run.
    """
    found: dict[str, Fraction] = {}
    for run in runs:
        causes = added(run["time"], used_cpus(run["time"]))
        waited: dict[str, Fraction] = {}
        for row in run["locks"]:
            if row["type"].startswith(SLEEPING):
                waited[row["name"]] = waited.get(row["name"], Fraction(0)) + Fraction(row["waittime_total"])
        slept = {
            name: time * NS - sum(Fraction(causes.get(f"{LOCK}:{name}:{word}", 0)) for word in SPINNING)
            for name, time in waited.items()
        }
        slept = {name: time for name, time in slept.items() if time > 0}
        whole, idle = sum(slept.values(), Fraction(0)), Fraction(causes.get("idle", 0))
        part = min(Fraction(1), idle / whole) if whole else Fraction(0)
        for name, time in slept.items():
            group = f"{LOCK}:{name}"
            found[group] = found.get(group, Fraction(0)) + time * part
    return found
