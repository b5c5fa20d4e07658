"""Short runs of coalsim's own studies with a class under test, in every mode of the engine."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from coalsim.boot import SystemConfig
from coalsim.kits.lock_bench import OTHERS, REFERENCE, Mode
from coalsim.kits.verdicts import Broken
from coalsim.observe.document import ResultDocument
from coalsim.study.overrides import Setting
from coalsim.study.planning import Plan, open_study
from coalsim.study.run import run_study

SMALL = "pack:2 numa:1 core:2 pu:1"
"""A machine of two nodes that is soon built."""


def planned(study: str, settings: Mapping[str, object]) -> Plan:
    """A named study with some keys changed."""
    return open_study(study, [Setting(key=key, value=value, option="kit") for key, value in settings.items()])


def outcome_of(
    study: str,
    settings: Mapping[str, object],
    mode: Mode,
    change: Callable[[SystemConfig], SystemConfig],
) -> str:
    """The result document of a run with a changed system, without what may differ, as text."""
    plan = planned(study, settings)
    return in_mode(replace(plan, config=change(plan.config)), mode)


def in_mode(plan: Plan, mode: Mode) -> str:
    """The same for any plan."""
    config = replace(
        plan.config, run_ahead=mode.run_ahead, fast_paths=mode.fast_paths, tick_events=mode.tick_events
    )
    return comparable(run_study(replace(plan, config=config)))


def comparable(result: ResultDocument) -> str:
    """A document as text, without the host's time and the events, in which modes differ."""
    kept = {key: value for key, value in result.items() if key not in ("host_s", "events", "config")}
    return json.dumps(kept, sort_keys=True)


def same_in_all_modes(run: Callable[[Mode], str]) -> str:
    """Run in all modes and compare; the outcome.

    Raises:
        Broken: a mode differs.
    """
    expected = run(REFERENCE)
    for mode in OTHERS:
        if (found := run(mode)) != expected:
            raise Broken(f"with {mode} the result differs: {_where(expected, found)}")
    return expected


def _where(expected: str, found: str) -> str:
    """The first key of a document that differs."""
    before, after = json.loads(expected), json.loads(found)
    keys = [key for key in before if before[key] != after.get(key)]
    return f"{', '.join(keys)} are not the same"
