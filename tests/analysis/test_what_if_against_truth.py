"""What-if checked against truth: twelve changes, predicted and then made."""

from pathlib import Path

import pytest
from ten_cases import BULK, CASES, Case, outcome_of

from coalsim.analysis.bounds import bound_of, contradiction, mean_demands
from coalsim.analysis.cases import Cases
from coalsim.study.overrides import parse_settings
from coalsim.sweep.pools import Serial
from coalsim.sweep.sweep_spec import open_sweep


def test_ten_cases_hit_and_two_are_known_to_miss() -> None:
    """The misses are limits of the method, told in the documentation; they stay in the table."""
    assert sum(case.hits for case in CASES) == 10
    assert sum(not case.hits for case in CASES) == 2


def test_a_case_on_a_short_run_agrees(tmp_path: Path) -> None:
    """The zone lock, its sections half as long, against half of what its sections are made of."""
    (case,) = (case for case in CASES if case.settings == BULK and "lock:zone" in case.predicted)
    short = Case(
        name=case.name,
        study=case.study,
        settings=("workload.frames_per_cpu=100", "workload.cpus=2", "machine=coal"),
        predicted=case.predicted,
        truth=case.truth,
    )
    assert outcome_of(short, tmp_path).agree


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_predicted_gains_are_measured_gains(case: Case, tmp_path: Path) -> None:
    """With intervals over five pairs of runs."""
    outcome = outcome_of(case, tmp_path)
    assert outcome.agree == case.hits, f"{outcome.predicted} and {outcome.truth}"


@pytest.mark.slow
def test_the_extrapolation_that_misses_contradicts_the_bound(tmp_path: Path) -> None:
    """Whoever believes an elasticity too far is told: the CPUs have no time for so much."""
    (case,) = (case for case in CASES if case.by_elasticity and not case.hits)
    predicted = outcome_of(case, tmp_path).predicted
    spec = open_sweep(case.study, parse_settings(case.settings))
    with Serial() as pool:
        cases = Cases(spec, spec.points[0], pool)
        demands = mean_demands(cases.documents(cases.base, 2))
    assert demands is not None
    bound = bound_of(demands, {"lock_loop": 0.2})
    assert contradiction(demands.rate * predicted.ratio, bound).startswith("breaks the bound")
