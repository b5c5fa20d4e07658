"""Stores and loads of the kernel's own, for loads that show what wrong ones do.

They change simulated memory and are checked by nobody but the page tables: a store may run over the end
of its object, under its start or into one that was freed.  Where no page is mapped the kernel stops with
the report that it prints then.

Locking: whoever stores without a lock where somebody else looks makes a race, as in a kernel; the bytes
change at one moment, when the processor has synchronised.
Source: Linux arch/x86/mm/fault.c (`show_fault_oops`) for the report.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.debug.kernel_bytes import KernelBytes, Unmapped
from coalsim.units import PAGE_SIZE, Time

ACCESS = "kernel access"
CHUNK = 64
"""Bytes that one cost is for."""


def chunks(size: int) -> int:
    """How often the cost of 64 bytes is paid for so many."""
    return -(-size // CHUNK)


class KernelAccess:
    """What kernel code does to memory that it holds a pointer to.

    Args:
        memory: the bytes.
        per_64: what moving 64 bytes costs.
    """

    def __init__(self, memory: KernelBytes, per_64: Time) -> None:
        self.memory = memory
        self._per_64 = per_64

    def store(self, cpu: Cpu, address: int, data: bytes, site: str) -> Op[None]:
        """Write bytes at a kernel address.

        Raises:
            KernelPanic: a page on the way is not mapped; what lies before it has been written.
        """
        yield from cpu.sync()
        try:
            self.memory.write(address, data)
        except Unmapped as fault:
            raise KernelPanic(self.oops(cpu, fault.address, site, write=True)) from None
        cpu.charge(chunks(len(data)) * self._per_64, ACCESS)

    def load(self, cpu: Cpu, address: int, size: int, site: str) -> Op[bytes]:
        """Read bytes at a kernel address.

        Raises:
            KernelPanic: a page on the way is not mapped.
        """
        yield from cpu.sync()
        try:
            data = self.memory.read(address, size)
        except Unmapped as fault:
            raise KernelPanic(self.oops(cpu, fault.address, site, write=False)) from None
        cpu.charge(chunks(size) * self._per_64, ACCESS)
        return data

    def oops(self, cpu: Cpu, address: int, site: str, *, write: bool) -> str:
        """The report of an access that nothing can make good; synchronised."""
        what = (
            f"BUG: kernel NULL pointer dereference, address: {address:#018x}"
            if 0 <= address < PAGE_SIZE
            else f"BUG: unable to handle page fault for address: {address:#018x}"
        )
        mapped = self.memory.mapped
        return "\n".join(
            [
                what,
                f"#PF: supervisor {'write' if write else 'read'} access in kernel mode",
                f"#PF: error_code({2 * write:#06x}) - not-present page",
                f"CPU: {cpu.id} at {cpu.clock / 1000:.3f} ns in {site}",
                *(mapped.describe(address) if mapped is not None else []),
                "Kernel panic - not syncing: Fatal exception",
            ]
        )
