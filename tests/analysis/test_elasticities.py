"""Elasticities: screening finds exactly what is felt, and times add up as units demand."""

from decimal import Decimal

import pytest

from coalsim.analysis.cases import Cases
from coalsim.analysis.elasticities import Tornado, elasticities, parameters_of
from coalsim.analysis.what_if_text import tornado_text
from coalsim.cli import main as command_line
from coalsim.errors import ConfigError
from coalsim.study.overrides import parse_settings
from coalsim.study.what_if import Change, WhatIf
from coalsim.sweep.pools import Serial
from coalsim.sweep.sweep_spec import open_sweep

SMALL = ("workload.frames_per_cpu=100", "workload.cpus=2", "machine=coal")


def tornado(only: str = "", pairs: int = 1, settings: tuple[str, ...] = SMALL) -> tuple[Tornado, Cases]:
    """Of a short bulk of page allocations."""
    spec = open_sweep("page_bulk", parse_settings(settings))
    pool = Serial()
    cases = Cases(spec, spec.points[0], pool)
    return elasticities(cases, pairs, only=only), cases


@pytest.mark.slow
def test_the_elasticities_of_all_times_add_up_to_minus_one() -> None:
    """This load has no times of its own: all times longer by a tenth, all rates lower by an eleventh."""
    found, _ = tornado()
    assert found.total is not None
    assert found.total.mean == pytest.approx(-1, abs=0.003)
    assert not found.flag
    assert found.rows[0].interval.mean == max((row.interval.mean for row in found.rows), key=abs)
    assert len(found.unfelt) > 100
    text = tornado_text(found)
    assert "parameters change nothing here, to the byte" in text
    assert "the elasticities of all times add up to -1.00" in text


def test_what_screening_leaves_out_changes_nothing_by_itself() -> None:
    """Every parameter of a pattern, one by one: the same verdict as in groups."""
    found, cases = tornado(only="cost:pcp_*")
    felt = {row.parameter.target for row in found.rows}
    known = parameters_of(cases.original.config.machine, cases.original.spec.kernel, "cost:pcp_*")
    assert len(known) == len(felt) + len(found.unfelt)
    cases.run([(cases.base, 0)])
    for one in known:
        alone = WhatIf(changes=(Change(target=one.target, factor=Decimal("1.1")),))
        cases.run([(alone, 0)])
        assert (cases.text(alone, 0) != cases.text(cases.base, 0)) == (one.target in felt)


def test_sources_are_those_of_the_data_files() -> None:
    """The table says which numbers were measured, derived or assumed, though the runs have them as text."""
    found, _ = tornado(only="cost:refill*")
    assert {row.parameter.target: row.parameter.status for row in found.rows} == {
        "cost:refill_fixed": "derived",
        "cost:refill_per_page": "derived",
    }


def test_wrong_patterns_and_metrics_are_told() -> None:
    """Without a traceback."""
    with pytest.raises(ConfigError, match="no parameter is called so"):
        tornado(only="cost:nothing*")
    assert command_line.run(["whatif", "page_bulk", "--elasticities", "--step", "soon"]) == 2
    asked = ["whatif", "page_bulk", *(f"--set={text}" for text in SMALL), "--replications", "1"]
    assert command_line.run([*asked, "--what-if", "ipi=2", "--metric", "latency_ns.p101"]) == 2


@pytest.mark.slow
def test_workers_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes print what one prints."""
    asked = ["whatif", "page_bulk", *(f"--set={text}" for text in SMALL), "--elasticities", "--json"]
    texts = []
    for jobs in ("0", "2"):
        assert command_line.run([*asked, "--only", "cost:pcp_*", "--replications", "2", "--jobs", jobs]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
