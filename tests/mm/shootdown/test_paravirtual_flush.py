"""Flushes in a guest: vCPUs that the host has taken away are left to it, and nothing goes wrong."""

from collections.abc import Sequence
from itertools import cycle

import pytest
from broken.forgets_one import ForgetsOne
from broken.trusts_host import TrustsHost
from test_policy_modes import ALL_SHORT_CUTS, OTHERS, PLAIN, play

from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.study.conformance import KERNELS, check_policy, system_for
from coalsim.study.overrides import Setting
from coalsim.study.planning import open_study
from coalsim.study.run import run_study

GUEST = {
    "machine": "kvm80",
    "machine.guest.preempted_share": "0.3",
    "machine.guest.resume": "100us",
    "workload.cpus": "6",
    "run.warmup": "0",
    "run.duration": "3ms",
}


def shoot(**changes: str) -> dict[str, float]:
    """madvise by one thread of six in a guest; what its flushes did."""
    values = {**GUEST, **{key.replace("__", "."): value for key, value in changes.items()}}
    settings = [Setting(key=key, value=value, option="--set") for key, value in values.items()]
    result = run_study(open_study("madvise_shootdown", settings))
    assert result["oracle"]["broken"] == 0
    causes = result["operations"]["madvise"]["by_cause_ns"]
    return {
        **result["vm"]["shootdowns"],
        **result["shootdown_ns"],
        "calls": result["throughput"]["ops"],
        "waited": causes.get("shootdown:preempted target", 0) / sum(causes.values()),
    }


def check_in_guest(name: str, kernels: Sequence[str]) -> None:
    """A policy on five vCPUs of a guest."""
    report = check_policy(SHOOTDOWNS[name], cpus=(5,), seeds=(1,), kernels=kernels, machine="guest")
    assert report.passed, report.text()
    assert all(trial.flushes for trial in report.trials), "nothing was flushed"


@pytest.mark.parametrize(("name", "kernel"), list(zip(SHOOTDOWNS, cycle(("two tags", "five levels")))))
def test_no_policy_breaks_its_promise_in_a_guest(name: str, kernel: str) -> None:
    """Its host takes a third of each vCPU's time, in the middle of whatever it does.

    With the other kinds of kernels, its tests on the bare machine are.
    """
    check_in_guest(name, (kernel,))


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_no_policy_breaks_its_promise_in_a_guest_with_any_kernel(name: str) -> None:
    """All kinds of kernels."""
    check_in_guest(name, tuple(KERNELS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linux", "concurrent", "early_ack", "latr", "invlpgb"])
def test_no_policy_breaks_its_promise_in_a_large_guest(name: str) -> None:
    """Those that leave vCPUs to the host, on 2 to 64 of them."""
    report = check_policy(SHOOTDOWNS[name], seeds=range(1, 6), machine="guest")
    assert report.passed, report.text()


@pytest.mark.parametrize("policy", [TrustsHost, ForgetsOne])
def test_a_broken_policy_is_caught_in_a_guest(policy: type[TrustsHost]) -> None:
    """A vCPU that nobody flushes uses what it should not as soon as it runs again."""
    report = check_policy(policy, cpus=(4, 8), seeds=range(1, 13), machine="guest", until_failure=True)
    assert not report.passed
    assert "its end had been reported" in report.text()


@pytest.mark.parametrize("name", ["linux", "concurrent"])
def test_no_mode_shows_in_a_guest(name: str) -> None:
    """The reference and all short cuts: same bytes, whoever is away when."""
    config = system_for(SHOOTDOWNS[name], 4, "new", 7, "linux-6.18", "guest").config
    assert play(config, PLAIN, 7, 40) == play(config, ALL_SHORT_CUTS, 7, 40)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["new", "old", "two tags"])
@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_no_single_short_cut_shows_in_a_guest(name: str, kernel: str) -> None:
    """Each by itself, for every policy."""
    for cpus, seed in ((3, 1), (8, 2)):
        config = system_for(SHOOTDOWNS[name], cpus, kernel, seed, "linux-6.18", "guest").config
        plain = play(config, PLAIN, seed, 40)
        for mode in (*OTHERS, ALL_SHORT_CUTS):
            assert play(config, mode, seed, 40) == plain, f"{cpus} vCPUs, seed {seed}, {mode}"


def test_leaving_vcpus_to_the_host_is_not_waiting_for_them() -> None:
    """A flush waits for each of five targets that is away, and says so; not for one left to the host."""
    without, paravirtual = (shoot(kernel__ipi="kvm_pv", kernel__pv_flush=switch) for switch in ("off", "on"))
    assert without["left_to_host"] == 0
    assert paravirtual["left_to_host"] > 0.1 * 5 * paravirtual["remote"]
    assert paravirtual["targets"] + paravirtual["left_to_host"] >= 5 * paravirtual["remote"]
    assert paravirtual["mean"] < without["mean"] / 2
    assert paravirtual["waited"] < 0.55 < 0.6 < without["waited"]
    assert paravirtual["calls"] > 2 * without["calls"]


@pytest.mark.parametrize("ipi", ["kvm_exit", "posted", "x2apic_cluster"])
def test_only_a_guest_that_asks_its_host_leaves_flushes_to_it(ipi: str) -> None:
    """The switch is on in the profile and says nothing elsewhere; who is away is waited for."""
    found = shoot(kernel__ipi=ipi)
    assert found["left_to_host"] == 0
    assert found["max"] > 100_000 > 10_000 > found["min"]


def test_a_guest_that_is_never_preempted_only_pays_for_looking() -> None:
    """One hit in the own cache per target; all targets are asked."""
    never = {"machine__guest__preempted_share": "0", "kernel__ipi": "kvm_pv"}
    without, paravirtual = (shoot(kernel__pv_flush=switch, **never) for switch in ("off", "on"))
    assert paravirtual["left_to_host"] == 0
    assert 0 < paravirtual["mean"] - without["mean"] < 100
