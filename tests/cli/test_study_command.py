"""`coalsim study`: new, check, show, schema."""

import json
from pathlib import Path

import pytest

from coalsim.cli.main import run


def test_a_new_study_is_sound_and_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The template as well as a copy of a study that comes along."""
    monkeypatch.chdir(tmp_path)
    for arguments in (["study", "new", "mine"], ["study", "new", "copy", "--from", "locks_by_cpus"]):
        assert run(arguments) == 0
    assert 'name = "copy"' in (tmp_path / "copy.toml").read_text()
    before = (tmp_path / "mine.toml").read_bytes()
    assert run(["study", "new", "mine"]) == 2
    assert (tmp_path / "mine.toml").read_bytes() == before
    capsys.readouterr()

    assert run(["study", "check", "mine.toml"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said == "points 12 replications 3 runs 36 simulated 79.2 ms (2.2 ms in each run)"
    assert run(["study", "new", "no such/name!"]) == 2
    assert run(["study", "new", "x", "--from", "lock_lop"]) == 2
    assert "did you mean lock_loop?" in capsys.readouterr().err


def test_mistakes_of_the_short_variant_are_told_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even if nobody asks for it, and in one go with those of the study."""
    path = tmp_path / "s.toml"
    path.write_text('[workload]\nkind = "page_repeat"\n[run]\nduration = "1ms"\n[quick]\nworkload.cpu = 1\n')
    assert run(["study", "check", str(path)]) == 2
    assert f"{path}:6: workload.cpu: no such key; did you mean cpus?" in capsys.readouterr().err
    path.write_text(path.read_text().replace("[run]", "ordr = 0\n[run]"))
    assert run(["study", "check", str(path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {path}:3: workload.ordr: no such key")
    assert second.startswith(f"error: {path}:7: workload.cpu: no such key")


def test_show_says_what_a_study_asks_and_has_its_points(capsys: pytest.CaptureFixture[str]) -> None:
    """As text with its axes and points; as JSON with configuration and keys."""
    assert run(["study", "show", "locks_by_cpus", "--quick"]) == 0
    text = capsys.readouterr().out
    for words in (
        "question      Which spinlock",
        "setup         CPUs of a machine",
        "tas  ticket  mcs",
        "runs          30",
    ):
        assert words in text
    assert run(["study", "show", "locks_by_cpus", "--axis", "kernel.lock=mcs,cna", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["points"]) == 14
    assert document["points"][13]["settings"] == {"kernel.lock": "cna", "workload.cpus": 64}
    assert document["config"]["kernel"]["profile"] == "linux-6.18"
    assert document["show"]["series"] == ["kernel.lock"]


def test_escapes_in_a_study_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Titles, labels and values of a stranger's file."""
    path = tmp_path / "s.toml"
    path.write_text(
        '[study]\ntitle = "a\\u001b[31mb"\nexpectation = "\\u0007c"\n[workload]\nkind = "page_repeat"\n'
        '[run]\nduration = "1ms"\n'
        '[[axis]]\nkey = "workload.cpus"\nlabel = "\\u001b]0;x\\u0007d"\nvalues = [1, 2]\n'
    )
    assert run(["study", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON and nothing else."""
    assert run(["study", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "A coalsim study"
