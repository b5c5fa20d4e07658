"""The conformance suite of shootdown policies, ours and users' own.

    report = check_policy(MyShootdown)
    assert report.passed, report.text()

Random programs (`random_memory.py`) run on machines of several sizes, under kernels with
and without generations, tags and lazy skipping, with one level of directories above the page
tables and with three and four, on bare machines or (`machine="guest"`) in
guests whose host takes their processors away all the time.  A policy passes if the oracle finds no
use of a translation after the policy's promise, or after its frame had a new owner, and
if nothing else of the kernel breaks.  That a run finds nothing proves nothing; the
deliberately broken policies of the tests show what runs of this length do find.

The same seeds give the same report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coalsim.boot import System, SystemConfig
from coalsim.cpus.oracle import Finding
from coalsim.errors import KernelBug
from coalsim.locks.qspinlock import QueuedSpinLock
from coalsim.mm.shootdown.base import Shootdown
from coalsim.observe.histogram import Histogram
from coalsim.profiles.profile import load_profile
from coalsim.study.random_memory import Program
from coalsim.topology.synthetic import machine_from_synthetic
from coalsim.units import CpuId, Time

TASKS_STEPS = 500
"""Steps of one run, shared among its processors; each does at least `LEAST_STEPS`."""
LEAST_STEPS = 12

KERNELS: Mapping[str, Mapping[str, str]] = {
    "new": {},
    "old": {"tlb_generations": "off", "asid_slots": "0", "lazy_tlb_skips": "off", "cpumask_sticky": "off"},
    "two tags": {"asid_slots": "2", "flush_ceiling": "4", "mmap_lock": "rwsem"},
    "four levels": {"geometry": "x86-64"},
    "five levels": {
        "geometry": "x86-64-5",
        "tlb_generations": "off",
        "asid_slots": "0",
        "lazy_tlb_skips": "off",
        "cpumask_sticky": "off",
    },
}
"""What differs from the profile: how processors remember what they missed, and how deep page tables are.

Those that do not say it have one level of directories, as x86-32.
"""

MACHINES: Mapping[str, Mapping[str, str]] = {
    "bare": {},
    "guest": {"ipi_model": "kvm_pv", "guest.preempted_share": "0.3", "guest.resume": "15us"},
}
"""What is set of the machine; a guest's processors are away for about as long as a call takes."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run.

    Args:
        cpus: how many processors.
        kernel: a name from `KERNELS`.
        seed: of the program.
        checked: uses that the oracle judged.
        stale: uses of dead translations that the contract allows.
        worst_stale: the longest time from a death to such a use, in ps.
        flushes: how many there were.
        targets: processors that they asked.
        broken: uses that broke the promise, or found a frame with a new owner.
        findings: the first of them.
        failure: what else went wrong, in words.
    """

    cpus: int
    kernel: str
    seed: int
    checked: int
    stale: int
    worst_stale: Time
    flushes: int
    targets: int
    broken: int
    findings: tuple[Finding, ...]
    failure: str

    @property
    def passed(self) -> bool:
        """Nothing was wrong."""
        return not self.broken and not self.failure

    def text(self) -> str:
        """One line, and one for each thing that was wrong."""
        verdict = "passed" if self.passed else "FAILED"
        head = f"{verdict}: {self.cpus} CPUs, kernel {self.kernel!r}, seed {self.seed}: " + (
            f"{self.flushes} flushes of {self.targets} processors, {self.checked} uses, "
            f"{self.stale} stale and allowed, {self.broken} broken"
        )
        lines = [finding.describe() for finding in self.findings]
        return "\n  ".join([head, *lines, *([self.failure] if self.failure else [])])


@dataclass(frozen=True, kw_only=True)
class Conformance:
    """All runs of one policy."""

    policy: str
    trials: tuple[Trial, ...]

    @property
    def passed(self) -> bool:
        """All runs passed."""
        return all(trial.passed for trial in self.trials)

    def text(self) -> str:
        """What was run; failures in full."""
        total = sum(trial.checked for trial in self.trials)
        failed = [trial.text() for trial in self.trials if not trial.passed]
        head = f"{self.policy}: {len(self.trials)} runs, {total} uses judged, {len(failed)} runs failed"
        return "\n".join([head, *failed])


def check_policy(
    policy: type[Shootdown],
    *,
    cpus: Sequence[int] = (2, 3, 4, 8, 16, 64),
    seeds: Sequence[int] = (1, 2, 3),
    kernels: Sequence[str] = tuple(KERNELS),
    profile: str = "linux-6.18",
    machine: str = "bare",
    until_failure: bool = False,
) -> Conformance:
    """Run random programs under a policy.

    Args:
        policy: the class.
        cpus: sizes of the machines.
        seeds: a run for each, size and kernel.
        kernels: names from `KERNELS`.
        profile: the kernel that they are variants of.
        machine: a name from `MACHINES`.
        until_failure: stop at the first run that fails.
    """
    trials: list[Trial] = []
    for seed in seeds:
        for count in cpus:
            for kernel in kernels:
                trials.append(run_trial(policy, count, kernel, seed, profile, machine))
                if until_failure and not trials[-1].passed:
                    return Conformance(policy=policy.__name__, trials=tuple(trials))
    return Conformance(policy=policy.__name__, trials=tuple(trials))


def run_trial(
    policy: type[Shootdown], cpus: int, kernel: str, seed: int, profile: str, machine: str = "bare"
) -> Trial:
    """One run of one policy."""
    system = system_for(policy, cpus, kernel, seed, profile, machine)
    vm = system.vm
    program = Program(
        vm, [CpuId(cpu) for cpu in range(cpus)], seed, steps=max(LEAST_STEPS, TASKS_STEPS // cpus)
    )
    program.start()
    failure = ""
    try:
        system.boot()
        system.run(system.finished)
        vm.judge_all()
        vm.validate()
    except KernelBug as bug:
        failure = f"{type(bug).__name__}: {bug}"
    oracle, counts = vm.kernel.oracle, vm.flush_counts
    assert oracle is not None, "the suite runs with the oracle on"
    return Trial(
        cpus=cpus,
        kernel=kernel,
        seed=seed,
        checked=oracle.checked,
        stale=oracle.stale,
        worst_stale=oracle.worst_stale,
        flushes=counts.flushes,
        targets=counts.targets,
        broken=oracle.broken,
        findings=tuple(finding for finding in oracle.findings() if finding.is_broken)[:3],
        failure=failure,
    )


def system_for(
    policy: type[Shootdown], cpus: int, kernel: str, seed: int, profile: str, machine: str = "bare"
) -> System:
    """A machine of two sockets, with ticks so frequent that the program sees many."""
    sockets = 2 if cpus % 2 == 0 else 1
    bare = machine_from_synthetic(f"pack:{sockets} numa:1 core:{cpus // sockets} pu:1")
    changes = {"hz": "10000", "geometry": "x86-32", "oracle": "on", **KERNELS[kernel]}
    if policy.replication:
        changes["table_replication"] = policy.replication
    return System(
        SystemConfig(
            machine=bare.with_overrides(MACHINES[machine]),
            profile=load_profile(profile).with_overrides(changes),
            lock=QueuedSpinLock,
            recorder=Histogram,
            seed=seed,
            shootdown=policy,
        )
    )
