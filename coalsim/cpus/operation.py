"""Operations: how long a munmap or a fault took, and what it waited for.

    begin -> its own account is the processor's -> [thread leaves -> comes back]* -> end
             |-- a nested one opens an account in it

While an operation runs, its processor's time goes to an account of the operation, so what
it spent by cause needs no sums at its beginning and end.  An account is used again by the
next operation of its kind; the causes of a kind are the sums of its accounts, but for
what operations under way have spent.  While its thread is off the processor, what others
do there goes to the processor's own account: that time counts as `asleep`.
Operations nest: a fault inside a copy to user memory counts in both.

Begin and end are looks: up to them all handlers are accounted for.

Invariant: the parts of a latency add up to it without remainder.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.engine.runahead import Account
from coalsim.units import CpuId, Time

ASLEEP = "asleep"
RECENT = 8
"""Operations of each processor that a panic lists."""


class Recorder(Protocol):
    """Where latencies go: a histogram."""

    def record(self, value: int) -> None:
        """Count one value."""

    def clear(self) -> None:
        """Forget all values."""


class Kind:
    """All operations of one name."""

    __slots__ = ("_forgotten", "accounts", "asleep", "free", "latencies", "name")

    def __init__(self, name: str, latencies: Recorder) -> None:
        self.name = name
        self.latencies = latencies
        self.accounts: list[Running] = []  # of all processors
        self.free: dict[CpuId, list[Running]] = {}  # those that no operation uses, but nested ones
        self.asleep: Time = 0  # of operations that have ended
        self._forgotten: dict[str, Time] = {}

    @property
    def by_cause(self) -> dict[str, Time]:
        """What operations that have ended since the last reset spent, by cause."""
        total = self._of_ended()
        for cause, time in self._forgotten.items():
            total[cause] -= time
        return {cause: time for cause, time in total.items() if time}

    def reset(self) -> None:
        """Forget what was counted; what is under way will count whole."""
        self.latencies.clear()
        self._forgotten = self._of_ended()

    def _of_ended(self) -> dict[str, Time]:
        total = {ASLEEP: self.asleep}
        for running in self.accounts:
            for cause, time in running.of_ended():
                total[cause] = total.get(cause, 0) + time
        return total


class Running(Account):
    """An operation under way on a thread, and the account that it uses.

    Args:
        kind: of the operation.
        outer: where the time goes again when it has ended.
        home: where it waits for the next operation.
    """

    __slots__ = ("asleep", "before", "began", "free", "home", "kind", "left", "outer")

    def __init__(self, kind: Kind, outer: Account, home: "list[Running]") -> None:
        super().__init__()
        self.kind = kind
        self.outer = outer
        self.home = home
        self.began: Time = 0
        self.left: Time = 0  # when the thread gave its processor away
        self.asleep: Time = 0
        # while under way: this account and those opened in it, and what they held at the begin
        self.before: list[tuple[Account, list[Time]]] = []
        self.free: dict[str, list[Running]] = {}  # those opened in it that no operation uses

    def leave(self, cpu: Cpu) -> None:
        """The thread gives its processor away, synchronised."""
        self.left = cpu.clock
        cpu.account = cpu.own_account

    def come_back(self, cpu: Cpu) -> None:
        """The thread has its processor again; of nested operations the innermost comes last."""
        self.asleep += cpu.clock - self.left
        cpu.account = self

    def of_ended(self) -> Iterator[tuple[str, Time]]:
        """What operations that have ended spent here.

        Causes only come in addition, so the order of the account says whose times these are.
        """
        if self.before:
            for account, times in self.before:
                yield from zip(account, times, strict=False)
        else:
            for account in self.everything():
                yield from account.items()


class Operations:
    """Statistics of all operations, by name.

    Args:
        make: a fresh histogram.
    """

    def __init__(self, make: Callable[[], Recorder]) -> None:
        self._make = make
        self.account: type[Running] = Running  # for operations that begin; a timeline listens to its own kind
        self.kinds: dict[str, Kind] = {}
        self._recent: dict[CpuId, deque[tuple[Time, Time, str]]] = {}  # the last ones of each processor

    def kind(self, name: str) -> Kind:
        """The statistics of one name, made at the first call."""
        found = self.kinds.get(name)
        if found is None:
            found = self.kinds[name] = Kind(name, self._make())
        return found

    def begin(self, cpu: Cpu, kind: Kind) -> Op[Running]:
        """An operation of the running thread begins."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        return self.begin_now(cpu, kind)

    def begin_now(self, cpu: Cpu, kind: Kind) -> Running:
        """The same, right after a look."""
        outer = cpu.account
        free = outer.free.get(kind.name) if isinstance(outer, Running) else kind.free.get(cpu.id)
        running = free.pop() if free else self._open(cpu, outer, kind)
        running.began = cpu.clock
        running.asleep = 0
        if running.opened:
            running.before = [(account, list(account.values())) for account in running.everything()]
        else:
            running.before = [(running, list(running.values()))]
        cpu.account = running
        thread = cpu.current
        if thread is not None:
            thread.operations.append(running)
        return running

    def _open(self, cpu: Cpu, outer: Account, kind: Kind) -> Running:
        """An account for an operation, where none is free."""
        if isinstance(outer, Running):
            home = outer.free.setdefault(kind.name, [])
        else:
            home = kind.free.setdefault(cpu.id, [])
        running = self.account(kind, outer, home)
        outer.opened.append(running)
        kind.accounts.append(running)
        return running

    def end(self, cpu: Cpu, running: Running) -> Op[None]:
        """It is over; its parts add up to its latency."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        self.end_now(cpu, running)

    def end_now(self, cpu: Cpu, running: Running) -> None:
        """The same, right after a look."""
        kind, began, ended = running.kind, running.began, cpu.clock
        thread = cpu.current
        if thread is not None:
            thread.operations.pop()
        cpu.account = running.outer
        running.before = []
        running.home.append(running)
        if running.asleep:
            kind.asleep += running.asleep
        kind.latencies.record(ended - began)
        recent = self._recent.get(cpu.id)
        if recent is None:
            recent = self._recent[cpu.id] = deque(maxlen=RECENT)
        recent.append((began, ended, kind.name))

    def recent(self, cpu: CpuId) -> list[str]:
        """The last operations of a processor, oldest first, one line each."""
        return [
            f"{name} from {began / 1000:.3f} to {ended / 1000:.3f} ns"
            for began, ended, name in self._recent.get(cpu, ())
        ]

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up; what is under way will count."""
        for kind in self.kinds.values():
            kind.reset()


def abandon(cpu: Cpu, thread: Thread) -> None:
    """The thread leaves the operations that it is in, and they are counted nowhere: a signal has ended it."""
    while thread.operations:
        cpu.account = thread.operations.pop().outer
