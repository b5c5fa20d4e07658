"""A task: one thread of a process, and what its program can do.

    mmap munmap mprotect madvise_dontneed mremap brk     change the address space
    touch touch_now touch_pages sequential touch_random              use memory, one access or many
    store load copy_to_user copy_from_user                its contents
    compute fork spawn leave sleep_until_woken wake spin   run, multiply, wait

Addresses and lengths are bytes.  Verbs wait and are used with `yield from`; each that
enters the kernel is one operation with its latency by cause.  A bad access delivers a
signal: the task's program ends there, like a real one without a handler.
A task stays on the processor that it was started on.
"""

from collections.abc import Callable, Sequence
from random import Random

from coalsim.cpus.access import USER
from coalsim.cpus.cpu import Cpu
from coalsim.cpus.operation import Running as Entered
from coalsim.cpus.runqueue import Thread
from coalsim.cpus.tlb_level import TAG_BITS
from coalsim.cpus.walker import WALK
from coalsim.engine.clock import Op
from coalsim.errors import KernelPanic
from coalsim.mm.paging.entry import describe
from coalsim.mm.shootdown.base import Shootdown
from coalsim.mm.virt import fork as forking
from coalsim.mm.virt import mapping, moving
from coalsim.mm.virt import populate as populating
from coalsim.mm.virt.area import READ_WRITE, Area, Rights
from coalsim.mm.virt.fault import Fault
from coalsim.mm.virt.lone_fault import find_place, map_alone
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.spin_flag import SpinFlag
from coalsim.mm.virt.uaccess import is_kernel_pointer, is_user_pointer, pieces
from coalsim.units import PAGE_SHIFT, PAGE_SIZE, Pfn, Time, Vpn

SYSCALL = "syscall"
EXCEPTION = "exception"
ENOMEM = -12
EFAULT = -14
EINVAL = -22
BAD_POINTER = "SIGSEGV: user code may not touch the kernel's side"

Body = Callable[["Task"], Op[None]]


class TaskKilled(Exception):  # an unwinding, not a mistake
    """The task has got a signal that ends it; unwinds its program."""


class BadCopy(Exception):  # an unwinding, not a mistake
    """A copy to or from user memory met an address that nothing makes usable."""


