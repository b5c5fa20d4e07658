"""Figures for papers: one for each metric, one with the stacks, the same bytes each time."""

from dataclasses import replace
from pathlib import Path

import pytest
from reported import command, hostile

from coalsim.report.figures import write_figures
from coalsim.sweep.results import StudyResults


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pdf", "svg", "png"])
def test_figures_are_the_same_each_time(results: StudyResults, tmp_path: Path, form: str) -> None:
    """Each format, twice; no date, no random name; words that look like markup or formulas do no harm."""
    cpus = replace(results.axes[1], label="$x_{$ \\frac <b>")
    named = replace(hostile(results), axes=(hostile(results).axes[0], cpus))
    written = []
    for name in ("first", "second"):
        write_figures(named, tmp_path / name, form)
        written.append({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
    first, second = written
    assert sorted(first) == sorted(
        f"{name}.{form}"
        for name in ("latency_ns_mean", "locks_lock_loop_waittime_total", "stacks", "throughput_ops_per_s")
    )
    assert first == second
    start = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[form]
    assert all(content.startswith(start) for content in first.values())


@pytest.mark.slow
def test_the_command_writes_figures(folder: Path, tmp_path: Path) -> None:
    """PDF if nothing else is asked for."""
    assert command("report", folder, "--figures", tmp_path / "new" / "folder") == 0
    assert len(list((tmp_path / "new" / "folder").glob("*.pdf"))) == 4


@pytest.mark.slow
def test_a_log_axis_tells_what_it_cannot_show(results: StudyResults, tmp_path: Path) -> None:
    """A lock that nobody waited for has no place on it; the rest has more ticks than powers of ten."""
    waits = "locks.lock_loop.waittime_total"
    write_figures(replace(results, show=replace(results.show, metrics=(waits,), log=("y",))), tmp_path, "svg")
    text = (tmp_path / "locks_lock_loop_waittime_total.svg").read_text()
    assert "<!-- 2 not above 0: not on a log axis -->" in text
    assert len([line for line in text.splitlines() if "µs -->" in line]) > 2
