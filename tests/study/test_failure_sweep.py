"""Every allocation of a scenario fails once, one run for each: nothing leaks, nothing breaks."""

import pytest
from failure_sweep import chances, check, finished, run_with, system_of

PROFILES = ("coal", "linux-3.5", "linux-4.10", "linux-6.18", "sv6")
KINDS = ("pages", "objects")
SAMPLE = 53
"""The fast suite takes one occurrence in so many; the slow one takes all."""


@pytest.mark.parametrize("profile", PROFILES)
def test_without_a_failure_nothing_is_left(profile: str) -> None:
    """The scenario by itself gives everything back."""
    check(finished(system_of(profile, [])), profile)


@pytest.mark.fast_one_in(3)
@pytest.mark.parametrize("profile", ["coal", "linux-6.18"])
@pytest.mark.parametrize("what", KINDS)
def test_some_allocations_fail_once(profile: str, what: str) -> None:
    """One occurrence in SAMPLE, the first and the last one."""
    number = chances(profile, what)
    assert number > 100
    for nth in (*range(1, number, SAMPLE), number):
        run_with(profile, what, nth)


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("what", KINDS)
def test_each_allocation_fails_once(profile: str, what: str) -> None:
    """All occurrences."""
    for nth in range(1, chances(profile, what) + 1):
        run_with(profile, what, nth)
