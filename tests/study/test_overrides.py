"""--set: what a value means, where it lands, and what is refused."""

from pathlib import Path

import pytest

from coalsim.errors import ConfigError
from coalsim.study.document import Document
from coalsim.study.overrides import Setting, parse_settings, parse_value, with_settings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("2.2", 2.2),
        ("true", True),
        ("20_000", 20_000),
        ("[1, 2]", [1, 2]),
        ('"8"', "8"),
        ("mcs", "mcs"),
        ("exp:56.3ns", "exp:56.3ns"),
        ("./file.py:Class", "./file.py:Class"),
        ("2ms", "2ms"),
        ("linux-6.0", "linux-6.0"),
        ("", ""),
        ("nan", "nan"),
        ("inf", "inf"),
        ("007", "007"),
        ("1979-05-27", "1979-05-27"),
        ("1\nx = 2", "1\nx = 2"),
        ("8 # note", 8),
        ("[" * 2000, "[" * 2000),
    ],
)
def test_a_value_is_toml_where_that_makes_sense_and_text_otherwise(text: str, value: object) -> None:
    """Numbers, truth values, lists and quoted text are read; nobody has to quote a name."""
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_setting_reaches_any_depth_and_remembers_its_option() -> None:
    """Tables on the way are made; the place of the mistake is the option, which is trusted."""
    document = Document(raw={"kernel": {"lock": "mcs"}}, where="s.toml", lines={"kernel.lock": 2})
    changed = with_settings(document, parse_settings(["kernel.cost.pcp_pop=12ns", "run.seed=7"]))
    assert changed.raw == {"kernel": {"lock": "mcs", "cost": {"pcp_pop": "12ns"}}, "run": {"seed": 7}}
    assert str(changed.problem("run.seed", "m", "r")) == "--set run.seed=7: run.seed: m; r"
    assert str(changed.problem("kernel.lock", "m", "r", "mcs")) == "s.toml:2: kernel.lock = mcs: m; r"
    assert changed.asked("run.seed", trust=False).trust
    assert not changed.asked("kernel.lock", trust=False).trust
    assert document.raw == {"kernel": {"lock": "mcs"}}


def test_later_settings_win() -> None:
    """The last of two settings of one key counts, and is the one that is named."""
    changed = with_settings(Document(raw={}), parse_settings(["run.seed=1", "run.seed=2"]))
    assert changed.raw == {"run": {"seed": 2}}
    assert changed.options == {"run.seed": "--set run.seed=2"}


def test_changing_a_key_of_a_named_machine_keeps_its_name() -> None:
    """`machine = "icx2"` becomes a table when one of its numbers is set."""
    settings = [
        Setting(key="machine", value="icx2", option="--machine icx2"),
        *parse_settings(["machine.clock_ghz=2.2"]),
    ]
    changed = with_settings(Document(raw={"machine": {"name": "coal", "cores": 3}}), settings)
    assert changed.raw == {"machine": {"name": "icx2", "clock_ghz": 2.2}}


@pytest.mark.parametrize("text", ["kernel.lock", "=3", ".a=1", "a.=1", "a b=1", "a..b=1", ""])
def test_what_is_not_key_and_value_is_refused_by_its_option(text: str) -> None:
    """The message repeats the option as typed and shows how it should look."""
    with pytest.raises(ConfigError) as refusal:
        parse_settings([text])
    assert str(refusal.value) == f"--set {text}: not KEY=VALUE; write it like --set kernel.lock=mcs"


def test_all_bad_settings_are_told_at_once() -> None:
    """Two texts without a value are two lines."""
    with pytest.raises(ConfigError) as refusal:
        parse_settings(["a", "b=1", "c"])
    assert len(refusal.value.problems) == 2


def test_a_setting_inside_something_that_is_no_table_is_refused() -> None:
    """A number has no keys."""
    with pytest.raises(ConfigError) as refusal:
        with_settings(Document(raw={"run": {"seed": 1}}, folder=Path()), parse_settings(["run.seed.x=1"]))
    assert str(refusal.value) == "--set run.seed.x=1: run.seed is not a table; set run.seed itself"
