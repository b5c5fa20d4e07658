"""Temporary mappings: how the kernel reaches frames of the High zone for a moment.

    map    the CPU's next free slot gets the frame -> use -> unmap: the slot is cleared, and its
           translation invalidated on this CPU, which alone has used it

Every CPU has its own slots in the kernel's part of the tables, so nobody else is asked and nobody
has to flush.  They nest, as a copy needs two; who holds one does not give its CPU away.

Invariant: what a CPU has mapped is a stack of at most SLOTS frames.
Private to the CPU; the tables of the slots are made at boot.
Source: Linux mm/highmem.c (kmap_local_page, KM_MAX_IDX), arch/x86/mm/highmem_32.c.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.errors import KernelBug
from coalsim.mm.paging import layout
from coalsim.mm.paging.entry import PRESENT, WRITABLE, make
from coalsim.mm.paging.kernel_space import KernelSpace
from coalsim.profiles.costs import KernelCosts
from coalsim.units import PAGE_SHIFT, Pfn, Time, Vpn

KMAP = "temporary mapping"
SLOTS = 16
"""Of each CPU: 16 entries of 4 bytes are one cache line of its own."""


class TemporaryMappings:
    """All CPUs' slots, at the end of the region for devices.

    Args:
        space: the kernel's tables.
        num_cpus: of the machine.
        costs: of the kernel.
        invlpg: invalidating one page on the own CPU, in ps.
    """

    def __init__(self, space: KernelSpace, num_cpus: int, costs: KernelCosts, invlpg: Time) -> None:
        self._space = space
        self._costs = costs
        self._invlpg = invlpg
        end = layout.region(space.geometry, "device memory").end >> PAGE_SHIFT
        self._first = end - num_cpus * SLOTS
        self._depth = [0] * num_cpus
        self.maps = 0
        for slot in range(self._first, end):  # makes the tables that are missing
            space.map(Vpn(slot), Pfn(0), PRESENT)
            space.unmap(Vpn(slot))

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.maps = 0

    def map(self, cpu: Cpu, pfn: Pfn) -> Vpn:
        """Show a frame to this CPU; returns the page under which it does.

        Raises:
            KernelBug: all its slots are in use.
        """
        depth = self._depth[cpu.id]
        if depth >= SLOTS:
            raise KernelBug(f"CPU {cpu.id} has {SLOTS} temporary mappings already")
        vpn = Vpn(self._first + cpu.id * SLOTS + depth)
        self._depth[cpu.id] = depth + 1
        self._space.table.set(vpn, make(pfn, PRESENT | WRITABLE))
        cpu.charge(self._costs.kmap_set, KMAP)
        self.maps += 1
        return vpn

    def unmap(self, cpu: Cpu, vpn: Vpn) -> None:
        """The last frame that was mapped is not needed any more.

        Raises:
            KernelBug: it was not the last one.
        """
        self._depth[cpu.id] -= 1
        if vpn != self._first + cpu.id * SLOTS + self._depth[cpu.id]:
            raise KernelBug(f"CPU {cpu.id} ends temporary mapping {vpn:#x} out of order")
        self._space.table.set(vpn, 0)
        cpu.charge(self._costs.kmap_clear + self._invlpg, KMAP)
