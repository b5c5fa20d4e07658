"""A task: one thread of a process, and what its program can do.

    mmap munmap mprotect madvise_dontneed mremap brk     change the address space
    touch touch_now touch_pages sequential touch_random              use memory, one access or many
    store load copy_to_user copy_from_user                its contents
    read write fsync                                      files by calls
    compute fork spawn leave sleep_until_woken wake spin   run, multiply, wait

Addresses and lengths are bytes.  Verbs wait and are used with `yield from`; each that
enters the kernel is one operation with its latency by cause.  A bad access delivers a
signal: the task's program ends there, like a real one without a handler.
A task stays on the processor that it was started on.
"""

from collections.abc import Callable

from coalsim.cpus.cpu import Cpu
from coalsim.cpus.operation import Running as Entered
from coalsim.cpus.runqueue import Thread
from coalsim.engine.clock import Op
from coalsim.mm.cache.file import File
from coalsim.mm.virt import file_io, mapping, moving, user_copy
from coalsim.mm.virt import fork as forking
from coalsim.mm.virt import populate as populating
from coalsim.mm.virt.area import READ_WRITE, Area, Rights
from coalsim.mm.virt.kernel_access import SYSCALL, kernel_access
from coalsim.mm.virt.process import Process
from coalsim.mm.virt.uaccess import is_user_pointer
from coalsim.mm.virt.user_mode import TaskKilled, UserMode
from coalsim.units import PAGE_SHIFT, PAGE_SIZE, Time, Vpn

__all__ = ["EFAULT", "EINVAL", "ENOMEM", "Body", "Task", "TaskKilled"]

ENOMEM = -12
EFAULT = -14
EINVAL = -22

Body = Callable[["Task"], Op[None]]


