"""Every page about extending shows a complete example: it is run through its kit and in a short study."""

import json
import re
from pathlib import Path

import pytest

from coalsim.cli import main as command_line
from coalsim.kits.finding import found_kind
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study

PAGES = Path(__file__).parents[2] / "docs" / "extending"
BRIEF = {"run.warmup": "0", "run.duration": "40us"}
ROUNDS = {"run.warmup": "0", "run.duration": "0", "workload.rounds": "1", "workload.cpus": "4"}
STUDIES: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "lock": ("NearFirst", "lock_loop", "kernel.lock", BRIEF),
    "allocator": (
        "FirstFit",
        "page_random",
        "kernel.allocator",
        {"workload.cpus": "2", "workload.frames_per_cpu": "50"},
    ),
    "placement": (
        "Neighbours",
        "page_bulk",
        "kernel.placement",
        {"workload.cpus": "2", "workload.frames_per_cpu": "50"},
    ),
    "shootdown": ("AtOnce", "munmap_shared", "kernel.shootdown", ROUNDS),
    "victim": (
        "Youngest",
        "oom_storm",
        "kernel.victim",
        {
            "machine.name": "pack:1 numa:1 core:2 pu:1",
            "machine.memory": "4MiB",
            "workload.mib": "4",
            "workload.cpus": "2",
            "workload.processes": "3",
            "workload.unkillable": "0",
        },
    ),
}


def example_of(page: str, folder: Path) -> Path:
    """The file that a page shows, written where it says it is."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL)
    assert found, f"{page}.md shows no file"
    path = folder / found[1]
    path.write_text(found[2], encoding="utf-8")
    return path


def test_every_kind_has_a_page() -> None:
    """Six pages, and no other."""
    assert sorted(path.stem for path in PAGES.glob("*.md")) == sorted([*STUDIES, "load"])


@pytest.mark.parametrize("page", STUDIES)
def test_the_example_of_a_page_runs_in_a_study(page: str, tmp_path: Path) -> None:
    """As the page says: the class named on the command line, no trust."""
    owner, study, key, changes = STUDIES[page]
    name = f"{example_of(page, tmp_path)}:{owner}"
    settings = {**changes, key: name}
    result = run_study(
        open_study(study, [Setting(key=k, value=v, option="--set") for k, v in settings.items()])
    )
    assert result["throughput"]["ops"] > 0
    assert json.dumps(name) in json.dumps(result["config"])


def test_the_load_of_the_page_runs_from_its_study_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --trust only; its written configuration asks the same."""
    example_of("load", tmp_path)
    text = (PAGES / "load.md").read_text(encoding="utf-8")
    found = re.search(r"```toml\n# ring.toml\n(.*?)```", text, re.DOTALL)
    assert found
    study = tmp_path / "ring.toml"
    study.write_text(found[1].replace("200us", "20us"), encoding="utf-8")
    assert command_line.run(["run", str(study)]) == 2
    assert "workload.kind = ./ring.py:Ring" in capsys.readouterr().err
    assert command_line.run(["run", str(study), "--trust", "--out", str(tmp_path / "out"), "--json"]) == 0
    first = capsys.readouterr().out
    assert command_line.run(["run", str(tmp_path / "out" / "config.json"), "--trust", "--json"]) == 0
    again = capsys.readouterr().out
    assert re.search(r'"ops": (\d+)', first)[0] == re.search(r'"ops": (\d+)', again)[0]  # type: ignore[index]


@pytest.mark.parametrize("page", ["lock", "placement"])
def test_the_example_keeps_its_promises(page: str, tmp_path: Path) -> None:
    """The kit of its kind, in quick form."""
    kind, owner = found_kind(f"{example_of(page, tmp_path)}:{STUDIES[page][0]}", None)
    report = kind.report(owner, True)
    assert kind.name == page
    assert report.passed, report.text()


@pytest.mark.slow
@pytest.mark.parametrize("page", [*STUDIES, "load"])
def test_the_example_keeps_its_promises_for_long(page: str, tmp_path: Path) -> None:
    """The same in full."""
    owner = STUDIES[page][0] if page in STUDIES else "Ring"
    kind, found = found_kind(f"{example_of(page, tmp_path)}:{owner}", page)
    report = kind.report(found, False)
    assert report.passed, report.text()
