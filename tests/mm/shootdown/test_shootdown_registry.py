"""Shootdown policies by name, and what is said about a user's own."""

from pathlib import Path

import pytest

from coalsim.errors import ConfigError
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.registry import SHOOTDOWNS, find_shootdown, make_shootdown
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.plugins import Asked

ASKED = Asked(key="kernel.shootdown", where="study.toml", line=3, trust=True)


def test_the_twelve_names_are_there() -> None:
    """Each names a policy that says where it comes from."""
    assert list(SHOOTDOWNS) == [
        "serial", "broadcast", "linux", "concurrent", "early_ack", "latr",
        "abis", "radixvm", "numapte", "invlpgb", "tlbi", "rar",
    ]  # fmt: skip
    for name, policy in SHOOTDOWNS.items():
        assert find_shootdown(name, ASKED) is policy
        assert policy.name == name
        assert policy.source


def test_a_misspelt_policy_gets_advice() -> None:
    """The nearest name is suggested, with the place where it was asked for."""
    with pytest.raises(ConfigError, match=r"study.toml:3: kernel.shootdown = radixwm.*did you mean radixvm"):
        find_shootdown("radixwm", ASKED)


GOOD = """
from coalsim.mm.shootdown.linux import LinuxShootdown
class Mine(LinuxShootdown):
    name = "mine"
    def flush(self, cpu, request):
        yield from super().flush(cpu, request)
"""


def test_a_users_policy_is_loaded_from_its_file(tmp_path: Path) -> None:
    """A subclass with a flush is a policy like ours."""
    (tmp_path / "mine.py").write_text(GOOD)
    assert issubclass(find_shootdown(f"{tmp_path}/mine.py:Mine", ASKED), Shootdown)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("Mine = 7", "not a class but int"),
        ("class Mine: pass", "it has no flush"),
        ("class Mine:\n def flush(self): ...", "no subclass of Shootdown"),
        (
            "from coalsim.mm.shootdown.base import Shootdown\nclass Mine(Shootdown): pass",
            "does not say how to flush",
        ),
        (GOOD.replace("yield from super()", "return super()"), "flush cannot wait: it is no generator"),
        (GOOD + "    def left_user(self, cpu): pass\n", "left_user cannot wait: it is no generator"),
        (GOOD + "    def defers(self, request): return True\n", "puts flushes off, but does not say so"),
        ("class Mine(", "does not load: SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_users_policy_is_said(tmp_path: Path, source: str, says: str) -> None:
    """One line per mistake with key, file and remedy."""
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ConfigError, match=says):
        find_shootdown(f"{tmp_path}/mine.py:Mine", ASKED)


def test_a_policys_file_is_not_loaded_without_trust(tmp_path: Path) -> None:
    """A study file may not run code by itself."""
    (tmp_path / "mine.py").write_text(GOOD)
    with pytest.raises(ConfigError, match="--trust"):
        find_shootdown(f"{tmp_path}/mine.py:Mine", Asked(key="kernel.shootdown"))


def test_a_policys_constructor_that_fails_is_a_mistake_of_the_users() -> None:
    """No traceback, but what went wrong and what is expected."""

    class Picky(Shootdown):
        def __init__(self, system: ShootdownSystem, more: int) -> None:
            super().__init__(system)

    with pytest.raises(ConfigError, match="Picky cannot be made: TypeError"):
        make_shootdown(Picky, None)  # type: ignore[arg-type]
