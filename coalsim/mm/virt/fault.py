"""The page-fault handler.

| entry            | access | area                | what is done                                       |
|------------------|--------|---------------------|----------------------------------------------------|
| any              | any    | none                | a stack just above grows, else SIGSEGV (no area)   |
| any              | any    | without that right  | SIGSEGV (rights)                                   |
| elsewhere only   | any    | allows it           | this place gets a copy of the entry (fill)         |
| not present      | read   | allows it           | the page of zeros, where the kernel has one        |
| not present      | write  | allows it           | a new frame, zeroed                                |
| present, no W    | write  | allows it           | `copy_on_write.py`: copy, or take over             |
| of a file's page | any    | of a file           | `file_fault.py`                                    |
| present, allows  | any    | allows it           | spurious: somebody else was faster, or a stale TLB |

An access to the kernel's side from user code is refused before any of that, and a fault
of the kernel's own is fixed up if it came from a copy to or from user memory, else it is
an oops.  The frame is taken and zeroed before the page-table lock is taken; who loses the
race gives his frame back.
Source: Linux arch/x86/mm/fault.c, mm/memory.c.
"""

from coalsim.cpus.cpu import Cpu
from coalsim.engine.clock import Op
from coalsim.mm.cache.page import CachedPage
from coalsim.mm.paging.entry import DIRTY, PRESENT, USER, WRITABLE, pfn_of
from coalsim.mm.virt.area import Area
from coalsim.mm.virt.copy_on_write import break_cow
from coalsim.mm.virt.entries import store_entry
from coalsim.mm.virt.fault_words import CHARGE, FAULT, NO_AREA, NO_MEMORY, NO_RIGHT
from coalsim.mm.virt.file_fault import RETRY, FileFault
from coalsim.mm.virt.rss import RSS_LINE
from coalsim.mm.virt.space import FIND, AddressSpace
from coalsim.mm.virt.vma_lock import AreaLock
from coalsim.units import PAGE_SHIFT, Pfn, Vpn

TABLES = "page tables"
STACK_LIMIT = 2048
"""Pages: a stack grows to 8 MiB, the usual RLIMIT_STACK."""


