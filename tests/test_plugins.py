"""Classes by name: the four ways, trust, and what becomes of a user's mistakes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coalsim.errors import ConfigError
from coalsim.plugins import Asked, Registry, find_class, names_code


class Greeter:
    """What plugins of these tests look like."""

    def greet(self) -> str:
        """Say something."""
        return "hello"


LOCKS: Registry[Greeter] = Registry(
    kind="lock", group="coalsim_tests.locks", classes={"greeter": Greeter}, methods=("greet",)
)
TYPED = Asked(key="kernel.lock", where="--set kernel.lock=...", trust=True)
GOOD = "class Mine:\n    def greet(self):\n        return 'mine'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose modules are forgotten afterwards."""
    before = dict(sys.modules)
    yield tmp_path
    for name in [name for name in sys.modules if name not in before]:
        del sys.modules[name]


def asked_in(folder: Path) -> Asked:
    """Asked by a trusted study file in that folder."""
    return Asked(key="kernel.lock", where="study.toml", line=3, trust=True, folder=folder)


def test_our_own_names_come_first() -> None:
    """A name from the table is found without trust."""
    assert find_class("greeter", LOCKS, Asked()) is Greeter


def test_a_class_of_a_file_is_loaded_relative_to_who_named_it(folder: Path) -> None:
    """The file runs once, however often it is named."""
    (folder / "mine.py").write_text(GOOD, encoding="utf-8")
    found = find_class("./mine.py:Mine", LOCKS, asked_in(folder))
    assert found().greet() == "mine"
    assert find_class("mine.py:Mine", LOCKS, asked_in(folder)) is found


def test_a_class_of_a_module_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules come from the import path."""
    (folder / "coalsim_test_module.py").write_text(GOOD, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    assert find_class("coalsim_test_module:Mine", LOCKS, TYPED)().greet() == "mine"


def test_a_class_of_an_installed_package_needs_no_trust(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entry points were installed on purpose; they are offered by name."""
    (folder / "coalsim_test_plugin.py").write_text(GOOD, encoding="utf-8")
    info = folder / "coalsim_test_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: coalsim-test-plugin\nVersion: 1.0\n", "utf-8"
    )
    (info / "entry_points.txt").write_text(
        "[coalsim_tests.locks]\nfair = coalsim_test_plugin:Mine\nbroken = coalsim_test_plugin:Other\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(folder)
    assert find_class("fair", LOCKS, Asked())().greet() == "mine"
    assert LOCKS.names() == ("greeter", "broken", "fair")
    with pytest.raises(ConfigError, match="AttributeError"):
        find_class("broken", LOCKS, Asked())


def test_an_unknown_name_leads_to_a_near_one() -> None:
    """The message lists what there is."""
    with pytest.raises(ConfigError) as refusal:
        find_class("greter", LOCKS, Asked(key="kernel.lock", where="study.toml", line=3))
    assert str(refusal.value) == (
        "study.toml:3: kernel.lock = greter: no such lock; did you mean greeter? "
        "the names are greeter; your own is ./file.py:Class"
    )


def test_code_is_not_run_without_trust(folder: Path) -> None:
    """The file is not even opened: its first line would fail."""
    (folder / "evil.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    for name in (f"{folder}/evil.py:Mine", "evil:Mine", "./evil.py:Mine"):
        with pytest.raises(ConfigError, match="--trust"):
            find_class(name, LOCKS, Asked(key="kernel.lock", folder=folder))


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("x = 1\nclass Mine(:\n", 2, "SyntaxError"),
        ("import nothing_of_that_name\n", 1, "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError"),
        ("import sys\nsys.exit(5)\n", 2, "SystemExit"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError"),
        ("\n\nraise ValueError\n", 3, "ValueError"),
        ("x = 1\0\n", 0, ""),
    ],
)
def test_a_file_that_does_not_load_is_refused_by_file_and_line(
    folder: Path, source: str, line: int, says: str
) -> None:
    """Whatever it raises, the message names the user's own line."""
    path = folder / "bad.py"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        find_class("./bad.py:Mine", LOCKS, asked_in(folder))
    (problem,) = refusal.value.problems
    assert says in problem.message
    assert (problem.where, problem.line) == (str(path), line) or not says
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./none.py:Mine", "no such file"),
        ("./mine.py", "no class is named"),
        ("./mine.py:", "no class is named"),
        ("./mine.py:Nine", "has no Nine; did you mean ./mine.py:Mine?"),
        ("./mine.py:number", "not a class but int"),
        ("./mine.py:Silent", "not a lock: it has no greet"),
        ("no.such.module:Mine", "no such module"),
        ("json:JSONDecoder", "it has no greet"),
        (":Mine", "no class is named"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(folder: Path, name: str, says: str) -> None:
    """Missing files, modules and classes, and things that are no such class."""
    (folder / "mine.py").write_text(GOOD + "number = 1\nclass Silent: pass\n", encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        find_class(name, LOCKS, asked_in(folder))
    assert says in str(refusal.value)
    assert str(refusal.value).startswith("study.toml:3: kernel.lock = ")


def test_names_of_code_are_told_from_installed_names() -> None:
    """A colon, a slash or .py means a file or module."""
    assert all(names_code(name) for name in ("a:B", "./a.py:B", "a.py", "x/y"))
    assert not any(names_code(name) for name in ("mcs", "linux-6.0", "my_lock"))
