"""Every lock gives the same results in all modes of the engine."""

import pytest
from lock_bench import OTHER_MODES, REFERENCE, programs, run

from coalsim.locks.registry import LOCKS


def compare(policy: str, seeds: range) -> None:
    for program in programs(policy, seeds):
        expected = run(program, REFERENCE)
        assert expected.samples[-1][0], "a program without operations shows nothing"
        for mode in OTHER_MODES:
            assert run(program, mode) == expected, f"{mode} differs from the reference: {program}"


@pytest.mark.fast_one_in(2)
@pytest.mark.parametrize("policy", LOCKS)
def test_modes_agree_on_random_programs(policy: str) -> None:
    """Running ahead, computed sections and ticks without events change no byte."""
    compare(policy, range(6))


@pytest.mark.slow
@pytest.mark.parametrize("policy", LOCKS)
def test_modes_agree_on_many_random_programs(policy: str) -> None:
    """The same for 120 programs of each lock, with ticks and interrupts in most."""
    compare(policy, range(6, 126))
