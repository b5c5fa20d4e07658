"""SweepSpec: a study with all its points, checked.

Every point is planned before anything runs: its machine, locks and load are built, so that a
mistake in the last value of the last axis is told before the first point has run.  The same
mistake in many points is told once, at the value of the axis that makes it.

Invariant: every point of a `SweepSpec` that exists can be planned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from coalsim.errors import ConfigError, Problem
from coalsim.study.document import Document, find_study, read_document
from coalsim.study.overrides import Setting, with_settings
from coalsim.study.own_loads import is_foreign
from coalsim.study.planning import Plan, checked_spec, plan
from coalsim.study.replay_load import ReplayLoad
from coalsim.study.spec import StudySpec
from coalsim.sweep.axes import MOST_POINTS, grid
from coalsim.sweep.keys import foreign_classes, point_key
from coalsim.sweep.machines import MachineShelf
from coalsim.sweep.named_files import names_own_code, with_whole_paths
from coalsim.sweep.points import Axis, Point, Show, Stop
from coalsim.sweep.shown import read_show, read_stop
from coalsim.sweep.varied import Varied, varied_study
from coalsim.workloads.synthetic.places import choose_cpus

MOST_MISTAKES = 100
"""After so many different ones no further points are looked at."""


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A study and its points.

    Args:
        base: the study without its axes; the first point, if it is no study without them.
        axes, points, show, stop: what varies, what follows from it, what is shown, when it is enough.
        replications, seed: of every point; replication r has seed + r.
        document: the study file with what the command line lays over it.
        trust: whether configurations may load classes; all that they name was allowed when this was made.
        max_input: bytes of input that may be read; None is the usual limit.
        varied: the axes with their places, and what is laid over them.
        shelf: machines that were read.
    """

    base: StudySpec
    axes: tuple[Axis, ...]
    points: tuple[Point, ...]
    show: Show
    stop: Stop | None
    replications: int
    seed: int
    document: Document
    trust: bool
    max_input: int | None
    varied: Varied = field(repr=False, compare=False)
    shelf: MachineShelf = field(repr=False, compare=False)

    def plan(self, point: Point) -> Plan:
        """The configuration of one point, built."""
        return plan(self._spec(point), self.max_input, self.shelf.machine_of)

    def task_config(self, point: Point) -> dict[str, object]:
        """The configuration of one point as JSON, without the words of the study and with whole paths."""
        return _travelling(self._spec(point))

    def _spec(self, point: Point) -> StudySpec:
        return checked_spec(self.varied.document_of(point.number), trust=self.trust, max_input=self.max_input)


def open_sweep(
    study: str,
    settings: Sequence[Setting] = (),
    *,
    axes: Sequence[str] = (),
    quick: bool = False,
    trust: bool = False,
    max_input: int | None = None,
) -> SweepSpec:
    """Read a study, a file or one that coalsim brings along, and plan all its points.

    Args:
        study: name or path.
        settings: what goes over the study; one for the key of an axis replaces the axis.
        axes: `--axis` texts, KEY=V1,V2: each replaces the axis of its key, or is a new one.
        quick: whether to take the study's [quick] variant.
        trust: whether the study file may load classes by file or module.
        max_input: bytes of input that may be read; None is the usual limit.

    Raises:
        ConfigError: every mistake, with its place.
    """
    return sweep_of(
        read_document(find_study(study)), settings, axes=axes, quick=quick, trust=trust, max_input=max_input
    )


def sweep_of(
    document: Document,
    settings: Sequence[Setting] = (),
    *,
    axes: Sequence[str] = (),
    quick: bool = False,
    trust: bool = False,
    max_input: int | None = None,
) -> SweepSpec:
    """The same for a study that was read already.

    Raises:
        ConfigError: every mistake, with its place.
    """
    problems: list[Problem] = []
    varied, gone = varied_study(document, settings, axes, quick, problems)
    bare_axes = tuple(placed.axis for placed in varied.axes)
    shown = with_settings(varied.document, settings)
    show = read_show(shown, bare_axes, problems, gone)
    stop = read_stop(shown, problems)
    count = prod(len(axis.values) for axis in bare_axes)
    if count > MOST_POINTS:
        message = f"the axes make {count:,} points"
        remedy = f"shorten an axis: {MOST_POINTS:,} are the most"
        raise ConfigError([*problems, document.problem("axis", message, remedy)])
    check = _Check(varied, trust, max_input)
    points = check.points()
    problems = [*dict.fromkeys([*problems, *check.problems()])]
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.where, problem.line)))
    base = check.base()
    return SweepSpec(
        base=base,
        axes=bare_axes,
        points=points,
        show=show,
        stop=stop,
        replications=base.run.replications,
        seed=base.run.seed,
        document=shown,
        trust=trust or check.names_own_code,
        max_input=max_input,
        varied=varied,
        shelf=check.shelf,
    )


