"""`coalsim timeline`: a file for a viewer, from the command line and from Python."""

import gzip
import json
from pathlib import Path

import pytest
from command import accepted, json_of, refused

import coalsim
from coalsim.cli import main as command_line

SHORT = ("lock_loop", "--set", "run.warmup=20us", "--set", "run.duration=30us", "--set", "workload.cpus=4")


def test_a_timeline_is_written_and_the_result_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The document is that of the run by events; a name that ends in .gz is packed."""
    out = tmp_path / "loop.json.gz"
    result = json_of(capsys, "timeline", *SHORT, "--out", str(out), "-q")
    plain = json_of(capsys, "run", *SHORT)
    events = json.loads(gzip.decompress(out.read_bytes()))["traceEvents"]

    assert {event["tid"] for event in events if event["ph"] == "B"} >= {0, 1, 2, 3}
    for key in ("host_s", "events"):
        result.pop(key)
        plain.pop(key)
    assert result == plain


def test_what_is_left_out_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """On stderr and in the file: when the limit was reached, and what was not asked for."""
    out = tmp_path / "loop.txt"
    options = ("--format", "text", "--limit", "20", "--what", "time,locks", "--cpus", "0-1")
    code = command_line.run(["timeline", *SHORT, "--out", str(out), *options])
    told = capsys.readouterr().err

    assert code == 0
    for note in ("the limit of 20 events was reached at", "only 2 of", "not recorded: ipis"):
        assert note in told
        assert note in out.read_text("utf-8")


def test_all_mistakes_are_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each with its option and a remedy, before anything is run."""
    out = str(tmp_path / "x")
    options = ("--window", "9ms..1ms", "--cpus", "2,9999", "--what", "time,sound", "--limit", "0")
    mistakes = refused(capsys, "timeline", *SHORT, "--out", out, *options)

    assert sorted(line.split(" = ")[0] for line in mistakes) == ["--cpus", "--limit", "--what", "--window"]
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--window", "1ms..2ms"), "nothing is measured then; choose a part of 20 us..50 us"),
        (("--window", "soon"), "write it like 1ms..1.2ms"),
        (("--format", "folded", "--what", "locks"), "tells only time"),
    ],
)
def test_what_cannot_be_told_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    """A window outside of what is measured, one that is none, and a format without its category."""
    (mistake,) = refused(capsys, "timeline", *SHORT, "--out", str(tmp_path / "x"), *options)

    assert says in mistake


def test_a_folder_that_is_not_there_is_told_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nobody waits for a file that cannot be written."""
    (mistake,) = refused(capsys, "timeline", *SHORT, "--out", str(tmp_path / "no" / "x.json"))

    assert "there is no such folder" in mistake


def test_python_writes_the_same_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`coalsim.timeline` is the command as a function."""
    accepted(capsys, "timeline", *SHORT, "--format", "speedscope", "--out", str(tmp_path / "a"), "-q")
    settings = {"run.warmup": "20us", "run.duration": "30us", "workload.cpus": 4}
    result = coalsim.timeline("lock_loop", tmp_path / "b", settings, format="speedscope")

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert result["sim_time_ps"] == 30_000_000
