"""The count of a process's pages, which its threads keep apart and now and then add up.

| `kernel.rss_batch` | who counts      | the process's counter is written                            |
|--------------------|-----------------|-------------------------------------------------------------|
| n > 0              | each thread     | after n pages; at each table that is cleared or copied; at  |
|                    |                 | the thread's end                                            |
| 0                  | each processor  | when its part is max(32, 2 x CPUs) pages or more            |
| -1                 | nobody          | never: there is no such counter                             |

The counter's line goes to whoever writes it, so threads that fault or unmap meet on it.
The page of zeros does not count.

Pages of files and of shared memory without a file are told apart from the anonymous ones.  All kinds
of one thread or processor are written together; Linux does so up to 6.1 and has a counter for each
kind since.  A page that becomes another kind is written at once, and that costs nothing here.

Invariant: `total` is the number of entries of the space that map a frame of its own or a
shared one.
Shared state: `sync` before every use; callers charge what is returned.
Source: Linux mm/memory.c (check_sync_rss_stat, sync_mm_rss, add_mm_rss_vec) up to 6.1,
include/linux/mm.h and lib/percpu_counter.c since 6.2 (f1a7941243c1), whose lock lies in the
counter's line.
"""

from typing import NamedTuple

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.profiles.vm_switches import NO_RSS_COUNTER
from coalsim.units import Time

RSS_LINE = "line:rss_stat"


class Resident(NamedTuple):
    """Pages by kind."""

    anon: int
    file: int
    shmem: int

    @property
    def pages(self) -> int:
        """All of them."""
        return self.anon + self.file + self.shmem


class ResidentCount:
    """The pages of one address space.

    Args:
        batch: `kernel.rss_batch`.
        num_cpus: of the machine.
    """

    __slots__ = ("_batch", "_by_thread", "_file", "_own", "_own_apart", "_shmem", "_written", "line")

    def __init__(self, batch: int, num_cpus: int) -> None:
        self.line = CacheLine("rss_stat")
        self._batch = batch or max(32, 2 * num_cpus)
        self._by_thread = batch > 0
        self._own: dict[object, int] = {}  # by thread or processor: not yet in the process's counter
        self._written = 0
        self._own_apart: dict[object, tuple[int, int]] = {}  # of `_own`: pages of files, of shared memory
        self._file = self._shmem = 0  # of `_written`

    @property
    def total(self) -> int:
        """All pages, as a slow reader adds them up."""
        return self._written + sum(self._own.values())

    @property
    def written(self) -> int:
        """What the process's counter says."""
        return self._written

    @property
    def total_by_kind(self) -> Resident:
        """The same by kind."""
        file = self._file + sum(own[0] for own in self._own_apart.values())
        shmem = self._shmem + sum(own[1] for own in self._own_apart.values())
        return Resident(self.total - file - shmem, file, shmem)

    @property
    def written_by_kind(self) -> Resident:
        """What the process's counter says, where less than none is none."""
        anon = self._written - self._file - self._shmem
        return Resident(max(0, anon), max(0, self._file), max(0, self._shmem))

    def has_room(self, cpu: Cpu) -> bool:
        """The next page that is mapped does not make the process's counter be written."""
        own = self._own.get(cpu.current if self._by_thread else cpu.id, 0)  # `_counter_of` in line
        return -self._batch <= own < self._batch - 1 or self._batch == NO_RSS_COUNTER

    def count_one(self, cpu: Cpu, *, shmem: bool) -> None:
        """A page with a frame of its own has been mapped, and there was room for it."""
        own, who = self._own, cpu.current if self._by_thread else cpu.id
        own[who] = own.get(who, 0) + 1
        if shmem:
            self._note_apart(who, 0, 1)

    def count(self, cpu: Cpu, pages: int, *, file: int = 0, shmem: int = 0) -> Time:
        """Pages have been mapped, so many of a file or of shared memory among them.

        Returns:
            What writing the process's counter takes, if it is time for that.
        """
        who = self._counter_of(cpu)
        own = self._own[who] = self._own.get(who, 0) + pages
        if file or shmem:
            self._note_apart(who, file, shmem)
        if -self._batch < own < self._batch or self._batch == NO_RSS_COUNTER:
            return 0
        return self._write(cpu, who)

    def settle(self, cpu: Cpu, pages: int, *, file: int = 0, shmem: int = 0) -> Time:
        """A table has been cleared or copied: threads write the process's counter, processors as ever."""
        if not self._by_thread:
            return self.count(cpu, pages, file=file, shmem=shmem)
        who = self._counter_of(cpu)
        self._own[who] = self._own.get(who, 0) + pages
        if file or shmem:
            self._note_apart(who, file, shmem)
        return self._write(cpu, who)

    def file_page_became_anonymous(self) -> None:
        """A private copy has taken the place of a page of a file."""
        self._file -= 1

    def leave(self, cpu: Cpu) -> Time:
        """The running thread ends: what it has counted goes to the process."""
        who = self._counter_of(cpu)
        if not self._by_thread:
            return 0
        if self._own.get(who):
            return self._write(cpu, who)
        self._write_apart(who)
        return 0

    def _counter_of(self, cpu: Cpu) -> object:
        return cpu.current if self._by_thread else cpu.id

    def _write(self, cpu: Cpu, who: object) -> Time:
        self._written += self._own.pop(who, 0)
        if self._own_apart:
            self._write_apart(who)
        return self.line.rmw(cpu) - cpu.clock

    def _note_apart(self, who: object, file: int, shmem: int) -> None:
        of_files, of_shared_memory = self._own_apart.get(who, (0, 0))
        self._own_apart[who] = of_files + file, of_shared_memory + shmem

    def _write_apart(self, who: object) -> None:
        file, shmem = self._own_apart.pop(who, (0, 0))
        self._file += file
        self._shmem += shmem
