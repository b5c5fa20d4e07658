"""The report of a validation: what it says besides the numbers."""

from coalsim.observe.tables import PLAIN
from coalsim.study.overrides import parse_settings
from coalsim.study.validate import validate
from coalsim.study.validation_report import as_document, as_text

SHORT = parse_settings(["run.duration=20us", "run.warmup=5us", "run.replications=2"])


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
