"""Translation hardware for litmus tests: page tables, TLBs, a shootdown policy, an oracle.

All are the real parts; only what they cost is made up.  A hit takes 50 ps and a walk what
the test says; what the kernel does takes no time, but for the handler of a flush: 100 ps.
To enqueue a request takes two transfers of a line (100 ps), the interrupt then flies for
700, so that a flush reaches its target after the 800 ps of the engine's lookahead; the answer
travels for 50.

The pages of one space are pages 0 to 15 in frames 100 and up, until a test says otherwise.
"""

from collections.abc import Sequence
from dataclasses import fields

from bench import HANDLER, LOOKAHEAD, START, WAY_BACK, Bench, Mode, Program

from coalsim.cpus.coherence import CacheLine
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delivery import Delivery, Sends
from coalsim.cpus.ipi import CallQueue
from coalsim.cpus.oracle import Oracle
from coalsim.cpus.tablelines import LineCosts, TableLines
from coalsim.cpus.tlb import Shape
from coalsim.cpus.translation import Moment, Translation
from coalsim.cpus.walked import Tree, WalkCosts
from coalsim.cpus.walker import TranslationUnit
from coalsim.engine.clock import Op
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.paging.entry import PRESENT, USER, USER_TABLE, WRITABLE, make
from coalsim.mm.paging.geometry import X86_32
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.phys.ram import Ram
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.linux import ConcurrentShootdown
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.switching import Loadable, Switching
from coalsim.mm.shootdown.system import FlushTimes, ShootdownSystem
from coalsim.observe.histogram import Histogram
from coalsim.profiles.costs import KernelCosts
from coalsim.profiles.profile import load_profile
from coalsim.profiles.switches import Switches
from coalsim.topology.distance import Distance
from coalsim.units import CpuId, Pfn, Time, Vpn

HIT: Time = 50
ENQUEUE: Time = 2 * WAY_BACK
ROOT, LEAF = Pfn(1), Pfn(2)
FIRST_FRAME = 100
PAGES = 16
USER_PAGE = PRESENT | USER | WRITABLE


class FreeLine(CacheLine):
    """A line that costs nothing, so that only what a test names takes time."""

    def rmw(self, cpu: Cpu) -> Time:
        assert cpu.clock == cpu.env._now
        return cpu.clock

    def read(self, cpu: Cpu) -> Time:
        return self.rmw(cpu)


class FreeTableLines(TableLines):
    """The same for page tables: a walk takes exactly what the test says."""

    def read(self, cpu: Cpu, line: int) -> Time:
        return 0

    def write(self, cpu: Cpu, line: int) -> Time:
        return 0


class EvenDelivery(Delivery):
    """Interrupts that all fly for the same time; to send them takes none.

    Args:
        flight: from the end of the enqueueing to the arrival.
    """

    name = "even"

    def __init__(self, flight: Time) -> None:
        self._flight = flight

    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        return Sends(0, [(self._flight, target) for target in targets], True)

    def soonest(self, distance: Distance) -> Time:
        return self._flight


class OneTree(Loadable):
    """An address space as switching sees it: every processor walks the same tables."""

    def __init__(self, context: Context, table: PageTable) -> None:
        self.context = context
        self.table = table

    def tree_of(self, cpu: Cpu) -> Tree:
        return self.table


def kernel_costs(**costs: Time) -> KernelCosts:
    """What a kernel's steps cost: nothing, but for those named."""
    return KernelCosts(**({field.name: 0 for field in fields(KernelCosts)} | costs))


def flush_times(**times: Time) -> FlushTimes:
    """What the hardware's invalidations cost: nothing, but for those named."""
    nothing = {field.name: 0 for field in fields(FlushTimes)} | {"broadcast_pages": 8}
    return FlushTimes(**(nothing | times))


def kernel_switches(**changes: str) -> Switches:
    """A kernel that leaves lazy processors out, with changes."""
    return load_profile("linux-6.0").with_overrides(changes).switches


