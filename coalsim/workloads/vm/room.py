"""Room: what a load needs must fit into the machine's memory and a process's addresses.

A task that finds no room ends early, and those that meet it at a gate would wait for
ever; so a load that cannot fit is refused before the run.

    lowest | text data heap |<--------- mmap finds room here --------->| gap | stack

Mappings at fixed addresses must lie in the same part: the others would be replaced.
Source: as in `mm/virt/image.py`.
"""

from coalsim.errors import ConfigError, Problem
from coalsim.mm.virt.image import DATA_PAGES, TEXT_FIRST, TEXT_PAGES, stack_gap
from coalsim.topology.machine import Machine
from coalsim.units import PAGE_SIZE, format_size
from coalsim.workloads.base import VirtualHost


def check_memory(machine: Machine, pages: int, key: str, value: int) -> None:
    """Refuse a load whose pages cannot all be there at once: its tasks would be killed and missed.

    Raises:
        ConfigError: the machine has less memory.
    """
    memory = sum(node.memory for node in machine.nodes)
    if pages * PAGE_SIZE > memory:
        message = (
            f"{format_size(pages * PAGE_SIZE)} of pages are more than machine {machine.name} has"
            f" ({format_size(memory)})"
        )
        _refuse(key, value, message, "use less, or a larger machine")


def check_addresses(host: VirtualHost, pages: int, key: str, value: int) -> None:
    """Refuse a load whose mappings cannot all be in one address space at once.

    Raises:
        ConfigError: a process has fewer addresses.
    """
    free = mappable(host)
    if pages > len(free):
        message = (
            f"{format_size(pages * PAGE_SIZE)} of mappings are more than a process has room for"
            f" with {host.vm.kernel.geometry.name} page tables ({format_size(len(free) * PAGE_SIZE)})"
        )
        _refuse(key, value, message, "use less, fewer CPUs, or a kernel.geometry with more addresses")


def check_end(host: VirtualHost, end: int, key: str, value: int) -> None:
    """Refuse a load whose last region, at a fixed address, would not lie where mappings may.

    Args:
        host: the system.
        end: the byte behind the region.
        key: what is to be changed.
        value: its value.

    Raises:
        ConfigError: the region would meet the stack, or leave the user's side.
    """
    limit = mappable(host).stop * PAGE_SIZE
    if end > limit:
        message = (
            f"the last region would end at {end:#x}, and with {host.vm.kernel.geometry.name} page tables"
            f" mappings end at {limit:#x}"
        )
        _refuse(key, value, message, "use less, fewer CPUs, or a kernel.geometry with more addresses")


def mappable(host: VirtualHost) -> range:
    """The pages, above the heap's beginning and below the stack, where mmap finds room in a new process."""
    kernel = host.vm.kernel
    top = kernel.geometry.user_pages
    first = TEXT_FIRST + TEXT_PAGES + DATA_PAGES
    return range(first, top - stack_gap(top, kernel.switches.stack_guard_pages))


def _refuse(key: str, value: int, message: str, remedy: str) -> None:
    raise ConfigError([Problem(key=key, value=str(value), message=message, remedy=remedy)])
