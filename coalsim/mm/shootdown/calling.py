"""Interrupting other processors for a flush, and waiting for their answers.

    enqueue the request at each -> interrupt those whose queue was empty -> handlers -> answers

Handlers run with interrupts off on the target, change its private state, and answer.
Source: Linux kernel/smp.c (`smp_call_function_many_cond`).
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.ipi import Handler, Party, interrupt
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.locks.lockdep import note_waiting_for_answers
from coalsim.mm.shootdown.catching_up import CatchingUp
from coalsim.mm.shootdown.causes import (
    ENQUEUE,
    FLIGHT,
    HANDLER,
    OFF_DELAY,
    PREEMPTED,
    QUEUE,
    REMOTE,
    SEND,
    WAIT,
    WAY_BACK,
)
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.sending import Sender
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.units import Time


class Calling(CatchingUp):
    """The part of a policy that makes others flush."""

    def __init__(self, system: ShootdownSystem) -> None:
        super().__init__(system)
        self._runs_as_usual = type(self).run_handler is Calling.run_handler
        self._sender = Sender(system.delivery, system.queues, system.costs.csd_fill)

    def send(self, cpu: Cpu, targets: Sequence[Cpu], request: Flush, *, early: bool = False) -> Op[Shot[Cpu]]:
        """Enqueue the request at every target, and interrupt those whose queue was empty.

        The queues are looked at when the loop over them begins; what the loop costs (per target
        its instructions and two line transfers: the request and the head of the queue) is
        charged after it, and the interrupts leave then.  Interrupts are off only while these
        leave, where sending takes several writes.
        """
        system, sender, queues = self.system, self._sender, self.system.queues
        yield from cpu.sync()
        way_back, now = cpu.transfer, cpu.clock
        shot: Shot[Cpu] = Shot(
            cpu,
            now,
            len(targets),
            0,
            lambda target: self.run_handler(target, request, early=early),
            lambda target: max(1, way_back[target]),
            early=early,
        )
        called = [target for target in targets if queues[target.id].is_free(now)]
        if len(called) == len(targets):
            sending = sender.sending(cpu, targets)
            enqueue = sending.enqueue
        else:
            called = [target for target in targets if not queues[target.id].joins(cpu, shot)]
            sending, enqueue = sender.sending(cpu, called), sender.enqueue(cpu, targets)
        system.counts.targets += len(targets)
        system.counts.interrupts += len(called)
        system.counts.joined += len(targets) - len(called)
        for target in called:
            queues[target.id].claim(shot)
        cpu.charge(enqueue, ENQUEUE)
        if called:
            handler = self.handler(request) if self._runs_as_usual and not early else None
            yield from cpu.sync()
            if sending.irq_off:
                yield from cpu.irq_off()
            self.interrupt(cpu, cpu.clock, sending.parties, shot, handler)
            cpu.charge(sending.busy, SEND)
            if sending.irq_off:
                yield from cpu.irq_on()
        return shot

    def interrupt(
        self,
        cpu: Cpu,
        sent: Time,
        parties: Sequence[Party],
        shot: Shot[Cpu],
        handler: Handler | None = None,
    ) -> None:
        """Interrupt processors whose queues were empty; each pays entry and exit once."""
        times = self.system.times
        interrupt(
            cpu,
            sent,
            parties,
            shot,
            times.interrupt_entry,
            times.interrupt_exit,
            cause=HANDLER,
            handler=handler,
        )

    def run_handler(self, target: Cpu, request: Flush, *, early: bool = False) -> None:
        """Run the handler of one request on a target, behind those before it.

        Where it has answered already, walks that the processor begins by itself may still use
        pointers to tables up to the end of its flush; user code and the kernel do not run.
        """
        unit = self.system.units[target.id]
        caches = unit.structure_caches
        pointers = caches.pointers(unit.asid) if early and request.freed_tables else []
        cost = self.handle(target, request)
        target.steal(target.handler_until, cost, HANDLER)
        if pointers:
            caches.guess(pointers, target.handler_until, request.reason)

    def wait_for(self, cpu: Cpu, shot: Shot[Cpu], site: str) -> Op[None]:
        """Wait for all answers, and divide the wait along the last of them."""
        note_waiting_for_answers(cpu, site)
        yield from cpu.sync()
        before = cpu.account[WAIT]
        yield from cpu.wait_for_answers(shot, WAIT)
        waited, last = cpu.account[WAIT] - before, shot.last
        if last is None:
            return
        vcpus, arrived = self.system.vcpus, shot.sent + last.flight
        delay = last.off_delay + last.queue
        away = vcpus.time_away(last.cpu, arrived, arrived + delay) if vcpus is not None else 0
        for cause, part in (
            (WAY_BACK, last.way_back),
            (REMOTE, last.handler),
            (PREEMPTED, away),
            (QUEUE, max(0, last.queue - away)),
            (OFF_DELAY, min(last.off_delay, delay - away)),
            (FLIGHT, last.flight),
        ):
            share = min(part, waited)
            if share:
                cpu.move_time(WAIT, cause, share)
                waited -= share
