"""Running a study: build, warm up, measure, and once more for each replication.

Replication i has the seed of the study plus i.  A run ends at warm-up plus duration,
or, with duration 0, when its load ends; a load that never ends needs a duration.
The end of the warm-up and of the run are barriers: what began before counts, what
begins at their time or later does not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from time import perf_counter
from typing import cast

from simpy.events import Event

from coalsim.boot import System, SystemConfig
from coalsim.errors import ConfigError, KernelBug, KernelPanic, Problem
from coalsim.locks.base import Lock, SpinLock
from coalsim.locks.registry import find_lock, find_spinlock
from coalsim.mm.phys.placement import Placement, find_placement
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.registry import find_shootdown
from coalsim.observe.document import ResultDocument
from coalsim.observe.histogram import Histogram
from coalsim.observe.means import mean_document
from coalsim.plugins import failure_in
from coalsim.profiles.profile import load_profile
from coalsim.study.document import find_study, read_document
from coalsim.study.fitting import check_kernel, misfit
from coalsim.study.intervals import document_intervals
from coalsim.study.loads import WORKLOADS
from coalsim.study.memory_outcome import allocations, check_conservation
from coalsim.study.outcome import TimeByCause, document
from coalsim.study.overrides import Setting, with_settings
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.safety_outcome import safety_warnings
from coalsim.study.sections import RunSection
from coalsim.study.series import MOST_SAMPLES, Sampler
from coalsim.study.spec import StudySpec, parse_spec
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


def plan(spec: StudySpec, max_input: int | None = None) -> Plan:
    """Build what a study names, without running it.

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

    machine = collected(lambda: _machine(spec, max_input))
    locks = collected(lambda: _locks(spec))
    placement = collected(
        lambda: find_placement(spec.kernel.switches.placement, spec.asked("kernel.placement"))
    )
    shootdown = collected(
        lambda: find_shootdown(spec.kernel.switches.shootdown, spec.asked("kernel.shootdown"))
    )
    if isinstance(machine, Machine):
        collected(lambda: check_kernel(machine, spec.kernel.switches))
        collected(lambda: spec.inject.check(machine))
    build = getattr(spec.workload, "build", None)
    assert build is not None, "every workload model can build its load"
    load = collected(build)
    problems.extend(spec.located(problem) for problem in _too_many_samples(spec.run))
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
        profile=spec.kernel,
        lock=kernel_lock,
        load_lock=load_lock,
        placement=cast("type[Placement]", placement),
        shootdown=cast("type[Shootdown]", shootdown),
        recorder=Histogram,
        seed=spec.run.seed,
        run_ahead=spec.engine.run_ahead,
        fast_paths=spec.engine.fast_paths,
        tick_events=spec.engine.tick_events,
        injection=spec.inject.build,
    )
    return Plan(spec=spec, config=config, load=lambda _: cast(Workload, build()))


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


def _machine(spec: StudySpec, max_input: int | None) -> Machine:
    machine = (
        load_machine(spec.machine) if max_input is None else load_machine(spec.machine, max_input=max_input)
    )
    return machine.with_overrides(spec.machine_changes) if spec.machine_changes else machine


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
    for number in range(plan.spec.run.replications):
        config = replace(plan.config, seed=plan.spec.run.seed + number)
        runs.append(_run_once(plan, config, number, watch))
    result = runs[0] if len(runs) == 1 else mean_document(runs)
    if len(runs) > 1:
        result["intervals"] = document_intervals(runs)
    result["config"] = plan.spec.resolved()
    warnings = [*plan.config.machine.warnings]
    if len(runs) > 1 and _all_the_same(runs):
        warnings.append(SAME_RUNS)
    if warnings:
        result["warnings"] = [*result.get("warnings", []), *warnings]
    return result


def _all_the_same(runs: Sequence[ResultDocument]) -> bool:
    """Replications differ in nothing but their seeds: their intervals have no width and say nothing."""
    first, *others = (
        {key: value for key, value in run.items() if key not in ("seed", "host_s", "events")} for run in runs
    )
    return all(other == first for other in others)


def _run_once(plan: Plan, config: SystemConfig, number: int, watch: Watch | None) -> ResultDocument:
    """One replication; what only shows here to be a mistake of the study is told with its place.

    A run that a panic ends is run again by events alone: there everything stands at the moment of
    the panic, while processors that run ahead, and computed sections, are beyond it.
    """
    try:
        try:
            return _measured(plan, config, number, watch)
        except KernelPanic:
            if not (config.run_ahead or config.fast_paths):
                raise
            return _measured(plan, replace(config, run_ahead=False, fast_paths=False), number, watch)
    except ConfigError as error:
        raise type(error)([plan.spec.located(problem) for problem in error.problems]) from None
    except KernelBug:
        raise
    except Exception as error:
        raise (_failure_of_users_class(config, error) or error) from None


def _measured(plan: Plan, config: SystemConfig, number: int, watch: Watch | None) -> ResultDocument:
    system = System(config)
    load = plan.load(system)
    load.start(system)
    system.boot()
    if watch is not None:
        watch(system, number)
    wanted = plan.spec.run
    result = measure(system, load, plan.spec.name, wanted.warmup, wanted.duration, wanted.samples)
    if wanted.allocations:
        result["allocations"] = allocations(system)
    if idle := [*_idle_rules(plan, system)]:
        result["warnings"] = [*result.get("warnings", []), *idle]
    return result


def _idle_rules(plan: Plan, system: System) -> Iterator[str]:
    """Injected faults that had no chance to happen: a pattern that names nothing, most likely."""
    names = [lock_class.name for lock_class in system.lock_classes]
    for key, number, lock in system.injection.unmatched():
        text = getattr(plan.spec.inject, key)[number]
        known = not lock or any(fnmatchcase(name, lock) for name in names)
        near = [] if known else get_close_matches(lock, names, n=1)
        advice = "" if known else "; no lock is called so" + (f": did you mean {near[0]}?" if near else "")
        yield f'nothing in the run fitted the rule inject.{key} "{text}"{advice}'


def _failure_of_users_class(config: SystemConfig, error: Exception) -> ConfigError | None:
    """What a class that somebody brought along did wrong; None if it was not one."""
    classes = (
        (config.lock, "lock"),
        (config.load_lock, "lock"),
        (config.placement, "placement"),
        (config.shootdown, "shootdown"),
    )
    modules = {policy.__module__: f"kernel.{name}" for policy, name in classes if policy is not None}
    for module, key in modules.items():
        if not module.startswith("coalsim.") and (theirs := failure_in(module, error, key)) is not None:
            return theirs
    return None


def measure(
    system: System, load: Workload, study: str, warmup: Time, duration: Time, samples: Time = 0
) -> ResultDocument:
    """Run a system that has been booted, and say what came out.

    Args:
        system, load: whose run it is.
        study: its name.
        warmup, duration: of the run; 0: none, and until the load ends.
        samples: time between two samples of memory; 0: none are taken.

    Raises:
        KernelPanic: the kernel panicked, and not all of the system stands at that moment.
    """
    before: TimeByCause = [{} for _ in system.cpus]
    after: TimeByCause = []
    begin = 0
    end = Event(system.env)
    sampler = Sampler(system, samples) if samples else None
    system.env.at_barriers = partial(check_conservation, system)

    def warmed_up() -> None:
        nonlocal begin, before
        begin, before = system.env._now, system.time_by_cause(system.env._now)
        system.reset_counters()
        if sampler is not None:
            sampler.start()

    def over() -> None:
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
    return plan(parse_spec(asked, workloads=WORKLOADS, trust=trust), max_input)
