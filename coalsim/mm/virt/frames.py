"""Frames of user memory and page tables: taken, zeroed, shared, given back.

A frame that several spaces map after a fork has a count; all others belong to the one
that mapped them.  Clearing a frame takes the core's own time or that of the node's
memory, whichever is longer; one that this processor freed lately is still in its cache
and needs no memory.

    take -> zero or copy -> mapped [share ... drop] -> release

Who takes a frame is told to the oracle: a use of a dead translation to it is from then on
a use after reuse.
Locking: counts are guarded by the page-table locks in the kernel and changed synchronised
here; what is warm is private.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from coalsim.cpus.bandwidth import Pipe
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.oracle import Oracle
from coalsim.cpus.translation import Moment
from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.pages import PageAllocator
from coalsim.mm.phys.ram import Ram
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.virt.lru import LruLists
from coalsim.mm.virt.temporary import TemporaryMappings
from coalsim.profiles.costs import KernelCosts
from coalsim.units import PAGE_SIZE, NodeId, Pfn, Time, Vpn

ZEROING = "zeroing"
COPYING = "copying"
RELEASE = "page release"


class UserFrames:
    """All frames that processes and page tables use.

    Args:
        pages: the page allocator.
        ram: their contents.
        costs: of the kernel.
        lru: the lists that reclaim looks at.
        pipes: memory bandwidth, by node.
        warm_frames: how many frames a processor's cache keeps.
        oracle: who is told of new owners.
        num_cpus: of the machine.
        late: how long after its release a frame is freed, in ps; 0: at once.
        policy: a lazy one holds frames back that a shortage needs; None: there is no such.
    """

    def __init__(
        self,
        pages: PageAllocator,
        ram: Ram,
        costs: KernelCosts,
        lru: LruLists,
        pipes: Sequence[Pipe],
        warm_frames: int,
        oracle: Oracle | None,
        num_cpus: int,
        late: Time = 0,
        policy: Shootdown | None = None,
    ) -> None:
        self.pages = pages
        self.ram = ram
        self.lru = lru
        self._costs = costs
        self._pipes = pipes
        self._warm_frames = warm_frames
        self._oracle = oracle
        self._warm: list[dict[int, None]] = [{} for _ in range(num_cpus)]
        self._late = late
        self._policy = policy
        self._waiting: list[deque[tuple[Time, Pfn]]] = [deque() for _ in range(num_cpus if late else 0)]
        self._shares: dict[Pfn, int] = {}  # mappings of a frame, where there are several
        self.taken = 0  # frames in use
        self.zero_frame = Pfn(-1)  # the page of zeros that untouched memory reads; never freed
        self.temporary: TemporaryMappings | None = None  # how frames of High zones are reached
        self.shared_memory: dict[Pfn, None] = {}  # frames of shared areas without a file
        self.bound: dict[object, tuple[NodeId, ...]] = {}  # by space: the nodes that its pages must come from

    def node_of(self, pfn: int) -> int:
        """The node of a frame."""
        return self.pages.zone_of(pfn).node

    # -- taking ----------------------------------------------------------------------

    def take_now(self, cpu: Cpu, site: str) -> Pfn:
        """A frame from the processor's own list, after a look; -1: call `take`."""
        if self.bound and cpu.current is not None and cpu.current.space in self.bound:
            return Pfn(-1)
        pfn = self.pages.take_frame_now(cpu)
        if pfn >= 0:
            self.taken += 1  # `_given_out` in line
            oracle = self._oracle
            if oracle is not None and pfn in oracle.graves:
                oracle.given_out(pfn, Moment(cpu.clock, cpu.id, site))
        return pfn

    def take(
        self, cpu: Cpu, site: str, node: NodeId | None = None, context: AllocContext = AllocContext.USER
    ) -> Op[Pfn]:
        """A frame with whatever contents, or -1; what waits for a lazy flush is flushed before that."""
        if self.bound and context.uses_high and cpu.current is not None:
            nodes = self.bound.get(cpu.current.space)
            if nodes:
                bound = yield from self.pages.alloc_within(cpu, 0, site, nodes, context)
                if bound >= 0:
                    self.pages.mark_user(bound)
                    self._given_out(cpu, bound, site)
                return bound
        pfn = self.pages.take_now(cpu, 0) if node is None else -1
        if pfn < 0:
            pfn = yield from self._alloc(cpu, site, node, context)
            if pfn < 0 and self._policy is not None and self._policy.is_lazy:
                yield from self._policy.drain(cpu)
                pfn = yield from self._alloc(cpu, site, node, context)
        if pfn >= 0:
            self.pages.mark_user(pfn)
            self._given_out(cpu, pfn, site)
        return Pfn(pfn)

    def _alloc(self, cpu: Cpu, site: str, node: NodeId | None, context: AllocContext) -> Op[int]:
        if node is None:
            return (yield from self.pages.alloc(cpu, 0, site, context=context))
        if self.pages.pressure is not None:
            return (yield from self.pages.alloc_near(cpu, 0, site, node, context))
        pfn = yield from self.pages.alloc(cpu, 0, site, node, context)
        if pfn < 0:
            pfn = yield from self.pages.alloc(cpu, 0, site, context=context)
        return pfn

    def _given_out(self, cpu: Cpu, pfn: int, site: str) -> None:
        self.taken += 1
        oracle = self._oracle
        if oracle is not None and pfn in oracle.graves:
            oracle.given_out(Pfn(pfn), Moment(cpu.clock, cpu.id, site))

    def zero(self, cpu: Cpu, pfn: Pfn) -> Op[None]:
        """Clear a frame."""
        slot = self._show(cpu, pfn) if self.temporary is not None else None
        if not self.zero_warm(cpu, pfn):
            env = cpu.env
            while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
                yield alarm
                cpu.resume()
            self.zero_cold(cpu, pfn)
        if slot is not None and self.temporary is not None:
            self.temporary.unmap(cpu, slot)

    def zero_warm(self, cpu: Cpu, pfn: Pfn) -> bool:
        """Clear a frame that this processor's cache has; False: synchronise, and call `zero_cold`.

        The frame needs no temporary mapping.
        """
        warm = self._warm[cpu.id]  # `_is_warm` in line
        if warm.pop(pfn, self) is None:
            warm[pfn] = None
            cpu.charge(self._costs.zero_page_warm, ZEROING)
            self.ram.zero(pfn)
            return True
        warm[pfn] = None
        if len(warm) > self._warm_frames:
            del warm[next(iter(warm))]
        return False

    def zero_cold(self, cpu: Cpu, pfn: Pfn) -> None:
        """Clear a frame that `zero_warm` has left, synchronised."""
        done = self._pipes[self.pages.zone_of(pfn).node].move(cpu, PAGE_SIZE)
        took, core = done - cpu.clock, self._costs.zero_page
        cpu.charge(took if took > core else core, ZEROING)
        self.ram.zero(pfn)

    def _show(self, cpu: Cpu, pfn: Pfn) -> Vpn | None:
        """A temporary mapping of a frame that the kernel does not reach otherwise."""
        assert self.temporary is not None, "there are High zones"
        return self.temporary.map(cpu, pfn) if self.pages.zone_of(pfn).is_high else None

    def copy(self, cpu: Cpu, source: Pfn, target: Pfn) -> Op[None]:
        """Copy a frame."""
        slots = [self._show(cpu, pfn) for pfn in (source, target)] if self.temporary is not None else []
        yield from cpu.sync()
        done = self._pipes[self.node_of(target)].move(cpu, PAGE_SIZE)
        cpu.charge(max(self._costs.copy_page, done - cpu.clock), COPYING)
        self.ram.copy(source, target)
        for slot in reversed(slots):
            if slot is not None and self.temporary is not None:
                self.temporary.unmap(cpu, slot)
        self._is_warm(cpu, target)

    def _is_warm(self, cpu: Cpu, pfn: Pfn) -> bool:
        """Whether this processor's cache has the frame; it has it afterwards."""
        warm = self._warm[cpu.id]
        was = warm.pop(pfn, self) is None
        warm[pfn] = None
        if len(warm) > self._warm_frames:
            del warm[next(iter(warm))]
        return was

    # -- sharing ---------------------------------------------------------------------

    def share(self, pfn: Pfn) -> None:
        """One more mapping of a frame that is mapped."""
        self._shares[pfn] = self._shares.get(pfn, 1) + 1

    def is_shared(self, pfn: Pfn) -> bool:
        """Others map it too."""
        return pfn in self._shares

    def drop(self, pfn: Pfn) -> bool:
        """One mapping less; whether that was the last one and the frame is to be freed."""
        count = self._shares.get(pfn)
        if count is None:
            return pfn != self.zero_frame
        if count == 2:
            del self._shares[pfn]
        else:
            self._shares[pfn] = count - 1
        return False

    @property
    def shares(self) -> Mapping[Pfn, int]:
        """Mappings of the frames that have several."""
        return self._shares

    # -- giving back -------------------------------------------------------------------

    def release(self, cpu: Cpu, frames: Sequence[Pfn], site: str, *, on_lru: bool = True) -> Op[None]:
        """Free frames that nobody maps any more."""
        cost, pages, warm = self._costs.page_release, self.pages, self._warm[cpu.id]
        for pfn in frames if self.shared_memory else ():
            self.shared_memory.pop(pfn, None)
        if on_lru and frames:
            yield from self.lru.delete(cpu, frames, site)
        self.taken -= len(frames)
        if self._late:
            cpu.charge(len(frames) * cost, RELEASE)  # when the reference goes
            cost = 0
            frames = yield from self._wait_in_line(cpu, frames)
        for pfn in frames:
            cpu.charge(cost, RELEASE)
            self.ram.forget(pfn)
            if not pages.give_now(cpu, pfn, 0):
                yield from pages.free(cpu, pfn, 0, site)
            if pfn in warm:  # the youngest again: its descriptor and lines have been used
                del warm[pfn]
                warm[pfn] = None

    def _wait_in_line(self, cpu: Cpu, frames: Sequence[Pfn]) -> Op[list[Pfn]]:
        """Frames that are freed late wait on the processor's own list; returns those that are due."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        waiting, warm, now = self._waiting[cpu.id], self._warm[cpu.id], cpu.clock
        for pfn in frames:
            waiting.append((now + self._late, pfn))
            warm.pop(pfn, None)
        due = []
        while waiting and waiting[0][0] <= now:
            due.append(waiting.popleft()[1])
        return due
