"""How memory errors that the debug modes found are told on the command line."""

import json

import pytest

from coalsim.cli import main as command_line

SHORT = ["run", "memory_errors", "--set", "workload.rounds=40"]


def test_findings_end_with_code_3_after_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary has the first report in full, stderr the counts."""
    assert command_line.run([*SHORT, "--set", "workload.errors=1"]) == 3
    printed = capsys.readouterr()
    assert "error: 6 memory errors (1 double free, 1 interior free, 1 overflow, " in printed.err
    assert "MEMORY ERRORS\n" in printed.out
    assert "(Not tainted)" in printed.out
    assert "debug:redzone" in printed.out


def test_all_replications_count_and_each_finding_knows_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    """One list at the top, and the runs' own below."""
    assert (
        command_line.run([*SHORT, "--set", "workload.errors=1", "--set", "run.replications=2", "--json"]) == 3
    )
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert [entry["run"] for entry in document["safety"]] == [1] * 6 + [2] * 6
    assert all(len(run["safety"]) == 6 for run in document["runs"])
    assert "12 memory errors" in printed.err


def test_a_clean_run_is_not_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """And says that somebody has looked."""
    assert command_line.run([*SHORT, "--set", "workload.errors=0"]) == 0
    assert "debug modes: no memory errors were found\n" in capsys.readouterr().out


def test_parameters_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the key and what to do."""
    wrong = ("workload.least=600", "workload.kinds=mischief")
    assert command_line.run([*SHORT, *(f"--set={setting}" for setting in wrong)]) == 2
    assert "workload.kinds" in capsys.readouterr().err
