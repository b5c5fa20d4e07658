"""Planning a study: its machine, kernel, locks and load exist, and nothing has run.

Invariant: a `Plan` can be run; every mistake of a study that can be known before a run is told
here, all of them at once, each at the place where its key was given.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from coalsim.boot import System, SystemConfig
from coalsim.errors import ConfigError, Problem
from coalsim.locks.base import Lock, SpinLock
from coalsim.locks.registry import find_lock, find_spinlock
from coalsim.mm.phys.allocator import FrameAllocator, find_allocator
from coalsim.mm.phys.placement import Placement, find_placement
from coalsim.mm.reclaim.victim_rules import VictimRule, find_victim_rule
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.registry import find_shootdown
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import KernelProfile, load_profile
from coalsim.study.document import Document, find_study, read_document
from coalsim.study.fitting import check_kernel
from coalsim.study.loads import WORKLOADS
from coalsim.study.names import name_problems
from coalsim.study.overrides import Setting, with_settings
from coalsim.study.own_loads import build_load
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.sections import RunSection
from coalsim.study.series import MOST_SAMPLES
from coalsim.study.spec import StudySpec, parse_spec
from coalsim.study.warmup import auto_problems
from coalsim.topology.machine import Machine
from coalsim.topology.presets import load_machine
from coalsim.units import format_time
from coalsim.workloads.base import Workload


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


def open_study(
    study: str, settings: Sequence[Setting] = (), *, trust: bool = False, max_input: int | None = None
) -> Plan:
    """Read a study, a file or one that coalsim brings along, and build what it names.

    Raises:
        ConfigError: every mistake, with its place.
    """
    asked = with_settings(read_document(find_study(study)), settings)
    return plan(checked_spec(asked, trust=trust, max_input=max_input), max_input)
