"""Rules that would silently mean something else are refused."""

import pytest

from coalsim.errors import ConfigError
from coalsim.study.injecting import InjectSection
from coalsim.topology.presets import load_machine


@pytest.mark.parametrize("share", ["0", "0%", "0.0", "1e-400", "-1%", "101%", "nan"])
def test_a_share_of_nothing_is_refused(share: str) -> None:
    """It would be a rule without a share, which refuses every request."""
    section = InjectSection(fail=(f"pages share={share}",))
    with pytest.raises(ConfigError, match="above 0"):
        section.check(load_machine("coal"))


def test_a_word_that_is_given_twice_is_refused() -> None:
    """The second one would win, and nobody would know."""
    section = InjectSection(fail=("pages nth=2 nth=3",), delay=("lock zone by=1us by=2us",))
    with pytest.raises(ConfigError) as caught:
        section.check(load_machine("coal"))
    assert [problem.message for problem in caught.value.problems] == [
        "nth is given twice",
        "by is given twice",
    ]


@pytest.mark.parametrize("rule", ["cpu {} from=1ms for=2ms", "node {} from=1ms for=2ms"])
def test_a_number_that_is_too_long_to_be_read_is_refused(rule: str) -> None:
    """As any other that the machine does not have."""
    section = InjectSection(away=(rule.format("9" * 5000),))
    with pytest.raises(ConfigError, match="has no"):
        section.check(load_machine("coal"))
