"""The sweeps that come along: what each has to say, and that its quick variant runs."""

import pytest

from coalsim.cli import main as command_line
from coalsim.study.document import named_studies, read_document
from coalsim.sweep.sweep_spec import open_sweep

SWEEPS = tuple(name for name, path in named_studies().items() if "axis" in read_document(path).raw)


def test_there_are_at_least_fifteen() -> None:
    """Over all subsystems: locks, pages, slabs, faults, shootdowns, tables, reclaim, debugging, replay."""
    assert len(SWEEPS) >= 15
    loads = {str(read_document(named_studies()[name]).raw["workload"]["kind"]) for name in SWEEPS}
    assert len(loads) >= 12


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_says_what_was_expected_and_has_a_shorter_variant(name: str) -> None:
    """And shows a metric over an axis of its own."""
    text = named_studies()[name].read_text(encoding="utf-8")
    spec, quick = open_sweep(name), open_sweep(name, quick=True)
    assert spec.base.expectation
    assert spec.base.reading
    assert "What came out: " in text
    assert 1 < len(quick.points) <= len(spec.points)
    assert quick.replications <= spec.replications
    assert spec.show.x in [key for axis in spec.axes for key in axis.keys]


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_the_quick_variant_runs_and_shows_a_number_everywhere(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No point fails, and no column is empty."""
    assert command_line.run(["run", name, "--quick", "--jobs", "0", "-q"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.strip()[:1].isdigit()]
    assert len(rows) == len(open_sweep(name, quick=True).points)
    metrics = len(open_sweep(name).show.metrics)
    for row in rows:
        assert row.split().count("-") <= metrics  # half widths of a single run
