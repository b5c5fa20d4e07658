"""Remote action request: Intel's interrupt that microcode answers, with interrupts off too.

    generation + 1 -> choose targets -> payload, a store into each target's action vector
                   -> send [microcode of each target: invalidate, acknowledge] -> poll

The kernel of a target is not entered.  Its microcode takes requests one after the other
and spends `rar_action` on each.
Reuse: when the entry of every target reads success.
Source: Intel, Remote Action Request white paper, 2021; "x86: Intel RAR TLB flush
support", linux-kernel, v4, June 2025 (not merged).

Model: a request flies like an interrupt; there are always free payloads; a target pays
for its microcode's time as soon as its interrupts are on (`cpus/broadcast.py`).
"""

from typing import ClassVar

from coalsim.cpus.broadcast import broadcast
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.causes import ENQUEUE, SEND
from coalsim.mm.shootdown.fabric import land
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.units import Time

ACTION = "handler:remote action"


class RarShootdown(Shootdown):
    """Multicast without handlers."""

    name: ClassVar[str] = "rar"
    source: ClassVar[str] = "Intel white paper, 2021; linux-kernel, v4, June 2025"

    def __init__(self, system: ShootdownSystem) -> None:
        super().__init__(system)
        self._busy_until: list[Time] = [0] * len(system.cpus)  # each target's microcode

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """Ask, flush the own TLB, poll."""
        began = yield from self.new_generation(cpu, request)
        yield from cpu.sync()
        targets = self.choose_targets(cpu, request)
        shot = (yield from self._request(cpu, targets, request)) if targets else None
        yield from self.flush_here(cpu, request)
        if shot is not None:
            yield from self.wait_for(cpu, shot, request.reason)
        yield from self.record(cpu, began, len(targets))

    def _request(self, cpu: Cpu, targets: list[Cpu], request: Flush) -> Op[Shot[Cpu]]:
        """Write payload and action vectors, and send."""
        system, way_back = self.system, cpu.transfer
        yield from cpu.irq_off()
        yield from cpu.sync()
        shot: Shot[Cpu] = Shot(
            cpu, cpu.clock, len(targets), 0, lambda _: None, lambda target: max(1, way_back[target])
        )
        sends = system.delivery.send_times(cpu, targets)
        filling = system.costs.csd_fill + sum(cpu.transfer[target.id] for target in targets)
        by_time: dict[Time, list[Cpu]] = {}
        for at, target in sends.arrivals:
            by_time.setdefault(cpu.clock + filling + at, []).append(target)
        for at in sorted(by_time):
            self._send(cpu, by_time[at], at, shot, request)
        system.counts.targets += len(targets)
        cpu.charge(filling, ENQUEUE)
        cpu.charge(sends.busy, SEND)
        yield from cpu.irq_on()
        return shot

    def _send(self, cpu: Cpu, targets: list[Cpu], at: Time, shot: Shot[Cpu], request: Flush) -> None:
        """One arrival time."""
        action, ranged = self.system.times.action, self.is_ranged(request)

        def act(target: Cpu) -> None:
            land(self.system, target, request, ranged=ranged)
            starts = max(at, self._busy_until[target.id])
            ends = self._busy_until[target.id] = starts + action
            shot.answer(target.id, at, at, starts, ends)

        def pay(target: Cpu) -> None:
            target.steal(target.handler_until, action, ACTION)

        work: Shot[Cpu] = Shot(None, cpu.clock, len(targets), 0, pay, lambda _: 1)
        broadcast(cpu, targets, at, act, work)
