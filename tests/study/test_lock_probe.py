"""Listening to a whole system: the same facts in every mode, and they add up to the lock table."""

import pytest

from coalsim.boot import System
from coalsim.study.measuring import measure
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study

MODES = [
    {"engine.run_ahead": ahead, "engine.fast_paths": fast, "engine.tick_events": tick}
    for ahead in (1, 0)
    for fast in (1, 0)
    for tick in (0, 1)
]


def listened(mode: dict[str, int], lock: str) -> tuple[list[tuple[object, ...]], dict[str, object]]:
    values = {
        "workload.cpus": 4,
        "workload.frames_per_cpu": 400,
        "kernel.lock": lock,
        "kernel.hz": 10_000,
        **mode,
    }
    plan = open_study(
        "page_bulk", [Setting(key=key, value=value, option=key) for key, value in values.items()]
    )
    system, heard = System(plan.config), []
    system.probes.listen("lock:released", lambda *facts: heard.append(facts))
    load = plan.load(system)
    load.start(system)
    system.boot()
    result = measure(system, load, "page_bulk", 0, 0)
    return sorted(heard), {row["name"]: row for row in result["locks"]}


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("lock", ["qspinlock", "ticket"])
def test_every_release_is_heard_in_every_mode_alike(lock: str) -> None:
    """Release, processor, lock, site, arrival and grant; their sums are the lock table's."""
    heard, rows = listened(MODES[0], lock)
    row = rows["zone->lock"]
    zone = [facts for facts in heard if str(facts[2]).startswith("zone ")]

    assert all(listened(mode, lock)[0] == heard for mode in MODES[1:])
    assert len(zone) == row["acquisitions"]
    assert sum(facts[0] - facts[5] for facts in zone) == round(row["holdtime_total"] * 1000)
    assert sum(facts[5] - facts[4] for facts in zone) == round(row["waittime_total"] * 1000)
