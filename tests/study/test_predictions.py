"""The data of validations: what the files say, and how a prediction is read off a result."""

import pytest

from coalsim.errors import ConfigError
from coalsim.study.curves import read_data
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.predictions import VALIDATIONS, Case, Prediction, load_validation

CASES = {f"{name}:{case.curve.name}": case for name in VALIDATIONS for case in load_validation(name).cases}
MODELLED = {name: case for name, case in CASES.items() if not case.prediction.unmodelled}


def prediction(**changes: object) -> Prediction:
    """A prediction whose parts do not matter but for those that are given."""
    parts: dict[str, object] = {
        "study": "line_contention",
        "settings": (),
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
        **changes,
    }
    return Prediction(**parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", VALIDATIONS)
def test_each_file_gives_title_axis_and_curves_with_names_of_their_own(name: str) -> None:
    """Several curves of a file are told apart; axis and names are single words, as in any table."""
    validation = load_validation(name)
    names = [case.curve.name for case in validation.cases]
    assert validation.title
    assert len(set(names)) == len(names)
    assert all(names) or names == [""]
    assert not any(" " in word for word in (validation.axis, *names))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_curve_has_points_and_a_public_source(case: Case) -> None:
    """Measured values are positive, so an error is a share of something."""
    assert case.curve.points
    assert min(case.curve.points.values()) > 0
    assert case.curve.unit
    assert case.curve.machine
    assert len(case.curve.source) > 20, "authors, title or commit, year"
    assert case.curve.status in ("measured", "derived")


@pytest.mark.parametrize("name", VALIDATIONS)
def test_no_point_is_given_twice(name: str) -> None:
    """A second value of a point would silently replace the first."""
    raw = read_data(name)
    for table in raw.get("series", [raw]):  # type: ignore[attr-defined]
        xs = [x for x, _ in table["points"]]
        assert xs == sorted(set(xs))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_curve_is_predicted_wholly_or_says_why_not(case: Case) -> None:
    """A study with the setting that gets x and a figure; or a reason."""
    told = case.prediction
    if told.unmodelled:
        assert not told.calibrated
    else:
        assert told.study
        assert told.axis_key
        assert told.figure or told.operation
        assert not (told.only and told.without)


@pytest.mark.parametrize("name", VALIDATIONS)
def test_calibrated_points_are_points_and_a_rule_says_what_they_fixed(name: str) -> None:
    """No point is left out of the error without a word about it."""
    validation = load_validation(name)
    for case in validation.cases:
        assert set(case.prediction.calibrated) <= case.curve.points.keys()
        if case.prediction.calibrated:
            assert case.rules or (not case.curve.name and validation.rules)


@pytest.mark.parametrize("name", ["stock", "concurrent", "early_ack"])
def test_what_targets_add_is_the_difference_of_measured_values(name: str) -> None:
    """The derived curves follow from the measured ones by the arithmetic that predicts them."""
    measured, added = (CASES[f"madvise_shootdown:{name}{ending}"] for ending in ("", "_added"))
    base = added.prediction.beyond
    assert base is not None
    assert added.curve.status == "derived"
    assert {x: measured.curve.points[x] - measured.curve.points[base] for x in added.curve.points} == (
        added.curve.points
    )
    assert added.prediction.settings == measured.prediction.settings


def test_only_points_that_calibration_names_are_marked() -> None:
    """Stock madvise at 1 and 2 threads, shootdowns at 10 and 20 cores, one-core rows; no flush of a range."""
    marked = {name: case.prediction.calibrated for name, case in CASES.items() if case.prediction.calibrated}
    assert not any(name.startswith("flush_range") for name in marked)
    assert marked["madvise_shootdown:stock"] == (1, 2)
    assert {name for name in marked if name.startswith("madvise")} == {
        "madvise_shootdown:stock",
        "madvise_shootdown:stock_added",
    }
    assert marked["radixvm_pipeline:shootdown"] == (10,)  # why not 20, too, its rules say
    assert marked["radixvm_pipeline:page_writes"] == (1,)
    assert marked["pft_faults:icelake_mmap_lock"] == (1,)
    assert all(CASES[f"sv6_single_core:sv6_{call}"].prediction.calibrated for call in ("mmap", "fault"))


@pytest.mark.parametrize("case", MODELLED.values(), ids=MODELLED)
def test_the_study_of_each_prediction_takes_its_settings(case: Case) -> None:
    """It can be built for the first and the last point."""
    told = case.prediction
    for x in (min(case.curve.points), max(case.curve.points)):
        settings = [
            Setting(key=key, value=value, option="a validation")
            for key, value in (*told.settings, (told.axis_key, x))
        ]
        plan = open_study(told.study, settings)
        assert plan.spec.name == told.study


def test_a_series_takes_from_the_top_what_it_does_not_say() -> None:
    """Settings are laid over each other key by key, other parts replaced."""
    stock = CASES["madvise_shootdown:stock"]
    early = CASES["madvise_shootdown:early_ack"]
    assert dict(stock.prediction.settings) == {
        **dict(early.prediction.settings),
        "kernel.shootdown": "linux",
    }
    assert stock.curve.machine == early.curve.machine
    assert stock.curve.source != early.curve.source


def test_a_figure_is_read_by_its_path_scaled_and_put_into_cycles() -> None:
    """A number of the result document, in the unit of the measurement."""
    result = {"latency_ns": {"mean": 50.0}, "throughput": {"ops_per_s": 1000}}
    assert prediction().read(result, 2.4) == 50.0
    assert prediction(convert="cycles").read(result, 2.4) == pytest.approx(120.0)
    assert prediction(figure="throughput.ops_per_s", factor=2.0).read(result, 2.4) == 2000.0


@pytest.mark.parametrize(
    "figure", ["shootdown_ns.mean", "latency_ns.p90", "latency_ns", "study", "study.mean"]
)
def test_a_figure_that_a_run_does_not_have_is_an_error_with_its_name(figure: str) -> None:
    """Missing, a table, a text: none of them is a prediction."""
    result = {"study": "line_contention", "latency_ns": {"mean": 50.0}}
    with pytest.raises(ConfigError, match=figure):
        prediction(figure=figure).read(result, 2.4)


FLUSHES = {
    "operations": {
        "madvise": {
            "latency_ns": {"count": 4, "mean": 100.0},
            "by_cause_ns": {"syscall": 80, "shootdown:setup": 120, "shootdown:wait": 200},
        },
        "mmap": {"latency_ns": {"count": 0}, "by_cause_ns": {}},
    }
}


def test_a_part_of_an_operation_is_its_mean_over_some_causes() -> None:
    """Only those that are named, all but those, or all; documents hold sums."""
    assert prediction(operation="madvise").read(FLUSHES, 2.4) == 100.0
    assert prediction(operation="madvise", without=("syscall",)).read(FLUSHES, 2.4) == 80.0
    flush = prediction(operation="madvise", only=("shootdown:setup", "shootdown:send"), convert="cycles")
    assert flush.read(FLUSHES, 2.0) == 60.0, "a cause that took no time is none"


@pytest.mark.parametrize("operation", ["munmap", "mmap"])
def test_a_part_of_an_operation_that_did_not_happen_is_an_error(operation: str) -> None:
    """Not a prediction of zero."""
    with pytest.raises(ConfigError, match=f"operations.{operation}"):
        prediction(operation=operation).read(FLUSHES, 2.4)
