"""Random programs of translations, beside everything that `random_programs.py` does.

Two address spaces of twelve pages, more frames than one of them needs and fewer than both
do, TLBs of a few entries, one shootdown policy: pages are used, unmapped, protected and
faulted in again everywhere at once, with tables taken out and put back, while threads
sleep, migrate and give way.  Every cost is a small multiple of the shape's unit.

Every third seed has a policy that breaks its promise, so that the oracle has something to
find.  What it finds is what the modes are compared by, and that it finds nothing where
the policy is sound.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import ClassVar

from bench import Mode
from mmu import USER_PAGE, flush_times, kernel_costs, kernel_switches
from random_programs import Record, Seen, Shape, Worker, World

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.delivery import Delivery, Sends
from coalsim.cpus.oracle import Oracle
from coalsim.cpus.tablelines import LineCosts, TableLines
from coalsim.cpus.tlb import Shape as TlbShape
from coalsim.cpus.translation import Moment, Translation
from coalsim.cpus.walked import Tree, WalkCosts
from coalsim.cpus.walker import TranslationUnit
from coalsim.engine.clock import Op
from coalsim.engine.messages import Shot
from coalsim.mm.paging.context import Context, Loaded
from coalsim.mm.paging.entry import PRESENT, USER_TABLE, WRITABLE, make, pfn_of
from coalsim.mm.paging.geometry import X86_32
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.phys.ram import Ram
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.shootdown.broadcast import BroadcastShootdown
from coalsim.mm.shootdown.linux import ConcurrentShootdown, EarlyAcknowledgement, LinuxShootdown
from coalsim.mm.shootdown.registry import SHOOTDOWNS
from coalsim.mm.shootdown.request import Flush
from coalsim.mm.shootdown.serial import SerialShootdown
from coalsim.mm.shootdown.switching import Loadable, Switching
from coalsim.mm.shootdown.system import ShootdownSystem
from coalsim.observe.histogram import Histogram
from coalsim.topology.distance import Distance
from coalsim.units import PAGE_SHIFT, Pfn, Time, Vpn

SPACES = 2
TABLES: Sequence[Sequence[int]] = (range(8), range(1024, 1028))
"""The pages of a space, by leaf table."""
ROOTS = range(1, 1 + SPACES)
FRAMES = range(10, 28)


# -- policies that break their promise --------------------------------------------------------------


class PromisesEarly(ConcurrentShootdown):
    """Does not wait for the answers."""

    name: ClassVar[str] = "promises_early"

    def wait_for(self, cpu: Cpu, shot: Shot[Cpu], site: str) -> Op[None]:
        yield from ()


class AsksNobody(LinuxShootdown):
    """Flushes its own TLB only."""

    name: ClassVar[str] = "asks_nobody"

    def candidates(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        return []


class ForgetsOne(LinuxShootdown):
    """The loop over the mask ends too early."""

    name: ClassVar[str] = "forgets_one"

    def candidates(self, cpu: Cpu, request: Flush) -> list[Cpu]:
        return super().candidates(cpu, request)[:-1]


class TrustsLazy(LinuxShootdown):
    """A processor that returns to a space keeps all that it had."""

    name: ClassVar[str] = "trusts_lazy"

    def switched_in(self, cpu: Cpu, loaded: Loaded, context: Context) -> bool:
        return False


class AlwaysEarly(EarlyAcknowledgement):
    """Answers before the flush even where tables are freed."""

    name: ClassVar[str] = "always_early"

    def answers_early(self, request: Flush) -> bool:
        return True


class KeepsPointers(LinuxShootdown):
    """Drops pages from the TLB, but not what the walker remembers of tables."""

    name: ClassVar[str] = "keeps_pointers"

    def catch_up(self, cpu: Cpu, loaded: Loaded, request: Flush) -> Time:
        unit = self.system.units[cpu.id]
        unit.settle()
        unit.tlb.flush_asid(loaded.asid)
        loaded.generation = request.context.generation
        return self.system.times.asid_flush


BROKEN: Sequence[type[Shootdown]] = (
    PromisesEarly,
    AsksNobody,
    ForgetsOne,
    TrustsLazy,
    AlwaysEarly,
    KeepsPointers,
)
SOUND: Sequence[type[Shootdown]] = tuple(SHOOTDOWNS.values())
OLD = (SerialShootdown, BroadcastShootdown, LinuxShootdown)
"""These have flushed for kernels that do not count generations too."""


# -- the machine ------------------------------------------------------------------------------------


class TranslatingShape(Shape):
    """The machine, the kernel and the loads of one seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, TranslatingWorker)
        random = Random(f"translations {seed}")
        pick, unit = random.choice, self.unit
        policies, turn = (BROKEN, seed // 3) if seed % 3 == 2 else (SOUND, seed - seed // 3)
        self.policy = policies[turn % len(policies)]
        if self.policy.name == "latr" and not self.tick_period:
            self.tick_period = 24 * unit
        self.duration = self.duration * 3 // 4
        self.walk = unit * pick((1, 2, 20))  # sometimes longer than an interrupt
        self.line_costs = LineCosts(own_hit=0, shared_hit=unit, own_lines=3, shared_lines=6)
        self.dram = [[unit * (2 if here == there else 3) for there in range(2)] for here in range(2)]
        self.tlb = pick(((4, 2, 8, 4), (2, 0, 4, 0), (8, 4, 16, 4)))
        self.pointers = pick((1, 4))
        self.fault = unit * pick((0, 2, 5))
        self.flight = self.lookahead + unit * pick((0, 0, 1, 3))
        self.spread = unit * pick((0, 0, 1))  # between the interrupts of one send
        self.costs = kernel_costs(
            **{
                step: unit * random.randint(0, 2)
                for step in ("flush_fixed", "flush_target", "csd_fill", "mask_scan", "switch_mm")
            },
            **{
                step: unit * random.randint(0, 1)
                for step in ("latr_record", "latr_sweep_record", "abis_check", "counter_dec", "invlpgb_setup")
            },
        )
        self.times = flush_times(
            **{
                step: unit * random.randint(0, 3)
                for step in ("invlpg", "invlpg_next", "asid_flush", "interrupt_entry", "interrupt_exit")
            },
            **{step: unit * random.randint(0, 2) for step in ("broadcast_issue", "broadcast_sync", "action")},
            broadcast_flight=self.lookahead + unit * pick((0, 0, 2)),
            broadcast_pages=2,
        )
        generations = self.policy not in OLD or pick((True, False))
        self.switches = kernel_switches(
            asid_slots=pick(("0", "1", "2")) if generations else "0",
            flush_ceiling=pick(("2", "33")),
            tlb_generations="on" if generations else "off",
            lazy_tlb_skips=pick(("on", "on", "off")) if generations else "off",
            cpumask_sticky=pick(("on", "off")),
            invlpgb_min_cpus=pick(("1", "3")),
            latr_ring=pick(("1", "4")),
            latr_ticks=pick(("1", "2")),
        )
        self.kernel_threads = pick((0, 0, 0.3))
        own = [*TranslatingWorker.TRANSLATING, "park", "unpark"]
        others = [kind for kind in self.kinds if kind not in own]
        self.kinds = own + random.sample(others, min(len(others), pick((0, 2, 6))))


class SpreadDelivery(Delivery):
    """Interrupts that leave one after the other."""

    name = "spread"

    def __init__(self, shape: TranslatingShape) -> None:
        self._flight, self._spread = shape.flight, shape.spread

    def send_times(self, sender: Cpu, targets: Sequence[Cpu]) -> Sends:
        arrivals = [(self._flight + n * self._spread, target) for n, target in enumerate(targets)]
        return Sends(len(targets) * self._spread, arrivals, True)

    def soonest(self, distance: Distance) -> Time:
        return self._flight


class SmallSpace(Loadable):
    """An address space of twelve pages; all that is in it is shared state."""

    def __init__(self, number: int, ram: Ram, oracle: Oracle, *, forgets: bool) -> None:
        self.context = Context(number, oracle, forgets=forgets)
        ram.make_table(Pfn(ROOTS[number]), X86_32.slots(0), X86_32.entry_bytes)
        self.table = PageTable(X86_32, ram, Pfn(ROOTS[number]))

    def tree_of(self, cpu: Cpu) -> Tree:
        return self.table


class TranslatingWorld(World):
    """One seed's machine in one mode."""

    def __init__(self, shape: TranslatingShape, mode: Mode) -> None:
        super().__init__(shape, mode)
        cpus: list[Cpu] = list(self.cpus)
        self.ram, self.oracle = Ram(), Oracle(len(cpus))
        self.tells = shape.policy.filled is not Shootdown.filled  # the policy keeps books of fills
        self.spaces = [
            SmallSpace(number, self.ram, self.oracle, forgets=not self.tells) for number in range(SPACES)
        ]
        self.free = [Pfn(pfn) for pfn in FRAMES]  # the last one freed is the next one used
        self.fault_cost = shape.fault
        lines = TableLines(shape.line_costs, [cpu.node for cpu in cpus], shape.dram, lambda pfn: pfn % 2)
        l1_entries, l1_ways, l2_entries, l2_ways = shape.tlb
        walking = WalkCosts(
            l1_hit=shape.unit,
            l2_hit=2 * shape.unit,
            walk_fixed=shape.walk,
            set_accessed=shape.unit,
            l1=TlbShape(l1_entries, l1_ways),
            l2=TlbShape(l2_entries, l2_ways),
            structure_entries=(shape.pointers,),
            leaf_bits=X86_32.leaf_bits,
            index_bits=X86_32.bits,
            entry_bytes=X86_32.entry_bytes,
        )
        self.units = [TranslationUnit(cpu, walking, lines, self.ram.table, self.oracle) for cpu in cpus]
        self.loaded = [Loaded(shape.switches.asid_slots) for _ in cpus]
        self.policy = shape.policy(
            ShootdownSystem(
                cpus=cpus,
                units=self.units,
                loaded=self.loaded,
                queues=self.calls,
                delivery=SpreadDelivery(shape),
                times=shape.times,
                switches=shape.switches,
                costs=shape.costs,
                oracle=self.oracle,
                latencies=Histogram(),
            )
        )
        self.switching = Switching(self.policy)
        for cpu in cpus:
            cpu.switcher = self.switching
        self._kernel_threads = shape.kernel_threads

    def space_of(self, worker: Worker, cpu: Cpu) -> SmallSpace | None:
        random = Random(f"space {self.shape.seed} {cpu.id} {worker.number}")
        if random.random() < self._kernel_threads:
            return None
        return self.spaces[0 if random.random() < 0.7 else 1]

    def more_to_see(self) -> Record:
        """What the oracle has found so far, and what TLBs and policy know."""
        oracle, counts = self.oracle, self.policy.system.counts
        for cpu in self.cpus:
            oracle.judge(cpu.id)
        return (
            (oracle.checked, oracle.stale, oracle.broken, oracle.worst_stale),
            tuple(oracle.findings()),
            tuple((name, getattr(counts, name)) for name in counts.FIELDS),
            tuple((u.hits_l1, u.tlb.hits_l2, u.walks, _held(u)) for u in self.units),
            tuple((own.generation, own.slot, own.is_lazy) for own in self.loaded),
            tuple((one.context.generation, sorted(one.context.mask)) for one in self.spaces),
            (self.switching.switches, self.switching.flushes, tuple(self.free)),
        )


def _held(unit: TranslationUnit) -> Record:
    """What a TLB holds."""
    held = unit.tlb.entries()
    return tuple((vpn, asid, int(entry.translation.pfn), entry.dirty) for vpn, asid, entry in held)


# -- what threads do --------------------------------------------------------------------------------


class TranslatingWorker(Worker):
    """One thread: everything that any thread does, and using and changing its address space."""

    world: TranslatingWorld

    def _space(self) -> SmallSpace | None:
        space = self.thread.space
        assert space is None or isinstance(space, SmallSpace)
        return space

    def _pages(self) -> Sequence[int]:
        """A run of pages, not too long, of one leaf table."""
        table = TABLES[0 if self.random.random() < 0.7 else 1]
        first = min(self.random.randrange(len(table)) for _ in range(2))  # some are hot
        return table[first : first + self.random.choice((1, 1, 2, 4))]

    def _moment(self, site: str) -> Moment:
        return Moment(self.cpu.clock, self.cpu.id, site)

    # -- using pages ----------------------------------------------------------------

    def use(self) -> Op[None]:
        """Some accesses, each through the TLB, a walk or a fault."""
        space = self._space()
        if space is not None:
            for _ in range(self.random.randint(1, 16)):
                pages = TABLES[0 if self.random.random() < 0.7 else 1]
                page = pages[min(self.random.randrange(len(pages)) for _ in range(2))]  # some are hot
                yield from self._use(space, page, self.random.random() < 0.4)

    def _use(self, space: SmallSpace, page: int, write: bool) -> Op[None]:
        cpu, world = self.cpu, self.world
        unit, own = world.units[cpu.id], world.loaded[cpu.id]
        yield from cpu.look()
        cpu.check_private()
        assert own.context is space.context
        assert not own.is_lazy
        if unit.hit(page, write, "use", "user"):
            self._log_hit(page, write)
            return
        yield from self.shared()
        found = unit.walk(Vpn(page), write, True, "use")
        self.log("walk", page, found, unit.walk_cost)
        if found and world.tells:
            world.policy.filled(cpu, space.context, Vpn(page))
        cpu.charge(unit.walk_cost, "walk")
        if not found:
            yield from self._fault(space, page, write)

    def _log_hit(self, page: int, write: bool) -> None:
        self.world.seen.logs[self.cpu.id].append(("hit", page, write, self.cpu.clock))

    def _fault(self, space: SmallSpace, page: int, write: bool) -> Op[None]:
        """Make a page usable, if there are frames; all of it at one instant."""
        cpu, world, table = self.cpu, self.world, space.table
        yield from self.shared()
        if table.missing_level(Vpn(page)) >= 0 and (frame := self._take("table")):
            world.ram.make_table(frame, X86_32.slots(1), X86_32.entry_bytes)
            table.link(Vpn(page), 1, frame, USER_TABLE)
        if table.missing_level(Vpn(page)) < 0:
            entry = table.lookup(Vpn(page))
            if entry & PRESENT:
                table.set(Vpn(page), entry | WRITABLE if write else entry)
            elif frame := self._take("page"):
                table.set(Vpn(page), make(frame, USER_PAGE if write else USER_PAGE & ~WRITABLE))
                done = world.pipe.move(cpu, 2)
                cpu.charge(done - cpu.clock, "zeroing")
        cpu.charge(world.fault_cost, "fault")
        if not world.free and self.random.random() < 0.3:
            yield from world.policy.drain(cpu)

    def _take(self, site: str) -> Pfn | None:
        """A frame; synchronised."""
        world = self.world
        if not world.free:
            return None
        frame = world.free.pop()
        world.oracle.given_out(frame, self._moment(site))
        return frame

    def use_quickly(self) -> Op[None]:
        """As loads do: what waits is called only where a hit cannot be noted at once."""
        space = self._space()
        if space is None:
            return
        touch_now, few = self.world.units[self.cpu.id].touch_now, self._pages()
        for _ in range(self.random.randint(2, 20)):
            page, write = self.random.choice(few), self.random.random() < 0.3
            if touch_now(page << PAGE_SHIFT, write, "use"):
                self._log_hit(page, write)
            else:
                yield from self._use(space, page, write)

    def use_in_bulk(self) -> Op[None]:
        """Accesses to a few pages again and again, as many at once as the clock may run ahead."""
        space = self._space()
        if space is None:
            return
        cpu, world, write = self.cpu, self.world, self.random.random() < 0.3
        unit, few = world.units[cpu.id], self._pages()
        pages = [self.random.choice(few) for _ in range(self.random.randint(4, 30))]
        run, done = unit.tlb.store_run if write else unit.tlb.lookup_run, 0
        while done < len(pages):
            yield from cpu.look()
            room = 1 if cpu.limit <= cpu.clock else -(-(cpu.limit - cpu.clock) // unit.l1_hit)
            part = pages[done : done + room]
            unit.settle()
            if hits := run(part, unit.asid):
                unit.note_run(part, hits, write, "bulk")
                cpu.charge(hits * unit.l1_hit, "user")
                done += hits
            else:
                yield from self._use(space, pages[done], write)
                done += 1

    def use_with_interrupts_off(self) -> Op[None]:
        """Hits only: whatever is pending meanwhile comes later."""
        cpu, unit = self.cpu, self.world.units[self.cpu.id]
        if self._space() is None:
            return
        yield from cpu.irq_off()
        for _ in range(self.random.randint(1, 6)):
            yield from cpu.look()
            cpu.check_private()
            page = self.random.choice(TABLES[0])
            self.log("off", page, unit.hit(page, False, "off", "user"))
        yield from cpu.irq_on()

    # -- changing the space ------------------------------------------------------------

    def unmap(self) -> Op[None]:
        """Some pages go; their frames are free as soon as the policy says so."""
        space, pages = self._space(), self._pages()
        if space is not None:
            yield from self.shared()
            yield from self._zap(space, pages, self.random.choice(("munmap", "madvise")))

    def unmap_under_lock(self) -> Op[None]:
        """The same while holding a lock that others wait for."""
        yield from self.world.answers.acquire(self.cpu, "unmap")
        yield from self.unmap()
        yield from self.world.answers.release(self.cpu)

    def unmap_table(self) -> Op[None]:
        """All pages of a leaf table go, and the table."""
        space, which = self._space(), self.random.choice((0, 1, 1))
        if space is not None:
            yield from self.shared()
            yield from self._zap(space, TABLES[which], "munmap", and_table=True)

    def _zap(
        self, space: SmallSpace, pages: Sequence[int], reason: str, *, and_table: bool = False
    ) -> Op[None]:
        cpu, world, table, context = self.cpu, self.world, space.table, space.context
        if table.missing_level(Vpn(pages[0])) >= 0:
            return
        moment, pending = self._moment(reason), f"flush after generation {context.generation}"
        vpns, frames, dead = list[Vpn](), list[Pfn](), list[Translation]()
        for page in pages:
            if old := table.set(Vpn(page), 0):
                vpns.append(Vpn(page))
                frames.append(pfn_of(old))
                dead += context.end_translation(page, moment, pending)
        if and_table:
            frames.append(table.unlink(Vpn(pages[0]), 1))
            dead += context.end_table(frames[-1], moment, pending)
        if not frames:
            return
        request = Flush(
            context=context,
            first=Vpn(pages[0]),
            last=Vpn(pages[-1] + 1),
            reason=reason,
            freed_tables=and_table,
            dead=dead,
            vpns=vpns,
        )

        def release(cpu: Cpu) -> Op[None]:
            yield from cpu.sync()
            for frame in frames:
                world.ram.forget(frame)
            world.free += frames

        if world.policy.defers(request):
            yield from world.policy.post(cpu, request, release)
        else:
            yield from world.policy.flush(cpu, request)
            yield from cpu.look()
            request.promise(self._moment(reason))
            yield from release(cpu)
        yield from cpu.look()
        self.log("unmapped", len(frames), and_table)

    def protect(self) -> Op[None]:
        """A page loses the right to write."""
        space, page = self._space(), self._pages()[0]
        if space is None:
            return
        yield from self.shared()
        entry = space.table.lookup(Vpn(page))
        if not entry & WRITABLE:
            return
        moment = self._moment("mprotect")
        space.table.set(Vpn(page), entry & ~WRITABLE)
        dead = space.context.end_translation(page, moment, "flush for mprotect", lost_frame=False)
        request = Flush(
            context=space.context,
            first=Vpn(page),
            last=Vpn(page + 1),
            reason="mprotect",
            keeps_frames=True,
            dead=dead,
            vpns=[Vpn(page)],
        )
        yield from self.world.policy.flush(self.cpu, request)
        yield from self.cpu.look()
        request.promise(self._moment("mprotect"))
        self.log("protected", page)

    def leave_user(self) -> Op[None]:
        """Pass the kernel's border, where some policies do what they have put off."""
        yield from self.world.policy.left_user(self.cpu)
        yield from self.cpu.look()
        self.log("left user")

    def use_and_give_way(self) -> Op[None]:
        """Somebody else, of another space perhaps, may be next."""
        yield from self.use()
        yield from self.give_way()

    TRANSLATING: ClassVar[Mapping[str, Callable[..., Op[None]]]] = {
        "use": use,
        "use_again": use,
        "use_quickly": use_quickly,
        "use_in_bulk": use_in_bulk,
        "use_in_bulk_again": use_in_bulk,
        "use_with_interrupts_off": use_with_interrupts_off,
        "use_and_give_way": use_and_give_way,
        "unmap": unmap,
        "unmap_again": unmap,
        "unmap_under_lock": unmap_under_lock,
        "unmap_table": unmap_table,
        "protect": protect,
        "leave_user": leave_user,
    }
    OPERATIONS: ClassVar[Mapping[str, Callable[..., Op[None]]]] = {**Worker.OPERATIONS, **TRANSLATING}


def run_translations(seed: int, mode: Mode) -> Seen:
    """Run the program of a seed."""
    return TranslatingWorld(TranslatingShape(seed), mode).run()


def is_sound(seed: int) -> bool:
    """The policy of the seed keeps its promise."""
    return TranslatingShape(seed).policy in SOUND


def broken_promises(seen: Seen) -> int:
    """How many uses the oracle holds against the policy."""
    counts = seen.samples[-1].more[0]
    assert isinstance(counts, tuple)
    return int(counts[2])
