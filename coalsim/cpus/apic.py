"""The numbers that interrupt controllers have: x2APIC ids of a machine's processors.

    id = | socket | cluster | core | thread |      each field as wide as its largest part needs

Fields are powers of two, so ids have gaps where a socket has, say, 20 cores; and the
threads of a core are neighbours even where processor numbers are far apart.
A machine file does not say ids; this rule is that of CPUID leaf 0xB.
Source: Intel SDM volume 3, "Deriving IDs from the topology" and "Logical destination
mode in x2APIC mode" (an interrupt can name up to 16 ids that agree in all but four bits).
"""

from coalsim.topology.machine import Machine

CLUSTER_BITS = 4
"""An interrupt in cluster mode reaches any of 2**4 consecutive ids."""


def apic_ids(machine: Machine) -> tuple[int, ...]:
    """The id of each processor."""
    clusters: dict[int, dict[int, int]] = {}  # of each socket: its place there
    cores: dict[int, dict[int, int]] = {}  # of each cluster, likewise
    for place in machine.cpus:
        within = clusters.setdefault(place.socket, {})
        within.setdefault(place.cluster, len(within))
        inside = cores.setdefault(place.cluster, {})
        inside.setdefault(place.core, len(inside))
    thread_bits = max(place.thread for place in machine.cpus).bit_length()
    core_bits = max(len(inside) - 1 for inside in cores.values()).bit_length()
    cluster_bits = max(len(within) - 1 for within in clusters.values()).bit_length()
    ids = []
    for place in machine.cpus:
        number = place.socket << cluster_bits | clusters[place.socket][place.cluster]
        number = number << core_bits | cores[place.cluster][place.core]
        ids.append(number << thread_bits | place.thread)
    return tuple(ids)


def apic_clusters(machine: Machine) -> tuple[int, ...]:
    """The x2APIC cluster of each processor."""
    return tuple(number >> CLUSTER_BITS for number in apic_ids(machine))
