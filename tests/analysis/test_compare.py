"""Comparing results: points by settings, runs by seeds, and nothing said that chance could say."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from coalsim.analysis.compare import compare, difference, flattened, rankings
from coalsim.analysis.compare_text import comparison_text, rankings_text
from coalsim.cli import main as command_line
from coalsim.errors import InputError
from coalsim.observe.document import ResultDocument
from coalsim.sweep.results import load_results

SHORT = ("--set=run.duration=60us", "--set=run.warmup=20us", "--jobs=0", "-q")


def sweep(folder: Path, *arguments: str) -> Path:
    """A small sweep of the lock loop."""
    assert command_line.run(["run", "lock_loop", *SHORT, *arguments, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two sweeps that have a point in common, with two seeds in common."""
    base = tmp_path_factory.mktemp("compare")
    return (
        sweep(
            base / "a",
            "--axis",
            "workload.cpus=1,4",
            "--axis",
            "kernel.lock=mcs,ticket",
            "--set=run.replications=3",
        ),
        sweep(
            *(base / "b", "--axis", "workload.cpus=4,3", "--axis", "kernel.lock=mcs,ticket"),
            *("--set=run.replications=3", "--seed", "2", "--machine", "coal"),
        ),
    )


def test_points_and_runs_are_matched_and_what_has_no_partner_is_told(folders: tuple[Path, Path]) -> None:
    """By settings and by seed."""
    first, second = map(load_results, folders)
    found = compare(first, second)
    assert [dict(point.settings) for point in found.points] == [
        {"workload.cpus": 4, "kernel.lock": "mcs"},
        {"workload.cpus": 4, "kernel.lock": "ticket"},
    ]
    assert [len(found.only_first), len(found.only_second)] == [2, 2]
    assert all(point.unpaired == 2 for point in found.points)
    assert {one.pairs for point in found.points for one in point.differences} == {2}
    assert ("machine.name", "ideal", "coal") in found.changed
    assert all(not key.startswith("workload.cpus") for key, _, _ in found.changed)
    text = comparison_text(found)
    assert "machine.name: ideal -> coal" in text
    assert "4 runs have no partner with the same seed and were left out" in text


def test_a_study_compared_with_itself_is_the_same(folders: tuple[Path, Path]) -> None:
    """Every difference is zero, and no configuration key differs."""
    study = load_results(folders[0])
    found = compare(study, study)
    assert {one.verdict for point in found.points for one in point.differences} == {"the same"}
    assert not found.changed
    assert "the configurations are the same" in comparison_text(found)


def test_verdicts_go_by_the_interval_and_by_what_is_better() -> None:
    """Throughput up and latency down are faster; noise is not told apart; one pair says nothing."""
    rate, latency = "throughput.ops_per_s", "latency_ns.mean"
    up = ([10.0, 20.0, 30.0], [11.0, 21.1, 31.05])
    assert difference(*up, rate).verdict == "faster"
    assert difference(*up, latency).verdict == "slower"
    assert difference(*up, "events").verdict == "higher"
    assert difference(up[1], up[0], latency).verdict == "faster"
    assert difference([1.0, 2.0, 3.0], [2.0, 1.0, 3.1], rate).verdict == "not told apart"
    assert difference([1.0], [2.0], rate).verdict == "one pair: no interval"
    assert difference([0.0, 0.0], [0.0, 0.0], rate).ratio is None


def test_ranking_is_cut_into_tiers(folders: tuple[Path, Path]) -> None:
    """On a machine that costs nothing all locks are one tier; by latency the best comes first, too."""
    found = rankings(load_results(folders[0]))
    assert [one.tiers for one in found] == [(("mcs", "ticket"),), (("mcs", "ticket"),)]
    apart = rankings(load_results(folders[0]), over=["workload.cpus"])
    assert [one.tiers for one in apart] == [(("4",), ("1",))] * 2
    (slowest, *_) = rankings(load_results(folders[0]), "sim_time_ps", ["workload.cpus"])
    assert slowest.tiers == (("1", "4"),), "equal values are one tier"
    latency = rankings(load_results(folders[0]), "latency_ns.mean", ["workload.cpus"])
    assert all(one.lower_is_better and one.tiers[::-1] == one.ranking.tiers for one in latency)
    assert "the best first" in rankings_text(apart)


def test_a_variant_that_failed_does_not_hide_the_others(folders: tuple[Path, Path]) -> None:
    """The others of its place are ranked, and it is named."""
    study = load_results(folders[0])
    lost = replace(study.points[0], runs=())
    apart = rankings(replace(study, points=(lost, *study.points[1:])), over=["workload.cpus", "kernel.lock"])
    assert [one.left_out for one in apart] == [("1 mcs",)]
    assert sum(map(len, apart[0].tiers)) == 3
    assert "no runs that could be ranked of 1 mcs" in rankings_text(apart)
    (alone, _) = rankings(replace(study, points=(lost, *study.points[1:])))
    assert (alone.tiers, alone.left_out) == ((("ticket",),), ("mcs",))


def test_a_load_that_draws_nothing_at_random_is_not_ranked(folders: tuple[Path, Path]) -> None:
    """Its replications are all the same, so its intervals have no width and say nothing."""
    study = load_results(folders[0])
    points = tuple(
        replace(
            point,
            runs=tuple(cast(ResultDocument, {**point.runs[0], "seed": run["seed"]}) for run in point.runs),
        )
        for point in study.points
    )
    alike = replace(study, points=points)
    (one, *_) = rankings(alike, over=["workload.cpus"])
    assert one.tiers == ()
    assert one.rows == ((0, "4"), (0, "1"))
    assert "what cannot be ranked" in rankings_text([one])
    single = replace(study, points=tuple(replace(point, runs=point.runs[:1]) for point in study.points))
    assert [each.tiers for each in rankings(single)] == [(), ()], "one run has no interval"
    assert "this load draws nothing at random" in comparison_text(compare(alike, alike))


def test_results_that_cannot_be_compared_are_refused(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other points, other seeds, other metrics, no folder: exit code 2 and a remedy each."""
    first = load_results(folders[0])
    alone = tmp_path / "alone"
    one = ("--set=run.duration=200us", "--set=run.warmup=50us", "-q", "--out", str(alone))
    assert command_line.run(["run", "lock_loop", *one]) == 0
    capsys.readouterr()
    with pytest.raises(InputError, match="no point of it is in"):
        compare(first, load_results(alone))
    with pytest.raises(InputError, match="nothing in it to rank"):
        rankings(load_results(alone))
    with pytest.raises(InputError, match=r"it has no axis kernel\.hz"):
        rankings(first, over=["kernel.hz"])
    with pytest.raises(InputError, match=r"have latency_ns\.p98"):
        rankings(first, "latency_ns.p98")
    with pytest.raises(InputError, match=r"no run has latency_ns\.p98"):
        compare(first, first, ["latency_ns.p98"])
    other = str(tmp_path / "other")
    assert command_line.run(["run", "lock_loop", *one[:3], "--seed", "77", "--out", other]) == 0
    capsys.readouterr()
    assert command_line.run(["compare", str(alone), other]) == 2
    assert "run both with the same run.seed" in capsys.readouterr().err
    assert command_line.run(["compare", str(tmp_path / "nothing")]) == 2
    assert dict(flattened({"a": {"b": 1}, "c": 2})) == {"a.b": 1, "c": 2}
