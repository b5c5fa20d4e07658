"""The pilot run of `run.warmup = "auto"`: once for each point and process, with the same rows."""

from pathlib import Path

import pytest
from sweeps import write_study

from coalsim.study.overrides import Setting
from coalsim.sweep.agenda import Agenda
from coalsim.sweep.coordinator import agenda_of
from coalsim.sweep.manifest import manifest_of
from coalsim.sweep.rows import DONE, Pilots, Task, run_task
from coalsim.sweep.sweep_spec import open_sweep


def tasks(folder: Path, *settings: Setting) -> list[Task]:
    """Two replications of each of two points, with a pilot run."""
    study = write_study(folder, [1, 2], 2, duration="200us")
    auto = Setting(key="run.warmup", value="auto", option="--set")
    spec = open_sweep(str(study), [auto, *settings])
    agenda: Agenda = agenda_of(spec, manifest_of(spec), [], spec.points)
    return [task for _ in range(4) if (task := agenda.next()) is not None]


@pytest.mark.slow
def test_replications_share_a_pilot_run_and_give_the_same_rows(tmp_path: Path) -> None:
    """As many pilot runs are kept as there are points; results are as if each run had its own."""
    pilots: Pilots = {}
    for task in tasks(tmp_path):
        shared, alone = run_task(task, pilots), run_task(task)
        assert shared.status == DONE
        assert shared.result == alone.result
    assert len(pilots) == 2


def test_another_seed_has_another_pilot_run(tmp_path: Path) -> None:
    """The pilot's seed follows from the first one, which is no part of the key of a point."""
    pilots: Pilots = {}
    seed = Setting(key="run.seed", value=5, option="--seed 5")
    for task in (tasks(tmp_path)[0], tasks(tmp_path, seed)[0]):
        run_task(task, pilots)
    assert len(pilots) == 2
    assert len({entry["pilot_seed"] for entry in pilots.values()}) == 2
