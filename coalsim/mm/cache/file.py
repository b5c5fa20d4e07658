"""A file: its pages in memory, what the device has of it, and who maps it.

    xarray lock   the pages in memory and their dirty tags; interrupts off     rank 40
    i_mmap        who maps the file: the reclaimer reads it, mmap writes it    rank 4

A sparse file has holes: pages that nobody has ever written.  They are read without the device.
Which of a space's areas map a file is asked of the space, which knows it at every instant.

Invariant: `pages_in` has each page under its index, and `dirty` names those that are dirty.
Source: Linux include/linux/fs.h (`address_space`).
"""

from typing import Protocol

from coalsim.locks.base import SpinLock
from coalsim.locks.rwsem import RwSemaphore
from coalsim.mm.cache.page import CachedPage
from coalsim.units import Time

RANK_I_MMAP, RANK_XARRAY = 4, 40
"""i_mmap comes after mmap_lock; the xarray's lock after page-table locks and before the allocator's."""


class Mapper(Protocol):
    """An address space that maps files."""

    number: int


class File:
    """One file.

    Args:
        name: for people.
        pages: its length.
        is_sparse: nothing has been written yet.
        xa_lock, i_mmap: as above.
    """

    def __init__(
        self, name: str, pages: int, *, is_sparse: bool, xa_lock: SpinLock, i_mmap: RwSemaphore
    ) -> None:
        self.name = name
        self.pages = pages
        self.is_sparse = is_sparse
        # xa_lock
        self.xa_lock = xa_lock
        self.pages_in: dict[int, CachedPage] = {}
        self.dirty: dict[int, None] = {}
        # i_mmap
        self.i_mmap = i_mmap
        self.mappers: dict[Mapper, None] = {}
        # the device's side
        self.stored: dict[int, bytes] = {}  # what is not zeros
        self.written: dict[int, None] = {}  # pages of a sparse file that are no holes
        self.written_at: Time = 0  # when the device has all that was handed to it
        # reading ahead
        self.next_read = 0  # where a reader in sequence comes to
        self.window = 0  # pages that it had ahead of it

    def is_hole(self, index: int) -> bool:
        """The device has nothing of this page."""
        return self.is_sparse and index not in self.written

    def validate(self) -> None:
        """Check the invariant the slow way."""
        for index, page in self.pages_in.items():
            assert page.index == index
            assert page.file is self
            assert page.dirty == (index in self.dirty), f"page {index} of {self.name}: tag and page disagree"
            assert min(page.mapped, page.pins) >= 0
        assert all(index in self.pages_in for index in self.dirty)
