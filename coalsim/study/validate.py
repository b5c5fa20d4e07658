"""Validation: what was measured, what coalsim predicts, and the error of each point.

A validation runs a named study once per point of its measured curves, with settings
that were fixed by other data; the points that did fix a parameter are marked and left
out of the mean error.  Nothing is tuned to the rest: misses are printed like hits.

Invariant: curves that ask for the same run of the same study share it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from coalsim.errors import ConfigError, Problem
from coalsim.observe.document import ResultDocument
from coalsim.study.document import show
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.predictions import VALIDATIONS, Case, Prediction, Validation, load_validation
from coalsim.study.run import run_study
from coalsim.study.vm_outcome import check_promises

Progress = Callable[[int, int], None]
"""Told how many points are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point: measured and predicted in the curve's unit, the error as a share of the measured.

    `predicted` is None where nothing predicts it.
    """

    x: int
    measured: float
    predicted: float | None
    calibrated: bool

    @property
    def error(self) -> float | None:
        """(predicted - measured) / measured."""
        return None if self.predicted is None else (self.predicted - self.measured) / self.measured


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One curve carried out; `settings` are its own with those that were laid over them.

    `machine` and `profile` are empty where nothing was run.
    """

    case: Case
    settings: tuple[tuple[str, str], ...]
    points: tuple[Point, ...]
    machine: str
    profile: str

    @property
    def errors(self) -> tuple[float, ...]:
        """Magnitudes of the errors of the points that calibrated nothing."""
        found = (point.error for point in self.points if not point.calibrated)
        return tuple(abs(error) for error in found if error is not None)

    @property
    def mean_error(self) -> float:
        """Mean of these magnitudes."""
        return sum(self.errors) / len(self.errors) if self.errors else 0.0

    @property
    def worst_error(self) -> float:
        """The largest of them."""
        return max(self.errors, default=0.0)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A validation carried out: the outcome of each curve that has points among those asked for."""

    validation: Validation
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True)
class _Run:
    result: ResultDocument
    clock_ghz: float


class _Runs:
    """The runs that a validation needs, each of them once; `begin` is called before each point."""

    def __init__(self, asked: Sequence[Setting], begin: Callable[[], None]) -> None:
        self.begin = begin
        self._asked = tuple(asked)
        self._done: dict[tuple[object, ...], _Run] = {}

    def at(self, prediction: Prediction, x: int) -> _Run:
        """The run of a point."""
        settings = (*prediction.settings, (prediction.axis_key, str(x)))
        key = (prediction.study, *((key, show(value)) for key, value in settings))
        if key not in self._done:
            self._done[key] = self._carried_out(prediction.study, settings)
        return self._done[key]

    def _carried_out(self, study: str, settings: Sequence[tuple[str, object]]) -> _Run:
        own = [Setting(key=key, value=value, option=f"validation {study}") for key, value in settings]
        plan = open_study(study, (*own, *self._asked))
        result = run_study(plan)
        check_promises(result)  # or numbers of a kernel that is wrong would be compared
        return _Run(result=result, clock_ghz=float(plan.config.machine.clock_ghz.value))


def validate(
    name: str,
    settings: Sequence[Setting] = (),
    points: Sequence[int] = (),
    progress: Progress = lambda done, of: None,
) -> Verdict:
    """Carry out a validation.

    Args:
        name: of VALIDATIONS.
        settings: laid over the validation's own, for studies of the model itself.
        points: only these of its curves; none means all.
        progress: told how many points are done, of how many.

    Raises:
        ConfigError: no such validation, no such point.
    """
    if name not in VALIDATIONS:
        remedy = f"use one of {', '.join(VALIDATIONS)}"
        raise ConfigError(
            [Problem(key="validation", value=name, message="no such validation", remedy=remedy)]
        )
    return carry_out(load_validation(name), settings, points, progress)


def carry_out(
    validation: Validation,
    settings: Sequence[Setting] = (),
    points: Sequence[int] = (),
    progress: Progress = lambda done, of: None,
) -> Verdict:
    """Carry out a validation that has been read; arguments as for `validate`."""
    wanted = _wanted(validation, points)
    done, of = count(), sum(len(xs) for xs in wanted)
    runs = _Runs(settings, lambda: progress(next(done), of))
    outcomes = [
        _outcome(case, xs, settings, runs) for case, xs in zip(validation.cases, wanted, strict=True) if xs
    ]
    return Verdict(validation=validation, outcomes=tuple(outcomes))


def _wanted(validation: Validation, points: Sequence[int]) -> list[list[int]]:
    """The points of each curve that are asked for."""
    measured = [x for case in validation.cases for x in case.curve.points]
    if unknown := [point for point in points if point not in measured]:
        remedy = f"use {min(measured)} to {max(measured)}"
        raise ConfigError(
            [
                Problem(key="--points", value=str(point), message="was not measured", remedy=remedy)
                for point in unknown
            ]
        )
    if not points:
        return [list(case.curve.points) for case in validation.cases]
    return [[x for x in points if x in case.curve.points] for case in validation.cases]


def _outcome(case: Case, xs: Sequence[int], asked: Sequence[Setting], runs: _Runs) -> Outcome:
    prediction = case.prediction
    points = tuple(
        Point(
            x=x,
            measured=case.curve.points[x],
            predicted=_predicted(prediction, x, runs),
            calibrated=x in prediction.calibrated,
        )
        for x in xs
    )
    if prediction.unmodelled:
        return Outcome(case=case, settings=(), points=points, machine="", profile="")
    laid_over = {setting.key: show(setting.value) for setting in asked}
    own = {key: show(value) for key, value in prediction.settings}
    last = runs.at(prediction, xs[-1]).result
    return Outcome(
        case=case,
        settings=tuple({**own, **laid_over}.items()),
        points=points,
        machine=last["machine"],
        profile=last["profile"],
    )


def _predicted(prediction: Prediction, x: int, runs: _Runs) -> float | None:
    runs.begin()
    if prediction.unmodelled:
        return None
    run = runs.at(prediction, x)
    value = prediction.read(run.result, run.clock_ghz)
    if prediction.beyond is None:
        return value
    base = runs.at(prediction, prediction.beyond)
    return value - prediction.read(base.result, base.clock_ghz)
