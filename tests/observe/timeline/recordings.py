"""Small recorded runs that several tests look at; each is made once."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from short_studies import SHORT

from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import Setting
from coalsim.study.planning import Plan, open_study
from coalsim.study.replay import open_replay
from coalsim.study.run import run_study
from coalsim.study.timeline import Asked, Recorded, record, wanted_of

TRACE = Path(__file__).parents[2] / "data" / "compile_excerpt.perf.txt.gz"
SMALL = "pack:2 numa:1 core:2 pu:1"
OOM = {
    "machine__name": SMALL,
    "machine__memory": "2MiB",
    "workload__cpus": "4",
    "workload__processes": "4",
    "workload__mib": "4",
    "workload__unkillable": "1",
}
"""An OOM storm with three kills."""
LOOP = {"machine": "pack:2 numa:1 core:4 pu:1", "workload__cpus": "8", "run__duration": "100us"}
"""A short loop over a lock."""


def settings_of(values: Mapping[str, object]) -> list[Setting]:
    return [Setting(key=key, value=value, option=key) for key, value in values.items()]


def plan_of(study: str, **changed: str) -> Plan:
    """A short study; `__` in a name stands for a dot."""
    changes = {key.replace("__", "."): value for key, value in changed.items()}
    if study == "replay":
        return open_replay(str(TRACE), settings_of(changes))
    return open_study(study, settings_of({**SHORT[study], **changes}))


@cache
def recorded(study: str, **changed: str) -> Recorded:
    plan = plan_of(study, **changed)
    return record(plan, wanted_of(Asked(), plan))


def unrecorded(study: str, **changed: str) -> ResultDocument:
    """The same run in the plain mode with nobody listening."""
    plan = plan_of(study, **changed)
    return run_study(replace(plan, config=replace(plan.config, run_ahead=False, fast_paths=False)))
