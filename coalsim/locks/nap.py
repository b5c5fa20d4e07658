"""Sleeping for a time: the running thread leaves its processor and a timer brings it back.

    nap -> parked, its sleeping locks with it -> the timer fires -> ready again -> its turn

A bell cuts a nap short: whoever the sleeper waits for rings it.

Source: Linux kernel/time/timer.c (schedule_timeout_uninterruptible).
"""

from typing import Protocol, runtime_checkable

from simpy.events import Event

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import RANK_MESSAGE, Op
from coalsim.locks.lockdep import check_may_sleep
from coalsim.locks.sleeping import park_holding
from coalsim.units import Time


@runtime_checkable
class GivesWay(Protocol):
    """What somebody spins for who gives his processor away when asked."""

    def give_way(self, cpu: Cpu, at: Time) -> None:
        """Another thread is ready on that processor at `at` (> now)."""


def make_ready(cpu: Cpu, thread: Thread, at: Time) -> None:
    """A thread is to run there, at `at` (> now) at the earliest; who spins there in vain gives way.

    Without that it could wait for ever: the spinner's wait may end only after the thread has run.
    """
    cpu.enqueue(thread, at)
    spun_for: object = cpu.blocked_on
    if isinstance(spun_for, GivesWay):
        spun_for.give_way(cpu, at)


class Bell:
    """Somebody sleeps until it is rung; ringing it before is remembered.

    Shared state: `sync` before every use.
    """

    __slots__ = ("_sleeper", "is_rung")

    def __init__(self) -> None:
        self.is_rung = False
        self._sleeper: tuple[Cpu, Thread] | None = None

    def ring(self, at: Time) -> None:
        """Wake who sleeps, to run at `at` at the earliest (> now)."""
        self.is_rung = True
        if self._sleeper is not None:
            (cpu, thread), self._sleeper = self._sleeper, None
            make_ready(cpu, thread, at)

    def wait(self, cpu: Cpu, site: str) -> Op[None]:
        """Sleep until it is rung.

        Raises:
            LockMisuse: a lock that forbids sleep is held, or interrupts are off.
        """
        check_may_sleep(cpu, site)
        yield from cpu.sync()
        if not self.is_rung:
            assert cpu.current is not None, "only threads sleep"
            self._sleeper = (cpu, cpu.current)
            yield from park_holding(cpu)
            yield from cpu.sync()


def nap(cpu: Cpu, duration: Time, site: str) -> Op[None]:
    """The running thread sleeps for that long, and then until its processor has time for it.

    Raises:
        LockMisuse: a lock that forbids sleep is held, or interrupts are off.
    """
    check_may_sleep(cpu, site)
    yield from cpu.sync()
    thread = cpu.current
    assert thread is not None, "only threads sleep"

    def fire(_: Event) -> None:
        make_ready(cpu, thread, cpu.env._now + 1)

    cpu.env.post_event(cpu.clock + max(1, duration), RANK_MESSAGE + cpu.id, fire)
    yield from park_holding(cpu)
    yield from cpu.sync()
