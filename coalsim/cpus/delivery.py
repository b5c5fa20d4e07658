"""How interrupts get from one processor to others: what sending costs, when each arrives.

| name              | the sender does                              | per target it waits for         |
|-------------------|----------------------------------------------|---------------------------------|
| `x2apic_cluster`  | a write per cluster of 16 ids; one for all   | nothing: the fabric copies      |
| `x2apic_physical` | a write per target                           | its write                       |
| `kvm_exit`        | a write per target, each leaves the guest    | an exit and the host's work     |
| `kvm_pv`          | a hypercall per window of 128 ids            | the host's work                 |
| `posted`          | a posting per target, which takes its line   | its posting and the line        |

A model is pure: times are counted from the start of the sending, and the sender is
busy until the last write is done.  An interrupt leaves when its own write (exit, host's
work) is done.  It then flies as far as the machine is wide; a guest's takes the
hypervisor's kick, or the hardware's notification, wherever the target is.  What arrives for a vCPU that the
host has taken away waits there until it runs (`cpus/virtual.py`), whatever the model; Linux
gives way to such a target by one more hypercall, which is not modelled.

Invariant: nothing arrives earlier than `lookahead(model)` after the start.
Source: Linux arch/x86/kernel/apic/x2apic_cluster.c, x2apic_phys.c, ipi.c (shorthand for
all but self, 5.4), arch/x86/kernel/kvm.c (`__send_ipi_mask`, `kvm_smp_send_call_func_ipi`);
Zeng Guang, "IPI virtualization support for VM", KVM mailing list, 2022 (v7).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coalsim.cpus.apic import apic_clusters, apic_ids
from coalsim.cpus.cpu import Cpu
from coalsim.errors import ConfigError, Problem
from coalsim.topology.distance import Distance
from coalsim.topology.interrupts import GuestCosts
from coalsim.topology.machine import Machine
from coalsim.units import Time

WINDOW = 128
"""Ids that one hypercall can name: a bitmap of two 64-bit words."""


class Sends(NamedTuple):
    """One sending: times in ps from its start."""

    busy: Time  # of the sender
    arrivals: list[tuple[Time, Cpu]]
    irq_off: bool  # interrupts are off while the sender is busy


@dataclass(frozen=True, kw_only=True)
class DeliveryCosts:
    """What the models count with; a guest's costs are 0 on a bare machine.

    Args:
        machine: flights, the cost of a write, places of the processors.
        all_but_self: the kernel uses the shorthand when everybody else is a target.
        vm_exit: from a write that leaves the guest until the guest goes on, without targets.
        hypercall: the same of a hypercall.
        per_target: the host's work per target of an exit or a hypercall.
        post: what posting one interrupt takes, beside the line of its target's descriptor.
        kick: from the end of the host's work until a running target is in its handler.
        notify: the same from the posting.
    """

    machine: Machine
    all_but_self: bool = True
    vm_exit: Time = 0
    hypercall: Time = 0
    per_target: Time = 0
    post: Time = 0
    kick: Time = 0
    notify: Time = 0

    @classmethod
    def of(cls, machine: Machine, guest: GuestCosts | None, *, all_but_self: bool) -> "DeliveryCosts":
        """The costs of a machine, as a guest of such a hypervisor if there is one."""
        if guest is None:
            return cls(machine=machine, all_but_self=all_but_self)
        clock = machine.clock_ghz.value
        return cls(
            machine=machine,
            all_but_self=all_but_self,
            vm_exit=guest.vm_exit.picoseconds(clock),
            hypercall=guest.hypercall.picoseconds(clock),
            per_target=guest.per_target.picoseconds(clock),
            post=guest.post.picoseconds(clock),
            kick=guest.kick.picoseconds(clock),
            notify=guest.notify.picoseconds(clock),
        )


class Delivery(ABC):
    """A way to send interrupts."""

    name: str
    is_steady = True
    """The same sending takes the same times whenever it is done."""

    def __init__(self, costs: DeliveryCosts) -> None:
        machine = self.machine = costs.machine
        self.costs = costs
        self._write = machine.ipi_send.picoseconds(machine.clock_ghz.value)

    @abstractmethod
    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        """When each target is hit; targets are in the order of their ids, without the sender."""

    @abstractmethod
    def soonest(self, distance: Distance) -> Time:
        """The least time from the start to the arrival at a target so far away."""

    def _flies(self, distance: Distance) -> Time:
        return self.machine.ipi_flight[distance].picoseconds(self.machine.clock_ghz.value)


class X2apicCluster(Delivery):
    """One write reaches any targets of a cluster; one reaches everybody else at once."""

    name = "x2apic_cluster"

    def __init__(self, costs: DeliveryCosts) -> None:
        super().__init__(costs)
        self._cluster = apic_clusters(costs.machine)
        self._everybody_else = (costs.all_but_self and costs.machine.num_cpus - 1) or -1

    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        """Clusters in the order of their first target."""
        write, flight = self._write, self.machine.ipi_row(sender.id)
        if len(targets) in (1, self._everybody_else):
            return Sends(write, [(write + flight[cpu.id], cpu) for cpu in targets], irq_off=False)
        cluster, turn = self._cluster, dict[int, int]()
        arrivals = [
            (turn.setdefault(cluster[cpu.id], len(turn) + 1) * write + flight[cpu.id], cpu) for cpu in targets
        ]
        return Sends(len(turn) * write, arrivals, irq_off=bool(turn))

    def soonest(self, distance: Distance) -> Time:
        """The first write's."""
        return self._write + self._flies(distance)


