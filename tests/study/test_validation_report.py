"""The report of a validation: what it says besides the numbers."""

from collections.abc import Sequence
from typing import Any

import pytest

from coalsim.errors import ConfigError
from coalsim.observe.tables import PLAIN
from coalsim.study.curves import Curve
from coalsim.study.overrides import parse_settings
from coalsim.study.predictions import Case, Prediction, Validation
from coalsim.study.validate import Verdict, carry_out, validate
from coalsim.study.validation_report import as_document, as_text

SHORT = parse_settings(["run.duration=20us", "run.warmup=5us", "run.replications=2"])


def case(
    name: str, points: dict[int, float], *, unit: str = "ns", rules: Sequence[str] = (), **how: Any
) -> Case:
    """A curve of writes to one line, predicted on the study that has them."""
    parts: dict[str, Any] = {
        "study": "line_contention",
        "settings": (("machine.name", "wex8"), ("run.warmup", "5us"), ("run.duration", "20us")),
        "axis_key": "workload.cpus",
        "figure": "latency_ns.mean",
        "operation": "",
        "only": (),
        "without": (),
        "convert": "",
        "factor": 1.0,
        "beyond": None,
        "calibrated": (),
        "unmodelled": "",
        **how,
    }
    curve = Curve(
        name=name, unit=unit, status="measured", source="a paper", machine="a server", points=points
    )
    return Case(curve=curve, prediction=Prediction(**parts), rules=tuple(rules))


def several(*cases: Case) -> Validation:
    """A validation of several curves."""
    return Validation(name="writes", title="writes", axis="cores", rules=("of all",), cases=cases)


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    """Four curves: in ns, in cycles, what a second core adds, and one that nothing predicts."""
    return carry_out(
        several(
            case("plain", {1: 12.49, 2: 50.0, 4: 80.0}, calibrated=(1,), rules=["1 fixes an own write"]),
            case("cycles", {2: 120.0}, unit="cycles", convert="cycles"),
            case("added", {2: 40.0}, beyond=1),
            case("other", {1: 9.0}, unmodelled="no such machine"),
        )
    )


def test_settings_laid_over_a_validation_are_shown() -> None:
    """A prediction is never printed under settings that it was not made with."""
    verdict = validate("line_contention", SHORT, [2, 4])
    assert "workload.mode=ww, run.warmup=5us, run.duration=20us, run.replications=2" in as_text(
        verdict, PLAIN
    )
    settings = as_document(verdict)["settings"]
    assert isinstance(settings, dict)
    assert settings["run.duration"] == "20us"


def test_the_last_line_counts_predicted_points_only() -> None:
    """Points that calibrated a parameter are printed, and are no success."""
    one = as_text(validate("line_contention", SHORT, [2, 4]), PLAIN).splitlines()
    assert one[-1].endswith("over the point that calibrated nothing")
    none = as_text(validate("line_contention", SHORT, [1, 2]), PLAIN).splitlines()
    assert none[-1] == "every point printed calibrated a parameter: nothing was predicted"
    assert [line == "" for line in none[-3:]] == [False, True, False]


def test_each_row_of_several_curves_names_its_curve(verdict: Verdict) -> None:
    """One line a point, columns that can be split; marks for what calibrated and what nothing predicts."""
    lines = as_text(verdict, PLAIN).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("series "))
    rows = [line.split() for line in lines[start : lines.index("", start)]]
    assert rows[0] == ["series", "cores", "measured", "predicted", "error%", "used"]
    assert [(row[0], row[1], row[5:]) for row in rows[1:]] == [
        ("plain", "1", ["calibrated"]),
        ("plain", "2", []),
        ("plain", "4", []),
        ("cycles", "2", []),
        ("added", "2", []),
        ("other", "1", ["unmodelled"]),
    ]
    assert rows[-1][3:5] == ["-", "-"]


