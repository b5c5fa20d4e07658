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

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.errors import BadFree, ConfigError, DoubleFree, ForeignFree, InteriorFree, Problem
from coalsim.mm.phys.context import AllocContext
from coalsim.mm.phys.own_pages import OwnPages
from coalsim.mm.phys.page_prices import PagePrices
from coalsim.mm.phys.pagelist import page_list
from coalsim.mm.phys.placement import Placement
from coalsim.mm.phys.pressure import PageGate, Pressure
from coalsim.mm.phys.reserve import EmergencyReserve
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
ORDER_SHIFT = 20  # a taken block is remembered as order << 20 | owned | user | cpu
OWNED = 1 << ORDER_SHIFT - 1  # slabs or kmalloc have it: only they may free it
USER = OWNED >> 1  # it is for a process: a page, a table
NOT_USER = ~USER
CPU_MASK = USER - 1


class PageAllocator:
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
        self.zones = list(zones)
        self._starts = [zone.first for zone in zones]
        self._placement = placement
        self._local_only = switches.placement == "local"
        self._listed = frozenset(switches.pcp_orders)
        self._gives_frames = self._local_only and 0 in self._listed  # without waiting
        self._taken: dict[int, int] = {}  # first frame -> order and processor
        num_nodes = 1 + max(*(zone.node for zone in zones), *(cpu.node for cpu in cpus))
        # zones of a node from the one to use first: the highest
        self._zones_of = [
            [zone for zone in reversed(self.zones) if zone.node == node] for node in range(num_nodes)
        ]
        self._costs = PagePrices(costs, switches)
        self.max_order = switches.max_order
        self._hz = switches.hz
        self.own = [self._new_own(cpu, num_nodes) for cpu in cpus]
        self.failures = 0  # requests that no zone could serve
        self.pressure: Pressure | None = None  # who gets memory back
        self.gate: PageGate | None = None  # who may refuse requests
        self.reserve: EmergencyReserve | None = None

    def _new_own(self, cpu: Cpu, num_nodes: int) -> OwnPages:
        nodes, _ = self._placement.nodes(cpu.node, 0)
        usable = (zone for node in (cpu.node, *nodes) for zone in self._zones_of[node])
        home = next(usable, self.zones[-1])
        return OwnPages(cpu.node, home, OwnList(page_list(home.rules)), num_nodes)

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
        cpu.charge(self._costs.hit[0], ALLOC)
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
        """The first frame of a block of 2**order, on `node` only if that is given, or -1."""
        if not 0 <= order <= self.max_order:
            return NONE
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
        if node is None and (context is AllocContext.USER or not self.own[cpu.id].home.is_high):
            head = self._take_own(cpu, order)
            if head >= 0:
                return Pfn(head)
        nodes = (node,) if node is not None else self._nodes(cpu)
        return (yield from self.find_block(cpu, order, nodes, site, context))

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
        self, cpu: Cpu, order: int, nodes: Sequence[NodeId], site: str, context: AllocContext
    ) -> Op[Pfn]:
        """A block of one of the nodes, in this order, or -1; the own list has been looked into."""
        cpu.charge(self._costs.entry, ALLOC)
        if self.gate is not None and (yield from self.gate.refuses(cpu, order, site, context)):
            pfn = NONE
        elif self.pressure is None:
            pfn = yield from self.first_of(cpu, order, nodes, site, context)
            if pfn < 0 and not order and context in UNFAILING:
                pfn = yield from self.take_reserved(cpu, site)
        else:
            pfn = yield from self._keeping_marks(self.pressure, cpu, order, nodes, site, context)
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
        return (yield from pressure.slow_path(cpu, order, nodes, site, context))

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
            raise self._refusal(cpu, pfn, order, taken, site)
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

    def mark_user(self, pfn: int) -> None:
        """A frame that has just been taken is for a process."""
        self._taken[pfn] |= USER

    def take_at_boot(self, cpu: Cpu) -> Pfn:
        """A frame for the kernel itself, before the run: takes no time and is never freed.

        Raises:
            ConfigError: the machine is too small for the kernel.
        """
        for zone in self._zones_of[self.own[cpu.id].home.node]:
            head, _ = zone.source.take(0, cpu)
            if head >= 0:
                zone.free.add(-1, cpu, -1)
                self._taken[head] = OWNED | cpu.id
                return Pfn(head)
        raise ConfigError("no memory for the kernel's own page tables: give the machine more")

    def set_aside(self, cpu: Cpu, count: int) -> list[Pfn]:
        """Frames for the emergency reserve, before the run: from all nodes, of the kernel's own zones.

        Raises:
            ConfigError: there are not so many.
        """
        zones = [next(zone for zone in own if not zone.is_high) for own in self._zones_of if own]
        found: list[Pfn] = []
        while len(found) < count:
            taken = [head for zone in zones if (head := zone.source.take(0, cpu)[0]) >= 0]
            if not taken:
                raise ConfigError(
                    [
                        Problem(
                            key="kernel.reserve_pages",
                            value=str(count),
                            message="more than the machine has",
                            remedy="use fewer, or give the machine more memory",
                        )
                    ]
                )
            found += map(Pfn, taken)
        for extra in found[count:]:
            self.zone_of(extra).source.give(extra, 0, cpu)
        for pfn in found[:count]:
            self.zone_of(pfn).free.add(-1, cpu, -1)
        return found[:count]

    def take_reserved(self, cpu: Cpu, site: str) -> Op[Pfn]:
        """A frame of the emergency reserve, or -1."""
        pfn = NONE
        if self.reserve is not None:
            pfn = yield from self.reserve.take(cpu, site)
            if pfn >= 0:
                self._taken[pfn] = cpu.id
        return pfn

    def fill_reserve(self, cpu: Cpu, site: str) -> Op[None]:
        """Top the reserve up with frames that zones can spare."""
        reserve = self.reserve
        yield from cpu.sync()
        while reserve is not None and reserve.held < reserve.size:
            pfn = yield from self.first_of(
                cpu, 0, self._nodes(cpu), site, AllocContext.KERNEL, LOW if self.pressure else EMPTY
            )
            if pfn < 0:
                return
            del self._taken[pfn]
            if not (yield from reserve.top_up(cpu, pfn, site)):
                self._taken[pfn] = cpu.id
                yield from self.free(cpu, pfn, 0, site)
                return
            yield from cpu.sync()

    def adopt(self, cpu: Cpu, pfn_zone: Zone, order: int) -> int:
        """A block that was taken before the start becomes the processor's, to be freed; -1: none."""
        head = pfn_zone.source.adopt(order)
        if head is None:
            return -1
        self._taken[head] = order << ORDER_SHIFT | cpu.id
        return head

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

    # -- for others -----------------------------------------------------------------

    def zone_of(self, pfn: int) -> Zone:
        """The zone that a frame lies in; the caller knows that there is one."""
        return self.zones[bisect_right(self._starts, pfn) - 1]

    def order_of(self, pfn: int) -> int | None:
        """Order of the block that somebody took and that begins there."""
        taken = self._taken.get(pfn)
        return None if taken is None else taken >> ORDER_SHIFT

    @property
    def taken(self) -> Mapping[int, int]:
        """Blocks in callers' hands: first frame, and order, OWNED, USER and processor in one number."""
        return self._taken

    def taken_pages(self) -> int:
        """Frames in the hands of callers."""
        return sum(1 << (taken >> ORDER_SHIFT) for taken in self._taken.values())

    def moving_pages(self) -> int:
        """Frames on their way between a zone and a list or a caller; at a barrier."""
        return sum(zone.moving for zone in self.zones)

    def listed_pages(self) -> int:
        """Frames on all processors' lists; at a barrier."""
        return sum(mine.pages.count for own in self.own for mine in own.lists.values())

    def _refusal(self, cpu: Cpu, pfn: int, order: int, taken: int | None, site: str) -> BadFree:
        who = f"freed at {site} on CPU {cpu.id}"
        if taken is not None:
            self._taken[pfn] = taken
            if taken & OWNED:
                taker = f"taken by CPU {taken & CPU_MASK}"
                return ForeignFree(pfn, f"{who}; slabs or kmalloc own the block, {taker}")
            return BadFree(pfn, f"{who} with order {order}, taken with order {taken >> ORDER_SHIFT}")
        zone = self.zone_of(pfn) if pfn >= 0 else None
        if zone is None or not zone.first <= pfn < zone.first + zone.frames:
            return ForeignFree(pfn, f"{who}; the machine has no such frame")
        if zone.source.is_free(pfn):
            return DoubleFree(pfn, f"{who}; the block is free in zone {zone.name}")
        for head in (pfn & -(1 << up) for up in range(self.max_order + 1)):
            given = zone.source.order_of(head)  # as the zone sees it: to a caller, or to a list
            if given is None or pfn >= head + (1 << given):
                continue
            if head in self._taken:
                return InteriorFree(pfn, f"{who}; it lies in the block of order {given} at {head:#x}")
            return DoubleFree(pfn, f"{who}; the block is on a per-CPU list")
        return ForeignFree(pfn, f"{who}; it was taken before the start and never allocated")

    def validate(self) -> None:
        """Recount the slow way: every frame is free, on one list, or taken; at rest or at a barrier."""
        seen: dict[int, None] = {}
        for own in self.own:
            for mine in own.lists.values():
                mine.pages.validate()
                for head in mine.pages.heads():
                    assert head not in self._taken, f"frame {head:#x} is on a list and taken"
                    assert head not in seen, f"frame {head:#x} is on two lists"
                    seen[head] = None
        free = 0
        for zone in self.zones:
            zone.source.validate()
            free += zone.source.free_frames
            assert zone.free.latest == zone.source.free_frames
            assert not zone.moving, "at rest no frames are on their way"
        total = sum(zone.frames for zone in self.zones)
        held = sum(zone.source.unheld_frames() for zone in self.zones)
        assert free + self.listed_pages() + self.taken_pages() + held == total, "frames were lost or made"
