"""Validation: what was measured, what coalsim predicts, and the error of each point.

A validation runs a named study once per point of a measured curve, with settings that
were fixed by other data; the points that did fix a parameter are marked and left out
of the mean error.  Nothing is tuned to the rest: misses are printed like hits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coalsim.errors import ConfigError, Problem
from coalsim.observe.document import ResultDocument
from coalsim.study.curves import Curve, load_curve
from coalsim.study.document import show
from coalsim.study.overrides import Setting
from coalsim.study.run import open_study, run_study
from coalsim.topology.presets import load_machine


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How one curve is predicted.

    `settings` hold for every point, `axis_key` gets the point's x.  `predicted` reads
    the prediction, in the curve's unit, off a result; `calibrated` are the points
    that fixed parameters, and `rules` say how, and what was scaled.
    """

    curve: str
    study: str
    settings: tuple[tuple[str, str], ...]
    axis_key: str
    predicted: Callable[[ResultDocument], float]
    calibrated: tuple[int, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point: measured and predicted in the curve's unit, the error as a share of the measured."""

    x: int
    measured: float
    predicted: float
    calibrated: bool

    @property
    def error(self) -> float:
        """(predicted - measured) / measured."""
        return (self.predicted - self.measured) / self.measured


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A validation carried out; `settings` are its own with those that were laid over them."""

    name: str
    validation: Validation
    settings: tuple[tuple[str, str], ...]
    curve: Curve
    points: tuple[Point, ...]
    machine: str
    profile: str

    @property
    def mean_error(self) -> float:
        """Mean of the errors' magnitudes over the points that calibrated nothing."""
        errors = [abs(point.error) for point in self.points if not point.calibrated]
        return sum(errors) / len(errors) if errors else 0.0

    @property
    def worst_error(self) -> float:
        """The largest magnitude among them."""
        return max((abs(point.error) for point in self.points if not point.calibrated), default=0.0)


def _alloc_ns(result: ResultDocument) -> float:
    return float(result["phases"]["alloc"]["latency_ns"]["mean"])


def _cycles(result: ResultDocument) -> float:
    """The mean latency in cycles of the machine that ran it."""
    return float(result["latency_ns"]["mean"]) * float(load_machine(result["machine"]).clock_ghz.value)


VALIDATIONS: dict[str, Validation] = {
    "page_bulk": Validation(
        curve="page_bulk",
        study="page_bulk",
        settings=(
            ("machine.name", "icx2"),
            ("machine.clock_ghz", "2.2"),
            ("kernel.profile", "linux-6.0"),
            ("workload.order", "0"),
        ),
        axis_key="workload.cpus",
        predicted=_alloc_ns,
        calibrated=(1,),
        rules=(
            "zone lock held 2.02 us per refill of 63 pages: Ice Lake, Linux commit 52166607ecc9",
            "scaling: the part per page (20.1 ns) is time of memory and stays; the fixed part is work of the "
            "core, taken as cycles at an assumed 3.4 GHz and run at the benchmark's 2.2 GHz",
            "outside the lock: what the one-core point (94 ns) leaves over; lines cost what the preset says",
        ),
    ),
    "line_contention": Validation(
        curve="line_contention",
        study="line_contention",
        # The order of the CPUs on the line is drawn once per run: several short runs, not one long.
        settings=(
            ("machine.name", "wex8"),
            ("workload.mode", "ww"),
            ("run.warmup", "30us"),
            ("run.duration", "120us"),
            ("run.replications", "8"),
        ),
        axis_key="workload.cpus",
        predicted=_cycles,
        calibrated=(1, 2, 10, 11),
        rules=(
            "own write, transfer in a socket, occupancy in and across sockets: from 1, 2, 10 and 11 cores",
            "a second hop costs what the first does: no point was left to fix it",
        ),
    ),
}


def validate(
    name: str,
    settings: Sequence[Setting] = (),
    points: Sequence[int] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Verdict:
    """Carry out a validation.

    Args:
        name: of VALIDATIONS.
        settings: laid over the validation's own, for studies of the model itself.
        points: only these of the curve; none means all.
        progress: told how many points are done, of how many.

    Raises:
        ConfigError: no such validation, no such point.
    """
    if name not in VALIDATIONS:
        remedy = f"use one of {', '.join(VALIDATIONS)}"
        raise ConfigError(
            [Problem(key="validation", value=name, message="no such validation", remedy=remedy)]
        )
    validation = VALIDATIONS[name]
    curve = load_curve(validation.curve)
    wanted = list(points) or list(curve.points)
    unknown = [point for point in wanted if point not in curve.points]
    if unknown:
        known = f"{min(curve.points)} to {max(curve.points)}"
        raise ConfigError(
            [
                Problem(key="--points", value=str(point), message="was not measured", remedy=f"use {known}")
                for point in unknown
            ]
        )
    found: list[Point] = []
    machine = profile = ""
    for done, x in enumerate(wanted):
        progress(done, len(wanted))
        result = _predict(validation, x, settings)
        machine, profile = result["machine"], result["profile"]
        found.append(
            Point(
                x=x,
                measured=curve.points[x],
                predicted=validation.predicted(result),
                calibrated=x in validation.calibrated,
            )
        )
    asked = {setting.key: show(setting.value) for setting in settings}
    return Verdict(
        name=name,
        validation=validation,
        settings=tuple({**dict(validation.settings), **asked}.items()),
        curve=curve,
        points=tuple(found),
        machine=machine,
        profile=profile,
    )


def _predict(validation: Validation, x: int, settings: Sequence[Setting]) -> ResultDocument:
    own = [
        Setting(key=key, value=value, option=f"validation {validation.study}")
        for key, value in (*validation.settings, (validation.axis_key, str(x)))
    ]
    return run_study(open_study(validation.study, (*own, *settings)))