def test_curves_with_units_of_their_own_say_so(verdict: Verdict) -> None:
    """A unit, a machine or a rule that not all curves share stands beside their names."""
    lines = as_text(verdict, PLAIN).splitlines()
    assert "unit:      plain, added, other: ns" in lines
    assert "unit:      cycles: cycles" in lines
    assert "measured:  a server" in lines
    assert "predicted: other: not at all: no such machine" in lines
    assert "rule:      of all" in lines
    assert "rule:      plain: 1 fixes an own write" in lines


def test_the_errors_of_curves_are_not_mixed(verdict: Verdict) -> None:
    """One line each; a curve that nothing predicts does not count as right."""
    last = as_text(verdict, PLAIN).splitlines()[-4:]
    assert [line.partition(":")[0] for line in last] == ["plain", "cycles", "added", "other"]
    assert "over the 2 points" in last[0]
    assert last[3] == "other: nothing was predicted"


def test_conversions_and_differences_are_those_of_the_same_runs(verdict: Verdict) -> None:
    """Cycles are ns times the clock; what a core adds is its run less the run without it."""
    found = {
        (outcome.case.curve.name, point.x): point.predicted
        for outcome in verdict.outcomes
        for point in outcome.points
    }
    one, two = found["plain", 1], found["plain", 2]
    assert one is not None
    assert two is not None
    assert found["cycles", 2] == pytest.approx(two * 2.4)
    assert found["added", 2] == pytest.approx(two - one)
    assert found["other", 1] is None


def test_an_error_is_relative_to_the_measured_value(verdict: Verdict) -> None:
    """And its mean and its worst are over points that calibrated nothing."""
    outcome = verdict.outcomes[0]
    errors = [abs(point.predicted - point.measured) / point.measured for point in outcome.points[1:]]  # type: ignore[operator]
    assert outcome.mean_error == pytest.approx(sum(errors) / 2)
    assert outcome.worst_error == pytest.approx(max(errors))


def test_the_document_of_several_curves_has_a_series_each(verdict: Verdict) -> None:
    """With everything that the text says; no prediction of what nothing predicts."""
    document: dict[str, Any] = as_document(verdict)
    plain, cycles, _, other = document["series"]
    assert document["rules"] == ["of all"]
    assert [point["x"] for point in plain["points"]] == [1, 2, 4]
    assert plain["settings"]["run.duration"] == "20us"
    assert cycles["unit"] == "cycles"
    assert other["unmodelled"] == "no such machine"
    assert other["points"][0]["predicted"] is None
    assert "mean_error" not in other


def test_points_are_picked_in_every_curve_that_has_them() -> None:
    """Curves without them are left out; the clock that converts is the one that was set."""
    validation = several(
        case("plain", {1: 12.0, 2: 50.0}), case("cycles", {2: 120.0}, unit="cycles", convert="cycles")
    )
    only = carry_out(validation, points=[1])
    assert [outcome.case.curve.name for outcome in only.outcomes] == ["plain"]
    faster = carry_out(validation, parse_settings(["machine.clock_ghz=4.8"]), points=[2])
    plain, cycles = (outcome.points[0].predicted for outcome in faster.outcomes)
    assert plain is not None
    assert cycles == pytest.approx(plain * 4.8)


def test_runs_are_shared_and_progress_counts_points() -> None:
    """Two curves off one run: points are told one by one, from 0 to all."""
    seen: list[tuple[int, int]] = []
    validation = several(case("a", {2: 50.0, 3: 60.0}), case("b", {2: 50.0}))
    verdict = carry_out(validation, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(0, 3), (1, 3), (2, 3)]
    assert verdict.outcomes[0].points[0].predicted == verdict.outcomes[1].points[0].predicted


def test_a_point_that_no_curve_has_is_refused() -> None:
    """With the range that was measured."""
    with pytest.raises(ConfigError, match=r"7: was not measured; use 1 to 4"):
        carry_out(several(case("a", {1: 1.0}), case("b", {4: 1.0})), points=[1, 7])
