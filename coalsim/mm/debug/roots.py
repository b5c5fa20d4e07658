"""Pointers that a scan can see: words in simulated memory, root words, and stacks.

    root word --> object --> object            a pointer may lead anywhere into an object
    stack ------> object

Loads that want their objects found keep their pointers here: `store` writes one into an object,
a `RootWords` stands for a kernel's static data, and one for each thread for the pointers in its
registers and on its stack, which loads keep in Python's own variables otherwise.

Writes come at the processor's own time, synchronised, so whoever reads memory at a moment of
global time sees what was written before it and nothing else.  A scan that is under way is told
of every pointer written (`watcher`).
Invariant: a word is eight bytes at a multiple of eight, so it never leaves its frame.
Costs: those of the kernel's stores (`access.py`); of a root word a hit in the own cache.
"""

from collections.abc import Callable
from typing import Final

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import KernelBug
from coalsim.mm.debug.access import KernelAccess

WORD: Final = 8
STORE: Final = "pointer store"


class RootWords:
    """A block of words outside the heap that a scan begins with.

    Args:
        name: `.data` of a module, a thread's stack.
        size: how many words.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.words = [0] * size


class Pointers:
    """All pointers of the simulated kernel, as far as loads write them down.

    Args:
        access: how the kernel writes its memory.
    """

    def __init__(self, access: KernelAccess) -> None:
        self._access = access
        self.roots: list[RootWords] = []
        self.watcher: Callable[[int], None] | None = None  # of a scan under way

    def new_roots(self, name: str, size: int) -> RootWords:
        """Root words of a load's own, all zero; before the run."""
        roots = RootWords(name, size)
        self.roots.append(roots)
        return roots

    def set_root(self, cpu: Cpu, roots: RootWords, index: int, value: int) -> Op[None]:
        """Write a root word: a global variable, or what a thread holds."""
        cpu.charge(cpu.transfer[cpu.id], STORE)
        yield from cpu.sync()
        roots.words[index] = value
        self._tell(value)

    def store(self, cpu: Cpu, address: int, offset: int, value: int) -> Op[None]:
        """Write a pointer into an object.

        Raises:
            KernelBug: not at a multiple of eight bytes, where a scan does not look.
            KernelPanic: nothing is mapped there.
        """
        place = address + offset
        if place % WORD:
            raise KernelBug(f"a pointer stored at {place:#x}, which is no multiple of {WORD}")
        yield from self._access.store(cpu, place, value.to_bytes(WORD, "little"), STORE)
        self._tell(value)

    def clear(self, cpu: Cpu, address: int, size: int) -> Op[None]:
        """Zero an object, as kzalloc does: what its last owner left there points nowhere.

        Raises:
            KernelPanic: nothing is mapped there.
        """
        yield from self._access.store(cpu, address, bytes(size), STORE)

    def read(self, address: int, size: int) -> bytes:
        """The bytes of an object now; synchronised."""
        return self._access.memory.read(address, size)

    def _tell(self, value: int) -> None:
        if self.watcher is not None and value:
            self.watcher(value)
