"""Shards: parts that are done apart and give the same when they are put together."""

from pathlib import Path

import pytest
from sweeps import write_study

from coalsim.cli import main as command_line
from coalsim.sweep.results import load_results
from coalsim.sweep.shards import Shard, parse_shard


def coalsim(*arguments: object) -> int:
    return command_line.run([str(argument) for argument in arguments])


def shard(study: Path, folder: Path, part: str) -> int:
    return coalsim("run", study, "--out", folder, "--jobs", 0, "-q", "--shard", part)


@pytest.mark.slow
def test_shards_in_two_folders_give_what_one_command_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing ones are named; what is merged later is added; a part that was cut off is gone on with."""
    study = write_study(tmp_path, [1, 2, 3, 4, 5])
    here, there, whole = tmp_path / "here", tmp_path / "there", tmp_path / "whole"
    assert coalsim("run", study, "--out", whole, "--jobs", 0, "-q") == 0
    printed = capsys.readouterr().out
    assert shard(study, here, "1/3") == shard(study, here, "3/3") == 0

    assert coalsim("merge", here) == 4
    told = capsys.readouterr()
    assert "of 3 shards these are missing: 2; merge again when they are there" in told.err
    assert "4 runs are missing: the same coalsim run (without --shard) adds them" in told.out

    assert shard(study, there, "2/3") == 0
    finished = there / "shard-002-of-003.jsonl"
    text = finished.read_bytes()
    part = finished.rename(f"{finished}.part")
    part.write_bytes(text[: len(text) // 2])  # killed in the middle of a row
    assert coalsim("merge", here, there) == 4
    assert shard(study, there, "2/3") == 0
    assert not part.exists()
    capsys.readouterr()

    assert coalsim("merge", here, there, "-q") == 0
    assert capsys.readouterr().out == printed
    assert load_results(here).points == load_results(whole).points


def test_shards_of_another_study_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other options make another study: in the same folder, in another one, and a single file."""
    study = write_study(tmp_path, [1, 2])
    here, there = tmp_path / "here", tmp_path / "there"
    assert shard(study, here, "1/2") == 0
    write_study(tmp_path, [1, 2, 3])
    assert shard(study, there, "2/2") == 0
    capsys.readouterr()

    assert shard(study, here, "2/2") == 2
    assert "its file, its options or coalsim were others" in capsys.readouterr().err
    assert coalsim("merge", here, there) == 2
    assert str(there) in capsys.readouterr().err
    (there / "shard-002-of-002.jsonl").rename(here / "shard-002-of-002.jsonl")
    assert coalsim("merge", here) == 2
    assert "shard-002-of-002.jsonl:1: shard 2 of 2 of small" in capsys.readouterr().err


def test_every_point_is_in_one_shard() -> None:
    """Dealt out in turn, whatever their number."""
    from coalsim.sweep.points import Point

    points = [Point(number=number, key=str(number % 7), settings=()) for number in range(10)]
    dealt = [point.number for index in range(1, 5) for point in Shard(index, 4).points(points)]
    assert sorted(dealt) == [*range(7)]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/999999999", "-1/3", "1/2/3", "٣/4x"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    """With how to write it."""
    with pytest.raises(ValueError, match="i"):
        parse_shard(text)
