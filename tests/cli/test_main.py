"""The command line's frame: help without weight, and an exit code for every end."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

from coalsim import __version__
from coalsim.cli import main as command_line
from coalsim.cli.options import CommonOptions, common_options
from coalsim.errors import ConfigError, DeadlockError, Problem
from coalsim.units import GIB, MIB


def end_with(monkeypatch: pytest.MonkeyPatch, body: Callable[[], object]) -> int:
    """The exit code of `coalsim where` if that command does as `body` does."""
    module = ModuleType("coalsim.cli.where")
    module.where = click.command("where")(body)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "coalsim.cli.where", module)
    return command_line.run(["where"])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    """No numpy, SimPy, pydantic, networkx or rich, and of ours only the frame and the ground."""
    probe = (
        "import sys; from coalsim.cli.main import run; code = run(sys.argv[1:]);"
        "heavy = {'numpy', 'simpy', 'pydantic', 'networkx', 'rich'} & set(sys.modules);"
        "ours = {m for m in sys.modules if m.startswith('coalsim.')} - {'coalsim.cli', 'coalsim.cli.main',"
        "'coalsim.errors', 'coalsim.guarded', 'coalsim.units'};"
        "assert not heavy | ours, (heavy, ours)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("Commands:" in done.stdout + done.stderr) == (arguments != ["--version"])


def test_help_lists_every_command_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """The promised commands are there, each with its line."""
    assert command_line.run(["--help"]) == 0
    text = capsys.readouterr().out
    for name in ("run", "replay", "locks", "mem", "leaks", "where", "validate", "machines"):
        assert f"\n  {name} " in text
    assert "Examples:" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is one line."""
    assert command_line.run(["--version"]) == 0
    assert capsys.readouterr().out == f"coalsim {__version__}\n"


def test_the_module_runs_as_a_command() -> None:
    """`python -m coalsim` is the same command."""
    done = subprocess.run(
        [sys.executable, "-m", "coalsim", "repaly"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: no such command: repaly; did you mean replay? (see `coalsim --help`)\n"


@pytest.mark.parametrize("arguments", [["--nonsense"], ["where", "--nonsense", "x"], ["nothing-like-it"]])
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown options and commands are told on stderr, with where to look."""
    assert command_line.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "--help`" in captured.err


def test_bad_input_is_one_line_per_mistake_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terminal escapes in what a stranger wrote do not reach the terminal."""

    def body() -> None:
        raise ConfigError(
            [
                Problem(where="a.toml", line=3, key="k", value="\x1b[31mred", message="wrong", remedy="mend"),
                Problem(where="b.toml", message="missing", remedy="write it"),
            ]
        )

    assert end_with(monkeypatch, body) == 2
    assert capsys.readouterr().err == (
        "error: a.toml:3: k = red: wrong; mend\nerror: b.toml: missing; write it\n"
    )


def test_a_broken_kernel_is_a_report_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deadlock's report keeps its lines."""

    def body() -> None:
        raise DeadlockError("deadlock at 5 ns\n  CPU 0 waits for CPU 1\n  CPU 1 waits for CPU 0")

    assert end_with(monkeypatch, body) == 3
    assert capsys.readouterr().err == (
        "error: deadlock at 5 ns\n  CPU 0 waits for CPU 1\n  CPU 1 waits for CPU 0\n"
    )


def test_an_interrupt_is_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control-C leaves no traceback."""

    def body() -> None:
        raise KeyboardInterrupt

    assert end_with(monkeypatch, body) == 130
    assert capsys.readouterr().err == "\nerror: interrupted\n", "the line with ^C on it is ended first"


def test_a_command_may_choose_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that it returns is the code; anything else is success."""
    assert end_with(monkeypatch, lambda: 4) == 4
    assert end_with(monkeypatch, lambda: None) == 0


def test_a_file_that_cannot_be_written_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What the system refuses is told by path."""
    target = tmp_path / "no" / "such" / "folder"

    def body() -> None:
        target.write_text("x", encoding="utf-8")

    assert end_with(monkeypatch, body) == 2
    assert capsys.readouterr().err == (
        f"error: {target}: No such file or directory; check the path and its permissions\n"
    )


def test_a_reader_that_goes_away_makes_no_noise() -> None:
    """`coalsim ... | head` leaves nothing on stderr."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "coalsim", "--help"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (command_line.READER_GONE, "")


def common_of(*arguments: str) -> CommonOptions:
    """What a command with the common options receives."""
    received: list[CommonOptions] = []

    @click.command("probe")
    @click.argument("study")
    @common_options
    def probe(common: CommonOptions, study: str) -> None:
        assert study == "s"
        received.append(common)

    probe.main(["s", *arguments], standalone_mode=False)
    return received[0]


def test_common_options_have_quiet_defaults() -> None:
    """Nothing is changed unless it is asked for; input is bounded."""
    common = common_of()
    assert (common.machine, common.seed, common.out, common.settings) == (None, None, None, ())
    assert (common.as_json, common.quiet, common.trust, common.progress) == (False, False, False, "auto")
    assert common.max_input == 2 * GIB
    assert common.overrides() == ()


def test_common_options_arrive_as_one_value() -> None:
    """Each option is read, and --set goes over --machine and --seed."""
    common = common_of(
        "--machine", "icx2", "--seed", "5", "--set", "machine.clock_ghz=2.2", "--set", "run.seed=6",
        "--out", "d", "--json", "-q", "--max-input", "5MiB", "--trust", "--progress", "plain",
    )  # fmt: skip
    assert common.max_input == 5 * MIB
    assert (common.out, common.as_json, common.quiet, common.trust) == (Path("d"), True, True, True)
    assert common.progress == "plain"
    assert [(s.key, s.value, s.option) for s in common.overrides()] == [
        ("machine", "icx2", "--machine icx2"),
        ("run.seed", 5, "--seed 5"),
        ("machine.clock_ghz", 2.2, "--set machine.clock_ghz=2.2"),
        ("run.seed", 6, "--set run.seed=6"),
    ]


def test_a_size_that_is_none_is_refused() -> None:
    """--max-input says how sizes are written."""
    with pytest.raises(click.BadParameter, match="not a size"):
        common_of("--max-input", "much")