class Task:
    """One thread of a process.

    Args:
        process: whose.
        cpu: where it runs.
        name: for tables.
    """

    def __init__(self, process: Process, cpu: Cpu, name: str) -> None:
        self.process = process
        self.cpu = cpu
        self.name = name
        self.signal = ""
        self.thread: Thread | None = None
        self._space = process.space
        self._kernel = kernel = process.space.kernel
        self._unit = kernel.units[cpu.id]
        self.touch_now = self._unit.touch_now  # one access, if L1 has the page; False: call `touch`
        self._costs = kernel.costs
        self._operations = kernel.operations
        self._fault_kind = kernel.operations.kind("fault")
        self._tells = type(kernel.policy).filled is not Shootdown.filled  # the policy wants to know of fills
        self._user_end = kernel.geometry.user_pages << PAGE_SHIFT
        self._asleep = False
        self._woken = False

    # -- the address space -----------------------------------------------------------------

    def mmap(
        self,
        length: int,
        *,
        rights: Rights = READ_WRITE,
        populate: bool = False,
        address: int | None = None,
        shared: bool = False,
        name: str = "",
    ) -> Op[int]:
        """Map so many bytes of zeros; returns where, or a negative error."""
        pages = -(-length // PAGE_SIZE)
        first = Vpn((address or 0) >> PAGE_SHIFT)
        if pages <= 0 or (
            address is not None and (address % PAGE_SIZE or not self._is_user(address, length))
        ):
            return EINVAL
        area = Area(first=first, last=Vpn(first + pages), rights=rights, shared=shared, name=name)
        running = yield from self._enter("mmap")
        found = yield from mapping.map_area(self._space, self.cpu, area, fixed=address is not None)
        if found >= 0 and populate and (rights.read or rights.write):
            yield from populating.populate(self._space, self.cpu, found, found + pages, write=rights.write)
        yield from self._leave(running)
        return found << PAGE_SHIFT if found >= 0 else ENOMEM

    def munmap(self, address: int, length: int) -> Op[int]:
        """Take a mapping, or a part of one, away."""
        if length <= 0 or address % PAGE_SIZE or not self._is_user(address, length):
            return EINVAL
        first, last = _pages(address, length)
        running = yield from self._enter("munmap")
        yield from mapping.unmap(self._space, self.cpu, first, last)
        yield from self._leave(running)
        return 0

    def mprotect(self, address: int, length: int, rights: Rights) -> Op[int]:
        """Change what may be done with the pages of a range."""
        if length <= 0 or address % PAGE_SIZE or not self._is_user(address, length):
            return EINVAL
        first, last = _pages(address, length)
        running = yield from self._enter("mprotect")
        done = yield from mapping.protect(self._space, self.cpu, first, last, rights)
        yield from self._leave(running)
        return 0 if done else ENOMEM

    def madvise_dontneed(self, address: int, length: int) -> Op[int]:
        """Give the pages of a range back; the mapping stays and reads as zeros.  ENOMEM: it has holes."""
        if length <= 0 or address % PAGE_SIZE or not self._is_user(address, length):
            return EINVAL
        first, last = _pages(address, length)
        running = yield from self._enter("madvise")
        done = yield from mapping.discard(self._space, self.cpu, first, last)
        yield from self._leave(running)
        return 0 if done else ENOMEM

    def mremap(self, address: int, old_length: int, new_length: int) -> Op[int]:
        """Make a mapping smaller or larger; returns where it is then, or a negative error."""
        if min(old_length, new_length) <= 0 or address % PAGE_SIZE or not self._is_user(address, old_length):
            return EINVAL
        first, last = _pages(address, old_length)
        running = yield from self._enter("mremap")
        found = yield from moving.move(
            self._space, self.cpu, first, last - first, -(-new_length // PAGE_SIZE)
        )
        yield from self._leave(running)
        return found << PAGE_SHIFT if found >= 0 else EFAULT if found == mapping.NOT_MAPPED else ENOMEM

    def brk(self, delta: int) -> Op[int]:
        """Move the end of the heap by so many bytes; returns where it is then."""
        running = yield from self._enter("brk")
        end = yield from mapping.set_break(self._space, self.cpu, delta)
        yield from self._leave(running)
        return end

    # -- using memory ------------------------------------------------------------------------

    def touch(self, address: int, *, write: bool = True, site: str = USER) -> Op[None]:
        """One access: through the TLB, a walk, and a fault if need be."""
        if not 0 <= address < self._user_end:
            yield from self._die(BAD_POINTER, address)
        yield from self._make_usable(address, write, site, self._die)
        if self.cpu.queue.slice_over(self.cpu.ticks):
            yield from self._give_way()

    def _make_usable(
        self, address: int, write: bool, site: str, refused: Callable[[str, int], Op[None]]
    ) -> Op[None]:
        """Use a page, faulting it in; `refused` is what comes of an access that deserves a signal.

        The part of `touch`, of batches and of the kernel's copies that waits.
        """
        cpu, unit, operations, env = self.cpu, self._unit, self._operations, self.cpu.env
        vpn = Vpn(address >> PAGE_SHIFT)
        if cpu.clock >= cpu.limit:
            yield from cpu.look()
            unit.judge_if_many()
        if unit.missed != vpn << TAG_BITS | unit.asid and unit.hit(vpn, write, site, USER):
            return  # else `touch_now` has just looked
        unit.misses += 1
        is_alone = env.fast_paths and self.process.running == 1 and not self._tells
        while True:
            found = unit.walk_ahead(vpn, write, True, site) if is_alone and cpu.clock < cpu.limit else None
            if found is None:
                while cpu.clock > env._now and (alarm := cpu.until_clock()):  # sync, in line
                    yield alarm
                    cpu.resume()
                found = unit.walk(vpn, write, True, site)
            if found:
                if self._tells:
                    self._kernel.policy.filled(cpu, self._space.context, vpn)
                cpu.charge(unit.walk_cost, WALK)
                return
            cpu.charge(unit.walk_cost, WALK)
            cpu.charge(self._costs.exception_entry, EXCEPTION)
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            running = operations.begin_now(cpu, self._fault_kind)
            place = find_place(self._space, cpu, vpn) if is_alone and write else None
            if place is not None:
                verdict = yield from map_alone(self._space, cpu, place)
            else:
                verdict = yield from Fault(self._space, cpu, vpn, write=write).handle()
            if cpu.clock >= cpu.limit:
                yield from cpu.look()
            operations.end_now(cpu, running)
            cpu.charge(self._costs.exception_exit, EXCEPTION)
            if verdict:
                yield from refused(verdict, address)
            if cpu.clock >= cpu.limit or cpu.queue.slice_over(cpu.ticks):
                yield from self._give_way()

    def touch_pages(
        self, pages: Sequence[int], *, write: bool = False, repeat: int = 1, site: str = USER
    ) -> Op[None]:
        """Accesses to pages, in this order, as often as said; in bulk where they hit.

        A processor may run ahead only so far, so a run of hits is cut where its clock
        reaches that limit.  What L1 does not hold comes from L2 as long as that has it.
        """
        cpu, unit = self.cpu, self._unit
        cost, total = max(1, unit.l1_hit), len(pages)
        run = unit.tlb.store_run if write else unit.tlb.lookup_run
        for _ in range(repeat):
            done = 0
            while done < total:
                if cpu.clock >= cpu.limit:
                    yield from cpu.look()
                room = 1  # one access, where the clock is at its limit or somebody else is to be next
                if cpu.clock < cpu.limit and not cpu.queue.slice_over(cpu.ticks):
                    room = -(-(cpu.limit - cpu.clock) // cost)
                part = pages[done : done + room] if room < total - done or done else pages
                unit.settle()
                hits = run(part, unit.asid)
                if hits:
                    if unit.unchecked is not None:
                        unit.note_run(part, hits, write, site)
                    cpu.charge(hits * unit.l1_hit, USER)
                    done += hits
                elif room > 1 and (hits := unit.hits(pages, done, write, site, USER)):
                    done += hits
                else:
                    yield from self._make_usable(pages[done] << PAGE_SHIFT, write, site, self._die)
                    done += 1
                if cpu.queue.slice_over(cpu.ticks):
                    yield from self._give_way()

    def sequential(
        self, address: int, length: int, *, stride: int = PAGE_SIZE, write: bool = False, site: str = USER
    ) -> Op[None]:
        """One access every `stride` bytes."""
        pages = [at >> PAGE_SHIFT for at in range(address, address + length, stride)]
        yield from self.touch_pages(pages, write=write, site=site)

    def touch_random(
        self, address: int, length: int, count: int, stream: Random, *, write: bool = False, site: str = USER
    ) -> Op[None]:
        """So many accesses to pages drawn from a range."""
        first, pages = address >> PAGE_SHIFT, length >> PAGE_SHIFT
        uniform = stream.random
        yield from self.touch_pages(
            [first + int(uniform() * pages) for _ in range(count)], write=write, site=site
        )

    # -- contents -------------------------------------------------------------------------------

    def store(self, address: int, data: bytes) -> Op[None]:
        """Write bytes to user memory."""
        done = 0
        for at, size in pieces(address, len(data)):
            pfn = yield from self._frame_for(at, write=True)
            self._kernel.ram.write(pfn, at % PAGE_SIZE, data[done : done + size])
            done += size

    def load(self, address: int, size: int) -> Op[bytes]:
        """Read bytes of user memory."""
        data = b""
        for at, part in pieces(address, size):
            pfn = yield from self._frame_for(at, write=False)
            data += self._kernel.ram.read(pfn, at % PAGE_SIZE, part)
        return data

    def _frame_for(self, address: int, *, write: bool) -> Op[Pfn]:
        """The frame that an access uses, by the TLB's word and not by the table's; synchronised.

        Between the access and its effect others may have unmapped the page and flushed it: then again.
        """
        vpn = address >> PAGE_SHIFT
        while True:
            yield from self.touch(address, write=write)
            yield from self.cpu.sync()
            entry = self._unit.held(vpn)
            if entry is not None and (entry.dirty or not write):
                return entry.translation.pfn

    def copy_to_user(self, address: int, data: bytes) -> Op[int]:
        """From kernel mode: write bytes to user memory; returns how many could not be written."""
        return (yield from self._user_copy(address, len(data), data))

    def copy_from_user(self, address: int, size: int) -> Op[tuple[int, bytes]]:
        """From kernel mode: read user memory; how many bytes could not be read, and the others."""
        found = bytearray()
        left = yield from self._user_copy(address, size, None, found)
        return left, bytes(found)

    def _user_copy(
        self, address: int, size: int, data: bytes | None, found: bytearray | None = None
    ) -> Op[int]:
        self.cpu.charge(self._costs.user_copy_fixed, "user copy")
        if size and not is_user_pointer(self._kernel.geometry, address, size):
            return size
        done = 0
        unit = self._unit
        for at, part in pieces(address, size):
            vpn, entry = at >> PAGE_SHIFT, None
            while entry is None or (data is not None and not entry.dirty):
                try:
                    yield from self._make_usable(at, data is not None, "user copy", _fix_up)
                except BadCopy:
                    return size - done
                yield from self.cpu.sync()
                entry = unit.held(vpn)
            pfn = entry.translation.pfn
            if data is not None:
                self._kernel.ram.write(pfn, at % PAGE_SIZE, data[done : done + part])
            elif found is not None:
                found += self._kernel.ram.read(pfn, at % PAGE_SIZE, part)
            self.cpu.charge(-(-part // 64) * self._costs.user_copy_per_64, "user copy")
            done += part
        return 0

    def kernel_access(self, address: int, *, write: bool = False) -> Op[None]:
        """From kernel mode, without a fix-up: a pointer that the kernel itself follows.

        Raises:
            KernelPanic: nothing is mapped there.
        """
        yield from self.cpu.sync()
        table, geometry = self._kernel.kernel_space.table, self._kernel.geometry
        vpn = Vpn(address >> PAGE_SHIFT)
        entry = 0
        if geometry.is_canonical(vpn):
            entry = table.lookup(vpn) if is_kernel_pointer(geometry, address) else 0
        if not entry & 1 or (write and not entry & 2):
            raise KernelPanic(self._oops(address, entry, write=write))
        self.cpu.charge(self._costs.user_copy_per_64, SYSCALL)

    def _oops(self, address: int, entry: int, *, write: bool) -> str:
        """The report of an access that nothing can make good."""
        cpu = self.cpu
        error = (1 if entry & 1 else 0) | (2 if write else 0)
        recent = self._operations.recent(cpu.id)
        loaded = self._kernel.policy.system.loaded[cpu.id]
        lines = [
            f"BUG: unable to handle page fault for address: {address:#x}",
            f"#PF: supervisor {'write' if write else 'read'} access in kernel mode",
            f"#PF: error_code({error:#06x}) - "
            + ("permissions violation" if error & 1 else "not-present page"),
            f"CPU: {cpu.id} PID: {self.process.pid} Comm: {self.name} at {cpu.clock / 1000:.3f} ns",
            f"CR2: {address:#018x} CR3: {self._space.tree_of(cpu).root << PAGE_SHIFT:#018x} "
            f"ASID: {loaded.asid} entry: {entry:#x} ({describe(entry)})",
            "last operations of this CPU:",
            *(f"  {line}" for line in recent),
            "Kernel panic - not syncing: Fatal exception",
        ]
        return "\n".join(lines)

    # -- running -----------------------------------------------------------------------------------

    def compute(self, time: Time, cause: str = USER) -> Op[None]:
        """User work that touches no memory."""
        self.cpu.charge(time, cause)
        yield from self._give_way()

    def _give_way(self) -> Op[None]:
        """In user code: deferred work is done after a tick, and somebody else may be next."""
        cpu, policy = self.cpu, self._kernel.policy
        if policy.is_lazy and cpu.queue.slice_over(cpu.ticks):
            yield from policy.left_user(cpu)
        yield from cpu.preempt_point()

    def fork(self, name: str, body: Body, cpu_id: int | None = None) -> Op[Process | None]:
        """A child process, a copy of this one, that runs `body`; None: no memory."""
        running = yield from self._enter("fork")
        space = yield from forking.fork(self._space, self.cpu)
        child = None
        if space is not None:
            yield from self.cpu.sync()
            child = self.process.starter.adopt(space, name, self.process)
            self._start(child, cpu_id, name, body)
        yield from self._leave(running)
        return child

    def spawn(self, cpu_id: int, name: str, body: Body) -> Op["Task"]:
        """Another thread of this process."""
        running = yield from self._enter("clone")
        yield from self.cpu.sync()
        task = self._start(self.process, cpu_id, name, body)
        yield from self._leave(running)
        return task

    def _start(self, process: Process, cpu_id: int | None, name: str, body: Body) -> "Task":
        """Make a task ready; synchronised."""
        cpu = self.cpu if cpu_id is None else self._kernel.cpus[cpu_id]
        task = Task(process, cpu, name)
        process.starter.start(task, body)
        assert task.thread is not None, "it has just been started"
        cpu.enqueue(task.thread, self.cpu.clock + self._kernel.wake_latency)
        self.cpu.charge(self._costs.wake_up, SYSCALL)
        return task

    def leave(self) -> Op[None]:
        """End this task here."""
        yield from ()
        raise TaskKilled("exit")

    def _die(self, verdict: str, address: int) -> Op[None]:
        self._kernel.counts.signals += 1
        self.signal = signal = f"{verdict}, at {address:#x}"
        self.cpu.charge(self._costs.signal, EXCEPTION)
        yield from self.cpu.sync()
        raise TaskKilled(signal)

    def sleep_until_woken(self) -> Op[None]:
        """Leave the processor until another task wakes this one; a wake-up that came before counts."""
        cpu = self.cpu
        yield from cpu.sync()
        if not self._woken:
            self._asleep = True
            yield from cpu.park()
            yield from cpu.sync()
        self._woken = False

    def wake(self, other: "Task") -> Op[None]:
        """Let another task go on."""
        cpu = self.cpu
        yield from cpu.sync()
        other._woken = True
        if other._asleep:
            other._asleep = False
            assert other.thread is not None, "a task that sleeps has been started"
            other.cpu.enqueue(other.thread, cpu.clock + self._kernel.wake_latency)
        cpu.charge(self._costs.wake_up, SYSCALL)

    def spin(self, flag: SpinFlag) -> Op[None]:
        """Spin in user mode until the flag is set."""
        yield from flag.wait(self.cpu)

    def wait_for_children(self) -> Op[None]:
        """Sleep until all child processes have ended."""
        while True:
            yield from self.cpu.sync()
            if all(child.is_over for child in self.process.children):
                return
            if self not in self.process.waiting:
                self.process.waiting.append(self)
            yield from self.sleep_until_woken()

    # -- in and out of the kernel ----------------------------------------------------------------------

    def _is_user(self, address: int, length: int) -> bool:
        return is_user_pointer(self._kernel.geometry, address, length)

    def system_call(self, name: str) -> Op[Entered]:
        """Enter the kernel for a call of that name; end it with `system_return`."""
        return (yield from self._enter(name))

    def system_return(self, running: Entered) -> Op[None]:
        """Back to user code."""
        yield from self._leave(running)

    def _enter(self, name: str) -> Op[Entered]:
        cpu, policy = self.cpu, self._kernel.policy
        kind = self._operations.kind(name)
        running = yield from self._operations.begin(cpu, kind)
        cpu.charge(self._costs.syscall, SYSCALL)
        if policy.is_lazy:
            yield from policy.left_user(cpu)
        return running

    def _leave(self, running: Entered) -> Op[None]:
        yield from self._operations.end(self.cpu, running)
        yield from self.cpu.preempt_point()


def _fix_up(verdict: str, address: int) -> Op[None]:
    """A copy's access to user memory failed: no signal, the copy ends."""
    yield from ()
    raise BadCopy(verdict, address)


def _pages(address: int, length: int) -> tuple[Vpn, Vpn]:
    return Vpn(address >> PAGE_SHIFT), Vpn(-(-(address + length) // PAGE_SIZE))
