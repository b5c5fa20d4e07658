"""A pointer that the kernel itself follows, on behalf of a thread: nothing fixes a bad one up.

It ends the run with the report that a kernel prints before it stops.
Source: Linux arch/x86/mm/fault.c (`show_fault_oops`).
"""

from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.paging.entry import describe
from coalsim.mm.virt.uaccess import is_kernel_pointer
from coalsim.mm.virt.user_mode import UserMode
from coalsim.units import PAGE_SHIFT, Vpn

SYSCALL = "syscall"


def kernel_access(thread: UserMode, address: int, *, write: bool = False) -> Op[None]:
    """From kernel mode, without a fix-up: a pointer that the kernel itself follows.

    Raises:
        KernelPanic: nothing is mapped there.
    """
    cpu, kernel = thread.cpu, thread.kernel
    yield from cpu.sync()
    table, geometry = kernel.kernel_space.table, kernel.geometry
    vpn = Vpn(address >> PAGE_SHIFT)
    entry = 0
    if geometry.is_canonical(vpn):
        entry = table.lookup(vpn) if is_kernel_pointer(geometry, address) else 0
    if not entry & 1 or (write and not entry & 2):
        raise KernelPanic(_oops(thread, address, entry, write=write))
    cpu.charge(kernel.costs.user_copy_per_64, SYSCALL)


def _oops(thread: UserMode, address: int, entry: int, *, write: bool) -> str:
    """The report of an access that nothing can make good."""
    cpu, kernel = thread.cpu, thread.kernel
    error = (1 if entry & 1 else 0) | (2 if write else 0)
    recent = kernel.operations.recent(cpu.id)
    loaded = kernel.policy.system.loaded[cpu.id]
    lines = [
        f"BUG: unable to handle page fault for address: {address:#x}",
        f"#PF: supervisor {'write' if write else 'read'} access in kernel mode",
        f"#PF: error_code({error:#06x}) - " + ("permissions violation" if error & 1 else "not-present page"),
        f"CPU: {cpu.id} PID: {thread.process.pid} Comm: {thread.name} at {cpu.clock / 1000:.3f} ns",
        f"CR2: {address:#018x} CR3: {thread.space.tree_of(cpu).root << PAGE_SHIFT:#018x} "
        f"ASID: {loaded.asid} entry: {entry:#x} ({describe(entry)})",
        "last operations of this CPU:",
        *(f"  {line}" for line in recent),
        "Kernel panic - not syncing: Fatal exception",
    ]
    return "\n".join(lines)
