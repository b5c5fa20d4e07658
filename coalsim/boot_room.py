"""Room at boot: what tasks need before their first instruction has to be there, or the kernel would panic.

    a process    the roots of its page tables: one, or one on each node where they are copied at once
    a thread     the pages of its kernel stack, where those are mapped

The first thread of each processor begins at once, so theirs has to be there together.  Those
behind them may find what others have given back, and are left out.  All of it may come from the
emergency reserve, whose frames have no node for this.

Invariant: a system with less free memory than that is refused before the run.
"""

from collections.abc import Sequence

from coalsim.cpus.runqueue import Thread
from coalsim.errors import ConfigError, Problem
from coalsim.mm.manager import MemoryManager
from coalsim.mm.virt.kernel_stack import STACK_PAGES
from coalsim.topology.machine import Machine
from coalsim.units import PAGE_SIZE, NodeId, format_size


def check_room(memory: MemoryManager, threads: Sequence[Sequence[Thread]], machine: Machine) -> None:
    """Refuse a machine whose tasks could not begin.

    Args:
        memory: what is free.
        threads: by processor, those that wait for it.
        machine: for the message.

    Raises:
        ConfigError: there is less memory, on all nodes together or on one that copies need.
    """
    first = [waiting[0] for waiting in threads if waiting]
    spaces = len(dict.fromkeys(thread.space for thread in first if thread.space is not None))
    copies = spaces if memory.switches.table_replication == "eager" else 0  # on each node
    needed = 0 if memory.stacks is None else len(first) * STACK_PAGES
    needed += copies * machine.num_nodes or spaces
    free = {node.node: _free(memory, node.node) for node in machine.nodes}
    poorest = min(free, key=lambda node: free[node])
    reserve = 0 if memory.pages.reserve is None else memory.pages.reserve.held
    total = sum(free.values()) + reserve
    if needed > total:
        raise _refusal(machine, len(first), needed, f"{_text(total)} are free after boot")
    if copies > free[poorest] + reserve:
        raise _refusal(machine, len(first), copies, f"{_text(free[poorest])} are free on node {poorest}")


def _free(memory: MemoryManager, node: NodeId) -> int:
    """Frames of a node that the kernel may use for itself."""
    zones = [zone for zone in memory.pages.zones if zone.node == node and not zone.is_high]
    return sum(zone.source.free_frames for zone in zones)


def _text(frames: int) -> str:
    return format_size(frames * PAGE_SIZE)


def _refusal(machine: Machine, threads: int, needed: int, what_there_is: str) -> ConfigError:
    sizes = [format_size(node.memory) for node in machine.nodes]
    problem = Problem(
        key="machine.memory",
        value=sizes[0] if len(set(sizes)) == 1 else " + ".join(sizes),
        message=f"{threads} threads need {_text(needed)} of page tables and stacks to begin,"
        f" and {what_there_is}",
        remedy="give each node more memory, or use fewer CPUs",
    )
    return ConfigError([problem])
