"""What a kernel's switches ask of its machine: mistakes that only show when both are known.

Invariant: a kernel without such mistakes can be booted on the machine.
"""

from difflib import get_close_matches

from coalsim.boot_vm import geometry_of
from coalsim.cpus.delivery import DELIVERIES
from coalsim.errors import ConfigError, Problem
from coalsim.mm.paging.geometry import GEOMETRIES
from coalsim.mm.phys.zones import HIGH, lay_out
from coalsim.mm.shootdown.base import Shootdown
from coalsim.profiles.switches import Switches
from coalsim.topology.machine import Machine
from coalsim.units import PAGE_SIZE, format_size


def check_kernel(machine: Machine, switches: Switches) -> None:
    """Refuse a kernel that the machine cannot boot.

    Raises:
        ConfigError: all that does not fit.
    """
    problems = [
        *_ipi(switches),
        *_table_node(machine, switches),
        *_geometry(machine, switches),
        *_high_zone(machine, switches),
    ]
    if problems:
        raise ConfigError(problems)


def misfit(policy: type[Shootdown], switches: Switches) -> str:
    """What makes a policy less than the one that was published, in a sentence; empty: nothing."""
    wanted, found = policy.replication, switches.table_replication
    if wanted in ("", found):
        return ""
    return (
        f"kernel.shootdown={switches.shootdown} is made for kernel.table_replication={wanted}; "
        f"with {found} its numbers are not those of the published design"
    )


def _ipi(switches: Switches) -> list[Problem]:
    names = ("machine", *DELIVERIES)
    if switches.ipi in names:
        return []
    near = get_close_matches(switches.ipi, names, n=1)
    remedy = (f"did you mean {near[0]}? " if near else "") + f"the names are {', '.join(names)}"
    return [Problem(key="kernel.ipi", value=switches.ipi, message="no such interrupt model", remedy=remedy)]


def _table_node(machine: Machine, switches: Switches) -> list[Problem]:
    node = switches.table_node
    if node is None or node < machine.num_nodes:
        return []
    last = machine.num_nodes - 1
    return [
        Problem(
            key="kernel.table_placement",
            value=switches.table_placement,
            message=f"machine {machine.name} has no such node",
            remedy=f"use node:0 to node:{last}" if last else "use node:0, its only one",
        )
    ]


def _geometry(machine: Machine, switches: Switches) -> list[Problem]:
    geometry = GEOMETRIES.get(switches.geometry)
    if geometry is None or machine.memory <= geometry.max_frames * PAGE_SIZE:
        return []
    most = format_size(geometry.max_frames * PAGE_SIZE)
    return [
        Problem(
            key="kernel.geometry",
            value=switches.geometry,
            message=f"its entries reach {most}, and machine {machine.name} has {format_size(machine.memory)}",
            remedy=f"use x86-64, or --set machine.memory={most.replace(' ', '')}",
        )
    ]


def _high_zone(machine: Machine, switches: Switches) -> list[Problem]:
    """A 64-bit kernel maps all memory at one place, so no frame of it needs a temporary mapping."""
    if switches.geometry != "auto" and switches.geometry not in GEOMETRIES:
        return []
    geometry = geometry_of(machine, switches)
    extents = lay_out(machine, switches.zones)
    if not geometry.hole_pages or all(extent.name != HIGH for extent in extents):
        return []
    smaller = [other for other in GEOMETRIES.values() if not other.hole_pages]
    fitting = [other.name for other in smaller if machine.memory <= other.max_frames * PAGE_SIZE]
    remedy = f", or --set kernel.geometry={fitting[0]}" if fitting else ""
    return [
        Problem(
            key="kernel.zones",
            value=switches.zones,
            message=f"with kernel.geometry={geometry.name} the kernel reaches all memory directly: "
            "it has no High zone",
            remedy=f"use kernel.zones=dma-dma32-normal{remedy}",
        )
    ]
