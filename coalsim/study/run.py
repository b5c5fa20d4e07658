"""Running a study: build, warm up, measure, and once more for each replication.

Replication i has the seed of the study plus i.  A run ends at warm-up plus duration,
or, with duration 0, when its load ends; a load that never ends needs a duration.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from coalsim.boot import System, SystemConfig
from coalsim.errors import ConfigError, DeadlockError, KernelBug, KernelPanic, LockMisuse
from coalsim.observe.batches_document import WarmupEntry
from coalsim.observe.document import ResultDocument
from coalsim.observe.means import mean_document
from coalsim.study.blame import blame, failure_of_users_class
from coalsim.study.injection_outcome import idle_rules
from coalsim.study.intervals import document_intervals
from coalsim.study.measuring import measure
from coalsim.study.memory_outcome import allocations
from coalsim.study.outcome import latencies
from coalsim.study.planning import Plan
from coalsim.study.sections import AUTO
from coalsim.study.warmup import UNTRUSTED, find_warmup
from coalsim.units import Time

SAME_RUNS = (
    "all replications are the same: this load draws nothing at random, so the widths of the intervals say "
    "nothing (loads that have workload.start differ with workload.start=spread)"
)


Watch = Callable[[System, int], None]
"""Told when a replication (from 0) is about to run, for progress reports."""


def run_study(plan: Plan, watch: Watch | None = None) -> ResultDocument:
    """Run all replications; the top level of the document holds means where there are several."""
    runs = []
    warmup = _warmup(plan) if plan.spec.run.warmup == AUTO else None
    lasts = plan.spec.run.given_warmup if warmup is None else warmup["cut_ps"]
    for number in range(plan.spec.run.replications):
        config = replace(plan.config, seed=plan.spec.run.seed + number)
        runs.append(_run_once(plan, config, lasts, number, watch))
    result = runs[0] if len(runs) == 1 else mean_document(runs)
    if len(runs) > 1:
        result["intervals"] = document_intervals(runs)
    return _completed(plan, result, warmup, [SAME_RUNS] if len(runs) > 1 and all_the_same(runs) else [])


def run_replication(plan: Plan, number: int, pilot: WarmupEntry | None = None) -> ResultDocument:
    """One replication alone: the run that it is among those of `run_study`.

    Args:
        plan: of the study.
        number: of the replication, from 0.
        pilot: what a pilot run of the same plan has found; None runs it, if there has to be one.
    """
    warmup = (pilot or _warmup(plan)) if plan.spec.run.warmup == AUTO else None
    lasts = plan.spec.run.given_warmup if warmup is None else warmup["cut_ps"]
    config = replace(plan.config, seed=plan.spec.run.seed + number)
    return _completed(plan, _run_once(plan, config, lasts, number, None), warmup, [])


def _completed(
    plan: Plan, result: ResultDocument, warmup: WarmupEntry | None, warnings: Sequence[str]
) -> ResultDocument:
    """The result with what is so for all replications of a study."""
    result["config"] = plan.spec.resolved()
    told = [*plan.config.machine.warnings]
    if warmup is not None:
        result["warmup"] = warmup
        told += [UNTRUSTED] if warmup["half_cut"] else []
    told += warnings
    if told:
        result["warnings"] = [*result.get("warnings", []), *told]
    return result


def all_the_same(runs: Sequence[ResultDocument]) -> bool:
    """Replications differ in nothing but their seeds: their intervals have no width and say nothing."""
    first, *others = (
        {key: value for key, value in run.items() if key not in ("seed", "host_s", "events")} for run in runs
    )
    return all(other == first for other in others)


def _warmup(plan: Plan) -> WarmupEntry:
    """What the pilot run finds."""
    with _told_with_place(plan):
        return find_warmup(plan.config, plan.load, plan.spec.run)


def _run_once(
    plan: Plan, config: SystemConfig, warmup: Time, number: int, watch: Watch | None
) -> ResultDocument:
    """One replication.

    A run that a panic ends is run again by events alone: there everything stands at the moment of
    the panic, while processors that run ahead, and computed sections, are beyond it.
    """
    with _told_with_place(plan):
        try:
            return _measured(plan, config, warmup, number, watch)
        except KernelPanic:
            if not (config.run_ahead or config.fast_paths):
                raise
            by_events = replace(config, run_ahead=False, fast_paths=False)
            return _measured(plan, by_events, warmup, number, watch)


@contextmanager
def _told_with_place(plan: Plan) -> Iterator[None]:
    """What only shows in a run to be a mistake of the study is told with its place."""
    try:
        yield
    except ConfigError as error:
        raise type(error)([plan.spec.located(problem) for problem in error.problems]) from None
    except (LockMisuse, DeadlockError) as bug:
        raise type(bug)(f"{bug}{blame(plan.config, plan.spec.workload)}") from None
    except (KernelBug, KeyboardInterrupt):
        raise
    except BaseException as error:  # a user's class may raise anything, also what ends a program
        raise (failure_of_users_class(plan.config, plan.spec.workload, error) or error) from None


def _measured(
    plan: Plan, config: SystemConfig, warmup: Time, number: int, watch: Watch | None
) -> ResultDocument:
    system = System(config)
    load = plan.load(system)
    load.start(system)
    system.boot()
    if watch is not None:
        watch(system, number)
    wanted = plan.spec.run
    result = measure(
        system, load, plan.spec.name, warmup, wanted.duration, wanted.samples, batches=wanted.batches
    )
    if wanted.allocations:
        result["allocations"] = allocations(system)
    if wanted.histogram:
        result["latency_histogram_ps"] = latencies(system, load.headline).to_dict()
    if idle := [*idle_rules(system, plan.spec.inject), *_idle_speeds(plan, system)]:
        result["warnings"] = [*result.get("warnings", []), *idle]
    return result


def _idle_speeds(plan: Plan, system: System) -> Iterator[str]:
    """Locks that were to be faster and that nobody has."""
    names = [lock_class.name for lock_class in system.lock_classes]
    for text in plan.spec.what_if.idle_locks(names):
        yield f"nothing in the run is what_if lock:{text}"
