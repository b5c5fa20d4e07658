"""Boot of the leak scan: who looks for objects that nothing points to.

Built only where the kernel has it (`kernel.kmemleak`), so that others pay nothing.
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.mm.debug.kmemleak import Kmemleak
from coalsim.mm.manager import MemoryManager
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import Time


def build_leak_scan(
    memory: MemoryManager, cpus: Sequence[Cpu], switches: Switches, costs: KernelCosts, wake_latency: Time
) -> Kmemleak | None:
    """The scan, if the kernel has one."""
    if not switches.kmemleak:
        return None
    tracking = memory.tracking
    assert tracking is not None, "the switch of the scan needs that of tracking"
    assert tracking.lock is not None
    return Kmemleak(
        tracking, memory.pointers, tracking.lock, cpus, costs, switches.kmemleak_min_age, wake_latency
    )
