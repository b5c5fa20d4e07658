"""The contents of user memory: bytes that a program stores and loads, and copies from kernel mode.

    store, load                   accesses of user code: a bad one delivers a signal
    copy_to_user, copy_from_user  of the kernel: a bad one ends the copy (the fix-up)

Either goes page by page through the TLB of the thread's processor and uses the frame that
the TLB says, even where the table says another by now.
Source: Linux arch/x86/lib/copy_user_64.S, lib/usercopy.c.
"""

from coalsim.engine.clock import Op
from coalsim.mm.virt.uaccess import is_user_pointer, pieces
from coalsim.mm.virt.user_mode import UserMode
from coalsim.units import PAGE_SHIFT, PAGE_SIZE, Pfn

USER_COPY = "user copy"


class BadCopy(Exception):  # an unwinding, not a mistake
    """A copy to or from user memory met an address that nothing makes usable."""


def store(thread: UserMode, address: int, data: bytes) -> Op[None]:
    """Write bytes to user memory."""
    done = 0
    for at, size in pieces(address, len(data)):
        pfn = yield from _frame_for(thread, at, write=True)
        thread.kernel.ram.write(pfn, at % PAGE_SIZE, data[done : done + size])
        done += size


def load(thread: UserMode, address: int, size: int) -> Op[bytes]:
    """Read bytes of user memory."""
    data = b""
    for at, part in pieces(address, size):
        pfn = yield from _frame_for(thread, at, write=False)
        data += thread.kernel.ram.read(pfn, at % PAGE_SIZE, part)
    return data


def _frame_for(thread: UserMode, address: int, *, write: bool) -> Op[Pfn]:
    """The frame that an access uses, by the TLB's word and not by the table's; synchronised.

    Between the access and its effect others may have unmapped the page and flushed it: then again.
    """
    vpn = address >> PAGE_SHIFT
    while True:
        yield from thread.touch(address, write=write)
        yield from thread.cpu.sync()
        entry = thread.unit.held(vpn)
        if entry is not None and (entry.dirty or not write):
            return entry.translation.pfn


def copy_to_user(thread: UserMode, address: int, data: bytes) -> Op[int]:
    """From kernel mode: write bytes to user memory; returns how many could not be written."""
    return _copy(thread, address, len(data), data)


def copy_from_user(thread: UserMode, address: int, size: int) -> Op[tuple[int, bytes]]:
    """From kernel mode: read user memory; how many bytes could not be read, and the others."""
    found = bytearray()
    left = yield from _copy(thread, address, size, None, found)
    return left, bytes(found)


def _copy(
    thread: UserMode, address: int, size: int, data: bytes | None, found: bytearray | None = None
) -> Op[int]:
    """Copy `data`, or into `found`; returns how many bytes are left."""
    thread.cpu.charge(thread.kernel.costs.user_copy_fixed, USER_COPY)
    if size and not is_user_pointer(thread.kernel.geometry, address, size):
        return size
    done = 0
    unit = thread.unit
    for at, part in pieces(address, size):
        vpn, entry = at >> PAGE_SHIFT, None
        while entry is None or (data is not None and not entry.dirty):
            try:
                yield from thread.make_usable(at, data is not None, USER_COPY, _give_up)
            except BadCopy:
                return size - done
            yield from thread.cpu.sync()
            entry = unit.held(vpn)
        pfn = entry.translation.pfn
        if data is not None:
            thread.kernel.ram.write(pfn, at % PAGE_SIZE, data[done : done + part])
        elif found is not None:
            found += thread.kernel.ram.read(pfn, at % PAGE_SIZE, part)
        thread.cpu.charge(-(-part // 64) * thread.kernel.costs.user_copy_per_64, USER_COPY)
        done += part
    return 0


def _give_up(verdict: str, address: int) -> Op[None]:
    """A copy's access to user memory failed: no signal, the copy ends."""
    yield from ()
    raise BadCopy(verdict, address)
