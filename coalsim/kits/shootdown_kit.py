"""The kit of shootdown policies: the conformance suite of `study/conformance.py`, promise by promise.

    from coalsim.kits import check_shootdown
    check_shootdown(MyShootdown)

interface      it is a Shootdown that says how to flush, and what can wait is a generator
promise        nobody uses a translation after its flush has returned, on small and large machines
guests         the same where the host takes processors away all the time
repetition     the same seed gives the same run
"""

from collections.abc import Sequence

from coalsim.kits.verdicts import Broken, Report, Trials
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.registry import check_foreign_shootdown
from coalsim.plugins import Asked
from coalsim.study.conformance import check_policy

SEEDS = (1, 2, 3)
QUICK_SEEDS = (1,)
CPUS = (2, 3, 8)


def shootdown_report(
    policy: type[Shootdown], *, seeds: Sequence[int] = SEEDS, cpus: Sequence[int] = CPUS
) -> Report:
    """Try every promise of a shootdown policy."""
    return _trials(policy, seeds, cpus).report()


def check_shootdown(
    policy: type[Shootdown], *, seeds: Sequence[int] = SEEDS, cpus: Sequence[int] = CPUS
) -> Report:
    """Try every promise of a shootdown policy.

    Args:
        policy: the class.
        seeds: random programs for each, under several kernels.
        cpus: sizes of the machines.

    Raises:
        PromiseBroken: some do not hold.
    """
    return _trials(policy, seeds, cpus).demand()


def _trials(policy: type[Shootdown], seeds: Sequence[int], cpus: Sequence[int]) -> Trials:
    trials = Trials("shootdown", policy, "check_shootdown")

    def interface() -> None:
        check_foreign_shootdown(policy.__name__, policy, Asked(key="kernel.shootdown"))

    def promise(machine: str) -> None:
        for seed in seeds:
            report = check_policy(policy, cpus=cpus, seeds=(seed,), machine=machine, until_failure=True)
            if not report.passed:
                size = report.trials[-1].cpus
                raise Broken(report.trials[-1].text(), f"seeds=({seed},), cpus=({size},)")

    def repetition() -> None:
        first, again = (check_policy(policy, cpus=cpus[:1], seeds=seeds[:1], kernels=("new",)) for _ in "12")
        if first != again:
            raise Broken(
                f"{first.trials[0].text()}\nand then {again.trials[0].text()}", f"seeds=({seeds[0]},)"
            )

    said = "it is a Shootdown that says how to flush, and what can wait is a generator"
    if not trials.promise("interface", said, interface):
        return trials
    kept = trials.promise(
        "promise", "nobody uses a translation after its flush has returned", lambda: promise("bare")
    )
    if kept:
        trials.promise("guests", "the same where the host takes processors away", lambda: promise("guest"))
        trials.promise("repetition", "the same seed gives the same run", repetition)
    return trials
