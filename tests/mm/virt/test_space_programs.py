"""Random programs of tasks: their memory is what it must be, and the engine's modes do not show.

`random_tasks.py` says what a program does.  Twelve seeds are one for each kernel; the slow
test runs many more.
"""

import pytest
from random_tasks import KERNELS, Life, Program
from vm_bench import MODES, PLAIN

from coalsim.mm.shootdown.registry import SHOOTDOWNS

FEW = range(len(KERNELS))
MANY = range(len(KERNELS), len(KERNELS) + 200)
ALL_SHORT_CUTS = MODES[4]


def first_difference(one: tuple[object, ...], other: tuple[object, ...]) -> str:
    """Where two runs part, for the message of a failed test."""
    for mine, theirs in zip(one, other, strict=True):
        if mine != theirs:
            return f"{str(mine)[:1500]}\n--- and ---\n{str(theirs)[:1500]}"
    return ""


@pytest.mark.parametrize("seed", FEW)
def test_memory_is_what_it_must_be_and_modes_do_not_show(seed: int) -> None:
    """Each kernel: plain and with all short cuts."""
    plain = Program(seed).run(dict(PLAIN))
    assert not first_difference(plain, Program(seed).run(dict(ALL_SHORT_CUTS)))


def test_no_mode_shows() -> None:
    """All six on one seed."""
    plain = Program(3).run(dict(PLAIN))
    for mode in MODES[1:]:
        assert not first_difference(plain, Program(3).run(dict(mode))), mode


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_many_more_programs(seed: int) -> None:
    """The same for programs that do what only one in hundreds does, in all modes."""
    plain = Program(seed).run(dict(PLAIN))
    for mode in MODES[1:]:
        difference = first_difference(plain, Program(seed).run(dict(mode)))
        assert not difference, f"{mode}: {difference}"


def check_policy(name: str, seed: int) -> None:
    """One policy on the kernel of a seed, plain and with all short cuts."""
    plain = Program(seed, SHOOTDOWNS[name]).run(dict(PLAIN))
    assert not first_difference(plain, Program(seed, SHOOTDOWNS[name]).run(dict(ALL_SHORT_CUTS)))


@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_memory_is_what_it_must_be_under_every_policy(name: str) -> None:
    """Whenever a policy flushes, and however late it frees."""
    check_policy(name, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOOTDOWNS)
def test_memory_is_what_it_must_be_under_every_policy_on_every_kernel(name: str) -> None:
    """The same on all kernels but sv6, whose switches are for its own policy."""
    for seed in range(48):
        if KERNELS[seed % len(KERNELS)][0] != "sv6":
            check_policy(name, seed)


def test_the_programs_do_what_they_are_meant_to_try() -> None:
    """The fast seeds together use every operation, and meet every kind of fault that tasks can have."""
    done: dict[str, int] = {}
    for seed in FEW:
        program = Program(seed)
        counts = program.run(dict(ALL_SHORT_CUTS))[3]
        assert isinstance(counts, dict)
        for name, count in counts.items():
            done[name] = done.get(name, 0) + count
        for log in program.logs.values():
            for name, _ in log:  # type: ignore[misc]
                done[name] = done.get(name, 0) + 1
    for name in (*Life.OPERATIONS, "anonymous", "zero_page", "cow_copies", "cow_reuses", "forks", "signals"):
        assert done.get(name, 0) >= 3, (name, done)
    assert done["bad_rights"] > 0
    assert done["tables_freed"] > 0
