"""Calling a function on other processors, with requests that join a waiting handler.

Each processor has a queue of requests.  Only a request that finds the queue empty
sends an interrupt; one pushed before the handler that will take the queue has
started joins it: that handler grows by the request's cost and answers from its end.
"Before" compares (time, processor), so the order of an instant decides ties.
Source: Linux kernel/smp.c, `llist_add` to an empty call_single_queue sends the IPI.
"""

from collections.abc import Mapping, Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.engine.messages import Shot
from coalsim.units import CpuId, Time


class CallQueue:
    """The requests to one processor that no handler has taken yet."""

    __slots__ = ("_arrives", "_cpu", "_handler_starts", "_waiting", "interrupts")

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._waiting: list[Shot[Cpu]] = []  # joined an interrupt that is still in flight or pending
        self._arrives: Time = -1  # of the interrupt in flight, -1: none
        self._handler_starts: Time = -1  # of the handler that may be joined
        self.interrupts = 0

    def call(self, initiator: Cpu, arrival: Time, shot: Shot[Cpu]) -> None:
        """Ask the processor to run `shot`; synchronised.

        Args:
            initiator: who asks.
            arrival: when an interrupt sent now would arrive.
            shot: what to run, with this processor among its targets.
        """
        if self.joins(initiator, shot):
            return
        self.claim(arrival, shot)
        carrier = Shot[Cpu](
            initiator, initiator.clock, 1, 0, lambda _: self.take(arrival), lambda _: 1, joinable=True
        )
        initiator.send([(arrival, self._cpu)], carrier)

    def joins(self, initiator: Cpu, shot: Shot[Cpu]) -> bool:
        """Whether the request joins a handler that is yet to start; False: it needs an interrupt."""
        now = initiator.env._now
        assert initiator.clock == now, "a call queue is shared state: sync before"
        target = self._cpu
        if self._arrives >= 0:  # in flight, or pending because interrupts are off
            self._waiting.append(shot)
            shot.waiting_for[target.id] = target
        elif now < self._handler_starts:
            target.take_ticks(now)  # they came first
            began = target.handler_until
            target.steal(began, shot.cost, "handler")
            shot.effect(target)
            shot.answer(target.id, now, self._handler_starts, began, target.handler_until)
        else:
            return False
        return True

    def claim(self, arrival: Time, shot: Shot[Cpu]) -> None:
        """The queue was empty: the request waits for the interrupt that now has to be sent."""
        self.interrupts += 1
        self._arrives = arrival
        self._waiting.append(shot)
        shot.waiting_for[self._cpu.id] = self._cpu

    def take(self, arrived: Time) -> None:
        """The handler is queued on the processor: run every request in it."""
        target = self._cpu
        requests, self._waiting, self._arrives = self._waiting, [], -1
        starts = target.handler_until
        self._handler_starts = starts
        if starts > target.join_until:
            target.join_until = starts
        for shot in requests:
            began = target.handler_until
            if shot.cost:
                target.steal(began, shot.cost, "handler")
            shot.effect(target)
            came = arrived if arrived > shot.sent else shot.sent  # a request may join a pending handler
            shot.answer(target.id, came, starts if starts > came else came, began, target.handler_until)


def call_many(
    queues: Mapping[CpuId, CallQueue] | Sequence[CallQueue],
    initiator: Cpu,
    arrivals: Sequence[tuple[Time, Cpu]],
    shot: Shot[Cpu],
) -> None:
    """Interrupt processors whose queues were found empty (`joins` said no); synchronised.

    One carrier for all: targets of one arrival time share an event.

    Args:
        queues: by processor.
        initiator: who asks.
        arrivals: when the interrupt reaches which processor.
        shot: what to run, with all of them among its targets.
    """
    at_of = {target.id: at for at, target in arrivals}

    def take(target: Cpu) -> None:
        queues[target.id].take(at_of[target.id])

    for at, target in arrivals:
        queues[target.id].claim(at, shot)
    carrier = Shot[Cpu](initiator, initiator.clock, len(arrivals), 0, take, lambda _: 1, joinable=True)
    initiator.send(arrivals, carrier)