class Task(UserMode):
    """One thread of a process.

    Args:
        process: whose.
        cpu: where it runs.
        name: for tables.
    """

    def __init__(self, process: Process, cpu: Cpu, name: str) -> None:
        super().__init__(process, cpu, name)
        self.thread: Thread | None = None
        self.has_ended = False
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
        file: File | None = None,
        offset: int = 0,
    ) -> Op[int]:
        """Map so many bytes of zeros, or of a file from `offset` on; returns where, or a negative error."""
        pages = -(-length // PAGE_SIZE)
        first = Vpn((address or 0) >> PAGE_SHIFT)
        if pages <= 0 or (
            address is not None and (address % PAGE_SIZE or not self._is_user(address, length))
        ):
            return EINVAL
        if offset < 0 or offset % PAGE_SIZE:
            return EINVAL
        area = Area(first=first, last=Vpn(first + pages), rights=rights, shared=shared, name=name)
        if file is not None:
            area.file, area.origin = file, first - (offset >> PAGE_SHIFT)
        running = yield from self._enter("mmap")
        found = yield from mapping.map_area(self.space, self.cpu, area, fixed=address is not None)
        if found >= 0 and populate and (rights.read or rights.write):
            yield from populating.populate(self.space, self.cpu, found, found + pages, write=rights.write)
        yield from self._leave(running)
        return found << PAGE_SHIFT if found >= 0 else ENOMEM

    def munmap(self, address: int, length: int) -> Op[int]:
        """Take a mapping, or a part of one, away."""
        if length <= 0 or address % PAGE_SIZE or not self._is_user(address, length):
            return EINVAL
        first, last = _pages(address, length)
        running = yield from self._enter("munmap")
        yield from mapping.unmap(self.space, self.cpu, first, last)
        yield from self._leave(running)
        return 0

    def mprotect(self, address: int, length: int, rights: Rights) -> Op[int]:
        """Change what may be done with the pages of a range."""
        if length <= 0 or address % PAGE_SIZE or not self._is_user(address, length):
            return EINVAL
        first, last = _pages(address, length)
        running = yield from self._enter("mprotect")
        done = yield from mapping.protect(self.space, self.cpu, first, last, rights)
        yield from self._leave(running)
        return 0 if done else ENOMEM

    def madvise_dontneed(self, address: int, length: int) -> Op[int]:
        """Give the pages of a range back; the mapping stays and reads as zeros.  ENOMEM: it has holes."""
        if length <= 0 or address % PAGE_SIZE or not self._is_user(address, length):
            return EINVAL
        first, last = _pages(address, length)
        running = yield from self._enter("madvise")
        done = yield from mapping.discard(self.space, self.cpu, first, last)
        yield from self._leave(running)
        return 0 if done else ENOMEM

    def mremap(self, address: int, old_length: int, new_length: int) -> Op[int]:
        """Make a mapping smaller or larger; returns where it is then, or a negative error."""
        if min(old_length, new_length) <= 0 or address % PAGE_SIZE or not self._is_user(address, old_length):
            return EINVAL
        first, last = _pages(address, old_length)
        running = yield from self._enter("mremap")
        found = yield from moving.move(self.space, self.cpu, first, last - first, -(-new_length // PAGE_SIZE))
        yield from self._leave(running)
        return found << PAGE_SHIFT if found >= 0 else EFAULT if found == mapping.NOT_MAPPED else ENOMEM

    def brk(self, delta: int) -> Op[int]:
        """Move the end of the heap by so many bytes; returns where it is then."""
        running = yield from self._enter("brk")
        end = yield from mapping.set_break(self.space, self.cpu, delta)
        yield from self._leave(running)
        return end

    # -- files ------------------------------------------------------------------------------

    def read(self, file: File, offset: int, length: int) -> Op[bytes]:
        """Bytes of a file, into memory that nobody else looks at; fewer at its end."""
        running = yield from self._enter("read")
        data = yield from file_io.read(self.kernel, self.cpu, file, offset, length)
        yield from self._leave(running)
        return data

    def write(self, file: File, offset: int, data: bytes) -> Op[int]:
        """Write bytes to a file; returns how many, or a negative error."""
        running = yield from self._enter("write")
        done = yield from file_io.write(self.kernel, self.cpu, file, offset, data)
        yield from self._leave(running)
        return done if done or not data else ENOMEM

    def fsync(self, file: File) -> Op[None]:
        """Wait until the device has what was written to a file."""
        running = yield from self._enter("fsync")
        yield from file_io.fsync(self.kernel, self.cpu, file)
        yield from self._leave(running)

    # -- contents of memory --------------------------------------------------------------------

    def store(self, address: int, data: bytes) -> Op[None]:
        """Write bytes to user memory."""
        return user_copy.store(self, address, data)

    def load(self, address: int, size: int) -> Op[bytes]:
        """Read bytes of user memory."""
        return user_copy.load(self, address, size)

    def copy_to_user(self, address: int, data: bytes) -> Op[int]:
        """From kernel mode: write bytes to user memory; returns how many could not be written."""
        return user_copy.copy_to_user(self, address, data)

    def copy_from_user(self, address: int, size: int) -> Op[tuple[int, bytes]]:
        """From kernel mode: read user memory; how many bytes could not be read, and the others."""
        return user_copy.copy_from_user(self, address, size)

    def kernel_access(self, address: int, *, write: bool = False) -> Op[None]:
        """From kernel mode, without a fix-up: a pointer that the kernel itself follows.

        Raises:
            KernelPanic: nothing is mapped there.
        """
        return kernel_access(self, address, write=write)

    # -- running -----------------------------------------------------------------------------------

    def fork(self, name: str, body: Body, cpu_id: int | None = None) -> Op[Process | None]:
        """A child process, a copy of this one, that runs `body`; None: no memory."""
        running = yield from self._enter("fork")
        space = yield from forking.fork(self.space, self.cpu)
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
        cpu = self.cpu if cpu_id is None else self.kernel.cpus[cpu_id]
        task = Task(process, cpu, name)
        process.starter.start(task, body)
        assert task.thread is not None, "it has just been started"
        cpu.enqueue(task.thread, self.cpu.clock + self.kernel.wake_latency)
        self.cpu.charge(self._costs.wake_up, SYSCALL)
        return task

    def leave(self) -> Op[None]:
        """End this task here."""
        yield from ()
        raise TaskKilled("exit")

    def sleep_until_woken(self) -> Op[None]:
        """Leave the processor until another task wakes this one; a wake-up that came before counts."""
        cpu = self.cpu
        yield from cpu.sync()
        if not self._woken:
            self._asleep = True
            yield from cpu.park()
            yield from cpu.sync()
        self._woken = False
        if self.is_killed:
            yield from self.die_killed()

    def wake(self, other: "Task") -> Op[None]:
        """Let another task go on."""
        cpu = self.cpu
        yield from cpu.sync()
        other.rouse(cpu.clock + self.kernel.wake_latency)
        cpu.charge(self._costs.wake_up, SYSCALL)

    def rouse(self, at: Time) -> None:
        """Somebody who has synchronised wakes this task, to run at `at` at the earliest."""
        self._woken = True
        if self._asleep:
            self._asleep = False
            assert self.thread is not None, "a task that sleeps has been started"
            self.cpu.enqueue(self.thread, at)

    def take_kill(self, cpu: Cpu) -> None:
        """As in user mode; who sleeps is woken by it, and not before it is there."""
        super().take_kill(cpu)
        self.rouse(cpu.env._now + 1)

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
        return is_user_pointer(self.kernel.geometry, address, length)

    def system_call(self, name: str) -> Op[Entered]:
        """Enter the kernel for a call of that name; end it with `system_return`."""
        return (yield from self._enter(name))

    def system_return(self, running: Entered) -> Op[None]:
        """Back to user code."""
        yield from self._leave(running)

    def _enter(self, name: str) -> Op[Entered]:
        cpu, policy = self.cpu, self.kernel.policy
        kind = self._operations.kind(name)
        running = yield from self._operations.begin(cpu, kind)
        cpu.charge(self._costs.syscall, SYSCALL)
        if policy.is_lazy:
            yield from policy.left_user(cpu)
        return running

    def _leave(self, running: Entered) -> Op[None]:
        yield from self._operations.end(self.cpu, running)
        yield from self.cpu.preempt_point()
        if self.is_killed:
            yield from self.die_killed()


def _pages(address: int, length: int) -> tuple[Vpn, Vpn]:
    return Vpn(address >> PAGE_SHIFT), Vpn(-(-(address + length) // PAGE_SIZE))
