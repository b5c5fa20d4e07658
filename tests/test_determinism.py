"""Same seed, same bytes: through the command line, in every engine mode, under any hash seed.

What may differ is the host's time, and between engine modes the number of events and
the engine's own keys of the resolved configuration.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from short_studies import SHORT

from coalsim.cli import main as command_line
from coalsim.study.document import named_studies

DATA = Path(__file__).parent / "data"
TRACE = DATA / "compile_excerpt.perf.txt.gz"
SNAPSHOTS = DATA / "compile_excerpt.snapshots.txt.gz"

COMMANDS = {
    **{
        name: ["run", name, *(f"--set={key}={value}" for key, value in settings.items())]
        for name, settings in SHORT.items()
    },
    "replay": ["replay", str(TRACE), "--machine", "clx2", "--clone", "2", "--mode", "closed"],
    "recorded start": [
        *("replay", str(TRACE), "--snapshots", str(SNAPSHOTS), "--machine", "pack:1 numa:1 core:2 pu:1")
    ],
    "replications": ["run", "lock_loop", "--set=run.replications=3", "--set=run.duration=200us"],
    "ticks": ["run", "kmalloc_burst", "--set=kernel.hz=10000", "--set=run.duration=300us"],
}

MODES = (
    ("engine.run_ahead=0",),
    ("engine.fast_paths=false",),
    ("engine.tick_events=1",),
    ("engine.run_ahead=0", "engine.fast_paths=false"),
    ("engine.run_ahead=0", "engine.tick_events=1"),
    ("engine.fast_paths=false", "engine.tick_events=1"),
    ("engine.run_ahead=0", "engine.fast_paths=false", "engine.tick_events=1"),
)
QUICK = ("kmalloc_remote_free", "page_random")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints with ``--json``."""
    assert command_line.run([*arguments, "--json"]) == 0
    return capsys.readouterr().out


def same_run(text: str, *, same_mode: bool = True) -> str:
    """A document as text, without what may differ between two runs."""
    document = json.loads(text)
    for part in (document, *document.get("runs", [])):
        del part["host_s"]
        if not same_mode:
            del part["events"]
    if not same_mode:
        del document["config"]["engine"]
        document.get("intervals", {}).pop("events", None)
    document.get("intervals", {}).pop("host_s", None)
    return json.dumps(document)  # keys in the order in which they were printed


def check_modes(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """One command in all engine modes."""
    expected = same_run(printed(capsys, *COMMANDS[name]), same_mode=False)
    for mode in MODES:
        found = printed(capsys, *COMMANDS[name], *(f"--set={setting}" for setting in mode))
        assert same_run(found, same_mode=False) == expected, f"{name} differs with {', '.join(mode)}"


def in_process(hash_seed: str, *arguments: str) -> str:
    """What a command prints in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "coalsim", *arguments, "--json"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_named_study_is_covered() -> None:
    """A new study has to be added here."""
    assert set(SHORT) == set(named_studies())


def check_twice(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """One command, twice in one process."""
    first, second = (printed(capsys, *COMMANDS[name]) for _ in range(2))
    assert same_run(first) == same_run(second)


@pytest.mark.parametrize("name", [*QUICK, "replay"])
def test_two_runs_with_one_seed_print_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """To the byte, but for the host's time; a written configuration, below, shows it for all the others."""
    check_twice(capsys, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in (*QUICK, "replay")])
def test_two_runs_with_one_seed_print_the_same_in_the_other_studies(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest of them."""
    check_twice(capsys, name)


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("name", QUICK)
def test_engine_modes_print_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Reference mode, run-ahead, short cuts and tick events, in all combinations."""
    check_modes(capsys, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in QUICK])
def test_engine_modes_print_the_same_for_the_other_studies(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest of them."""
    check_modes(capsys, name)


def test_the_seed_of_string_hashes_changes_nothing() -> None:
    """Processes with two hash seeds print the same as each other."""
    first, second = (in_process(seed, *COMMANDS["kmalloc_remote_free"]) for seed in ("1", "31337"))
    assert same_run(first) == same_run(second)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_seed_of_string_hashes_changes_nothing_in_any_study(name: str) -> None:
    """Neither does it in the summary's source, the document, for any of them."""
    first, second = (in_process(seed, *COMMANDS[name]) for seed in ("1", "31337"))
    assert same_run(first) == same_run(second)


@pytest.mark.fast_one_in(7)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_configuration_that_was_written_repeats_the_run(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """config.json of an output folder is a study that asks exactly the same, and resolves to itself."""
    first = printed(capsys, *COMMANDS[name], "--out", str(tmp_path / "first"))
    again = printed(capsys, "run", str(tmp_path / "first" / "config.json"), "--out", str(tmp_path / "again"))
    assert same_run(again) == same_run(first)
    for file in ("config.json", "summary.txt"):
        assert (tmp_path / "first" / file).read_text() == (tmp_path / "again" / file).read_text()
    assert (tmp_path / "first" / "result.json").read_text() == first


def test_the_configuration_repeats_the_run_from_any_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths of the first run, to machine, trace and snapshots, are found again."""
    for file in (TRACE, SNAPSHOTS):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert command_line.run(["machines", "import", "pack:1 numa:1 core:2 pu:1", "--out", "m.toml"]) == 0
    capsys.readouterr()
    asked = ("--snapshots", SNAPSHOTS.name, "--machine", "m.toml", "--out", "result")
    first = printed(capsys, "replay", TRACE.name, *asked)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = printed(capsys, "run", "../result/config.json")
    one, other = json.loads(same_run(first)), json.loads(same_run(again))
    del one["config"], other["config"]  # paths are written as they were given
    assert one == other


def test_a_replay_in_a_study_file_is_the_replay_of_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Same default kernel, and the trace is found beside the study."""
    shutil.copy(TRACE, tmp_path)
    (tmp_path / "mine.toml").write_text(f'[workload]\nkind = "replay"\ntrace = "{TRACE.name}"\n')
    study, command = (
        json.loads(same_run(printed(capsys, *arguments)))
        for arguments in (("run", str(tmp_path / "mine.toml")), ("replay", str(TRACE)))
    )
    assert (study.pop("study"), command.pop("study")) == ("mine", f"replay of {TRACE.name}")
    del study["config"], command["config"]
    assert study == command


def test_another_seed_prints_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the tests above would show nothing."""
    first, second = (printed(capsys, *COMMANDS["page_random"], "--seed", seed) for seed in ("1", "2"))
    assert same_run(first) != same_run(second)
