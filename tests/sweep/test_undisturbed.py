"""Whatever is killed, whenever: once the same command has ended, all is as if nothing had been."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sweeps import children, end, is_alive, rows, run, start, write_study

from coalsim.cli import main as command_line
from coalsim.sweep.results import load_results
from coalsim.sweep.table import sweep_document

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find processes")


def outcome(folder: Path) -> tuple[object, ...]:
    """All that a study leaves behind, without host times and attempts."""
    results = load_results(folder)
    return (
        rows(folder),
        (folder / "summary.txt").read_bytes(),
        (folder / "study.json").read_bytes(),
        sweep_document(results),
        results.missing,
    )


def disturbed(
    command: list[str | Path], folder: Path, kills: int, draw: random.Random, longest: float
) -> list[str]:
    """Run a command again and again, killing it or one of its workers; says what was killed."""
    killed: list[str] = []
    while len(killed) < kills:
        process = start(*command)
        try:
            while process.poll() is None and not children(process.pid):
                time.sleep(0.01)  # it plans its points
            time.sleep(draw.uniform(0.0, longest))
            while process.poll() is None and len(killed) < kills:
                workers = children(process.pid)
                if workers and draw.random() < 0.5:
                    os.kill(draw.choice(workers), signal.SIGKILL)
                    killed.append("worker")
                    time.sleep(draw.uniform(0.05, longest))
                    continue
                os.kill(process.pid, signal.SIGKILL)
                killed.append("coordinator")
                process.wait(30)
                assert gone(workers), "workers outlive their coordinator"
            if process.poll() is not None and process.returncode == 0 and len(killed) < kills:
                (folder / "results.sqlite").unlink(missing_ok=True)  # too quick for us: from the start
        finally:
            end(process)
    return killed


def check(study: Path, kills: int, longest: float) -> None:
    tmp_path = study.parent
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    first = run("run", study, "--out", calm, "--jobs", "2", "-q")
    assert first.returncode == 0, first.stderr

    command: list[str | Path] = ["run", study, "--out", wild, "--jobs", "2", "-q"]
    disturbed(command, wild, kills, random.Random(5), longest)
    last = run(*command)

    assert last.returncode == 0, last.stderr
    assert last.stdout == first.stdout
    assert outcome(wild) == outcome(calm)


@pytest.mark.slow
def test_a_small_study_survives_a_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """8 points: the coordinator is killed after its first rows; workers end; the command goes on."""
    study = write_study(tmp_path, [*range(1, 9)], 2, duration="1ms")
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    assert command_line.run(["run", str(study), "--out", str(calm), "--jobs", "0", "-q"]) == 0
    printed = capsys.readouterr().out

    process = start("run", study, "--out", wild, "--jobs", "2", "-q")
    try:
        kept = first_rows(wild)
        workers = children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        assert gone(workers)
    finally:
        end(process)

    assert command_line.run(["run", str(study), "--out", str(wild), "--jobs", "0", "-q"]) == 0
    assert capsys.readouterr().out == printed
    assert outcome(wild) == outcome(calm)
    assert {*kept} <= {*rows(wild)}


def first_rows(folder: Path) -> list[tuple[object, ...]]:
    """The first rows that a coordinator has written."""
    until = time.monotonic() + 40
    while time.monotonic() < until:
        with suppress(sqlite3.OperationalError):  # there is no table yet
            if (folder / "results.sqlite").exists() and (found := rows(folder)):
                return found
        time.sleep(0.01)
    raise AssertionError("no row came")


def gone(processes: list[int]) -> bool:
    """Whether processes end by themselves."""
    until = time.monotonic() + 10
    while any(map(is_alive, processes)) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(map(is_alive, processes))


@pytest.mark.slow
def test_a_study_of_120_points_survives_20_kills(tmp_path: Path) -> None:
    """120 points x 5 replications on 2 workers, 20 kills of coordinator and workers, each time resumed."""
    locks = '[[axis]]\nkey = "kernel.lock"\nvalues = ["mcs", "ticket", "qspinlock", "tas", "cna"]\n'
    check(write_study(tmp_path, [*range(1, 25)], 5, more=locks), kills=20, longest=2.5)


@pytest.mark.slow
def test_a_stopping_rule_survives_kills(tmp_path: Path) -> None:
    """Which replications are run depends on the results alone, not on what was killed."""
    rule = '[stop]\nmetric = "throughput.ops_per_s"\nrelative = 0.15\nleast = 3\nmost = 12\n'
    check(write_study(tmp_path, [*range(1, 17)], 1, more=rule), kills=6, longest=1.5)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["serial", "one", "dask", "shards"])
def test_every_way_gives_the_same_rows(way: str, tmp_path: Path) -> None:
    """In this process, one worker, Dask with a killed worker, shards of which one is killed and resumed."""
    study = write_study(tmp_path, [*range(1, 13)], 3)
    pool, other = tmp_path / "pool", tmp_path / way
    assert run("run", study, "--out", pool, "--jobs", "2", "-q").returncode == 0

    ways: dict[str, Callable[[], None]] = {
        "serial": lambda: done("run", study, "--out", other, "--jobs", "0", "-q"),
        "one": lambda: done("run", study, "--out", other, "-q"),
        "dask": lambda: with_a_killed_dask_worker(study, other),
        "shards": lambda: in_shards(study, other),
    }
    ways[way]()

    assert outcome(other) == outcome(pool)


def done(*command: str | Path) -> None:
    result = run(*command)
    assert result.returncode == 0, result.stderr


def with_a_killed_dask_worker(study: Path, folder: Path) -> None:
    process = start("run", study, "--out", folder, "--dask-local", "2", "-q")
    try:
        first_rows(folder)
        workers = [pid for pid in children(process.pid) if b"spawn_main" in program_of(pid)]
        assert len(workers) >= 2
        os.kill(workers[0], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    finally:
        end(process)


def program_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def in_shards(study: Path, folder: Path) -> None:
    command = ["run", study, "--out", folder, "-q", "--shard"]
    process = start(*command, "2/3")
    try:
        part = folder / "shard-002-of-003.jsonl.part"
        until = time.monotonic() + 40
        while process.poll() is None and not part.exists():
            assert time.monotonic() < until, "no row came"
            time.sleep(0.01)
    finally:
        end(process)
    for index in (1, 2, 3):
        done(*command, f"{index}/3")
    done("merge", folder, "-q")
