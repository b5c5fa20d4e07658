"""Runs whose simulated kernel turns out to be wrong: everything is written, and the exit code is 3."""

import json
from pathlib import Path

import pytest

from coalsim.cli import main as command_line
from coalsim.errors import BrokenPromise
from coalsim.study.planning import open_study
from coalsim.study.run import run_study
from coalsim.study.vm_outcome import check_promises

FORGETS = """
from coalsim.mm.shootdown.linux import LinuxShootdown

class Forgets(LinuxShootdown):
    def candidates(self, cpu, request):
        return super().candidates(cpu, request)[:-1]
"""
PANICS = """
from coalsim.errors import KernelPanic
from coalsim.mm.shootdown.linux import LinuxShootdown

class Panics(LinuxShootdown):
    def flush(self, cpu, request):
        yield from cpu.sync()
        raise KernelPanic("BUG: followed a wild pointer\\nCR2: 0xdead")
"""


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """A short run in which three spinning threads use what one of them unmaps."""
    (tmp_path / "forgets.py").write_text(FORGETS)
    (tmp_path / "panics.py").write_text(PANICS)
    short = ("workload.cpus=3", "workload.barrier=spin", "run.warmup=0", "run.duration=60us")
    return ["run", "munmap_shared", "--machine", "ivb-laptop", *(f"--set={key}" for key in short)]


def test_a_broken_promise_ends_with_code_3_after_its_results_are_written(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary has the findings in full, the folder is complete, and stderr says why."""
    out = tmp_path / "out"
    code = command_line.run(
        [*asked, "--set", f"kernel.shootdown={tmp_path}/forgets.py:Forgets", "--out", str(out)]
    )
    printed = capsys.readouterr()

    assert code == 3
    assert printed.err.startswith("error: ")
    assert "broken promises of Forgets: translations were used after their end" in printed.err
    named = f"{tmp_path}/forgets.py:Forgets"
    assert f"kernel.shootdown = {named}: its promises are tried" in printed.err
    assert f"`coalsim plugins check {named}`" in printed.err
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "result.json", "summary.txt"]
    oracle = json.loads((out / "result.json").read_text(encoding="utf-8"))["oracle"]
    assert oracle["broken"] > 0
    for text in (printed.out, (out / "summary.txt").read_text(encoding="utf-8")):
        assert "BROKEN PROMISES\n" in text
        assert f"  used after the promise: {oracle['findings'][0]['text']}\n" in text


def test_with_json_the_document_is_still_all_that_is_printed(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run of two is enough: counts are added up, and each finding knows its run."""
    policy = f"kernel.shootdown={tmp_path}/forgets.py:Forgets"
    assert command_line.run([*asked, "--set", policy, "--set", "run.replications=2", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    oracle = document["oracle"]
    assert oracle["broken"] == sum(run["oracle"]["broken"] for run in document["runs"]) > 0
    assert {finding["run"] for finding in oracle["findings"]} == {1, 2}


def test_a_panic_ends_with_code_3_and_its_report(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All lines of it, on stderr, after the results up to then, which have it too."""
    out = tmp_path / "out"
    policy = f"kernel.shootdown={tmp_path}/panics.py:Panics"
    assert command_line.run([*asked, "--set", policy, "--out", str(out)]) == 3
    printed = capsys.readouterr()
    assert printed.err == "error: BUG: followed a wild pointer\nCR2: 0xdead\n"
    assert "the kernel panicked, and the run ended there: CR2: 0xdead" in printed.out
    document = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert document["panic"] == "BUG: followed a wild pointer\nCR2: 0xdead"
    assert 0 < document["sim_time_ps"] < 60_000_000
    for causes in document["time"].values():
        assert sum(causes.values()) == document["sim_time_ps"]


def test_a_correct_policy_is_not_refused() -> None:
    """The check passes for what coalsim brings along, and for runs without virtual memory."""
    from coalsim.study.overrides import parse_settings

    settings = parse_settings(("run.warmup=0", "run.duration=60us", "workload.cpus=3"))
    for study in ("munmap_shared", "lock_loop"):
        result = run_study(open_study(study, settings))
        check_promises(result)
        assert "broken" not in str(result.get("oracle", {}).get("findings", ""))
    result["oracle"] = {"checked": 1, "stale": 0, "broken": 1, "worst_stale_ns": 0, "findings": []}
    with pytest.raises(BrokenPromise, match="1 broken promise"):
        check_promises(result)
