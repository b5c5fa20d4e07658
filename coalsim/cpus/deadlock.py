"""Who waits for whom: finding agents that wait for each other for ever.

Every wait records what it waits for.  From there the agents that block it are
known: a lock's holder, or the targets of an interrupt that have not answered and
cannot, because their interrupts are off.  A cycle is a deadlock; it is looked for
when an agent blocks and when a message becomes pending.  An agent is a processor
or, for locks that sleep, a thread.
Source: wait-for graphs as in Coffman, Elphick, Shoshani, "System deadlocks",
Computing Surveys 3(2), 1971.
"""

from collections.abc import Sequence
from typing import Protocol

from coalsim.errors import DeadlockError


class Agent(Protocol):
    """A processor or a thread."""

    @property
    def label(self) -> str:
        """Its name in reports."""

    def waits_on(self) -> "Blocker | None":
        """What it waits for now, if anything."""


class Blocker(Protocol):
    """Something that an agent waits for."""

    def blockers(self) -> Sequence[Agent]:
        """The agents that must act before the waiter can go on."""

    def describe(self) -> str:
        """What it is and who has it, in words: ``zone (held by CPU 3)``."""


def check_for_deadlock(start: Agent) -> None:
    """Follow the waits from `start`.

    Raises:
        DeadlockError: they lead in a circle; the text names every agent on it.
    """
    path: list[Agent] = []
    done: list[Agent] = []

    def visit(agent: Agent) -> None:
        blocker = agent.waits_on()
        if blocker is None or agent in done:
            return
        if agent in path:
            circle = path[path.index(agent) :]
            lines = [f"{member.label} waits for {_described(member)}" for member in circle]
            raise DeadlockError(report("deadlock, a circle of waits", lines))
        path.append(agent)
        for other in blocker.blockers():
            visit(other)
        done.append(path.pop())

    if start.waits_on() is not None:
        visit(start)


def report_stuck(agents: Sequence[Agent]) -> list[str]:
    """One line for each thing that agents wait for, for a run in which nothing can happen any more."""
    waiters: dict[str, list[str]] = {}
    for agent in agents:
        if agent.waits_on() is not None:
            waiters.setdefault(_described(agent), []).append(agent.label)
    return [
        f"{', '.join(labels)} {'waits' if len(labels) == 1 else 'wait'} for {what}"
        for what, labels in waiters.items()
    ]


def report(what: str, lines: Sequence[str]) -> str:
    """A report of several lines, as people read it."""
    return "\n  ".join([f"{what}:", *lines])


def _described(agent: Agent) -> str:
    blocker = agent.waits_on()
    return blocker.describe() if blocker is not None else "nothing"
