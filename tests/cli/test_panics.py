"""Runs that a kernel panic for lack of memory ends: results up to then, the report, exit code 3."""

import json
import re
from pathlib import Path

import pytest

from coalsim.cli import main as command_line

SMALL = {
    "machine.name": '"pack:1 numa:1 core:4 pu:1"',
    "machine.memory": "4MiB",
    "workload.cpus": "4",
    "workload.processes": "8",
    "workload.mib": "4",
}
NOBODY = {"workload.unkillable": "8"}
STAMP = r"\[ *\d+\.\d{6}\] "


def asked(*more: str, **changes: str) -> list[str]:
    """The command for a small storm."""
    settings = {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}
    return ["run", "oom_storm", *(f"--set={key}={value}" for key, value in settings.items()), *more]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"kernel.oom": "panic"}, "Out of memory: system-wide panic_on_oom is enabled"),
        (NOBODY, "System is deadlocked on memory"),
    ],
    ids=["asked for", "nobody can be killed"],
)
def test_a_panic_leaves_its_results_and_code_3(
    changes: dict[str, str], verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is complete, the document accounts for all time and memory, stderr has the report."""
    out = tmp_path / "out"
    code = command_line.run(
        [*asked(**{key.replace(".", "__"): value for key, value in changes.items()}), "--out", str(out)]
    )
    printed = capsys.readouterr()
    assert code == 3
    assert printed.err.startswith("error: [")
    assert "invoked oom-killer" in printed.err
    last = re.escape(f"Kernel panic - not syncing: {verdict}")
    assert all(re.match(STAMP, line) for line in printed.err.removeprefix("error: ").splitlines())
    assert re.search(rf"{STAMP}{last}$", printed.err.rstrip("\n"))
    assert re.search(f"the kernel panicked, and the run ended there: {STAMP}{last}", printed.out)
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "result.json", "summary.txt"]
    document = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert document["panic"].endswith(verdict)
    assert not document["pressure"]["kills"]
    for causes in document["time"].values():
        assert sum(causes.values()) == document["sim_time_ps"]


def test_a_panic_during_the_warm_up_ends_the_run_there(capsys: pytest.CaptureFixture[str]) -> None:
    """What is said then is of the time since the start."""
    more = {"kernel__oom": "panic", "run__warmup": "1s", "run__duration": "1s"}
    assert command_line.run(asked("--json", **more)) == 3
    document = json.loads(capsys.readouterr().out)
    assert "panic_on_oom" in document["panic"]
    assert 0 < document["sim_time_ps"] < 10**12


def test_a_panic_in_one_of_several_replications_is_told_with_its_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each run has its own end; the first panic is the one of the whole."""
    assert command_line.run(asked("--json", kernel__oom="panic", run__replications="2")) == 3
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert printed.err.startswith("error: run 1: ")
    assert [("panic" in run) for run in document["runs"]] == [True, True]
    assert document["panic"] == document["runs"][0]["panic"]


def test_a_storm_that_ends_well_has_code_0_and_names_its_victims(capsys: pytest.CaptureFixture[str]) -> None:
    """The table of victims, the counts, and no panic."""
    assert command_line.run(asked(workload__unkillable="1")) == 0
    printed = capsys.readouterr()
    assert "killed by the OOM killer: " in printed.out
    assert "oom_kill " in printed.out
    assert "panicked" not in printed.out


def test_the_run_that_panics_is_the_same_in_every_mode(capsys: pytest.CaptureFixture[str]) -> None:
    """The moment of the panic and all that was so then."""
    documents = []
    for mode in ("engine.run_ahead=1", "engine.run_ahead=0", "engine.fast_paths=0", "engine.tick_events=1"):
        assert command_line.run(asked("--json", f"--set={mode}", kernel__oom="panic")) == 3
        document = json.loads(capsys.readouterr().out)
        documents.append(
            {key: document[key] for key in document if key not in ("events", "host_s", "config")}
        )
    assert all(document == documents[0] for document in documents)
