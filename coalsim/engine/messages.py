"""Messages between processors: one send to many targets, and its answers.

A `Shot` is what one initiator sends at one time: what the handler costs on the
target, how long its answer travels, and what it does there.  The initiator is
woken once, by the answer that arrives last; for that one the shot keeps how the
wait divides (flight, interrupts-off delay, queue of handlers, handler, way back).
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from coalsim.engine.runahead import Clocked
from coalsim.units import CpuId, Time

C = TypeVar("C", bound=Clocked)


class Answer(NamedTuple):
    """How one target's answer came about; times in ps."""

    cpu: CpuId
    flight: Time  # send to arrival
    off_delay: Time  # arrival to the end of the target's interrupts-off section
    queue: Time  # handlers that ran before
    handler: Time
    way_back: Time


class Shot(Generic[C]):
    """One send and the answers to it.

    Args:
        initiator: who waits for the answers, or None if nobody does.
        sent: time of the send.
        targets: number of answers to come.
        cost: what the handler takes from each target, in ps.
        effect: what the handler does to its processor's private state.
        way_back: time from the end of a target's handler until the initiator sees its answer.
        joinable: it carries requests, and until its handler starts, `effect` may still take further
            ones; they are answered one by one, the carrier itself is not.
        early: a target answers when its handler starts, not when it ends.
    """

    __slots__ = (
        "cost",
        "done",
        "early",
        "effect",
        "initiator",
        "joinable",
        "last",
        "left",
        "sent",
        "waiting_for",
        "way_back",
        "woken",
    )

    def __init__(
        self,
        initiator: C | None,
        sent: Time,
        targets: int,
        cost: Time,
        effect: Callable[[C], None],
        way_back: Callable[[CpuId], Time],
        *,
        joinable: bool = False,
        early: bool = False,
    ) -> None:
        self.joinable = joinable
        self.early = early
        self.initiator = initiator
        self.sent = sent
        self.left = targets
        self.cost = cost
        self.effect = effect
        self.way_back = way_back
        self.done: Time = sent
        self.last: Answer | None = None
        self.woken = False  # the initiator waits for its alarm
        self.waiting_for: dict[CpuId, C] = {}  # targets that have not answered

    def answer(self, cpu: CpuId, arrived: Time, may_start: Time, started: Time, ended: Time) -> None:
        """A target acknowledges at `ended`, which is known as soon as its handler is queued."""
        back = self.way_back(cpu)
        parts = Answer(
            cpu, arrived - self.sent, may_start - arrived, started - may_start, ended - started, back
        )
        self.waiting_for.pop(cpu, None)
        self.note(parts, ended + back, 1)
        if (sender := self.initiator) is not None and (answered := sender.env.answered).listeners:
            answered.fire(sender.id, cpu, self.sent, started, ended, ended + back)

    def note(self, answer: Answer, seen: Time, answers: int) -> None:
        """So many targets acknowledge; the last of these answers is seen at `seen`."""
        last = self.last
        if last is None or seen > self.done or (seen == self.done and answer.cpu < last.cpu):
            self.last = answer
            self.done = max(self.done, seen)
        self.left -= answers
        if self.left == 0 and self.woken and self.initiator is not None:
            self.initiator.alarm.arm(self.done)
