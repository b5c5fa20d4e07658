"""The page: what it says, that it stands alone, that its bytes depend on the results alone."""

import json
import re
import shutil
import sqlite3
import sys
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import cast

import pytest
from reported import HOSTILE, Page, command, hostile

from coalsim.errors import ConfigError
from coalsim.observe.document import ResultDocument
from coalsim.report.page import report_html
from coalsim.report.ranks import rank_tables
from coalsim.report.repeat import study_text
from coalsim.sweep.results import StudyResults, load_results
from coalsim.sweep.sweep_spec import open_sweep


@pytest.fixture(scope="module")
def html(results: StudyResults) -> str:
    return report_html(results)


def test_the_page_tells_all_that_was_asked_and_run(html: str) -> None:
    """Words of the study, machine, kernel, axes, seeds, versions, sources, commands."""
    text = Page(html).text
    for words in (
        "Two locks",
        "Which is better?",
        "mcs holds out longer",
        "look at the right end",
        "12 runs done",
        "kernel.lock",
        "mcs; ticket",
        "seeds 1 to 2",
        "machine.clock_ghz",
        "kernel.cost.pcp_pop",
        "assumed",
        "coalsim run small.json --out small",
        "numpy",
    ):
        assert words in re.sub(r"\s+", " ", text), words


def test_what_was_cut_and_what_has_no_interval_is_told(tmp_path: Path) -> None:
    """The warm-up that MSER-5 found, the batches and their check, and that one run has no interval."""
    settings = ("--set=run.warmup=auto", "--set=run.duration=200us", "--set=run.batches=20", "-q")
    assert command("run", "lock_loop", *settings, "--out", tmp_path / "one") == 0
    text = re.sub(r"\s+", " ", Page(report_html(load_results(tmp_path / "one"))).text)
    assert "found by MSER-5 in a pilot run of each point: " in text
    assert re.search(r"20 in each run; .* in [01] of 1 runs", text)
    assert re.search(r"throughput [0-9.]+ k/s ± [0-9.]+ k/s by its batches", text)
    assert "It has one run, which says nothing about spread: no interval." in text


def with_rate(run: ResultDocument, seed: int, rate: float) -> ResultDocument:
    return cast(ResultDocument, {**run, "seed": seed, "throughput": {"ops": 1, "ops_per_s": rate}})


def test_curves_are_ranked_as_far_as_intervals_allow(results: StudyResults) -> None:
    """In tiers by each metric with a known direction; what failed is named, what tells nothing is left."""
    tables, is_too_much = rank_tables(results)
    assert not is_too_much
    assert [table.path for table in tables] == [*results.show.metrics]
    assert [row.at for row in tables[0].rows] == [f"workload.cpus = {cpus}" for cpus in (1, 2, 4)]
    assert tables[0].rows[0].tiers[0] == "mcs, ticket", "a lock that nobody waits for"
    lost = replace(results.points[0], runs=())
    failed = replace(results, points=(lost, *results.points[1:]))
    assert rank_tables(failed)[0][0].rows[0].left_out == "mcs"
    assert "Ranking by Throughput" in Page(report_html(failed)).text
    points = [
        replace(point, runs=(with_rate(point.runs[0], 1, number), with_rate(point.runs[0], 2, number)))
        for number, point in enumerate(results.points)
    ]
    alike = replace(results, points=tuple(points))
    assert (rank_tables(alike)[0][0].rows, rank_tables(alike)[0][0].untold) == ((), 3)
    assert "intervals say nothing" in Page(report_html(alike)).text


def test_the_same_results_give_the_same_bytes_wherever_they_lie(
    folder: Path, html: str, tmp_path: Path
) -> None:
    """Neither the folder's name nor the time of writing gets into the page."""
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert report_html(load_results(copy)) == html
    assert str(folder) not in html


def test_nothing_on_the_page_points_outside(html: str) -> None:
    """No element has an address but those of the page itself, and the empty icon."""
    for tag, attributes in Page(html).elements:
        for name in ("src", "href", "action", "srcset", "xlink:href", "style", "onclick", "onload"):
            value = attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,", (tag, name, value)
    assert "url(" not in html
    assert "@import" not in html