class _Check:
    """Plans every point once and keeps what it learns: keys, mistakes, machines."""

    def __init__(self, varied: Varied, trust: bool, max_input: int | None) -> None:
        self.shelf = MachineShelf()
        self.names_own_code = False
        self._varied = varied
        self._trust = trust
        self._max_input = max_input
        self._found: dict[Problem, None] = {}  # an ordered set
        self._first: StudySpec | None = None

    def points(self) -> tuple[Point, ...]:
        """All points; mistakes are kept for `problems`."""
        points = []
        for number, steps in enumerate(grid(self._varied.axes)):
            if len(self._found) >= MOST_MISTAKES:
                break
            try:
                key = self._key(self._varied.document_at(steps))
            except ConfigError as error:
                self._found.update(dict.fromkeys(error.problems))
                continue
            points.append(Point(number=number, key=key, settings=self._varied.settings_at(steps)))
        return tuple(points)

    def _key(self, document: Document) -> str:
        spec = checked_spec(document, trust=self._trust, max_input=self._max_input)
        self._first = self._first or spec
        planned = plan(spec, self._max_input, self.shelf.machine_of)
        _check_cpus(planned)
        config = spec.resolved()
        self.names_own_code = self.names_own_code or names_own_code(config)
        return point_key(config, foreign_classes(planned))

    def problems(self) -> list[Problem]:
        """Every mistake once; one that no value of an axis can be without is told at the axis' key."""
        found = [*self._found]
        for placed in self._varied.axes:
            for key in placed.axis.keys if placed.at else ():
                mine = [problem for problem in found if problem.key == key]
                for message, remedy in dict.fromkeys((problem.message, problem.remedy) for problem in mine):
                    same = [
                        problem for problem in mine if (problem.message, problem.remedy) == (message, remedy)
                    ]
                    is_of_key = not any(problem.value for problem in same)
                    if is_of_key or 1 < len(placed.axis.values) == len(same):
                        at = f"{placed.at}.keys" if len(placed.axis.keys) > 1 else f"{placed.at}.key"
                        told = self._varied.document.problem(at, message, remedy)
                        found = [problem for problem in found if problem not in same]
                        found.append(replace(told, key=key))
        return found

    def base(self) -> StudySpec:
        """The study without its axes, or its first point where that is none."""
        try:
            bare = with_settings(self._varied.bare, self._varied.settings)
            return checked_spec(bare, trust=self._trust, max_input=self._max_input)
        except ConfigError:
            assert self._first is not None, "all points were planned"
            return self._first


def _check_cpus(planned: Plan) -> None:
    """Refuse a load of more CPUs than its machine has, which it would say itself only when it starts.

    Raises:
        ConfigError: it has more.
    """
    workload, machine = planned.spec.workload, planned.config.machine
    cpus = getattr(workload, "cpus", None)
    if isinstance(cpus, int) and cpus > machine.num_cpus and not is_foreign(workload):
        try:
            choose_cpus(machine, cpus, "compact")
        except ConfigError as error:
            raise ConfigError([planned.spec.located(problem) for problem in error.problems]) from None


def _travelling(spec: StudySpec) -> dict[str, object]:
    config = with_whole_paths({key: table for key, table in spec.resolved().items() if key != "study"})
    workload = config["workload"]
    if isinstance(spec.workload, ReplayLoad) and "max_input" not in spec.workload.model_fields_set:
        assert isinstance(workload, dict), "a table"
        workload.pop("max_input")  # a default: what the task says goes before it
    return config
