"""Every policy keeps its promise in random programs, and what does not is caught."""

import pytest
from broken.always_early import AlwaysEarly
from broken.drops_superseded import DropsSuperseded
from broken.forgets_one import ForgetsOne
from broken.keeps_directory import KeepsDirectory
from broken.reuses_early import ReusesEarly
from broken.trusts_lazy import TrustsLazy

from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.study.conformance import check_policy, run_trial

PROFILE = "linux-6.18"


@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_no_policy_breaks_its_promise(name: str) -> None:
    """On small machines, under all kinds of kernels."""
    report = check_policy(SHOOTDOWNS[name], cpus=(5,), seeds=(1,))
    assert report.passed, report.text()
    assert all(trial.flushes for trial in report.trials), "nothing was flushed"


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_no_policy_breaks_its_promise_on_large_machines(name: str) -> None:
    """From 2 to 64 processors."""
    report = check_policy(SHOOTDOWNS[name], seeds=range(1, 9))
    assert report.passed, report.text()


BROKEN = [
    (ReusesEarly, 4, "new", 1, "its end had been reported"),
    (ForgetsOne, 4, "new", 1, "its end had been reported"),
    (TrustsLazy, 4, "new", 1, "its end had been reported"),
    (DropsSuperseded, 4, "old", 1, "its end had been reported"),
    (AlwaysEarly, 8, "new", 3, "speculative page walk in the handler of the flush"),
    (KeepsDirectory, 4, "new", 1, r"\(page walk\)"),
]


@pytest.mark.parametrize(("policy", "cpus", "kernel", "seed", "says"), BROKEN)
def test_a_broken_policy_is_caught(
    policy: type[Shootdown], cpus: int, kernel: str, seed: int, says: str
) -> None:
    """The report says who used what, since when it was dead, who had flushed it, and through what."""
    trial = run_trial(policy, cpus, kernel, seed, PROFILE)
    assert not trial.passed
    assert trial.broken
    text = trial.text()
    assert "dead translation" in text
    for finding in trial.findings:
        assert finding.describe() in text
        assert finding.promised is not None or finding.reused is not None
