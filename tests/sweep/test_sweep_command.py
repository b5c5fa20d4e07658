"""`coalsim run` of several points: tables, progress, failures, and what it refuses."""

import json
import signal
import time
from pathlib import Path

import pytest
from cli.command import accepted, refused
from sweeps import HANGS, RAISES, end, rows, start, with_locks, write_bad_lock, write_study

from coalsim.cli import main as command_line
from coalsim.cli import sweep_options
from coalsim.cli.sweep_progress import progress_line
from coalsim.errors import InputError
from coalsim.sweep.pools import WorkerState
from coalsim.sweep.progress import Snapshot, time_left
from coalsim.sweep.results import load_results
from coalsim.sweep.rows import Task
from coalsim.sweep.table import number_text


def swept(capsys: pytest.CaptureFixture[str], study: Path, folder: Path, *more: str) -> str:
    return accepted(capsys, "run", str(study), "--out", str(folder), "--jobs", "0", *more)


def test_the_same_command_extends_and_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there is not run again; more replications and more values are added to it."""
    study, out = write_study(tmp_path, [1, 2]), tmp_path / "out"
    first = swept(capsys, study, out)
    held = {*rows(out)}
    assert swept(capsys, study, out) == first
    assert (out / "summary.txt").read_text() == first
    assert {*rows(out)} == held

    wider = swept(capsys, study, out, "--axis", "workload.cpus=1,2,3", "--set", "run.replications=3")
    assert held < {*rows(out)}
    assert len(rows(out)) == 9
    assert [line.split()[:2] for line in wider.splitlines()[2:5]] == [["0", "1"], ["1", "2"], ["2", "3"]]


def test_every_reading_command_takes_a_point(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document of a point is that of the study with its settings, run alone."""
    study, out, alone = write_study(tmp_path, [1, 3]), tmp_path / "out", tmp_path / "alone"
    swept(capsys, study, out)
    (tmp_path / "one.toml").write_text(study.read_text().partition("[[axis]]")[0])
    accepted(capsys, "run", str(tmp_path / "one.toml"), "--set", "workload.cpus=3", "--out", str(alone))

    for command in ("where", "locks"):
        for more in ((), ("--run", "2"), ("--json",)):
            found = accepted(capsys, command, str(out), "--point", "1", *more)
            assert found == accepted(capsys, command, str(alone), *more)
    (told,) = refused(capsys, "where", str(out))
    assert "give --point 0 to --point 1 (0: workload.cpus=1; 1: workload.cpus=3)" in told
    assert "no such point" in refused(capsys, "where", str(out), "--point", "2")[0]
    assert "single run" in refused(capsys, "where", str(alone), "--point", "1")[0]
    assert load_results(alone).values(load_results(alone).points[0], "throughput.ops") == load_results(
        out
    ).values(load_results(out).points[1], "throughput.ops")


def test_some_points_that_fail_give_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are in the table; who failed, and where, is told below it and in the JSON document."""
    bad = write_bad_lock(tmp_path, RAISES)
    study = write_study(tmp_path, [2], more=f'[[axis]]\nkey = "kernel.lock"\nvalues = ["mcs", "{bad}"]\n')
    command = ["run", str(study), "--jobs", "0", "--out", str(tmp_path / "out")]
    assert "--trust" in refused(capsys, *command)[0]

    assert command_line.run([*command, "--trust", "-q"]) == 4
    text = capsys.readouterr().out
    assert "point 1, run 1 (seed 1): failed: " in text
    assert f"{tmp_path / 'bad.py'}:" in text
    assert command_line.run([*command, "--trust", "-q", "--json"]) == 4
    good, failed = json.loads(capsys.readouterr().out)["points"]
    assert (good["runs"], len(good["failures"])) == (2, 0)
    assert [one["status"] for one in failed["failures"]] == ["failed", "failed"]


@pytest.mark.slow
def test_a_class_that_hangs_has_a_limit_that_nobody_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and the other points go on; without own classes there is no limit."""
    monkeypatch.setattr(sweep_options, "OWN_CODE_TIMEOUT", 3.0)
    bad = write_bad_lock(tmp_path, HANGS)
    study = write_study(tmp_path, [2], 1, more=with_locks(["mcs", bad]))

    assert command_line.run(["run", str(study), "--trust", "-q", "--out", str(tmp_path / "out")]) == 4
    text = capsys.readouterr().out
    assert f"timeout: it had not ended after 3 s of host time, with kernel.lock = {bad}" in text
    good, _ = load_results(tmp_path / "out").points
    assert len(good.runs) == 1


