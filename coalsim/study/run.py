"""Running a study: build, warm up, measure, and once more for each replication.

Replication i has the seed of the study plus i.  A run ends at warm-up plus duration,
or, with duration 0, when its load ends; a load that never ends needs a duration.
The end of the warm-up and of the run are barriers: what began before counts, what
begins at their time or later does not.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import cast

from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.errors import ConfigError, DeadlockError, KernelBug, KernelPanic, LockMisuse, Problem
from coalsim.locks.base import Lock, SpinLock
from coalsim.locks.registry import find_lock, find_spinlock
from coalsim.mm.phys.allocator import FrameAllocator, find_allocator
from coalsim.mm.phys.placement import Placement, find_placement
from coalsim.mm.reclaim.victim_rules import VictimRule, find_victim_rule
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.registry import find_shootdown
from coalsim.observe.batches_document import WarmupEntry
from coalsim.observe.document import ResultDocument
from coalsim.observe.histogram import Histogram
from coalsim.observe.means import mean_document
from coalsim.profiles.profile import KernelProfile, load_profile
from coalsim.study.batches import BatchCounter
from coalsim.study.blame import blame_lock, failure_of_users_class
from coalsim.study.document import Document, find_study, read_document
from coalsim.study.fitting import check_kernel, misfit
from coalsim.study.injection_outcome import idle_rules
from coalsim.study.intervals import document_intervals
from coalsim.study.loads import WORKLOADS
from coalsim.study.memory_outcome import allocations, check_conservation
from coalsim.study.names import name_problems
from coalsim.study.outcome import TimeByCause, document, latencies
from coalsim.study.overrides import Setting, with_settings
from coalsim.study.own_loads import build_load
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.safety_outcome import safety_warnings
from coalsim.study.sections import AUTO, RunSection
from coalsim.study.series import MOST_SAMPLES, Sampler
from coalsim.study.spec import StudySpec, parse_spec
from coalsim.study.warmup import UNTRUSTED, auto_problems, find_warmup
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine
from coalsim.units import Time, format_time
from coalsim.workloads.base import Workload

SIGNALS_TOLD = 5
"""Tasks that a signal ended, each named in a warning of its own; the others are counted."""

SAME_RUNS = (
    "all replications are the same: this load draws nothing at random, so the widths of the intervals say "
    "nothing (loads that have workload.start differ with workload.start=spread)"
)

Watch = Callable[[System, int], None]
"""Told when a replication (from 0) is about to run, for progress reports."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study whose machine, locks and load exist."""

    spec: StudySpec
    config: SystemConfig
    load: Callable[[System], Workload]


def asked_machine(spec: StudySpec, max_input: int | None = None) -> Machine:
    """The machine that a study names, with its changes.

    Raises:
        ConfigError: there is none, or it cannot be changed so.
    """
    machine = (
        load_machine(spec.machine) if max_input is None else load_machine(spec.machine, max_input=max_input)
    )
    return machine.with_overrides(spec.machine_changes) if spec.machine_changes else machine


def plan(
    spec: StudySpec,
    max_input: int | None = None,
    machine_of: Callable[[StudySpec, int | None], Machine] = asked_machine,
) -> Plan:
    """Build what a study names, without running it.

    Args:
        spec: the study.
        max_input: bytes of input that may be read; None is the usual limit.
        machine_of: where its machine comes from; who plans many studies keeps those that were read.

    Raises:
        ConfigError: every mistake, each at the place where the key was given.
    """
    spec = _suited(spec, max_input)
    problems: list[Problem] = []

    def collected(make: Callable[[], object]) -> object:
        try:
            return make()
        except ConfigError as error:
            problems.extend(spec.located(problem) for problem in error.problems)
            return None

    machine = collected(lambda: spec.what_if.machine(machine_of(spec, max_input)))
    kernel = collected(lambda: spec.what_if.kernel(spec.kernel))
    locks = collected(lambda: _locks(spec))
    placement = collected(
        lambda: find_placement(spec.kernel.switches.placement, spec.asked("kernel.placement"))
    )
    shootdown = collected(
        lambda: find_shootdown(spec.kernel.switches.shootdown, spec.asked("kernel.shootdown"))
    )
    allocator = collected(
        lambda: find_allocator(spec.kernel.switches.allocator, spec.asked("kernel.allocator"))
    )
    victim = collected(lambda: find_victim_rule(spec.kernel.switches.victim, spec.asked("kernel.victim")))
    if isinstance(machine, Machine):
        collected(lambda: check_kernel(machine, spec.kernel.switches))
        collected(lambda: spec.inject.check(machine))
    build = partial(build_load, spec.workload)
    load = collected(build)
    problems.extend(spec.located(problem) for problem in _too_many_samples(spec.run))
    problems.extend(spec.located(problem) for problem in _no_batches(spec.run))
    problems.extend(spec.located(problem) for problem in auto_problems(spec.run))
    if problems or not isinstance(machine, Machine):
        raise ConfigError(problems)
    kernel_lock, load_lock = cast("tuple[type[SpinLock], type[Lock]]", locks)
    if cast(Workload, load).endless and not spec.run.duration:
        problem = Problem(
            key="run.duration",
            value="0",
            message="this load never ends by itself",
            remedy="give a time such as 2ms",
        )
        raise ConfigError([spec.located(problem)])
    config = SystemConfig(
        machine=machine,
        profile=cast("KernelProfile", kernel),
        lock=kernel_lock,
        load_lock=load_lock,
        placement=cast("type[Placement]", placement),
        shootdown=cast("type[Shootdown]", shootdown),
        allocator=cast("type[FrameAllocator] | None", allocator),
        victim=cast("type[VictimRule]", victim),
        recorder=Histogram,
        seed=spec.run.seed,
        run_ahead=spec.engine.run_ahead,
        fast_paths=spec.engine.fast_paths,
        tick_events=spec.engine.tick_events,
        injection=spec.inject.build,
        lock_speeds=spec.what_if.lock_speeds(),
    )
    return Plan(spec=spec, config=config, load=lambda _: build())


