"""Calling a function on other processors, with requests that join a waiting handler.

Each processor has a queue of requests.  Only a request that finds the queue empty
sends an interrupt; one pushed before the handler that will take the queue has
started joins it: that handler grows by the request's cost and answers from its end.
"Before" compares (time, processor), so the order of an instant decides ties.
Source: Linux kernel/smp.c, `llist_add` to an empty call_single_queue sends the IPI.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from coalsim.cpus.cpu import Cpu
from coalsim.engine.messages import Answer, Shot
from coalsim.engine.runahead import HANDLER
from coalsim.units import Time

Handler = Callable[[Cpu], Time]
"""What a request does to its target's private state; returns what that takes, in ps.  Reads no clock."""


class CallQueue:
    """The requests to one processor that no handler has taken yet."""

    __slots__ = ("_cpu", "_entry", "_may_start", "handler_starts", "interrupts", "is_claimed", "waiting")

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self.waiting: list[Shot[Cpu]] = []  # for an interrupt that is yet to be sent, in flight or pending
        self.is_claimed = False  # there is such an interrupt
        self.handler_starts: Time = -1  # of the handler that may be joined: its entry is over
        self._may_start: Time = -1  # since when it could have run, but for other handlers
        self._entry: Time = 0
        self.interrupts = 0

    def is_free(self, now: Time) -> bool:
        """Whether a request has to send an interrupt, since there is none that it could join."""
        return not self.is_claimed and now >= self.handler_starts

    def joins(self, initiator: Cpu, shot: Shot[Cpu]) -> bool:
        """Whether the request joins a handler that is yet to start; False: it needs an interrupt."""
        now = initiator.env._now
        assert initiator.clock == now, "a call queue is shared state: sync before"
        if self.is_free(now):
            return False
        target = self._cpu
        shot.waiting_for[target.id] = target
        if self.is_claimed:
            self.waiting.append(shot)
        else:
            target.take_ticks(now)  # they came first
            self._run(shot, now)
        return True

    def claim(self, shot: Shot[Cpu]) -> None:
        """The queue is free: the request waits for an interrupt, which others may join already."""
        self.interrupts += 1
        self.is_claimed = True
        self.waiting.append(shot)
        shot.waiting_for[self._cpu.id] = self._cpu

    def take(self, arrived: Time, entry: Time) -> None:
        """The handler's entry is over: run every request that has been queued."""
        target = self._cpu
        requests, self.waiting = self.waiting, []
        self.is_taken(target.handler_until, target.may_start, entry)
        if self.handler_starts > target.join_until:
            target.join_until = self.handler_starts
        for shot in requests:
            self._run(shot, max(arrived, shot.sent))  # a request may join a pending handler

    def is_taken(self, starts: Time, may_start: Time, entry: Time) -> None:
        """No interrupt is on its way any more; requests may join up to the handler's start."""
        self.is_claimed, self.handler_starts = False, starts
        self._may_start, self._entry = may_start, entry

    def _run(self, shot: Shot[Cpu], came: Time) -> None:
        """Run a request that came then, behind what the handler has run so far."""
        target = self._cpu
        began = target.handler_until
        target.steal(began, shot.cost, HANDLER)
        shot.effect(target)
        may_start = max(came, self._may_start)
        started = max(may_start, began - self._entry)
        shot.answer(target.id, came, may_start, started, began if shot.early else target.handler_until)


class Party(NamedTuple):
    """Processors that an interrupt reaches at one time."""

    after: Time  # the send
    cpus: list[Cpu]  # in order of their ids
    queues: list[CallQueue]
    ways_back: list[Time]  # of their answers


def interrupt(
    initiator: Cpu,
    sent: Time,
    parties: Sequence[Party],
    shot: Shot[Cpu],
    entry: Time = 0,
    leaving: Time = 0,
    cause: str = HANDLER,
    handler: Handler | None = None,
) -> None:
    """Interrupt processors whose queues a request has claimed; synchronised.

    Args:
        initiator: who asks.
        sent: when the interrupts leave.
        parties: who is reached when.
        shot: what to run, with all of them among its targets.
        entry, leaving: what the interrupt takes from a target before and after its requests.
        cause: of the time that `entry`, `leaving` and `handler` take.
        handler: what the request does, if it costs nothing beside that and answers at its end.
    """
    for party in parties:
        at = sent + party.after
        arrival = Arrival(party, at, shot, (entry, leaving, cause), handler)
        together = None if handler is None else arrival.come_together
        initiator.send_together(at, party.cpus, arrival.carrier, together)


class Arrival:
    """An interrupt in flight to several processors."""

    __slots__ = ("_at", "_cost", "_handler", "_party", "_shot", "carrier")

    def __init__(
        self,
        party: Party,
        at: Time,
        shot: Shot[Cpu],
        cost: tuple[Time, Time, str],
        handler: Handler | None,
    ) -> None:
        self._party = party
        self._at = at
        self._shot = shot
        self._cost = cost  # entry, leaving, and their cause
        self._handler = handler
        self.carrier: Shot[Cpu] = Shot(
            shot.initiator, at, len(party.cpus), 0, self._take, lambda _: 1, joinable=True
        )

    def _take(self, target: Cpu) -> None:
        """One of them enters its handler."""
        party, (entry, leaving, cause) = self._party, self._cost
        target.steal(target.handler_until, entry, cause)
        party.queues[party.cpus.index(target)].take(self._at, entry)
        target.steal(target.handler_until, leaving, cause)

    def come_together(self) -> None:
        """It arrives: what `Cpu.deliver`, `take` and `Shot.answer` do, for all in one loop.

        Whoever has interrupts off, a tick that is due or further requests is served alone.
        """
        at, shot, handler, (entry, leaving, cause) = self._at, self._shot, self._handler, self._cost
        assert handler is not None, "only requests that are all handler come together"
        waiting_for, served, seen = shot.waiting_for, 0, 0
        last: tuple[Cpu, Time, Time, Time] | None = None
        for cpu, queue, way_back in zip(*self._party[1:], strict=True):
            if cpu.irq_depth or cpu.next_tick <= at or cpu.off_until >= at or len(queue.waiting) > 1:
                cpu.deliver(at, self.carrier)
                continue
            cpu.inbox.remove(at)
            enters = cpu.handler_until
            if at > enters:
                enters = at
                cpu.handler_tail.clear()
            starts = enters + entry
            queue.waiting.clear()
            queue.is_taken(starts, at, entry)
            if starts > cpu.join_until:
                cpu.join_until = starts
            ended = starts + handler(cpu)
            cpu.handler_until = until = ended + leaving
            taken = until - enters
            cpu.handler_tail.append((cause, taken))
            cpu.account[cause] += taken
            cpu.time_stolen += taken
            if cpu.waiting:
                cpu.stolen += taken
            else:
                cpu.clock += taken
            del waiting_for[cpu.id]
            served += 1
            if ended + way_back > seen:
                seen = ended + way_back
                last = cpu, enters, ended, way_back
        if last is not None:
            cpu, enters, ended, way_back = last
            answer = Answer(cpu.id, at - shot.sent, 0, enters - at, ended - enters, way_back)
            shot.note(answer, seen, served)