class X2apicPhysical(Delivery):
    """A write per target, one after the other."""

    name = "x2apic_physical"

    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        """Targets in the order of their ids."""
        write, flight = self._write, self.machine.ipi_row(sender.id)
        arrivals = [(turn * write + flight[cpu.id], cpu) for turn, cpu in enumerate(targets, 1)]
        return Sends(len(arrivals) * write, arrivals, irq_off=len(arrivals) > 1)

    def soonest(self, distance: Distance) -> Time:
        """The first write's."""
        return self._write + self._flies(distance)


class _Guest(Delivery):
    """A guest's way: the hypervisor's kick brings the interrupt into the target."""

    def __init__(self, costs: DeliveryCosts) -> None:
        super().__init__(costs)
        if costs.kick < 1:
            problem = Problem(
                key="ipi",
                value=self.name,
                message=f"the machine {self.machine.name} is no guest: it has no costs of a hypervisor",
                remedy="give it a [guest] section, or use a model of bare machines",
            )
            raise ConfigError([problem])


class KvmExit(_Guest):
    """A guest without help: each write leaves the guest."""

    name = "kvm_exit"

    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        """The host serves an exit before the guest can write again."""
        kick, step = self.costs.kick, self.costs.vm_exit + self.costs.per_target
        arrivals = [(turn * step + kick, cpu) for turn, cpu in enumerate(targets, 1)]
        return Sends(len(arrivals) * step, arrivals, irq_off=len(arrivals) > 1)

    def soonest(self, distance: Distance) -> Time:
        """The first exit's."""
        return self.costs.vm_exit + self.costs.per_target + self.costs.kick


class KvmPv(KvmExit):
    """A guest that names up to 128 targets in one hypercall; a single one still goes by an exit."""

    name = "kvm_pv"

    def __init__(self, costs: DeliveryCosts) -> None:
        super().__init__(costs)
        self._ids = apic_ids(costs.machine)

    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        """The host goes through a window's targets by id."""
        if len(targets) < 2:
            return super().send_times(sender, targets)
        costs, ids = self.costs, self._ids
        done = 0
        arrivals = []
        for window in self._windows(targets):
            done += costs.hypercall
            for cpu in sorted(window, key=lambda cpu: ids[cpu.id]):
                done += costs.per_target
                arrivals.append((done + costs.kick, cpu))
        return Sends(done, arrivals, irq_off=True)

    def soonest(self, distance: Distance) -> Time:
        """An exit's or a hypercall's, whichever is shorter."""
        costs = self.costs
        return min(costs.vm_exit, costs.hypercall) + costs.per_target + costs.kick

    def _windows(self, targets: Sequence[Cpu]) -> list[list[Cpu]]:
        """Targets in the kernel's order; a window slides as long as all its ids fit."""
        windows: list[list[Cpu]] = []
        low = high = -WINDOW
        for cpu in targets:
            number = self._ids[cpu.id]
            if max(high, number) - min(low, number) < WINDOW:
                windows[-1].append(cpu)
                low, high = min(low, number), max(high, number)
            else:
                windows.append([cpu])
                low = high = number
        return windows


class Posted(_Guest):
    """Hardware posts each interrupt in its target's descriptor: no exit of the sender."""

    name = "posted"

    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        """The descriptor's line comes to the sender for each posting."""
        post, notify, line = self.costs.post, self.costs.notify, self.machine.transfer_row(sender.id)
        done = 0
        arrivals = []
        for cpu in targets:
            done += post + line[cpu.id]
            arrivals.append((done + notify, cpu))
        return Sends(done, arrivals, irq_off=len(arrivals) > 1)

    def soonest(self, distance: Distance) -> Time:
        """The first posting's, with the line."""
        line = self.machine.line_transfer[distance].picoseconds(self.machine.clock_ghz.value)
        return self.costs.post + line + self.costs.notify


DELIVERIES: Mapping[str, type[Delivery]] = {
    model.name: model for model in (X2apicCluster, X2apicPhysical, KvmExit, KvmPv, Posted)
}


def lookahead(model: Delivery) -> Time:
    """The least time from the start of a sending to any arrival, over all pairs of processors."""
    return min(model.soonest(far) for far in model.machine.distances() if far is not Distance.SELF)