def _suited(spec: StudySpec, max_input: int | None) -> StudySpec:
    """The study as its load needs it: a limit on what it reads, memory for the zones it begins with.

    Raises:
        ConfigError: the load cannot be warmed up, or what it begins with cannot be read.
    """
    load = spec.workload
    if isinstance(load, ReplayLoad) and spec.run.warmup:
        message, remedy = "a recording is replayed from its beginning", "leave it out"
        raise ConfigError([spec.document.problem("run.warmup", message, remedy)])
    if max_input is not None and "max_input" in type(load).model_fields.keys() - load.model_fields_set:
        load = load.model_copy(update={"max_input": max_input})
        spec = replace(spec, workload=load)
    if isinstance(load, ReplayLoad) and (needed := load.memory_needed(spec.kernel.switches.max_order)):
        spec = replace(spec, machine_changes={**spec.machine_changes, "memory": str(needed)})
    return spec


def _too_many_samples(run: RunSection) -> Iterator[Problem]:
    """Samples that would fill the memory of the host and say nothing more."""
    if run.samples and run.duration // run.samples >= MOST_SAMPLES:
        yield Problem(
            key="run.samples",
            value=format_time(run.samples),
            message=f"{run.duration // run.samples} samples in a run of {format_time(run.duration)}",
            remedy=f"give a longer time: {MOST_SAMPLES} are too many",
        )


def _no_batches(run: RunSection) -> Iterator[Problem]:
    """Batches that cannot be made."""
    value = str(run.batches)
    if run.batches == 1:
        message, remedy = "one batch is the whole run", "give 20 or more, or leave it out"
        yield Problem(key="run.batches", value=value, message=message, remedy=remedy)
    elif run.batches and not run.duration:
        message = "a run that ends with its load cannot be divided beforehand"
        remedy = "give run.duration a time such as 2ms"
        yield Problem(key="run.batches", value=value, message=message, remedy=remedy)
    elif run.batches > run.duration:
        message = f"{run.batches} batches in {run.duration} ps"
        yield Problem(key="run.batches", value=value, message=message, remedy="give a longer run.duration")


def _locks(spec: StudySpec) -> tuple[type[SpinLock], type[Lock]]:
    """The kernel's spinlock and the load's lock: the same, unless the load's may sleep or only be read.

    A load that takes locks for their own sake can use any; the allocator below it then
    keeps the lock of its profile.
    """
    name, asked = spec.kernel.switches.lock, spec.asked("kernel.lock")
    chosen = find_lock(name, asked)
    if issubclass(chosen, SpinLock):
        return chosen, chosen
    if not getattr(spec.workload, "takes_any_lock", False):
        find_spinlock(name, asked)  # says why not
    default = load_profile(spec.kernel.name).switches.lock
    return find_spinlock(default, asked), chosen


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


def run_replication(plan: Plan, number: int) -> ResultDocument:
    """One replication alone, counted from 0: the run that it is among those of `run_study`."""
    warmup = _warmup(plan) if plan.spec.run.warmup == AUTO else None
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
        raise type(bug)(f"{bug}{blame_lock(plan.config)}") from None
    except KernelBug:
        raise
    except Exception as error:
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


