"""Invalidations that the machine's fabric carries to every TLB, as INVLPGB and TLBI do.

    issue, issue, ... -> [fabric: one queue] -> landed everywhere -> the sender goes on

The fabric serves one issue at a time for as long as it takes to issue one: that many
initiators share it is an assumption, since nobody has measured it.  All issues of one
flush land together, with the last of them.

Landing drops the pages under every ASID by which a processor knows the space, loaded or
not, and says so in that slot's generation, if that followed in order.
Source: AMD64 Architecture Programmer's Manual, volume 3; Arm Architecture Reference
Manual; the two policies name the kernels' code.
"""

from coalsim.cpus.broadcast import broadcast
from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.shootdown.causes import FLIGHT
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.units import Time

QUEUED = "shootdown:fabric queue"
ISSUE = "shootdown:issue"
COMPLETE = "shootdown:sync"


class Fabric:
    """The queue in front of all TLBs; shared state, `sync` before use.

    Args:
        system: whose.
    """

    def __init__(self, system: ShootdownSystem) -> None:
        self._system = system
        self._free_at: Time = 0

    def flush(self, cpu: Cpu, request: Flush, issues: int, *, ranged: bool) -> Op[int]:
        """Issue, and wait until all has landed; returns how many other processors had the space."""
        yield from cpu.sync()
        system = self._system
        holders = [
            holder
            for holder, loaded in zip(system.cpus, system.loaded, strict=True)
            if any(slot.context is request.context for slot in loaded.slots)
        ]
        starts, busy = max(cpu.clock, self._free_at), issues * system.times.broadcast_issue
        self._free_at = starts + busy
        landed = starts + busy + system.times.broadcast_flight
        broadcast(cpu, holders, landed, lambda target: land(system, target, request, ranged=ranged))
        system.counts.broadcasts += issues
        yield from cpu.wait_until(starts, QUEUED)
        cpu.charge(busy, ISSUE)
        yield from cpu.sync()
        yield from cpu.wait_until(landed, FLIGHT)
        cpu.charge(system.times.broadcast_sync, COMPLETE)
        return sum(holder is not cpu for holder in holders)


def land(system: ShootdownSystem, target: Cpu, request: Flush, *, ranged: bool) -> None:
    """An invalidation has reached a processor's TLB."""
    context, unit = request.context, system.units[target.id]
    for number, slot in enumerate(system.loaded[target.id].slots):
        if slot.context is not context:
            continue
        asid = number + 1
        if ranged:
            unit.invalidate(request.first, request.last, asid)
            if slot.generation + 1 == request.generation:
                slot.generation = request.generation
        else:
            unit.flush(asid)
            slot.generation = context.generation
