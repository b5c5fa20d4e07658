"""The page allocator: per-CPU lists in front of zones, nodes by placement.

    alloc   own list of the first zone -> refill it -> the next zone, the next node
    free    own list of the block's zone; a full list drains; an order without a list
            goes to the zone directly

`take_now` and `give_now` are the part that never waits: they serve from the own list,
or answer that the waiting verb has to be called.  A block remembers who took it and
with which order, so that a wrong free is named and the first touch of a descriptor
that another processor wrote costs a line transfer.

Where the kernel reclaims, a zone is passed over that a request would take below a mark:
first the low one, then the floor of its context (`context.py`), and then the slow path gets
memory back (`pressure.py`).  Where it does not, only empty zones are passed over.
Simplified: the test is made where a zone is visited, so pages on the own list are given out
without it, and the line that it reads costs a fixed time.  Not modelled: the short
interrupts-off stretch around the own list (some ten ns) delays no interrupt.
Locking: own lists are private (`look`); zones have their lock.
Source: Linux mm/page_alloc.c (`rmqueue`, `free_unref_page`).
"""

from collections.abc import Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.own_pages import OwnPages
from coalsim.mm.phys.page_ledger import CPU_MASK, NOT_USER, ORDER_SHIFT, OWNED, USER, PageLedger
from coalsim.mm.phys.page_prices import PagePrices
from coalsim.mm.phys.pagelist import page_list
from coalsim.mm.phys.placement import Placement
from coalsim.mm.phys.pressure import PageGate, Pressure
from coalsim.mm.phys.reserve import EmergencyReserve, take_reserved
from coalsim.mm.phys.wrong_free import refusal
from coalsim.mm.phys.zone import EMPTY, FLOOR, LOW, VICTIM, Above, OwnList, Zone
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.switches import Switches
from coalsim.units import NodeId, Pfn

ALLOC = "page alloc"
FREE = "page free"
DESCRIPTOR = "page descriptor"
NONE = Pfn(-1)
UNFAILING = (AllocContext.MUST, AllocContext.RESERVE)
"""Who may use the emergency reserve."""


