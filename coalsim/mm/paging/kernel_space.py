"""The kernel's own directory, and the verbs that set paging up: no time, no waiting.

    map_window      show low frames in the kernel half, from its start on
    paging_enable   hand the directory to the processor
    create_directory, destroy_directory   of a process
    map, unmap      one page, in the kernel's or a process's directory

All tables of level 1 of the kernel half are made with the space, so every directory
made later shares them (256 frames at most; 255 on x86-32, 1 with PAE).  Tables that
`map` makes on the way down stay until the directory is destroyed.

Invariant: the directories created and not yet destroyed are `directories`.
Locking: for boot and for tests, on one processor.  Paths that take locks and time use
`PageTable` themselves.
"""

from collections.abc import Callable

from coalsim.errors import KernelBug
from coalsim.mm.paging import layout
from coalsim.mm.paging.entry import (
    GLOBAL,
    KERNEL_TABLE,
    PRESENT,
    USER,
    USER_TABLE,
    WRITABLE,
    describe,
    make,
    pfn_of,
)
from coalsim.mm.paging.geometry import Geometry
from coalsim.mm.paging.pagetable import PageTable
from coalsim.mm.phys.ram import Ram
from coalsim.units import PAGE_SHIFT, Pfn, Vpn

KERNEL_PAGE = PRESENT | WRITABLE | GLOBAL
"""Flags of the pages that show physical memory to the kernel."""


class KernelSpace:
    """The kernel's address space.

    Args:
        geometry: shape of all page tables.
        ram: where they lie.
        alloc: takes a frame for a table.
        free: gives one back.
    """

    def __init__(
        self, geometry: Geometry, ram: Ram, alloc: Callable[[], Pfn], free: Callable[[Pfn], None]
    ) -> None:
        self.geometry = geometry
        self.enabled = False
        self.directories: dict[Pfn, PageTable] = {}  # of processes, by root
        self._ram = ram
        self._alloc = alloc
        self._free = free
        self.table = PageTable(geometry, ram, alloc())
        for slot in range(geometry.kernel_slot, geometry.slots(0)):
            if slot != geometry.recursive_slot:
                offset = slot - geometry.kernel_slot
                self._new_table(self.table, Vpn(geometry.kernel_first + offset * geometry.span(0)), 1)

    def paging_enable(self) -> Pfn:
        """Turn paging on; returns the root for the processor's register.

        Raises:
            KernelBug: it is on, or the kernel itself is not mapped: the next instruction would be gone.
        """
        if self.enabled:
            raise KernelBug("paging is enabled already")
        start = layout.window(self.geometry)
        if not self.table.lookup(Vpn(start >> PAGE_SHIFT)) & PRESENT:
            raise KernelBug(f"paging enabled before the kernel is mapped at {start:#x}")
        self.enabled = True
        return self.table.root

    def map_window(self, frames: int) -> None:
        """Show frames 0 to `frames` - 1 at the start of the kernel's window, global and writable."""
        if not 0 < frames <= layout.window_pages(self.geometry):
            raise KernelBug(f"a window of {frames} pages: {self.geometry.name} has room for 1 to "
                            f"{layout.window_pages(self.geometry)}")  # fmt: skip
        start = layout.window(self.geometry) >> PAGE_SHIFT
        if mapped := next(self.table.entries(start, start + frames), None):
            raise KernelBug(f"page {mapped[0]:#x} of the window is mapped already")
        done = 0
        while done < frames:  # by leaf table; the window begins at the start of one
            vpn = Vpn(start + done)
            self._complete(self.table, vpn)
            leaf = self.table.leaf(vpn)
            assert leaf is not None  # it has just been completed
            table, index = leaf
            count = min(frames - done, table.size - index)
            table.fill(index, [make(Pfn(pfn), KERNEL_PAGE) for pfn in range(done, done + count)])
            done += count

    def map(self, vpn: Vpn, pfn: Pfn, flags: int, directory: PageTable | None = None) -> None:
        """Map a page to a frame, making the tables that are missing.

        Args:
            vpn: the page.
            pfn: the frame.
            flags: P and others; U exactly on the user's side.
            directory: a process's; by default the kernel's, which has no user side.
        """
        self._check_map(vpn, pfn, flags, directory)
        table = directory or self.table
        if old := table.lookup(vpn):
            raise KernelBug(f"page {vpn:#x} is mapped already, to frame {pfn_of(old):#x} ({describe(old)})")
        self._complete(table, vpn)
        table.set(vpn, make(pfn, flags))

    def unmap(self, vpn: Vpn, directory: PageTable | None = None) -> Pfn:
        """Unmap a page; returns the frame that it was mapped to."""
        table = directory or self.table
        if not table.lookup(vpn):
            raise KernelBug(f"page {vpn:#x} is unmapped, but it is not mapped")
        return pfn_of(table.set(vpn, 0))

    def create_directory(self) -> PageTable:
        """An empty address space with the kernel in its upper half."""
        directory = PageTable(self.geometry, self._ram, self._alloc(), kernel=self.table)
        self.directories[directory.root] = directory
        return directory

    def destroy_directory(self, directory: PageTable) -> int:
        """Free a process's tables; returns how many frames that gave back.

        Raises:
            KernelBug: it is not ours, or pages are still mapped.
        """
        if self.directories.get(directory.root) is not directory:
            raise KernelBug(f"root {directory.root:#x} is not a living directory of a process")
        user_end = self.geometry.kernel_first
        if mapped := next(directory.entries(0, user_end), None):
            raise KernelBug(f"directory {directory.root:#x} destroyed with page {mapped[0]:#x} mapped")
        frames = [
            directory.unlink(table.first_vpn, table.level) for table in directory.tables_within(0, user_end)
        ]
        frames.append(directory.dissolve())
        for pfn in frames:
            self._ram.forget(pfn)
            self._free(pfn)
        del self.directories[directory.root]
        return len(frames)

    def _check_map(self, vpn: Vpn, pfn: Pfn, flags: int, directory: PageTable | None) -> None:
        geometry = self.geometry
        if not 0 <= pfn < geometry.max_frames:
            raise KernelBug(f"frame {pfn:#x} is beyond what {geometry.name} can address")
        if not flags & PRESENT:
            raise KernelBug(f"page {vpn:#x} mapped with flags {describe(flags)}, which lack P")
        if geometry.is_kernel(vpn):
            if flags & USER:
                raise KernelBug(f"kernel page {vpn:#x} mapped for users")
            return
        if directory is None or not layout.is_user_address(geometry, vpn << PAGE_SHIFT):
            raise KernelBug(f"page {vpn:#x} is not one that may be mapped here")
        if not flags & USER or flags & GLOBAL:
            raise KernelBug(f"user page {vpn:#x} mapped with flags {describe(flags)}")

    def _complete(self, table: PageTable, vpn: Vpn) -> None:
        """Make the tables that are missing on the way to a page."""
        while (level := table.missing_level(vpn)) >= 0:
            self._new_table(table, vpn, level)

    def _new_table(self, table: PageTable, vpn: Vpn, level: int) -> None:
        pfn = self._alloc()
        self._ram.make_table(pfn, self.geometry.slots(level), self.geometry.entry_bytes)
        table.link(vpn, level, pfn, KERNEL_TABLE if self.geometry.is_kernel(vpn) else USER_TABLE)
