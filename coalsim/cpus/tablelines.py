"""Where the lines of page tables are: in a near cache, at another processor, in DRAM.

A walk reads one line per level, and what that costs depends on who wrote the line last
and who has read it since. The model keeps, for lines of page tables only,

    own      the lines that a processor's second-level cache keeps, least recently used out
    shared   the same for the last level of each socket
    dirty    the processor that wrote a line last, while nobody else has read it

and prices a read as the nearest of: own copy, dirty copy of another processor (a line
transfer), the socket's last level, DRAM of the table's node.  How many table lines a
cache keeps is an assumed share of it: data and code want the rest.

Shared state: `sync` before every use; it costs time only through what it returns.  Only for
tables that nobody else can reach at the time, and a line that is near, a look is enough.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coalsim.cpus.cpu import Cpu
from coalsim.units import Time

LINE_SHIFT = 6


@dataclass(frozen=True, kw_only=True)
class LineCosts:
    """What reading a line costs, in ps, and how many table lines the caches keep."""

    own_hit: Time
    shared_hit: Time
    own_lines: int
    shared_lines: int


class TableLines:
    """All lines of page tables that somebody has used.

    Args:
        costs: of reading a line.
        socket_of: by processor.
        dram: [from node][to node], in ps.
        node_of: the node of a frame; asked only where a line comes from memory.

    A line is near a processor that wrote it last and still has it: its uses change nothing that others
    see.  Most uses are of such lines, so the walker and lone faults look at `own`, `dirty` and `version`.
    """

    def __init__(
        self,
        costs: LineCosts,
        socket_of: Sequence[int],
        dram: Sequence[Sequence[Time]],
        node_of: Callable[[int], int],
    ) -> None:
        self._costs = costs
        self._node_of = node_of
        self._socket_of = socket_of
        self._dram = dram
        self.own_hit = costs.own_hit
        self.own: list[dict[int, int]] = [{} for _ in socket_of]  # line -> version that is there
        self._shared: list[dict[int, None]] = [{} for _ in range(1 + max(socket_of))]
        self.dirty: dict[int, Cpu] = {}
        self.version: dict[int, int] = {}
        self.dram_reads = 0

    def read(self, cpu: Cpu, line: int) -> Time:
        """What it costs to read a line; it is near afterwards."""
        own = self.own[cpu.id]
        version = self.version.get(line, 0)
        if own.get(line) == version:
            del own[line]  # youngest again
            own[line] = version
            return self.own_hit
        shared = self._shared[self._socket_of[cpu.id]]
        writer = self.dirty.pop(line, None)
        if writer is not None and writer is not cpu:
            cost = cpu.transfer[writer.id]
            self._keep_shared(self._shared[self._socket_of[writer.id]], line)
        elif line in shared:
            cost = self._costs.shared_hit
        else:
            cost = self._dram[cpu.node][self._node_of(line >> LINE_SHIFT)]
            self.dram_reads += 1
        self._keep_shared(shared, line)
        self._keep_own(own, line, version)
        return cost

    def write(self, cpu: Cpu, line: int) -> Time:
        """What it costs to get a line for writing, beside the store itself; nobody else has it afterwards."""
        if self.dirty.get(line) is cpu:
            return 0
        own, version = self.own[cpu.id], self.version.get(line, 0)
        cost = 0 if own.get(line) == version else self.read(cpu, line)
        self.version[line] = version + 1
        self.dirty[line] = cpu
        for shared in self._shared:
            shared.pop(line, None)
        self._keep_own(own, line, version + 1)
        return cost

    def _keep_own(self, own: dict[int, int], line: int, version: int) -> None:
        own.pop(line, None)
        own[line] = version
        if len(own) > self._costs.own_lines:
            old = next(iter(own))
            del own[old]

    def _keep_shared(self, shared: dict[int, None], line: int) -> None:
        shared.pop(line, None)
        shared[line] = None
        if len(shared) > self._costs.shared_lines:
            del shared[next(iter(shared))]


def line_of(pfn: int, index: int, width: int) -> int:
    """The line in which a table's entry lies; `width` is its size in bytes."""
    return pfn << LINE_SHIFT | index * width >> LINE_SHIFT
