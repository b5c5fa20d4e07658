"""What shootdown policies work with: processors, their TLBs, interrupts, costs and counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delivery import Delivery
from coalsim.cpus.ipi import CallQueue
from coalsim.cpus.oracle import Oracle
from coalsim.cpus.vcpu import VcpuSchedule
from coalsim.cpus.walker import TranslationUnit
from coalsim.mm.paging.context import Loaded
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import Time


@dataclass(frozen=True, kw_only=True)
class FlushTimes:
    """What the hardware's invalidations cost, in ps."""

    invlpg: Time
    invlpg_next: Time
    asid_flush: Time
    interrupt_entry: Time
    interrupt_exit: Time
    broadcast_issue: Time
    broadcast_pages: int
    broadcast_flight: Time
    broadcast_sync: Time
    action: Time  # of microcode on the target, per remote action

    def pages(self, count: int) -> Time:
        """Invalidating so many pages one by one."""
        return self.invlpg + (count - 1) * self.invlpg_next if count else 0


class Recorder(Protocol):
    """Where latencies go: a histogram."""

    def record(self, value: int) -> None:
        """Count one value."""

    def clear(self) -> None:
        """Forget all values."""


class FlushCounts:
    """What shootdowns did; sums, so the order of counting cannot show."""

    FIELDS = (
        "flushes",
        "local",
        "remote",
        "targets",
        "interrupts",
        "joined",
        "skipped_lazy",
        "ranged",
        "full",
        "up_to_date",
        "pages",
        "deferred",
        "ring_full",
        "broadcasts",
        "left_to_host",
    )

    __slots__ = FIELDS

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        for name in self.FIELDS:
            setattr(self, name, 0)

    flushes: int  # calls
    local: int  # that reached no other processor
    remote: int  # that reached others
    targets: int  # processors asked, over all calls
    interrupts: int  # requests that found an empty queue, so that an interrupt was sent
    joined: int  # requests that joined a handler that was yet to start
    skipped_lazy: int  # processors left out because they were lazy, or ran something else
    ranged: int  # handlers, local ones included, that invalidated page by page
    full: int  # that flushed the whole ASID
    up_to_date: int  # that found nothing to do
    pages: int  # that were mapped and have to be flushed, over all calls; not the spans between them
    deferred: int  # calls whose flush was put off
    ring_full: int  # calls that could have been, had there been room for their record
    broadcasts: int  # invalidations issued to the fabric
    left_to_host: int  # preempted vCPUs that were not asked: the host flushes them before they run again


@dataclass(kw_only=True)
class ShootdownSystem:
    """What policies work with; filled in by boot."""

    cpus: Sequence[Cpu]
    units: Sequence[TranslationUnit]
    loaded: Sequence[Loaded]
    queues: Sequence[CallQueue]
    delivery: Delivery
    times: FlushTimes
    switches: Switches
    costs: KernelCosts
    oracle: Oracle | None
    latencies: Recorder
    vcpus: VcpuSchedule | None = None  # when the host runs each processor; None: always
    counts: FlushCounts = field(default_factory=FlushCounts)
