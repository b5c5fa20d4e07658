"""What holds for all tests.

One hypothesis profile for everybody: the same examples each time, no deadline on shared machines.

`@pytest.mark.fast_one_in(n)` keeps every n-th case of a parametrised test in the fast suite and marks the
others slow.  Where parameters are stacked, an n that has no divisor in common with the length of the inner
list goes through all of its values.  `in_turn=True`, meant for whole modules, begins one case later with each
test, so that all kernels are tried by some of them.
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile(  # `make fuzz`: new examples each time, many of them
    "explore",
    deadline=None,
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "2000")),
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow cases of tests of which only every n-th is fast."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("fast_one_in"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    tests = Counter[str]()  # by module
    for same in cases.values():
        share = same[0].get_closest_marker("fast_one_in")
        assert share is not None
        step = min(share.args[0], len(same))
        module = same[0].nodeid.partition("::")[0]
        first = tests[module] % step if share.kwargs.get("in_turn") else 0
        tests[module] += 1
        for number, item in enumerate(same):
            if number % step != first:
                item.add_marker(pytest.mark.slow)