def test_the_policy_allows_the_pages_own_script_and_style_alone(html: str) -> None:
    """The digests in the policy are those of the script and the style sheet, and nothing else is allowed."""
    page = Page(html)
    (policy,) = (a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    (style,) = page.inside["style"]
    data, script = page.inside["script"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for name, text in (("script", script), ("style", style)):
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert json.loads(data)["points"][0] == "kernel.lock = mcs, workload.cpus = 1"


def test_hostile_words_are_shown_as_text(results: StudyResults) -> None:
    """Markup in names, titles, labels, values and warnings stays text in the page and its data."""
    page = Page(report_html(hostile(results)))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert page.text.count(HOSTILE) >= 10
    assert HOSTILE in json.loads(page.inside["script"][0])["series"][0]["label"]
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]


def test_the_configuration_on_the_page_repeats_the_study(
    results: StudyResults, html: str, tmp_path: Path
) -> None:
    """Saved and opened as the page says, it has the same points with the same keys: nothing is run again."""
    text = study_text(results)
    assert text.strip() in Page(html).text
    file = tmp_path / "small.json"
    file.write_text(text)
    again = open_sweep(str(file))
    assert [point.key for point in again.points] == [point.point.key for point in results.points]
    assert (again.show, again.axes, again.replications) == (results.show, results.axes, 2)


def test_a_study_that_is_not_finished_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    """With rows taken away, the page is made of the others, and counts those that are missing."""
    copy = shutil.copytree(folder, tmp_path / "cut")
    connection = sqlite3.connect(copy / "results.sqlite")
    connection.execute("DELETE FROM runs WHERE point = (SELECT point FROM runs LIMIT 1)")
    connection.commit()
    connection.close()
    page = Page(report_html(load_results(copy)))
    assert "This study is not finished: 2 runs are missing" in page.text
    data = json.loads(page.inside["script"][0])
    assert data["metrics"][0]["mean"].count(None) == 1
    assert data["stacks"]["shares"].count(None) == 1


def test_runs_that_failed_are_listed_with_their_errors(folder: Path, tmp_path: Path) -> None:
    """Point, seed, status and the text of the error, which is not markup."""
    copy = shutil.copytree(folder, tmp_path / "failed")
    connection = sqlite3.connect(copy / "results.sqlite")
    error = "no <b>luck</b>"
    connection.execute(
        "UPDATE runs SET status = 'failed', result = '', error = ?"
        " WHERE key = (SELECT key FROM runs LIMIT 1)",
        (error,),
    )
    connection.commit()
    connection.close()
    page = Page(report_html(load_results(copy)))
    assert "1 run gave no result" in page.text
    assert error in page.text


def test_a_single_runs_folder_has_a_report_too(tmp_path: Path) -> None:
    """Of a study without axes: all of its numbers, no curves; the command writes it into the folder."""
    settings = ("--set", "machine=ideal", "--set", "run.warmup=10us", "--set", "run.duration=60us")
    assert command("run", "lock_loop", *settings, "--out", tmp_path) == 0
    assert command("report", tmp_path) == 0
    page = Page((tmp_path / "report.html").read_text())
    assert "latency_ns.p999" in page.text
    assert json.loads(page.inside["script"][0])["series"] == []


def test_a_missing_library_is_named_with_its_remedy(
    results: StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without jinja2 there is no traceback but a line that says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r'pip install "coalsim\[report\]"'):
        report_html(results)


def test_report_and_export_refuse_what_they_cannot_do(folder: Path, tmp_path: Path) -> None:
    """Options that contradict each other, folders without results, metrics that nothing has: exit code 2."""
    assert command("report", folder, "--out", tmp_path / "a.html", "--figures", tmp_path) == 2
    assert command("report", tmp_path / "nowhere") == 2
    assert command("export", folder, "--metrics", "latency_ns.p9") == 2
    assert command("export", folder, "--format", "parquet") == 2
