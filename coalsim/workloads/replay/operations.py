"""Operations: what one traced CPU did to its memory, ready to be done again.

Which free belongs to which allocation is settled while the trace is read, in the order of its
text.  So an operation holds the very thing that it frees, and nothing is looked up by pointer
while the simulation runs.

    Block    not yet allocated  --the allocating CPU's next look-->  allocated at `done`
             address NOWHERE, done NEVER                             address, done

Invariant: a block is written once, by the thread that allocates it, and freed by at most one
operation.  A thread of another CPU may read it at any time: what it has to know is whether the
pair (done, allocating CPU) comes before its own (clock, CPU), and that can be told from a written
block whoever ran ahead of whom.
"""

from typing import Final, TypeAlias

from coalsim.cpus.cpu import Cpu
from coalsim.units import Time

# Codes of operations; plain ints, because they are compared for every operation.
KMALLOC: Final = 0
CACHE_ALLOC: Final = 1
PAGE_ALLOC: Final = 2
LAST_ALLOC: Final = PAGE_ALLOC
KFREE: Final = 3
CACHE_FREE: Final = 4
PAGE_FREE: Final = 5
EARLIER_PAGE_FREE: Final = 6  # of a block that was taken before the recording began

SAME_CPU: Final = -1
"""The allocation was on the CPU that frees: it is done, because a CPU keeps its order."""
NOWHERE: Final = -1
NEVER: Final[Time] = -1


class Block:
    """One object or block of pages of one copy of the recording."""

    __slots__ = ("address", "done", "waiter")

    def __init__(self) -> None:
        self.address = NOWHERE  # pointer or first frame; NOWHERE once `done`: the allocation failed
        self.done: Time = NEVER
        self.waiter: Cpu | None = None  # the processor whose free came before the allocation


Operation: TypeAlias = tuple[Time, int, tuple[Block, ...], int, int, str]
"""Time since the trace began; code; blocks, one for each copy of the recording; bytes, cache
handle or order; CPU of the trace that allocated (SAME_CPU: this one; of EARLIER_PAGE_FREE: the
zone); call site.  A flat tuple, because a replay makes and reads tens of thousands a second."""
