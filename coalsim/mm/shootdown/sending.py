"""What it takes to interrupt some processors: instructions, lines, writes, and who is reached when.

All of it depends on the initiator and the targets only, and programs flush the same
processors again and again, so the last few answers are kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delivery import Delivery
from coalsim.cpus.ipi import CallQueue, Party
from coalsim.units import CpuId, Time

KEPT = 16
"""Initiators whose last targets are remembered."""


class Sending(NamedTuple):
    """How some targets are interrupted; times in ps."""

    targets: Sequence[Cpu]
    enqueue: Time  # writing the request and the head of each queue
    busy: Time  # the sender, with the interrupts themselves
    irq_off: bool  # meanwhile
    parties: list[Party]


def parties_of(
    arrivals: Sequence[tuple[Time, Cpu]], queues: Sequence[CallQueue], way_back: Sequence[Time]
) -> list[Party]:
    """Targets that are reached at one time, together.

    Args:
        arrivals: when who is reached, from the send.
        queues: of all processors.
        way_back: how long a line travels from each to the initiator.
    """
    groups: dict[Time, list[Cpu]] = {}
    for after, target in arrivals:
        groups.setdefault(after, []).append(target)
    parties = []
    for after in sorted(groups):
        cpus = sorted(groups[after], key=lambda cpu: cpu.id)
        queued = [queues[cpu.id] for cpu in cpus]
        parties.append(Party(after, cpus, queued, [max(1, way_back[cpu.id]) for cpu in cpus]))
    return parties


class Sender:
    """Works out sendings.

    Args:
        delivery: how interrupts are sent.
        queues: of all processors.
        csd_fill: instructions per target, in ps.
    """

    def __init__(self, delivery: Delivery, queues: Sequence[CallQueue], csd_fill: Time) -> None:
        self._delivery = delivery
        self._queues = queues
        self._csd_fill = csd_fill
        self._kept: dict[CpuId, Sending] = {}

    def sending(self, cpu: Cpu, targets: Sequence[Cpu]) -> Sending:
        """How `cpu` interrupts targets, given in order of their ids."""
        kept = self._kept.get(cpu.id)
        if kept is not None and kept.targets == targets:
            return kept
        sends = self._delivery.send_times(cpu, targets)
        parties = parties_of(sends.arrivals, self._queues, cpu.transfer)
        made = Sending(list(targets), self.enqueue(cpu, targets), sends.busy, sends.irq_off, parties)
        if self._delivery.is_steady:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[cpu.id] = made
        return made

    def enqueue(self, cpu: Cpu, targets: Sequence[Cpu]) -> Time:
        """Queueing a request at each: instructions, and two line transfers (request and queue head)."""
        transfer = cpu.transfer
        return len(targets) * self._csd_fill + 2 * sum(transfer[target.id] for target in targets)
