"""Locks by name, and what is said about a user's own."""

from pathlib import Path

import pytest
from lock_bench import plain_machine, play

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.streams import Streams
from coalsim.errors import ConfigError
from coalsim.locks.base import LockSetup, SpinLock, Ticket
from coalsim.locks.lockdep import LockClass
from coalsim.locks.registry import LOCKS, find_lock, find_spinlock, make_lock
from coalsim.plugins import Asked

ASKED = Asked(key="kernel.lock", where="study.toml", line=3, trust=True)


def test_the_ten_names_are_there() -> None:
    """Each names a class that can be made."""
    assert list(LOCKS) == [
        "tas", "ttas", "ticket", "mcs", "qspinlock", "cna", "mutex", "rwsem", "seqlock", "rcu",
    ]  # fmt: skip
    for name, policy in LOCKS.items():
        assert find_lock(name, ASKED) is policy
        lock = make_lock(policy, policy.make_class(name, 1), name, LockSetup(streams=Streams(1)))
        assert lock.name == name


@pytest.mark.parametrize("name", LOCKS)
def test_every_policy_serves_a_load_that_takes_it_for_its_own_sake(name: str) -> None:
    """Sections and read sections run, and are counted."""
    env, cpus = plain_machine(3)
    lock_class = LOCKS[name].make_class("loop", 1)
    lock = make_lock(LOCKS[name], lock_class, "loop", LockSetup(streams=Streams(1), cpus=cpus))

    def load(cpu: Cpu) -> Op[None]:
        for _ in range(5):
            yield from lock.section(cpu, lambda _: 50, 50, "loop")
            yield from lock.read_section(cpu, lambda _: 50, 50, "loop")

    play(env, [(cpu, load(cpu)) for cpu in cpus])
    assert sum(row.acquisitions for row in lock_class.rows()) == 30


@pytest.mark.parametrize("name", ["mcs", "qspinlock", "ticket"])
def test_a_way_in_of_ones_own_is_used_in_sections_too(name: str) -> None:
    """Short cuts that know only the policy's own way in are not taken."""
    env, cpus = plain_machine(3)
    policy = LOCKS[name]
    assert issubclass(policy, SpinLock)
    entered: list[int] = []

    class Mine(policy):  # type: ignore[misc, valid-type]
        def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
            entered.append(cpu.id)
            yield from super().enter(cpu, ticket)

    lock = make_lock(Mine, Mine.make_class("loop", 1), "loop", LockSetup(streams=Streams(1), cpus=cpus))

    def load(cpu: Cpu) -> Op[None]:
        for _ in range(5):
            yield from lock.section(cpu, lambda _: 50, 50, "loop")

    play(env, [(cpu, load(cpu)) for cpu in cpus])
    assert sorted(entered) == sorted(5 * [0, 1, 2])
    assert not lock.is_near(cpus[0])


@pytest.mark.parametrize("name", ["mutex", "rwsem", "rcu"])
def test_what_sleeps_or_does_not_exclude_cannot_guard_memory(name: str) -> None:
    """The message says why, where it was asked for, and which names fit."""
    with pytest.raises(
        ConfigError, match=f"study.toml:3: kernel.lock = {name}.*choose one of tas, ttas"
    ) as caught:
        find_spinlock(name, ASKED)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", [name for name in LOCKS if name not in ("mutex", "rwsem", "rcu")])
def test_every_spinning_policy_can_guard_memory(name: str) -> None:
    """Seqlock as its writers' side."""
    assert issubclass(find_spinlock(name, ASKED), SpinLock)


def test_a_misspelt_name_gets_advice() -> None:
    """The nearest name is suggested."""
    with pytest.raises(ConfigError, match="no such lock; did you mean ticket"):
        find_lock("tiket", ASKED)


GOOD = """
from coalsim.locks.base import SpinLock
class Mine(SpinLock):
    def enter(self, cpu, ticket):
        yield from self.swap(cpu, ticket)
        if self.holder is not None:
            raise AssertionError
    def leave(self, cpu):
        yield from ()
"""


def test_a_users_lock_is_loaded_from_its_file(tmp_path: Path) -> None:
    """A subclass of SpinLock with enter and leave is a lock like ours."""
    (tmp_path / "mine.py").write_text(GOOD)
    policy = find_spinlock(f"{tmp_path}/mine.py:Mine", ASKED)
    env, cpus = plain_machine(1)
    lock = make_lock(policy, policy.make_class("zone", 1), "zone", LockSetup(streams=Streams(1)))
    play(env, [(cpus[0], lock.section(cpus[0], lambda _: 50, 50, "once"))])
    assert lock.stat.row().acquisitions == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("Mine = 7", "not a class but int"),
        ("class Mine: pass", "it has no acquire, release, section"),
        (
            "class Mine:\n def acquire(self): ...\n def release(self): ...\n def section(self): ...",
            "no subclass of SpinLock",
        ),
        ("from coalsim.locks.base import SpinLock\nclass Mine(SpinLock): pass", "does not say how to enter"),
        (GOOD.replace("def leave", "def leafe"), "does not say how to leave"),
        (GOOD.replace("yield from ()", "return None"), "leave cannot wait: it is no generator"),
        ("class Mine(", "does not load: SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_users_lock_is_said(tmp_path: Path, source: str, says: str) -> None:
    """One line per mistake with key, file and remedy."""
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ConfigError, match=says):
        find_lock(f"{tmp_path}/mine.py:Mine", ASKED)


def test_a_file_is_not_loaded_without_trust(tmp_path: Path) -> None:
    """A study file may not run code by itself."""
    (tmp_path / "mine.py").write_text(GOOD)
    with pytest.raises(ConfigError, match="--trust"):
        find_lock(f"{tmp_path}/mine.py:Mine", Asked(key="kernel.lock"))


def test_a_constructor_that_fails_is_a_mistake_of_the_users() -> None:
    """No traceback, but what went wrong and what is expected."""

    class Picky(SpinLock):
        def __init__(self, lock_class: LockClass) -> None:
            raise TypeError(lock_class.name)

    with pytest.raises(ConfigError, match="Picky cannot be made: TypeError"):
        make_lock(Picky, Picky.make_class("zone", 1), "zone", LockSetup(streams=Streams(1)))  # type: ignore[arg-type]
