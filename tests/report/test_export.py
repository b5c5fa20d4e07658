"""Export: one row for each run, in every format and library the same."""

import csv
import json
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from reported import command

import coalsim
from coalsim.errors import ConfigError
from coalsim.report.export import csv_text, json_lines
from coalsim.report.tables import ResultTable
from coalsim.sweep.results import StudyResults, load_results


def test_csv_and_json_lines_have_a_row_for_each_run(folder: Path, tmp_path: Path) -> None:
    """Keys of the axes, replication, seed, and the numbers of the documents under their dotted paths."""
    assert command("export", folder, "--out", tmp_path / "runs.csv") == 0
    assert command("export", folder, "--out", tmp_path / "runs.jsonl") == 0
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    runs = [run for point in load_results(folder).points for run in point.runs]
    assert len(rows) == len(lines) == len(runs) == 12
    assert list(rows[0])[:7] == [
        "point", "kernel.lock", "workload.cpus", "replication", "seed", "status", "error",
    ]  # fmt: skip
    for row, line, run in zip(rows, lines, runs, strict=True):
        assert line["latency_ns.mean"] == run["latency_ns"]["mean"] == float(row["latency_ns.mean"])
        assert line["throughput.ops"] == run["throughput"]["ops"]
        assert line["locks.lock_loop.acquisitions"] == run["locks"][0]["acquisitions"]
        assert line["seed"] == run["seed"] == 1 + line["replication"]


@pytest.mark.parametrize("lock", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "'quoted"])
def test_a_spreadsheet_runs_nothing_of_a_csv_file(results: StudyResults, lock: str) -> None:
    """Text that begins like a formula has an apostrophe before it; without it, it is the text again."""
    first = results.points[0]
    settings = (("kernel.lock", lock), first.point.settings[1])
    named = replace(first, point=replace(first.point, settings=settings))
    table = ResultTable(replace(results, points=(named, *results.points[1:])), ("throughput.ops",))
    (row, *_) = csv.DictReader(csv_text(table).splitlines())
    assert row["kernel.lock"] == f"'{lock}"
    assert row["point"] == "0"
    (line, *_) = map(json.loads, json_lines(table).splitlines())
    assert line["kernel.lock"] == lock


def test_metrics_choose_columns_and_failed_runs_stay(folder: Path) -> None:
    """Also numbers of single CPUs by their path; a run without a result is a row without numbers."""
    table = coalsim.results(folder, ("latency_ns.p99", "time.0.user"))
    assert table.names[-3:] == ("error", "latency_ns.p99", "time.0.user")
    assert table.units["time.0.user"] == "ps"
    connection = sqlite3.connect(folder / "results.sqlite")
    before = connection.execute("SELECT key, status, result FROM runs LIMIT 1").fetchone()
    try:
        connection.execute("UPDATE runs SET status = 'timeout', result = '' WHERE key = ?", before[:1])
        connection.commit()
        rows = coalsim.results(folder, ("latency_ns.p99",)).rows()
    finally:
        connection.execute("UPDATE runs SET status = ?, result = ? WHERE key = ?", (*before[1:], before[0]))
        connection.commit()
        connection.close()
    (lost,) = [row for row in rows if row["status"] == "timeout"]
    assert lost["latency_ns.p99"] is None
    assert len(rows) == 12


def test_metrics_that_nothing_has_are_told_all_at_once(folder: Path) -> None:
    """With what was probably meant."""
    with pytest.raises(ConfigError) as refused:
        coalsim.results(folder, ("latency_ns.p9", "locks.zone.contentions"))
    first, second = refused.value.problems
    assert "did you mean latency_ns.p99?" in str(first)
    assert "no run has this number" in str(second)


def test_numpy_has_the_same_rows(folder: Path) -> None:
    """A structured array with a field for each column."""
    table = coalsim.results(folder)
    array = table.to_numpy()
    assert array["kernel.lock"].tolist() == [row["kernel.lock"] for row in table.rows()]
    assert array["latency_ns.mean"].tolist() == [row["latency_ns.mean"] for row in table.rows()]


@pytest.mark.slow
def test_frames_and_parquet_have_the_same_rows_and_units(folder: Path, tmp_path: Path) -> None:
    """Arrow, pandas, polars, and Parquet read back."""
    from pyarrow import parquet

    table = coalsim.results(folder)
    arrow = table.to_arrow()
    assert arrow.to_pylist() == table.rows()
    assert table.to_polars().to_dicts() == table.rows()
    frame = table.to_pandas()
    assert frame["latency_ns.mean"].tolist() == [row["latency_ns.mean"] for row in table.rows()]
    assert frame.attrs["units"]["latency_ns.mean"] == "ns"
    assert command("export", folder, "--out", tmp_path / "runs.parquet") == 0
    read = parquet.read_table(tmp_path / "runs.parquet")
    assert read.to_pylist() == table.rows()
    assert read.schema.field("latency_ns.mean").metadata == {b"unit": b"ns"}


@pytest.mark.parametrize(
    ("library", "method"), [("pyarrow", "to_arrow"), ("pandas", "to_pandas"), ("polars", "to_polars")]
)
def test_a_library_that_is_missing_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, library: str, method: str
) -> None:
    """With how to install it, and no traceback."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"needs the library {library}, .* pip install"):
        getattr(coalsim.results(folder), method)()