def measure(
    system: System,
    load: Workload,
    study: str,
    warmup: Time,
    duration: Time,
    samples: Time = 0,
    *,
    batches: int = 0,
) -> ResultDocument:
    """Run a system that has been booted, and say what came out.

    Args:
        system, load: whose run it is.
        study: its name.
        warmup, duration: of the run; 0: none, and until the load ends.
        samples: time between two samples of memory; 0: none are taken.
        batches: parts of the duration that are counted apart; 0: none.

    Raises:
        KernelPanic: the kernel panicked, and not all of the system stands at that moment.
    """
    before: TimeByCause = [{} for _ in system.cpus]
    after: TimeByCause = []
    begin = 0
    end = Event(system.env)
    sampler = Sampler(system, samples) if samples else None
    counter = BatchCounter(system, load.headline, warmup, duration, batches) if batches else None
    system.env.at_barriers = partial(check_conservation, system)

    def warmed_up() -> None:
        nonlocal begin, before
        begin, before = system.env._now, system.time_by_cause(system.env._now)
        system.reset_counters()
        if sampler is not None:
            sampler.start()

    def over() -> None:
        if counter is not None:
            counter.end()
        after[:] = system.time_by_cause(system.env._now)
        system.env.stop(end)

    if warmup:
        system.env.declare_barrier(warmup, warmed_up)
    if duration:
        system.env.declare_barrier(warmup + duration, over)
    else:
        system.when_finished(over)
    if sampler is not None and not warmup:
        sampler.start()
    started = perf_counter()
    panic = ""
    try:
        system.run(end)
    except KernelPanic as report:
        if system.env.run_ahead or system.env.fast_paths or system.env._now == begin:
            raise
        panic = str(report)
        after[:] = system.time_by_cause(system.env._now)
    host = perf_counter() - started
    if warmup and system.env._now <= warmup and not panic:
        problem = Problem(
            key="run.warmup",
            value=f"{warmup}ps",
            message=f"the load ended before the warm-up, after {format_time(system.env._now)}",
            remedy="shorten the warm-up, or give the load more to do",
        )
        raise ConfigError([problem])
    extra = load.results()
    result = document(system, study, load.headline, begin, system.env._now, before, after, extra)
    result["host_s"] = host
    if sampler is not None:
        sampler.end()
        result["series"] = sampler.entry()
    if counter is not None and counter.is_complete:
        result["batches"] = counter.entry()
    if panic:
        result["panic"] = panic
    warnings = [*_warnings(system, result)]
    if sampler is not None and sampler.is_full:
        warnings.append(f"no more than {MOST_SAMPLES} samples are kept: give run.samples a longer time")
    if warnings:
        result["warnings"] = [*result.get("warnings", []), *warnings]
    return result


def _warnings(system: System, result: ResultDocument) -> Iterator[str]:
    """What makes a run's numbers mean less than they seem to; one sentence each."""
    failed = system.meter.failed
    if failed:
        yield f"{failed} allocations failed: no memory was left for them, or none in one piece so large"
    elif not result["throughput"]["ops"]:
        yield "no operation ended in the time that was measured: the run is too short for its load"
    if "vm" in result and (text := misfit(system.config.shootdown, system.switches)):
        yield text
    if system.kmemleak is not None and not system.kmemleak.has_roots:
        yield "kernel.kmemleak reports nothing here: this load keeps its pointers where no scan looks"
    if "panic" in result:
        yield "a kernel panic ended the run: everything here is what was so up to then"
    yield from safety_warnings(result.get("safety", []))
    signals = result["vm"].get("signals", []) if "vm" in result else []
    for text in signals[:SIGNALS_TOLD]:
        yield f"a signal ended task {text}"
    if len(signals) > SIGNALS_TOLD:
        yield f"signals ended {len(signals) - SIGNALS_TOLD} more tasks"


def open_study(
    study: str, settings: Sequence[Setting] = (), *, trust: bool = False, max_input: int | None = None
) -> Plan:
    """Read a study, a file or one that coalsim brings along, and build what it names.

    Raises:
        ConfigError: every mistake, with its place.
    """
    asked = with_settings(read_document(find_study(study)), settings)
    return plan(checked_spec(asked, trust=trust, max_input=max_input), max_input)


def checked_spec(document: Document, *, trust: bool, max_input: int | None = None) -> StudySpec:
    """The study that a document asks for.

    Raises:
        ConfigError: every mistake, with its place; also those that planning would find otherwise only
            after the others are mended.
    """
    try:
        return parse_spec(document, workloads=WORKLOADS, trust=trust)
    except ConfigError as error:
        more = name_problems(document, trust=trust, max_input=max_input)
        raise ConfigError([*dict.fromkeys([*error.problems, *more])]) from None
