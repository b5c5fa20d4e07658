"""Deliberately broken classes of every kind: the kits name the promise that each breaks."""

from collections.abc import Callable, Mapping, Sequence
from random import random

import pytest

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.kits import (
    PromiseBroken,
    Report,
    check_allocator,
    check_load,
    check_lock,
    check_placement,
    check_shootdown,
    check_victim,
)
from coalsim.locks.base import LockSetup, SpinLock, Ticket
from coalsim.locks.lockdep import LockClass
from coalsim.locks.tas import TasLock
from coalsim.locks.ticket import TicketLock
from coalsim.mm.phys.allocator import Buddy, FrameAllocator
from coalsim.mm.phys.placement import Local, Order
from coalsim.mm.reclaim.victim_rules import Badness, VictimRule
from coalsim.mm.reclaim.victims import Candidate
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.linux import LinuxShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.study.own_loads import Load
from coalsim.units import NodeId
from coalsim.workloads.base import Host


class OpenDoor(SpinLock):
    """Lets everybody in."""

    def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        yield from self.swap(cpu, ticket)

    def leave(self, cpu: Cpu) -> Op[None]:
        yield from ()


class Forgetful(TicketLock):
    """Forgets to wake the third who waits."""

    def leave(self, cpu: Cpu) -> Op[None]:
        if len(self._queue) > 2:
            del self._queue[2]
        yield from super().leave(cpu)


class Pushy(TasLock):
    """Says that it is fair."""

    in_order = True


