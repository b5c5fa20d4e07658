"""Boot: how soon one processor can reach another, and when a processor runs at all.

The engine lets a processor run ahead by no more than the first of them, so every way to change
another's private state counts here.
"""

from coalsim.boot_vm import delivery_of, flush_times
from coalsim.cpus.delivery import lookahead as delivery_lookahead
from coalsim.cpus.vcpu import VcpuSchedule
from coalsim.engine.streams import Streams
from coalsim.errors import ConfigError, Problem
from coalsim.injection import Injection
from coalsim.mm.shootdown.base import Shootdown
from coalsim.profiles.switches import Switches
from coalsim.topology.distance import Distance
from coalsim.topology.machine import Machine
from coalsim.units import US, Time

ALONE: Time = 1 * US
"""Lookahead of a machine with one CPU, which no interrupt can reach: any will do."""


def interrupt_latency(machine: Machine) -> Time:
    """The shortest time in which an interrupt reaches another processor."""
    flights = [
        flight.picoseconds(machine.clock_ghz.value)
        for distance, flight in machine.ipi_flight.items()
        if distance is not Distance.SELF
    ]
    return min(flights, default=ALONE)


def lookahead(machine: Machine, policy: type[Shootdown], switches: Switches) -> Time:
    """The shortest time in which one processor reaches another's private state, by whatever means."""
    shortest = min(interrupt_latency(machine), delivery_lookahead(delivery_of(machine, switches)))
    if policy.uses_broadcast:
        shortest = min(shortest, flush_times(machine).broadcast_flight)
    return shortest


def vcpus_of(machine: Machine, streams: Streams, injection: Injection) -> VcpuSchedule | None:
    """When each processor runs; None where all of them always run.

    Raises:
        ConfigError: both the host and an injected fault take processors away.
    """
    planned, guest = injection.absences(), machine.guest
    if guest is None:
        return planned
    resume = guest.resume.picoseconds(machine.clock_ghz.value)
    vcpus = VcpuSchedule(guest.preempted_share.value, resume, streams)
    if planned is not None and vcpus.steals:
        problem = Problem(
            key="inject.away",
            message="the host takes vCPUs of this machine away by itself",
            remedy="set machine.guest.preempted_share=0, or leave the rules for CPUs out",
        )
        raise ConfigError([problem])
    return vcpus if vcpus.steals else planned
