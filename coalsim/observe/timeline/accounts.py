"""Accounts that tell a listener what is entered into them.

They take the place of a CPU's accounts (`engine/runahead.py`, `cpus/operation.py`) while a timeline is
recorded, and only then: whoever charges time does not know, and a run without a recording has nothing
to test.  Everything is entered exactly as without a listener.
"""

from collections.abc import Mapping
from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.operation import Kind, Running
from coalsim.engine.runahead import Account
from coalsim.observe.timeline.facts import OPERATION, Frame, Path
from coalsim.units import Time


class Listener(Protocol):
    """Who is told; one for each CPU."""

    def entered(self, account: Account, cause: str, amount: Time) -> None:
        """So much (it may be negative) has just been entered into an account of this CPU."""


class HeardAccount(Account):
    """A CPU's own account."""

    __slots__ = ("listener",)

    def __init__(self, listener: Listener, before: Mapping[str, Time]) -> None:
        super().__init__()
        self.listener = listener
        for cause, time in before.items():
            self[cause] = time

    def __missing__(self, cause: str) -> Time:
        dict.__setitem__(self, cause, 0)  # nothing is entered yet
        return 0

    def __setitem__(self, cause: str, total: Time) -> None:
        amount = total - self.get(cause, 0)
        super().__setitem__(cause, total)
        self.listener.entered(self, cause, amount)


class HeardRunning(Running):
    """The account of an operation; threads stay on their CPU while they are in one."""

    __slots__ = ("listener", "serial")

    def __init__(self, kind: Kind, outer: Account, home: list[Running]) -> None:
        super().__init__(kind, outer, home)
        assert isinstance(outer, HeardAccount | HeardRunning), "a CPU's accounts are all heard"
        self.listener: Listener = outer.listener
        self.serial = len(kind.accounts)

    def __missing__(self, cause: str) -> Time:
        dict.__setitem__(self, cause, 0)  # nothing is entered yet
        return 0

    def __setitem__(self, cause: str, total: Time) -> None:
        amount = total - self.get(cause, 0)
        super().__setitem__(cause, total)
        self.listener.entered(self, cause, amount)


def listen_to(cpu: Cpu, listener: Listener) -> None:
    """Let a listener hear all that is entered for a CPU, and at once what has been; before it runs."""
    assert cpu.account is cpu.own_account, "the CPU has not run yet"
    cpu.account = cpu.own_account = HeardAccount(listener, cpu.own_account)


def operations_of(account: Account) -> Path:
    """The operations that an account belongs to, outermost first."""
    path: list[Frame] = []
    while isinstance(account, HeardRunning):
        path.append(Frame(account.kind.name, OPERATION, (account.serial, account.began)))
        account = account.outer
    return tuple(reversed(path))