def test_folders_of_something_else_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A single run, another study, a damaged manifest: nothing is written over."""
    study, out, alone = write_study(tmp_path, [1]), tmp_path / "out", tmp_path / "alone"
    swept(capsys, study, out)
    (tmp_path / "one.toml").write_text(study.read_text().partition("[[axis]]")[0])
    accepted(capsys, "run", str(tmp_path / "one.toml"), "--out", str(alone))
    held = (out / "study.json").read_text()

    def says(*command: object) -> str:
        return refused(capsys, "run", *map(str, command))[0]

    assert "a single run is there" in says(study, "--out", alone, "--jobs", "0")
    assert "a sweep are there" in says(tmp_path / "one.toml", "--out", out)
    assert "the study small is there" in says(study, "--out", out, "--set", "study.name=other", "--jobs", "0")
    spoilt = held.replace('"points": [', '"points": [7,', 1)
    for text, told in (("{", "not JSON"), ("[]", "not the manifest"), (spoilt, "study.json: points")):
        (out / "study.json").write_text(text)
        assert told in says(study, "--out", out, "--jobs", "0")
        with pytest.raises(InputError, match=r"study\.json"):
            load_results(out)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--jobs", "2", "--dask-local", "2"), "keep one of them"),
        (("--jobs", "0", "--timeout", "3"), "use --jobs 1"),
        (("--shard", "1/2"), "--out"),
        (("--shard", "3/2", "--out", "x"), "i goes from 1 to N"),
        (("--dask-tls-ca", "x.pem"), "--dask"),
        (("--jobs", "many"), "not a valid integer"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before anything is run."""
    (told,) = refused(capsys, "run", str(write_study(tmp_path)), *options)
    assert says in told


def test_progress_says_who_does_what() -> None:
    """Runs, points, failures, each worker with its point and since when, and the time that is left."""
    task = Task(key="k", point="p", replication=1, seed=2, config={}, trust=False, max_input=None)
    workers = [WorkerState(name="1", task=task, since=3.26), WorkerState(name="2", task=None, since=0.1)]
    left = time_left(10, 40, 20.0)
    snapshot = Snapshot(
        done=10, total=50, failed=1, points_done=2, points=10, workers=workers, elapsed=20.0, left=left
    )
    line = "10/50 runs  2/10 points  1 failed  [1] point 7 run 2 3.3 s  [2] -  1 min 20 s left"
    assert progress_line(snapshot, {"p": 7}) == line


def test_progress_as_json_is_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr; the last line is the end."""
    study = write_study(tmp_path, [1, 2])
    assert command_line.run(["run", str(study), "--jobs", "0", "--progress", "json", "--json"]) == 0
    printed = capsys.readouterr()
    last = json.loads(printed.err.splitlines()[-2])  # the very last is the note that nothing was written
    assert (last["done"], last["total"], last["points_done"]) == (4, 4, 2)
    assert json.loads(printed.out)["missing"] == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1234567.8, "1234568"), (0.000123456789, "0.000123457"), (-2.5, "-2.5"), (3.0, "3")],
)
def test_numbers_are_short_and_without_exponents(value: float, text: str) -> None:
    """Six digits that count."""
    assert number_text(value) == text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_ends_in_order_and_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    """Exit code 130, everything so far kept, and the same command does the rest."""
    study, out = write_study(tmp_path, [*range(1, 30)], 3), tmp_path / "out"
    process = start("run", study, "--out", out, "--jobs", "2")
    try:
        until = time.monotonic() + 40
        while not (out / "results.sqlite").exists() or not rows(out):
            assert time.monotonic() < until, "no row came"
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    finally:
        end(process)
    kept = rows(out)
    assert process.returncode == 130
    assert f"{len(kept)} of 87 runs are kept in" in err
    assert 0 < len(kept) < 87
    assert command_line.run(["run", str(study), "--out", str(out), "--jobs", "0", "-q"]) == 0
    assert len(rows(out)) == 87
    assert {*kept} <= {*rows(out)}
