"""Every frame is somebody's after every event, in the mode in which everything is an event.

Barriers assert the same in every run; between them a frame could be nobody's for a while.  Here
the check comes after each event of the plain mode: free, on a list, on its way, a slab's, a page
table's, a process's, a file's, the kernel's or the reserve's, by zone and by node.
"""

from dataclasses import replace

import pytest
from short_studies import SHORT

from coalsim.boot import System
from coalsim.study.memory_outcome import check_conservation
from coalsim.study.overrides import parse_settings
from coalsim.study.planning import open_study

STUDIES = {
    "fork_cow": {},
    "kmalloc_remote_free": {"run.duration": "20us"},
    "page_fault1": {"workload.cpus": "2"},
    "page_fault3": {"workload.cpus": "2"},
    "munmap_shared": {},
    "oom_storm": {"workload.processes": "4", "workload.cpus": "4", "kernel.reserve_pages": "8"},
    "reclaim_flushes": {"workload.cpus": "2"},
    "memory_errors": {"workload.rounds": "10"},
}
STRIDE = 7
"""The fast suite checks after one event in so many, a prime, so that every kind of event comes up."""


def check_each(name: str, stride: int) -> int:
    """Run a study by events alone and check after each `stride`-th; how many checks that were."""
    settings = {**SHORT[name], **STUDIES[name], "engine.run_ahead": "0", "engine.fast_paths": "0"}
    asked = open_study(name, parse_settings([f"{key}={value}" for key, value in settings.items()]))
    system = System(replace(asked.config, seed=3))
    asked.load(system).start(system)
    system.boot()
    env, over, checks = system.env, [False], 0
    system.when_finished(lambda: over.__setitem__(0, True))
    if end := asked.spec.run.duration:
        env.declare_barrier(end, lambda: over.__setitem__(0, True))
    while not over[0]:
        env.step()
        env.events += 1
        if env.events % stride == 0:
            check_conservation(system)
            checks += 1
    check_conservation(system)
    return checks


@pytest.mark.parametrize("name", STUDIES)
def test_no_frame_is_nobodys_after_some_events(name: str) -> None:
    """One event in STRIDE."""
    assert check_each(name, 10 * STRIDE) > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_no_frame_is_nobodys_after_any_event(name: str) -> None:
    """All of them."""
    assert check_each(name, 1) > 400