class PageAllocator(PageLedger):
    """All zones of a machine, and every processor's lists.

    Args:
        zones: in ascending order of frames.
        cpus: the processors.
        costs: kernel costs.
        switches: of the kernel.
        placement: where memory is looked for when the caller names no node.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        cpus: Sequence[Cpu],
        costs: KernelCosts,
        switches: Switches,
        placement: Placement,
    ) -> None:
        num_nodes = 1 + max(*(zone.node for zone in zones), *(cpu.node for cpu in cpus))
        super().__init__(zones, num_nodes, switches.max_order)
        self._placement = placement
        self._local_only = switches.placement == "local"
        self._listed = frozenset(switches.pcp_orders)
        self._gives_frames = self._local_only and 0 in self._listed  # without waiting
        self._costs = PagePrices(costs, switches)
        self._frame_hit = self._costs.hit[0]
        self._hz = switches.hz
        self.own = [self._new_own(cpu) for cpu in cpus]
        self.failures = 0  # requests that no zone could serve
        self.pressure: Pressure | None = None  # who gets memory back
        self.gate: PageGate | None = None  # who may refuse requests
        self.reserve: EmergencyReserve | None = None

    def _new_own(self, cpu: Cpu) -> OwnPages:
        nodes, _ = self._placement.nodes(cpu.node, 0)
        usable = (zone for node in (cpu.node, *nodes) for zone in self._zones_of[node])
        home = next(usable, self.zones[-1])
        return OwnPages(cpu.node, home, OwnList(page_list(home.rules)), len(self._zones_of))

    def list_for(self, own: OwnPages, zone: Zone) -> OwnList:
        """The processor's list for a zone, made at its first use."""
        mine = own.lists.get(zone.index)
        if mine is None:
            mine = own.lists[zone.index] = OwnList(page_list(zone.rules))
        return mine

    # -- allocating -----------------------------------------------------------------

    def take_now(self, cpu: Cpu, order: int) -> int:
        """A block for the kernel from the own list of the home zone, without waiting; -1: call `alloc`."""
        if cpu.clock >= cpu.limit or self.own[cpu.id].home.is_high:
            return -1
        return self._take_own(cpu, order)

    def take_frame_now(self, cpu: Cpu) -> Pfn:
        """The same for a single frame, which page faults take; in one call."""
        if cpu.clock >= cpu.limit or not self._gives_frames or self.gate is not None:
            return NONE
        own = self.own[cpu.id]
        mine = own.lists[own.home_index]
        pages = mine.pages
        if not pages.singles:
            return NONE
        head = pages.pop(0)
        assert head is not None
        mine.allocs += 1
        own.hits[own.home_node] += 1
        cpu.charge(self._frame_hit, ALLOC)
        self._taken[head] = cpu.id | USER
        return head  # type: ignore[return-value]  # `Pfn(head)` would be one more call

    def _take_own(self, cpu: Cpu, order: int) -> int:
        if not self._local_only or order not in self._listed or self.gate is not None:
            return -1
        own = self.own[cpu.id]
        mine = own.lists[own.home_index]
        if not mine.pages.holds(order):
            return -1
        head = mine.pages.pop(order)
        assert head is not None
        mine.allocs += 1
        own.hits[own.home.node] += 1 << order
        cold = False
        if order:
            cold = mine.fresh.pop(head, False)
            mine.more_allocated += (1 << order) - 1
        cpu.charge((self._costs.hit_cold if cold else self._costs.hit)[order], ALLOC)
        self._taken[head] = order << ORDER_SHIFT | cpu.id
        return head

    def alloc(
        self,
        cpu: Cpu,
        order: int,
        site: str,
        node: NodeId | None = None,
        context: AllocContext = AllocContext.KERNEL,
    ) -> Op[Pfn]:
        """The first frame of a block of 2**order, or -1.

        If `node` is given, the block lies there, or the request fails: nobody is killed for it.
        """
        if not 0 <= order <= self.max_order:
            return NONE
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if node is None and (context.uses_high or not self.own[cpu.id].home.is_high):
            head = self._take_own(cpu, order)
            if head >= 0:
                return Pfn(head)
        nodes = (node,) if node is not None else self._nodes(cpu)
        return (yield from self.find_block(cpu, order, nodes, site, context, may_kill=node is None))

    def alloc_owned(
        self,
        cpu: Cpu,
        order: int,
        site: str,
        first: NodeId | None = None,
        context: AllocContext = AllocContext.KERNEL,
    ) -> Op[Pfn]:
        """As `alloc`, for a layer above that hands the memory out by itself: only `free_owned` takes it.

        The node `first`, if that is given, is tried before the others that placement allows.
        """
        if first is None:
            pfn = yield from self.alloc(cpu, order, site, context=context)
        else:
            pfn = yield from self.alloc_near(cpu, order, site, first, context)
        if pfn >= 0:
            self._taken[pfn] |= OWNED
        return pfn

    def alloc_near(self, cpu: Cpu, order: int, site: str, first: NodeId, context: AllocContext) -> Op[Pfn]:
        """As `alloc`, but one node is tried before the others that placement allows."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        nodes = sorted(self._nodes(cpu), key=lambda node: node != first)
        return (yield from self.find_block(cpu, order, nodes, site, context))

    def alloc_within(
        self, cpu: Cpu, order: int, site: str, nodes: Sequence[NodeId], context: AllocContext
    ) -> Op[Pfn]:
        """As `alloc`, from these nodes only: the processor's own first, if it is one of them."""
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        order_of_nodes = sorted(nodes, key=lambda node: node != cpu.node)
        return (yield from self.find_block(cpu, order, order_of_nodes, site, context))

    def _nodes(self, cpu: Cpu) -> Sequence[NodeId]:
        """Where placement looks, in this order."""
        own = self.own[cpu.id]
        nodes, own.turn = self._placement.nodes(cpu.node, own.turn)
        return nodes

    def find_block(
        self,
        cpu: Cpu,
        order: int,
        nodes: Sequence[NodeId],
        site: str,
        context: AllocContext,
        *,
        may_kill: bool = True,
    ) -> Op[Pfn]:
        """A block of one of the nodes, in this order, or -1; the own list has been looked into."""
        cpu.charge(self._costs.entry, ALLOC)
        if self.gate is not None and (yield from self.gate.refuses(cpu, order, site, context)):
            pfn = NONE
        elif self.pressure is None:
            pfn = yield from self.first_of(cpu, order, nodes, site, context)
            if pfn < 0 and not order and context in UNFAILING:
                pfn = yield from take_reserved(self, cpu, site)
        else:
            pfn = yield from self._keeping_marks(
                self.pressure, cpu, order, nodes, site, context, may_kill=may_kill
            )
        if pfn < 0:
            self.failures += 1
        return pfn

    def _keeping_marks(
        self,
        pressure: Pressure,
        cpu: Cpu,
        order: int,
        nodes: Sequence[NodeId],
        site: str,
        context: AllocContext,
        *,
        may_kill: bool,
    ) -> Op[Pfn]:
        """Zones above their low mark first; then the reclaimers are woken, and the context's floor counts."""
        pfn = yield from self.first_of(cpu, order, nodes, site, context, LOW)
        if pfn >= 0:
            return pfn
        yield from cpu.sync()
        if context is not AllocContext.RESERVE:
            pressure.wake(cpu, order, nodes, context)
        is_victim = pressure.is_victim(cpu)
        pfn = yield from self.first_of(cpu, order, nodes, site, context, VICTIM if is_victim else FLOOR)
        if pfn >= 0:
            return pfn
        return (yield from pressure.slow_path(cpu, order, nodes, site, context, may_kill=may_kill))

    def first_of(
        self,
        cpu: Cpu,
        order: int,
        nodes: Sequence[NodeId],
        site: str,
        context: AllocContext,
        above: Above = EMPTY,
    ) -> Op[Pfn]:
        """A block of the first zone that has one and stays above a mark without it, or -1."""
        own = self.own[cpu.id]
        for candidate in nodes:
            for zone in self._zones_of[candidate]:
                if zone.is_away or (zone.is_high and not context.uses_high):
                    continue
                mark = zone.mark(context, above) if above else 0
                head, cold = yield from self._from_zone(cpu, own, zone, order, site, mark)
                if head >= 0:
                    cpu.charge((self._costs.ready_cold if cold else self._costs.ready)[order], ALLOC)
                    self._note_placed(own, zone.node, nodes[0], 1 << order)
                    self._taken[head] = order << ORDER_SHIFT | cpu.id
                    return Pfn(head)
        return NONE

    def _from_zone(
        self, cpu: Cpu, own: OwnPages, zone: Zone, order: int, site: str, mark: int
    ) -> Op[tuple[int, bool]]:
        """A block of one zone, or -1; and whether nobody has had it since it left the zone.

        The caller takes it at once: from here on it counts as taken.
        """
        cpu.charge(self._costs.attempt[order], ALLOC)
        if order not in self._listed:
            if (yield from self._is_short(cpu, zone, order, mark)):
                return -1, False
            own.single_allocs += 1
            head = yield from zone.take(cpu, order, site)
            zone.arrived(head, order)
            if head >= 0:
                own.single_pages[zone.index] = own.single_pages.get(zone.index, 0) + (1 << order)
            return head, True
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        mine, ticks = self.list_for(own, zone), cpu.ticks
        popped = mine.pages.pop(order)
        if popped is not None:
            mine.allocs += 1
            mine.more_allocated += (1 << order) - 1
            return popped, mine.fresh.pop(popped, False)
        if (yield from self._is_short(cpu, zone, order, mark)):
            return -1, False
        head = yield from zone.refill(cpu, mine, order, site)
        if self._hz and ticks - mine.decayed_at >= self._hz:
            yield from self._decay(cpu, zone, mine, site)
        zone.arrived(head, order)
        if head >= 0:
            mine.more_allocated += (1 << order) - 1
        return head, True

    def _is_short(self, cpu: Cpu, zone: Zone, order: int, mark: int) -> Op[bool]:
        """The watermark test, without the lock: too little would be left, or there is no such block."""
        yield from cpu.sync()
        return zone.free.read(cpu) - (1 << order) < mark

    def _decay(self, cpu: Cpu, zone: Zone, mine: OwnList, site: str) -> Op[None]:
        """Once a second of timer ticks a list's limit sinks and its excess drains."""
        yield from cpu.look()
        mine.decayed_at = cpu.ticks
        if due := mine.pages.decay():
            yield from zone.drain(cpu, mine, due, 0, site)

    def spare_frame(self, cpu: Cpu, site: str) -> Op[Pfn]:
        """A frame that some zone can do without, or -1."""
        above = LOW if self.pressure else EMPTY
        return self.first_of(cpu, 0, self._nodes(cpu), site, AllocContext.KERNEL, above)

    def _note_placed(self, own: OwnPages, got: NodeId, wanted: NodeId, pages: int) -> None:
        if got == wanted:
            own.hits[got] += pages
        else:
            own.misses[got] += pages
            own.foreign[wanted] += pages

    # -- freeing --------------------------------------------------------------------

    def give_now(self, cpu: Cpu, pfn: int, order: int) -> bool:
        """Put a frame on the own list without waiting; False: call `free`."""
        if order or cpu.clock >= cpu.limit or 0 not in self._listed:
            return False
        own = self.own[cpu.id]
        if not own.home_first <= pfn < own.home_last:
            return False
        mine = own.lists[own.home_index]
        pages = mine.pages
        if mine.pressure or pages.count + 1 >= pages.high or self._taken.get(pfn, -1) & NOT_USER != cpu.id:
            return False  # it may drain, or another processor took the frame
        del self._taken[pfn]
        mine.frees += 1
        pages.push_below(pfn)
        cpu.charge(self._costs.free[0], FREE)
        return True

    def free(self, cpu: Cpu, pfn: Pfn, order: int, site: str) -> Op[None]:
        """Give a block back.

        Raises:
            DoubleFree, ForeignFree, InteriorFree: no block was taken that begins at `pfn`, or
                one that slabs or kmalloc own.
            BadFree: it was taken with another order.
        """
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        taken = self._taken.pop(pfn, None)
        if taken is None or taken >> ORDER_SHIFT != order or taken & OWNED:
            if taken is not None:
                self._taken[pfn] = taken
            raise refusal(self, cpu, pfn, order, site)
        own, ticks = self.own[cpu.id], cpu.ticks
        zone = self.zone_of(pfn)
        cpu.charge(self._costs.free[order], FREE)
        own.more_freed += (1 << order) - 1
        taker = taken & CPU_MASK
        if taker != cpu.id:
            own.remote_frees += 1
            cpu.charge(cpu.transfer[taker], DESCRIPTOR)
        if order not in self._listed:
            own.single_frees += 1
            yield from zone.give(cpu, pfn, order, site)
            return
        mine = self.list_for(own, zone)
        mine.frees += 1
        due = mine.pages.push(order, pfn, mine.pressure)
        if due:
            mine.free_misses += 1
            yield from zone.drain(cpu, mine, due, order, site)
            if self._hz and ticks - mine.decayed_at >= self._hz:
                yield from self._decay(cpu, zone, mine, site)

    def free_owned(self, cpu: Cpu, pfn: Pfn, order: int, site: str) -> Op[None]:
        """Give back what `alloc_owned` gave."""
        self._taken[pfn] &= ~OWNED
        self.own[cpu.id].owned_freed += 1 << order
        yield from self.free(cpu, pfn, order, site)

    def drain_cpu(self, cpu: Cpu, site: str) -> Op[None]:
        """Give back everything on the processor's own lists."""
        yield from cpu.look()
        own = self.own[cpu.id]
        for index in sorted(own.lists):
            if cpu.clock >= cpu.limit:
                yield from cpu.look()  # a remote drain may come between two lists
            mine = own.lists[index]
            if mine.pages.count:
                heads = mine.pages.take_coldest(mine.pages.count)
                yield from self.zones[index].give_all(cpu, mine, heads, site)