class Fault:
    """One fault's way through the handler.

    Args:
        space: of the running thread.
        cpu: where it happens.
        vpn: the page.
        write: it was a store.
    """

    __slots__ = (
        "_area",
        "_awaited",
        "_cpu",
        "_entry",
        "_filled",
        "_kernel",
        "_lock",
        "_space",
        "_vpn",
        "_write",
    )

    def __init__(self, space: AddressSpace, cpu: Cpu, vpn: Vpn, *, write: bool) -> None:
        self._space = space
        self._kernel = space.kernel
        self._cpu = cpu
        self._vpn = vpn
        self._write = write
        self._area: Area | None = None
        self._lock: AreaLock | None = None  # the area's own lock is held, not the space's
        self._awaited: CachedPage | None = None  # a file's page that has to come first, pinned
        self._filled = False  # the place got the entry with its tables
        self._entry = -1  # as it was when the lock was taken; -1: tables are missing

    def handle(self) -> Op[str]:
        """Make the access possible; returns what signal it deserves instead, or nothing."""
        kernel, cpu, env = self._kernel, self._cpu, self._cpu.env
        kernel.counts.faults += 1
        if kernel.switches.mmap_lock == "per_vma":
            cpu.charge(kernel.costs.area_find, FIND)
            while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
                yield alarm
                cpu.resume()
            self._try_area_lock()
        if self._lock is None:
            yield from self._lock_space()
        verdict = yield from self._outcome()
        if self._lock is None:
            yield from self._space.unlock_read(cpu)
        else:
            while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
                yield alarm
                cpu.resume()
            self._lock.end_read_now(cpu, kernel.costs.vma_lock)
        if verdict is RETRY:
            yield from self._wait_for_page()
            kernel.counts.faults -= 1  # it is the same one
            return (yield from self.handle())
        return verdict

    def _wait_for_page(self) -> Op[None]:
        """Sleep until the file's page is there, then forget what has been seen."""
        page, cpu = self._awaited, self._cpu
        assert page is not None, "who wants to wait says for what"
        yield from page.wait(cpu)
        cpu.charge(self._kernel.costs.io_complete, FAULT)
        yield from page.unpin(cpu)
        self._area = self._lock = self._awaited = None
        self._entry, self._filled = -1, False

    # -- locks ------------------------------------------------------------------------------

    def _try_area_lock(self) -> None:
        """The area's lock, if it has been used before and nobody writes it; synchronised."""
        space, kernel = self._space, self._kernel
        area = space.areas.find(self._vpn)
        if area is None:
            return
        if area.file is not None:
            needs_anon = self._write and not area.shared
            if not kernel.switches.file_faults_by_vma or (needs_anon and not area.anon):
                return
        elif not area.anon:
            return
        self._look_at_entry()
        lock = space.lock_of(area)
        if lock.try_read(self._cpu, space.sequence, kernel.costs.vma_lock):
            self._area, self._lock = area, lock
        else:
            kernel.counts.vma_fallbacks += 1

    def _lock_space(self) -> Op[None]:
        """The space's lock, for reading."""
        space, cpu, env = self._space, self._cpu, self._cpu.env
        yield from space.lock_read(cpu, self._vpn, self._vpn + 1, FAULT)
        cpu.charge(self._kernel.costs.area_find, FIND)
        while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
            yield alarm
            cpu.resume()
        self._area = space.areas.find(self._vpn)
        self._look_at_entry()
        if self._area is None:
            yield from self._grow_stack()

    def _look_at_entry(self) -> None:
        """Read the page's entry; synchronised.  It is read again under the page-table lock."""
        tables, vpn = self._space.tables, self._vpn
        tree = tables.single
        if tree is not None:
            leaf = tree.leaf(vpn)
            self._entry = -1 if leaf is None else leaf[0].slots[leaf[1]]
        else:
            place = tables.place_of(self._cpu)
            self._entry = -1 if tables.lacks(place, vpn) else tables.lookup(vpn)

    def _grow_stack(self) -> Op[None]:
        """A fault below a stack: take the lock for writing and make the stack larger."""
        space, kernel, cpu, vpn = self._space, self._kernel, self._cpu, self._vpn
        above = space.areas.find_next(vpn)
        if above is None or not above.grows_down:
            return
        yield from space.unlock_read(cpu)
        yield from space.lock_write(cpu, vpn, above.last, "expand_stack")
        yield from space.recall_addresses(cpu, vpn, above.first)
        limit = STACK_LIMIT - above.pages  # what is left of it
        if space.areas.find(vpn) is None and limit > 0 and space.areas.grow(vpn, limit):
            kernel.counts.stack_growths += 1
            cpu.charge(kernel.costs.accounting, FIND)
        yield from space.unlock_write(cpu)
        yield from space.lock_read(cpu, vpn, vpn + 1, FAULT)
        self._area = space.areas.find(vpn)

    # -- the table above ----------------------------------------------------------------------

    def _outcome(self) -> Op[str]:
        """The way to go on, by the area and by the entry as it was seen; either lock is held."""
        area, kernel = self._area, self._kernel
        if area is None or not area.attached:
            kernel.counts.bad_area += 1
            return _refused(NO_AREA)
        allowed = area.rights.write if self._write else any(area.rights)  # x86 reads what it may write or run
        if not allowed:
            kernel.counts.bad_rights += 1
            return _refused(NO_RIGHT)
        if area.file is None or (self._write and not area.shared):
            area.anon = True
        return self._legal_case() if self._entry >= 0 else self._make_tables()

    def _legal_case(self) -> Op[str]:
        """The way to go on where the access is allowed and the tables are there."""
        entry, write = self._entry, self._write
        if self._filled:
            return self._came_with_tables()
        if self._area is not None and self._area.file is not None:
            return self._file_case(self._area)
        if not entry & PRESENT:
            if not write and self._kernel.switches.zero_page:
                return self._map_zeros()
            return self._map_new()
        if write and not entry & WRITABLE:
            return break_cow(self._space, self._cpu, self._vpn, entry)
        return self._already_there()

    def _file_case(self, area: Area) -> Op[str]:
        """A file's page, or a private copy of one."""
        entry, write, kernel = self._entry, self._write, self._kernel
        is_present = bool(entry & PRESENT)
        if is_present and (not write or entry & WRITABLE):
            return self._already_there()
        if is_present and pfn_of(entry) not in kernel.cache.by_frame:
            return break_cow(self._space, self._cpu, self._vpn, entry)
        way = FileFault(self._space, self._cpu, self._vpn, area)
        return self._by_file(way, entry)

    def _by_file(self, way: FileFault, entry: int) -> Op[str]:
        """What the file's page has to do with it; it may have to come first."""
        verdict = yield from way.handle(entry, write=self._write)
        self._awaited = way.awaited
        return verdict

    def _came_with_tables(self) -> Op[str]:
        """Making the tables has brought a copy of the entry that another place has."""
        kernel = self._kernel
        kernel.counts.fills += 1
        self._cpu.charge(kernel.costs.radix_fill + kernel.costs.pte_set, "fill fault")
        yield from ()
        return ""

    def _already_there(self) -> Op[str]:
        """Another place has the entry, or somebody else was faster, or the TLB was stale."""
        kernel, cpu, space = self._kernel, self._cpu, self._space
        place = space.tables.place_of(cpu)
        if not space.tables.has_entry(place, self._vpn):
            yield from self._fill(place)
            return ""
        kernel.counts.spurious += 1
        cpu.charge(kernel.costs.spurious_fault, FAULT)
        return ""

    def _out_of_memory(self) -> str:
        self._kernel.counts.out_of_memory += 1
        return NO_MEMORY

    def _make_tables(self) -> Op[str]:
        """Tables down to the page's entry, at the place that this processor walks; then the legal case."""
        space, kernel, cpu, vpn = self._space, self._kernel, self._cpu, self._vpn
        yield from cpu.sync()
        place = space.tables.place_of(cpu)
        missing = space.tables.missing(place, vpn)
        if missing:
            nodes = [space.table_node(cpu, where) for where, _ in missing]
            frames = yield from kernel.new_table_frames(cpu, len(missing), FAULT, nodes)
            yield from cpu.sync()
            missing = space.tables.missing(place, vpn)  # others may have made some meanwhile
            enough = len(frames) >= len(missing)
            if enough and missing:
                spare = iter(frames)
                made, copied = space.tables.adopt(place, vpn, lambda _: next(spare))
                kernel.counts.tables_made += made
                self._filled = copied > 0 and space.tables.has_entry(place, vpn)
                frames = list(spare)
            yield from kernel.frames.release(cpu, frames, FAULT, on_lru=False)
            if not enough:
                return self._out_of_memory()
        yield from cpu.sync()
        self._look_at_entry()
        return (yield from self._legal_case())

    # -- legal cases ---------------------------------------------------------------------------

    def _map_new(self) -> Op[str]:
        """A frame of its own, zeroed."""
        kernel, cpu, frames, env = self._kernel, self._cpu, self._kernel.frames, self._cpu.env
        costs = kernel.costs
        cpu.charge(costs.fault_fixed, FAULT)
        pfn = frames.take_now(cpu, FAULT)
        if pfn < 0:
            pfn = yield from frames.take(cpu, FAULT)
            if pfn < 0:
                return self._out_of_memory()
        if costs.memcg_charge:
            cpu.charge(costs.memcg_charge, CHARGE)
        yield from frames.zero(cpu, pfn)
        lock = self._space.table_lock(self._vpn)
        yield from lock.acquire(cpu, FAULT)
        while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
            yield alarm
            cpu.resume()
        is_first = self._store_if_empty(pfn, DIRTY if self._write else 0, writable=True)
        if is_first and not frames.lru.add_now(cpu, pfn):
            yield from frames.lru.add(cpu, pfn, FAULT)
        yield from lock.release(cpu)
        if is_first:
            kernel.counts.anonymous += 1
        else:
            kernel.counts.lost_races += 1
            yield from frames.release(cpu, [pfn], FAULT, on_lru=False)
        return ""

    def _map_zeros(self) -> Op[str]:
        """The page of zeros, read-only; the first write gets a frame."""
        kernel, cpu = self._kernel, self._cpu
        cpu.charge(kernel.costs.fault_fixed, FAULT)
        lock = self._space.table_lock(self._vpn)
        yield from lock.acquire(cpu, FAULT)
        yield from cpu.sync()
        if self._store_if_empty(kernel.frames.zero_frame, 0, writable=False):
            kernel.counts.zero_page += 1
        else:
            kernel.counts.lost_races += 1
        yield from lock.release(cpu)
        return ""

    def _store_if_empty(self, pfn: int, flags: int, *, writable: bool) -> bool:
        """Under the page-table lock, synchronised: map the page unless somebody else was faster."""
        space, area = self._space, self._area
        if space.tables.lookup(self._vpn):
            return False
        assert area is not None, "a page without an area is refused"
        flags |= PRESENT | USER | WRITABLE if writable and area.rights.write else PRESENT | USER
        counting = 0
        if writable:  # the page of zeros does not count
            if area.shared:
                self._kernel.frames.shared_memory[Pfn(pfn)] = None
            counting = space.rss.count(self._cpu, 1, shmem=area.shared)
        more = self._kernel.costs.rmap_add
        store_entry(space, self._cpu, self._vpn, pfn << PAGE_SHIFT | flags, more, FAULT)
        if counting:
            self._cpu.charge(counting, RSS_LINE)
        space.counts.resident += 1
        return True

    def _fill(self, place: int) -> Op[None]:
        """Copy the entry that another place has."""
        space, kernel, cpu, vpn = self._space, self._kernel, self._cpu, self._vpn
        lock = space.table_lock(vpn)
        yield from lock.acquire(cpu, "fill")
        yield from cpu.sync()
        if space.tables.lookup(vpn) & PRESENT:
            space.tables.adopt(place, vpn, _no_frame)
            kernel.counts.fills += 1
            cpu.charge(kernel.costs.radix_fill + kernel.costs.pte_set, "fill fault")
        else:
            kernel.counts.lost_races += 1
        yield from lock.release(cpu)


def _refused(verdict: str) -> Op[str]:
    """Nothing makes the access possible."""
    yield from ()
    return verdict


def _no_frame(_: int) -> Pfn:
    raise AssertionError("a fill copies an entry; the tables are there")
