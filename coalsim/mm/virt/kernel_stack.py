"""Kernel stacks: two pages for every thread of a load, with an unmapped page below.

    | guard |   stack, two pages   | guard |        it grows down, from its end
            ^ base                 ^ top

A thread of a load, or a task, gets its stack in its first step and gives it back in its last; the kernel's
own daemons have none.  A call chain that needs more than there is runs into the guard page, and the kernel
stops with the report that names the thread.

Locking: a stack belongs to its thread.
Source: Linux arch/x86/include/asm/page_32_types.h (THREAD_SIZE, 8 KiB; x86-64 has 16 since 3.15),
kernel/fork.c (`alloc_thread_stack_node`), arch/x86/kernel/traps.c (`handle_stack_overflow`).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.debug.kernel_bytes import KernelBytes, Unmapped
from coalsim.mm.paging.layout import Region
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.virt.vmalloc import KernelArea, Vmalloc
from coalsim.profiles.costs import KernelCosts
from coalsim.units import PAGE_SIZE, Time

STACK_PAGES = 2
FRAME = 256
"""Bytes of the frames that a call chain is made of; each touches its lowest word."""
CALL = "kernel stack"
RETURN_ADDRESS = 0xFFFF_FFFF_8100_0000.to_bytes(8, "little")
"""What a call leaves on the stack: an address in the kernel's text."""


class KernelStacks:
    """The stacks of all threads.

    Args:
        vmalloc: maps their pages.
        region: where they lie.
        memory: their bytes.
        costs: of the kernel.
    """

    def __init__(self, vmalloc: Vmalloc, region: Region, memory: KernelBytes, costs: KernelCosts) -> None:
        self._vmalloc = vmalloc
        self._region = region
        self._memory = memory
        self._call: Time = costs.user_copy_per_64
        self._of: dict[Thread, KernelArea] = {}

    def around(self, cpu: Cpu, name: str, body: Op[None]) -> Op[None]:
        """A thread's body, with a stack from its first step to its last.

        Raises:
            KernelPanic: there is no memory for it.
        """
        size, site = STACK_PAGES * PAGE_SIZE, f"stack of {name}"
        area = yield from self._vmalloc.map_pages(
            cpu, STACK_PAGES, size, self._region, site, AllocContext.MUST
        )
        if area is None:
            raise KernelPanic(f"Kernel panic - not syncing: no memory for the {site}")
        thread = cpu.current
        assert thread is not None, "only threads have stacks"
        self._of[thread] = area
        yield from body
        yield from cpu.sync()
        del self._of[thread]
        yield from self._vmalloc.unmap_pages(cpu, area, site)

    def deepen(self, cpu: Cpu, size: int, site: str) -> Op[None]:
        """Calls that need so many bytes of stack, and return; a daemon of the kernel's own has no stack.

        Raises:
            KernelPanic: the stack has fewer.
        """
        yield from cpu.sync()
        thread = cpu.current
        area = self._of.get(thread) if thread is not None else None
        if thread is None or area is None:
            return
        for depth in range(FRAME, size + FRAME, FRAME):
            address = area.end - min(depth, size)
            try:
                self._memory.write(address, RETURN_ADDRESS)
            except Unmapped as fault:
                raise KernelPanic(_overflow(cpu, thread, area, fault.address, site)) from None
            cpu.charge(self._call, CALL)

    @property
    def count(self) -> int:
        """How many threads have one."""
        return len(self._of)


def _overflow(cpu: Cpu, thread: Thread, area: KernelArea, address: int, site: str) -> str:
    return "\n".join(
        [
            f"BUG: TASK stack guard page was hit at {address:#018x} "
            f"(stack is {area.start:#018x}..{area.end - 1:#018x})",
            "stack guard page: 0000",
            f"CPU: {cpu.id} Comm: {thread.name} at {cpu.clock / 1000:.3f} ns in {site}",
            "Kernel panic - not syncing: Fatal exception",
        ]
    )
