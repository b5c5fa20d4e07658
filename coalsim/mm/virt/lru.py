"""The LRU lists that reclaim looks at, as far as their lock is felt.

    page becomes mapped, or comes into a file -> own batch -> full: moved to the node's list, under its lock
    page is freed       -> unlinked from the list, under the lock, one section per batch

Every node has one list with one lock, taken with interrupts off, so a processor that fills
its batch or frees pages keeps out everybody else on the node, and delays interrupts.
Which page is old is known of pages of files, which reclaim gives back (`mm/cache/lists.py`); of
others there is only the lock.
Older kernels moved their own batch to the lists before every unmapping (`lru_drain`),
which hides what faster flushes gain.
Locking: batches are private (`look`), lists belong to their node's lock.
Source: Linux mm/swap.c (folio_add_lru, lru_add_drain, folios_put_refs).
"""

from collections import Counter
from collections.abc import Callable, Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.locks.base import Body, SpinLock
from coalsim.mm.cache.lists import NodeLists
from coalsim.mm.cache.page import CachedPage
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import Pfn, Time

LRU = "lru"


class LruLists:
    """The lists of all nodes, and the batches of all processors.

    Args:
        locks: one per node.
        node_of: of a frame.
        costs, switches: of the kernel.
        num_cpus: of the machine.
        lists: of file pages, by node.
    """

    def __init__(
        self,
        locks: Sequence[SpinLock],
        node_of: Callable[[int], int],
        costs: KernelCosts,
        switches: Switches,
        num_cpus: int,
        lists: Sequence[NodeLists] = (),
    ) -> None:
        self._locks = locks
        self._lists = lists
        self._node_of = node_of
        self._costs = costs
        self._batch = switches.lru_batch if switches.lru_lock else 0
        self._drains = switches.lru_drain
        self._own: list[dict[Pfn, CachedPage | None]] = [{} for _ in range(num_cpus)]
        self.moves = 0
        self.deletions = 0

    def reset(self) -> None:
        """Forget what was counted, at the end of the warm-up."""
        self.moves = self.deletions = 0

    @property
    def is_on(self) -> bool:
        """Whether there are lists at all."""
        return self._batch > 0

    def has_room(self, cpu: Cpu) -> bool:
        """The next page that is mapped does not fill the own batch."""
        return not self._batch or len(self._own[cpu.id]) + 1 < self._batch

    def add_now(self, cpu: Cpu, pfn: Pfn) -> bool:
        """A page has been mapped for the first time, and the own batch has room; False: call `add`."""
        if not self._batch:
            return True
        own = self._own[cpu.id]
        if cpu.clock >= cpu.limit or len(own) + 1 >= self._batch:
            return False
        own[pfn] = None
        cpu.charge(self._costs.lru_add, LRU)
        return True

    def add(self, cpu: Cpu, pfn: Pfn, site: str, page: CachedPage | None = None) -> Op[None]:
        """The same, and a full batch moves to the lists; `page`: it is a file's."""
        if not self._batch:
            return
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        own = self._own[cpu.id]
        own[pfn] = page
        cpu.charge(self._costs.lru_add, LRU)
        if len(own) >= self._batch:
            yield from self.drain(cpu, site)

    def drain(self, cpu: Cpu, site: str) -> Op[None]:
        """Move the own batch to the lists."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        own = self._own[cpu.id]
        if own:
            frames = list(own)
            pages = [page for page in own.values() if page is not None]
            own.clear()
            self.moves += len(frames)
            yield from self._sections(
                cpu, frames, self._costs.lru_move_fixed, self._costs.lru_move_page, site, pages
            )

    def drain_before_unmap(self, cpu: Cpu, site: str) -> Op[None]:
        """What older kernels did at every unmapping."""
        if self._drains and self._batch:
            yield from self.drain(cpu, site)

    def delete(self, cpu: Cpu, frames: Sequence[Pfn], site: str) -> Op[None]:
        """Pages are about to be freed: unlink them, a batch under one section."""
        if not self._batch:
            return
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        own = self._own[cpu.id]
        listed = [pfn for pfn in frames if own.pop(pfn, self) is self]
        self.deletions += len(listed)
        for start in range(0, len(listed), self._batch):
            part = listed[start : start + self._batch]
            yield from self._sections(cpu, part, 0, self._costs.lru_delete_page, site)

    def _sections(
        self,
        cpu: Cpu,
        frames: Sequence[Pfn],
        fixed: Time,
        each: Time,
        site: str,
        pages: Sequence[CachedPage] = (),
    ) -> Op[None]:
        """One section per node that the frames are on, with interrupts off; `pages` are new on the lists."""
        by_node = Counter(map(self._node_of, frames))
        for node, count in sorted(by_node.items()):
            hold = fixed + count * each

            def body(grant: Time, node: int = node, hold: Time = hold) -> Time:
                for page in pages:
                    if page.node == node:
                        self._lists[node].add(cpu, grant, page)
                return hold

            yield from self.section(cpu, node, body, hold, site)

    def section(self, cpu: Cpu, node: int, body: Body, longest: Time, site: str) -> Op[None]:
        """Work on the lists of a node, under its lock and with interrupts off."""
        cpu.charge(self._costs.irq_save, LRU)
        yield from self._locks[node].section(cpu, body, longest, site)
        cpu.charge(self._costs.irq_restore, LRU)