class Flattering(TicketLock):
    """Says that nobody has waited."""

    def spin(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
        yield from super().spin(cpu, ticket)
        ticket.granted = ticket.arrived


class Impatient(TicketLock):
    """Looks at the clock of the host's mode."""

    def section(self, cpu, body, longest, site):  # type: ignore[no-untyped-def]
        """Charges what only a processor that runs ahead pays."""
        if cpu.env.run_ahead:
            cpu.charge(1000, "hurry")
        return (yield from super().section(cpu, body, longest, site))


class Raising(TicketLock):
    """Fails."""

    def leave(self, cpu: Cpu) -> Op[None]:
        yield from ()
        raise RuntimeError("no way out")


class Unwritten(SpinLock):
    """Says nothing."""


class Generous(Buddy):
    """Gives the same frame twice."""

    def __init__(self, first: int, frames: int, max_order: int) -> None:
        super().__init__(first, frames, max_order)
        self._calls = 0
        self._last = (-1, 1)

    def take(self, order: int) -> tuple[int, int]:
        self._calls += 1
        if self._calls % 50 == 0 and order == 0 and self._last[0] >= 0:
            return self._last
        found = super().take(order)
        self._last = found if order == 0 else self._last
        return found


class Leaking(Buddy):
    """Never gives anything out again."""

    def give(self, head: int, order: int) -> int:
        return 1


class Crooked(FrameAllocator):
    """A bump pointer that knows no alignment."""

    def __init__(self, first: int, frames: int, max_order: int) -> None:
        super().__init__(first, frames, max_order)
        self._next = first

    def take(self, order: int) -> tuple[int, int]:
        head, self._next = self._next, self._next + (1 << order)
        return head, 1

    def give(self, head: int, order: int) -> int:
        return 1


class Slow(Buddy):
    """Takes more steps than it says."""

    def take(self, order: int) -> tuple[int, int]:
        head, _ = super().take(order)
        return head, 1000


class Splitting(FrameAllocator):
    """Gives single frames back one by one and never joins them."""

    def __init__(self, first: int, frames: int, max_order: int) -> None:
        super().__init__(first, frames, max_order)
        self._buddy = Buddy(first, frames, max_order)
        self._single: list[int] = []

    def take(self, order: int) -> tuple[int, int]:
        if order == 0 and self._single:
            return self._single.pop(), 1
        return self._buddy.take(order)

    def give(self, head: int, order: int) -> int:
        if order:
            return self._buddy.give(head, order)
        self._single.append(head)
        return 1


class Nowhere(Local):
    """Names no node."""

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        return (), turn


class Lazy(Local):
    """Names one node only."""

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        return (NodeId(0),), turn


class Counting(Local):
    """Keeps a counter of its own."""

    calls = 0

    def nodes(self, local: NodeId, turn: int) -> tuple[Order, int]:
        self.calls += 1
        order, turn = super().nodes(local, turn)
        return order[self.calls % len(order) :] + order[: self.calls % len(order)], turn


class Silent(LinuxShootdown):
    """Flushes nobody else."""

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        began = yield from self.new_generation(cpu, request)
        yield from self.flush_here(cpu, request)
        yield from self.record(cpu, began, 0)


class NoFlush(Shootdown):
    """Says nothing."""


class Cruel(VictimRule):
    """Kills whoever comes first, even if that may not be killed."""

    def choose(self, candidates: Sequence[Candidate], total: int, nodes: Sequence[NodeId]) -> int:
        return 0


class Stranger(Badness):
    """Kills whom nobody knows."""

    def choose(self, candidates: Sequence[Candidate], total: int, nodes: Sequence[NodeId]) -> int:
        return len(candidates)


class Merciful(Badness):
    """Kills nobody if it is a crowd."""

    def choose(self, candidates: Sequence[Candidate], total: int, nodes: Sequence[NodeId]) -> int:
        return -1 if len(candidates) > 3 else super().choose(candidates, total, nodes)


class Steps(Load):
    """A load that works; the broken ones differ from it in one thing."""

    def thread(self, host: Host, cpu: Cpu, shared: object) -> Op[None]:
        meter = host.meter.cpu(cpu.id)
        while True:
            cpu.charge(self.step(), "user")
            yield from cpu.look()
            meter.done(self.latency())

    def step(self) -> int:
        return 2_000_000

    def latency(self) -> int:
        return 2_000_000


class Uncounted(Steps):
    """Counts no operation."""

    def thread(self, host: Host, cpu: Cpu, shared: object) -> Op[None]:
        while True:
            cpu.charge(2_000_000, "user")
            yield from cpu.look()


class Boasting(Steps):
    """Operations that take longer than time has room for."""

    def latency(self) -> int:
        return 1_000_000_000


class Dicing(Steps):
    """Random numbers of its own."""

    def step(self) -> int:
        return 50_000 + int(random() * 100_000)


class Garbage(Steps):
    """Yields what is no event."""

    def thread(self, host: Host, cpu: Cpu, shared: object) -> Op[None]:
        yield "soon"  # type: ignore[misc]


class Fractions(Steps):
    """Charges parts of a picosecond."""

    def step(self) -> int:
        return 2_000_000.5  # type: ignore[return-value]


class Demanding(Steps):
    """A parameter without a default."""

    wanted: int


class NoThread(Load):
    """Says nothing."""


class Talking(Steps):
    """Says what cannot be written down."""

    def results(self) -> Mapping[str, object]:
        return {"nothing": object()}


SEEDS = (1, 2)
CASES: list[tuple[Callable[..., Report], type, str, str]] = [
    (check_lock, OpenDoor, "exclusion", "lets CPU"),
    (check_lock, Forgetful, "progress", "wait"),
    (check_lock, Pushy, "order", "and got it later"),
    (check_lock, Flattering, "exclusion", "has lock"),
    (check_lock, Impatient, "modes", "became"),
    (check_lock, Raising, "progress", "no way out"),
    (check_lock, Unwritten, "interface", "how to enter"),
    (check_allocator, Generous, "blocks", "somebody has the block"),
    (check_allocator, Leaking, "exhaustion", "is the only free one"),
    (check_allocator, Crooked, "blocks", "not aligned"),
    (check_allocator, Slow, "interface", "1000 steps"),
    (check_allocator, Splitting, "coalescing", "0 can be had"),
    (check_placement, Nowhere, "answers", "answers ((), 0)"),
    (check_placement, Lazy, "reach", "nobody was told to try"),
    (check_placement, Counting, "memory", "two answers"),
    (check_shootdown, Silent, "promise", "broken"),
    (check_shootdown, NoFlush, "interface", "how to flush"),
    (check_victim, Cruel, "answers", "chooses candidate 0"),
    (check_victim, Stranger, "interface", "no such process"),
    (check_victim, Merciful, "answers", "chooses nobody"),
    (check_load, Uncounted, "operations", "no operation was counted"),
    (check_load, Boasting, "operations", "do not fit"),
    (check_load, Dicing, "repetition", "two runs differ"),
    (check_load, Garbage, "running", "yields 'soon'"),
    (check_load, Fractions, "running", "clock of CPU 0 to"),
    (check_load, Demanding, "parameters", "give every field a default"),
    (check_load, NoThread, "parameters", "what a thread does"),
    (check_load, Talking, "running", "in results()"),
]


LONGER = (Flattering, Pushy, Raising, Boasting, Dicing, Splitting, Merciful, Cruel)
"""Those whose like is among the others, in the slow suite only."""


@pytest.mark.parametrize(
    ("check", "owner", "promise", "says"),
    [
        pytest.param(*case, id=case[1].__name__, marks=pytest.mark.slow if case[1] in LONGER else ())
        for case in CASES
    ],
)
def test_a_broken_class_is_caught_and_named(
    check: Callable[..., Report], owner: type, promise: str, says: str
) -> None:
    """The error names class, file and promise, and says what was seen."""
    changes: dict[str, object] = {"seeds": SEEDS}
    if check is check_placement:
        changes = {"nodes": (1, 2, 4)}
    elif check is check_shootdown:
        changes = {"seeds": (1,), "cpus": (2,)}
    elif check is check_load:
        changes = {"seeds": (1,)}
    with pytest.raises(PromiseBroken) as failure:
        check(owner, **changes)
    report = failure.value.report
    broken = {verdict.promise: verdict.detail for verdict in report.verdicts if not verdict.passed}
    assert promise in broken
    assert says in broken[promise]
    assert (report.name, report.where) == (owner.__name__, __file__)
    assert report.line > 0


def test_what_breaks_a_promise_can_be_seen_again() -> None:
    """The words say with which seed; that seed alone shows the same."""
    with pytest.raises(PromiseBroken, match=r"check_lock\(Pushy, seeds=\((\d+),\)\)"):
        check_lock(Pushy, seeds=(1, 2, 3))
    with pytest.raises(PromiseBroken, match="BROKEN  order"):
        check_lock(Pushy, seeds=(1,))


def test_a_class_that_keeps_its_promises_passes() -> None:
    """The report lists each of them."""
    report = check_load(Steps, seeds=(1,))
    assert [one.promise for one in report.verdicts] == [
        "parameters",
        "running",
        "operations",
        "repetition",
        "modes",
    ]
    assert isinstance(check_lock(TicketLock, seeds=(1,)), Report)


def test_a_class_that_ends_the_program_does_not_end_the_kit() -> None:
    """What it raised is told with its line, whatever it is."""

    class Exits(TicketLock):
        """Ends the program."""

        def leave(self, cpu: Cpu) -> Op[None]:
            yield from super().leave(cpu)
            raise SystemExit(0)

    with pytest.raises(PromiseBroken, match="SystemExit: 0"):
        check_lock(Exits, seeds=(1,))


def test_a_class_that_does_not_come_back_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that spins on the host is ended when the kit's patience is."""
    monkeypatch.setattr("coalsim.kits.verdicts.PATIENCE", 0.2)

    class Endless(SpinLock):
        """Spins on the host."""

        def __init__(self, lock_class: LockClass, name: str, setup: LockSetup) -> None:
            super().__init__(lock_class, name, setup)
            self._turns = 0

        def enter(self, cpu: Cpu, ticket: Ticket) -> Op[None]:
            while self._turns >= 0:
                self._turns += 1
            yield from ()

        def leave(self, cpu: Cpu) -> Op[None]:
            yield from ()

    with pytest.raises(PromiseBroken, match=r"has not come back after 0\.2 s"):
        check_lock(Endless, seeds=(1,))