class Mmu:
    """The TLBs of a bench, one address space, and who flushes it.

    Args:
        bench: whose processors; its hand-over has to be `WAY_BACK`.
        walk: what a walk takes.
        policy: by which TLBs are flushed.
        users: processors that have the space loaded from the beginning; None: all.
        flight: from the beginning of a flush to the arrival of its interrupt.
        broadcast_flight: from the issue of a broadcast until it has landed.
    """

    def __init__(
        self,
        bench: Bench,
        *,
        walk: Time = HIT,
        policy: type[Shootdown] = ConcurrentShootdown,
        users: Sequence[int] | None = None,
        flight: Time = LOOKAHEAD,
        broadcast_flight: Time = 150,
    ) -> None:
        self._bench = bench
        cpus = bench.cpus
        assert all(cpu.transfer[-1] == WAY_BACK for cpu in cpus), "answers take a hand-over"
        self.table, self.oracle = self._tables(), Oracle(len(cpus))
        self.context = context = Context(1, self.oracle)
        context.generation_line, context.mask_line = FreeLine("tlb_gen"), FreeLine("mm_cpumask")
        self.space = OneTree(context, self.table)
        switches = kernel_switches()
        self.loaded = [Loaded(switches.asid_slots) for _ in cpus]
        for own in self.loaded:
            own.lazy_line = FreeLine("cpu_tlbstate_shared")
        self.policy = policy(
            ShootdownSystem(
                cpus=cpus,
                units=self._units(walk),
                loaded=self.loaded,
                queues=[CallQueue(cpu) for cpu in cpus],
                delivery=EvenDelivery(flight - ENQUEUE),
                times=flush_times(broadcast_flight=broadcast_flight),
                switches=switches,
                costs=kernel_costs(flush_target=HANDLER),
                oracle=self.oracle,
                latencies=Histogram(),
            )
        )
        self.units, self.counts = self.policy.system.units, self.policy.system.counts
        switching = Switching(self.policy)
        for cpu in cpus:
            cpu.switcher = switching
        for number in range(len(cpus)) if users is None else users:
            self._load(number)

    def _tables(self) -> PageTable:
        self.ram = Ram()
        for level, pfn in enumerate((ROOT, LEAF)):
            self.ram.make_table(pfn, X86_32.slots(level), X86_32.entry_bytes)
        table = PageTable(X86_32, self.ram, ROOT)
        table.link(Vpn(0), 1, LEAF, USER_TABLE)
        for page in range(PAGES):
            table.set(Vpn(page), make(Pfn(FIRST_FRAME + page), USER_PAGE))
        return table

    def _units(self, walk: Time) -> list[TranslationUnit]:
        costs = WalkCosts(
            l1_hit=HIT,
            l2_hit=HIT,
            walk_fixed=walk,
            set_accessed=0,
            l1=Shape(16, 4),
            l2=Shape(64, 4),
            structure_entries=(4,),
            leaf_bits=X86_32.leaf_bits,
            index_bits=X86_32.bits,
            entry_bytes=X86_32.entry_bytes,
        )
        cpus = self._bench.cpus
        line_costs = LineCosts(own_hit=0, shared_hit=0, own_lines=1, shared_lines=1)
        lines = FreeTableLines(line_costs, [0 for _ in cpus], [[0]], lambda _: 0)
        return [TranslationUnit(cpu, costs, lines, self.ram.table, self.oracle) for cpu in cpus]

    def _load(self, number: int) -> None:
        """The processor has had the space loaded for long."""
        own, unit = self.loaded[number], self.units[number]
        own.context = own.slots[0].context = self.context
        own.generation = 0
        unit.asid, unit.space, unit.tree = own.asid, self.context, self.table
        self.context.mask[CpuId(number)] = None

    def run_on(self, cpu: int, program: Program, at: Time = 0) -> None:
        """As `Bench.run_on`, for a thread of the space."""
        self._bench.run_on(cpu, program, at, space=self.space)

    # -- what a processor does ----------------------------------------------------------

    def fill(self, cpu: Cpu, *pages: int, write: bool = False) -> Op[None]:
        """Walk for some pages before test time 0; the TLB has them then, and no use is counted."""
        for page in pages:
            yield from cpu.sync()
            assert self.walk(cpu, page, write=write)
        assert cpu.clock <= START, "fill takes a walk per page: begin earlier"
        yield from cpu.sync()
        self.oracle.unchecked[cpu.id].clear()
        yield from cpu.wait_until(START, "fill")

    def walk(self, cpu: Cpu, page: int, *, write: bool = False) -> bool:
        """Walk at this instant and charge it; whether the page is there; synchronised."""
        unit = self.units[cpu.id]
        found = unit.walk(Vpn(page), write, True, "walk")
        cpu.charge(unit.walk_cost, "walk")
        return found

    def hit(self, cpu: Cpu, page: int, *, write: bool = False) -> bool:
        """Use a page through the TLB, after a look."""
        return self.units[cpu.id].hit(page, write, "touch", "touch")

    def hits(self, cpu: Cpu, page: int, until: Time) -> Op[list[Time]]:
        """Use a page for as long as it hits, up to a time; when."""
        times: list[Time] = []
        while True:
            yield from cpu.look()
            if cpu.clock - START >= until or not self.hit(cpu, page):
                return times
            times.append(cpu.clock - HIT - START)

    # -- what a kernel does -------------------------------------------------------------

    def unmap(self, cpu: Cpu, page: int) -> list[Translation]:
        """Clear the entry of a page, synchronised; what has died."""
        assert cpu.clock == cpu.env._now
        self.table.set(Vpn(page), 0)
        return self.context.end_translation(page, Moment(cpu.clock, cpu.id, "unmap"), "flush of the test")

    def request(self, page: int, dead: list[Translation], *, freed_tables: bool = False) -> Flush:
        """To flush one page, or all that the leaf table maps."""
        last = X86_32.span(0) if freed_tables else page + 1
        return Flush(
            context=self.context,
            first=Vpn(page),
            last=Vpn(last),
            reason="unmap",
            dead=dead,
            vpns=[Vpn(page)],
            freed_tables=freed_tables,
        )

    def flush(self, cpu: Cpu, request: Flush) -> Op[None]:
        """Flush, and promise that nobody uses any more what has died."""
        yield from self.policy.flush(cpu, request)
        yield from cpu.look()
        request.promise(Moment(cpu.clock, cpu.id, "unmap"))

    def reuse(self, cpu: Cpu, page: int) -> Op[Time]:
        """Give the frame that the page had in the beginning to somebody; when, in test time."""
        yield from cpu.sync()
        self.oracle.given_out(Pfn(FIRST_FRAME + page), Moment(cpu.clock, cpu.id, "alloc"))
        return cpu.clock - START

    def judge(self) -> list[tuple[Time, int, str]]:
        """Everything that the oracle finds: test time, processor and kind."""
        for number in range(len(self.units)):
            self.oracle.judge(CpuId(number))
        return sorted((one.time - START, int(one.cpu), one.kind) for one in self.oracle.findings())


def bench_of(mode: Mode, cpus: int, *, lookahead: Time = LOOKAHEAD - ENQUEUE) -> Bench:
    """A bench whose lines take as long to move as an answer; an interrupt leaves when it is enqueued."""
    return Bench(mode, cpus, lookahead=lookahead, handover=WAY_BACK)
