"""How published curves are predicted: described in data, beside the measured values.

A data file's [prediction] holds for all of its curves and a series' own is laid over
it.  Both may say:

    study, settings   what to run, and the settings that hold for every point
    axis_key          the setting that gets the point's x
    figure            which number of the result document is the prediction: "latency_ns.mean"
    operation         or: the mean of a kernel operation, as far as it went into the causes in `only`,
    only, without     or into all but those in `without`
    convert           "cycles": from ns into cycles of the machine that was simulated
    factor            a number to multiply it with, such as two writes per operation
    beyond            predict what a point adds to the prediction at this x
    calibrated        the points that fixed parameters: printed, marked, and no success
    unmodelled        why nothing predicts this curve; it is printed without a prediction
    rules             what was fixed by what, what was scaled, what to know when reading it

Invariant: a curve has a study, or says why it is unmodelled; its calibrated points are
points; a curve with calibrated points has a rule that says what they fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from coalsim.errors import ConfigError, Problem
from coalsim.study.curves import Curve, curve, read_data, tables

VALIDATIONS = (
    "page_bulk",
    "line_contention",
    "flush_range",
    "madvise_shootdown",
    "radixvm_pipeline",
    "sv6_single_core",
    "mitosis_vmops",
    "pft_faults",
    "ipi_kvm",
)
"""The data files that can be predicted."""

TOP_KEYS = frozenset(
    ("title", "unit", "axis", "status", "source", "machine", "points", "series", "prediction")
)
SERIES_KEYS = frozenset(("name", "unit", "status", "source", "machine", "points", "prediction"))
PREDICTION_KEYS = frozenset(
    (
        *("study", "settings", "axis_key", "figure", "operation", "only", "without", "convert", "factor"),
        *("beyond", "calibrated", "unmodelled", "rules"),
    )
)
CONVERSIONS = ("", "cycles")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How one curve is predicted; the header says what each part means."""

    study: str
    settings: tuple[tuple[str, object], ...]
    axis_key: str
    figure: str
    operation: str
    only: tuple[str, ...]
    without: tuple[str, ...]
    convert: str
    factor: float
    beyond: int | None
    calibrated: tuple[int, ...]
    unmodelled: str

    def read(self, result: Mapping[str, object], clock_ghz: float) -> float:
        """The predicted value off a result document, in the curve's unit.

        Raises:
            ConfigError: the run has no such figure, as when settings took away what it counts.
        """
        found = self._part(result) if self.operation else _at(result, self.figure)
        if not isinstance(found, int | float):
            raise ConfigError(
                [
                    Problem(
                        key=f"operations.{self.operation}" if self.operation else self.figure,
                        message=f"this run of {self.study} has no such figure",
                        remedy="leave out settings that take it away, or choose other points",
                    )
                ]
            )
        return found * self.factor * (clock_ghz if self.convert == "cycles" else 1)

    def _part(self, result: Mapping[str, object]) -> float | None:
        """What the mean of the operation holds of the causes that count, in ns."""
        causes = _at(result, f"operations.{self.operation}.by_cause_ns")
        count = _at(result, f"operations.{self.operation}.latency_ns.count")
        if not isinstance(causes, Mapping) or not isinstance(count, int | float) or not count:
            return None
        counted = self.only or [cause for cause in causes if cause not in self.without]
        return float(sum(causes.get(cause, 0) for cause in counted) / count)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A measured curve, how it is predicted, and the rules that hold for it alone."""

    curve: Curve
    prediction: Prediction
    rules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The curves of one data file; `rules` hold for all of them."""

    name: str
    title: str
    axis: str
    rules: tuple[str, ...]
    cases: tuple[Case, ...]


def load_validation(name: str) -> Validation:
    """A validation that coalsim brings along; its name is one of VALIDATIONS."""
    raw = read_data(name)
    assert raw.keys() <= TOP_KEYS, f"{name}: unknown key"
    common = _table(raw, "prediction")
    return Validation(
        name=name,
        title=str(raw["title"]),
        axis=str(raw["axis"]),
        rules=_rules(common),
        cases=tuple(_case(table, raw, common) for table in tables(raw)),
    )


def _case(table: Mapping[str, object], raw: Mapping[str, object], common: Mapping[str, object]) -> Case:
    alone = table is raw
    assert alone or table.keys() <= SERIES_KEYS, f"unknown key in {table.get('name')}"
    own = {} if alone else _table(table, "prediction")
    return Case(curve=curve(table, raw), prediction=_prediction({**common, **own}, common), rules=_rules(own))


def _prediction(said: Mapping[str, object], common: Mapping[str, object]) -> Prediction:
    assert said.keys() <= PREDICTION_KEYS, f"unknown key among {', '.join(said)}"
    settings = {**_table(common, "settings"), **_table(said, "settings")}
    convert = str(said.get("convert", ""))
    assert convert in CONVERSIONS, f"{convert} is no conversion"
    beyond = said.get("beyond")
    assert beyond is None or isinstance(beyond, int)
    return Prediction(
        study=str(said.get("study", "")),
        settings=tuple(settings.items()),
        axis_key=str(said.get("axis_key", "")),
        figure=str(said.get("figure", "")),
        operation=str(said.get("operation", "")),
        only=tuple(cast("list[str]", said.get("only", []))),
        without=tuple(cast("list[str]", said.get("without", []))),
        convert=convert,
        factor=float(cast(float, said.get("factor", 1.0))),
        beyond=beyond,
        calibrated=tuple(cast("list[int]", said.get("calibrated", []))),
        unmodelled=str(said.get("unmodelled", "")),
    )


def _table(raw: Mapping[str, object], key: str) -> Mapping[str, object]:
    return cast("Mapping[str, object]", raw.get(key, {}))


def _rules(raw: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(cast("list[str]", raw.get("rules", [])))


def _at(result: Mapping[str, object], path: str) -> object:
    """What stands in a document at a dotted path; None if nothing does."""
    found: object = result
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
