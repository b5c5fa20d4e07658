"""All modes of the engine give the same bytes with translations, shown by random programs.

`random_translations.py` says what a program may do.  The bytes include every finding of
the oracle, under policies that keep their promise and under some that break it.
"""

import sys
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from bench import MODES, REFERENCE, Mode
from random_programs import seen_in_all_modes
from random_translations import (
    BROKEN,
    SOUND,
    TranslatingShape,
    TranslatingWorker,
    broken_promises,
    is_sound,
    run_translations,
)

from coalsim.boot import System
from coalsim.cpus.oracle import Finding
from coalsim.errors import KernelBug
from coalsim.mm.shootdown.base import Shootdown
from coalsim.study.conformance import system_for
from coalsim.study.random_memory import Program
from coalsim.units import CpuId, Time

EACH_POLICY = range(18)
FEW = range(60)
MANY = range(60, 560)


@pytest.fixture(autouse=True)
def _short_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the oracle forget the dead, and spaces the unused, as soon as they can."""
    monkeypatch.setattr("coalsim.cpus.oracle.SWEEP_AT", 8)
    monkeypatch.setattr("coalsim.mm.paging.context.FORGET_AT", 3)


def check_seed(seed: int) -> None:
    """Every mode shows the same, and no broken promise of a sound policy."""
    seen = seen_in_all_modes(seed, run_translations)
    assert not (is_sound(seed) and broken_promises(seen)), f"seed {seed}: {seen.samples[-1].more}"


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed in EACH_POLICY else pytest.mark.slow) for seed in FEW]
)
def test_translations_are_the_same_in_all_modes(seed: int) -> None:
    """Logs, TLBs, generations, counters and findings are equal; sound policies keep their promise."""
    check_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_translations_are_the_same_in_all_modes_for_many_more_programs(seed: int) -> None:
    """The same for the mistakes that only one program in hundreds shows."""
    check_seed(seed)


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize("seed", range(2, 60, 3))
def test_short_memories_do_not_show(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a policy breaks, the oracle finds the same if nothing is ever forgotten."""
    forgetful = run_translations(seed, MODES[4])
    for limit in ("coalsim.cpus.oracle.SWEEP_AT", "coalsim.mm.paging.context.FORGET_AT"):
        monkeypatch.setattr(limit, sys.maxsize)
    assert not forgetful.first_difference(run_translations(seed, MODES[4]))


def test_the_programs_of_translations_do_what_they_are_meant_to_try() -> None:
    """The first seeds have every policy, use everything, and break promises only where they should."""
    did, broken = Counter[str](), Counter[str]()
    shapes = [TranslatingShape(seed) for seed in FEW]
    assert {shapes[seed].policy for seed in EACH_POLICY} == {*SOUND, *BROKEN}
    assert {kind for shape in shapes for kind in shape.kinds} == set(TranslatingWorker.OPERATIONS)
    for seed, shape in zip(FEW, shapes, strict=True):
        seen = run_translations(seed, MODES[4])
        broken[shape.policy.name] += broken_promises(seen)
        did.update(seen.record_kinds())
        counts = seen.samples[-1].more[2]
        assert isinstance(counts, tuple)
        for name, count in counts:
            did[name] += count
    for name in ("hit", "walk", "off", "unmapped", "protected", "left user", "called", "body", "unparked"):
        assert did[name] > 50, (name, did)
    for name in (
        "remote",
        "joined",
        "skipped_lazy",
        "ranged",
        "full",
        "up_to_date",
        "broadcasts",
        "deferred",
    ):
        assert did[name] > 10, (name, did)
    assert not any(broken[policy.name] for policy in SOUND)
    assert sum(broken[policy.name] > 0 for policy in BROKEN) >= 4, broken
    assert sum(broken.values()) > 100, broken


@dataclass(frozen=True)
class Played:
    """What can be seen of a random program of tasks on a whole system."""

    failure: str
    ended: Time
    flushes: tuple[int, ...]
    operations: tuple[tuple[str, list[tuple[str, Time]]], ...]
    judged: tuple[int, ...]
    findings: tuple[Finding, ...]


def play(policy: type[Shootdown], mode: Mode, cpus: int, seed: int, kernel: str = "new") -> Played:
    """Run one; costs are whole nanoseconds, so that many things happen at once."""
    config = system_for(policy, cpus, kernel, seed, "linux-6.18").config
    machine = config.machine.with_overrides({"clock_ghz": "1"})
    system = System(replace(config, machine=machine, **vars(mode)))
    vm, failure = system.vm, ""
    program = Program(vm, [CpuId(cpu) for cpu in range(cpus)], seed, steps=25)
    program.start()
    try:
        system.boot()
        system.run(system.finished)
    except KernelBug as bug:  # who uses a page that is somebody else's may break more than a promise
        failure = str(bug)
    vm.judge_all()
    oracle = vm.kernel.oracle
    assert oracle is not None
    return Played(
        failure,
        system.env._now,
        tuple(getattr(vm.flush_counts, name) for name in vm.flush_counts.FIELDS),
        tuple((name, sorted(kind.by_cause.items())) for name, kind in vm.kernel.operations.kinds.items()),
        (oracle.checked, oracle.stale, oracle.broken, oracle.worst_stale),
        tuple(oracle.findings()),
    )


@pytest.mark.parametrize("policy", BROKEN)
def test_what_is_found_on_a_whole_system_is_the_same_in_all_modes(policy: type[Shootdown]) -> None:
    """Tasks with real page tables, faults, forks and naps, flushed by a policy that breaks its promise."""
    assert play(policy, MODES[4], 4, 1) == play(policy, REFERENCE, 4, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["new", "two tags"])
@pytest.mark.parametrize("policy", [*BROKEN, *SOUND])
def test_whole_systems_of_many_kinds_find_the_same_in_all_modes(policy: type[Shootdown], kernel: str) -> None:
    """Sound policies find nothing that is broken."""
    for cpus, seed in ((2, 2), (3, 3), (8, 4)):
        reference = play(policy, REFERENCE, cpus, seed, kernel)
        assert policy in BROKEN or not any(finding.is_broken for finding in reference.findings)
        for mode in MODES[1:]:
            assert play(policy, mode, cpus, seed, kernel) == reference, f"{cpus} CPUs, seed {seed}, {mode}"
