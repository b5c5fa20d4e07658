"""Hot cache lines: who owns them, and what it costs to get them.

A write or an atomic read-modify-write takes the line from its last writer; a
read takes a copy.  The cost is the hand-over latency by distance, and transfers
of one line are served one at a time, in the order in which they are asked for:
that alone makes many writers of one line collapse.  `occupancy` is how long one
transfer keeps the line from the next; machines for which nobody measured it
separately have it equal to the latency.

Every use needs `sync` before it: even a hit in one's own copy, because another
processor takes the line in far less time than the engine's lookahead.  The exception are
lines that nobody else can reach at the time: where such a line `is_near`, a look is enough.
A line that nobody has used is assumed to be in the cache of its first user.
Source of the queue: Clements, thesis, MIT 2014 (measured same-line curves).
"""

from coalsim.cpus.cpu import Cpu
from coalsim.units import CpuId, Pfn, Time

NOBODY = CpuId(-1)


class CacheLine:
    """One line: its owner, its readers and the queue of its transfers."""

    __slots__ = ("_arrives", "_free_at", "_readers", "name", "owner", "transfers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner = NOBODY
        self.transfers = 0
        self._readers: dict[CpuId, None] = {}  # who else holds a copy
        self._free_at: Time = 0  # when the next transfer may start
        self._arrives: Time = 0  # when the owner has it, or had it

    def rmw(self, cpu: Cpu) -> Time:
        """Write the line; returns the time at which the write is done."""
        now = cpu.env._now
        assert cpu.clock == now, "a line is shared state: sync before"
        me = source = cpu.id
        if self.owner == me or self.owner == NOBODY:  # in two tests: inner loop
            if not self._readers:
                self.owner = me
                return (self._arrives if self._arrives > now else now) + cpu.transfer[me]
            # an upgrade waits for the farthest copy to be given up
            source = max(self._readers, key=lambda reader: (cpu.transfer[reader], -reader))
        else:
            source = self.owner
        start = self._free_at if self._free_at > now else now
        busy = cpu.occupancy[source]
        done = start + cpu.transfer[source]
        if done < self._arrives + busy:  # the source must have it before it can hand it on
            done = self._arrives + busy
        self._free_at, self._arrives = start + busy, done
        self.owner = me
        self.transfers += 1
        if self._readers:
            self._readers.clear()
        return done

    def is_near(self, cpu: Cpu) -> bool:
        """The processor has the only copy: a write takes `transfer` of its own and changes nothing here."""
        return self.owner == cpu.id and not self._readers and self._arrives <= cpu.clock

    def read(self, cpu: Cpu) -> Time:
        """Read the line; returns the time at which the value is there."""
        now = cpu.env._now
        assert cpu.clock == now, "a line is shared state: sync before"
        me = cpu.id
        if me in self._readers:
            return now + cpu.transfer[me]
        if self.owner == me:
            return max(now, self._arrives) + cpu.transfer[me]
        if self.owner == NOBODY:
            self.owner = me
            return now + cpu.transfer[me]
        source = self.owner
        start = max(now, self._free_at)
        busy = cpu.occupancy[source]
        done = max(start + cpu.transfer[source], self._arrives + busy)
        self._free_at = start + busy
        self.transfers += 1
        self._readers[me] = None
        return done


class DescriptorLines:
    """One line per frame descriptor: who wrote it last, sparse by frame.

    Used for frames that only one processor can reach (on its own page list, or
    just taken from it), so a `look` is enough and there is no queue.
    """

    __slots__ = ("_writer",)

    def __init__(self) -> None:
        self._writer: dict[Pfn, CpuId] = {}

    def touch(self, cpu: Cpu, pfn: Pfn) -> Time:
        """Write the descriptor; returns the cost in ps."""
        writer = self._writer.get(pfn, cpu.id)
        self._writer[pfn] = cpu.id
        return cpu.transfer[writer]

    def writer(self, pfn: Pfn) -> CpuId:
        """Who wrote it last, or NOBODY."""
        return self._writer.get(pfn, NOBODY)

    def forget(self, pfn: Pfn) -> None:
        """The frame is in the buddy lists, which remember who freed its block."""
        self._writer.pop(pfn, None)
