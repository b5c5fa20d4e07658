"""Simulated memory: bytes where somebody wrote bytes, words where a frame is a page table.

Memory is kept by frame and only where there is something to keep; every other byte
reads as zero, so a machine of terabytes costs the host what is in use.  A frame that
serves as a page table is a `TableFrame`: words by index.  It can be read and written
as bytes too (little endian), for a directory that maps itself shows tables as memory.

    frame --write--> bytes          frame --make_table--> table
      ^----zero, forget----'          ^------forget---------'

A table keeps its words in a dict until more than 48 are set, then in an array.

Invariant: a frame has bytes, or is a table, or is all zero; `TableFrame.live` is the
number of its words that are not zero.
Nothing here waits, locks or costs time.
"""

from array import array
from collections.abc import Sequence

from coalsim.errors import KernelBug
from coalsim.units import PAGE_SIZE, Pfn

SPARSE_MOST = 48
"""More words than these and an array of the whole table is the smaller thing."""


class SparseWords(dict[int, int]):
    """Words by index; those that are not there read as zero, without being stored."""

    __slots__ = ()

    def __missing__(self, index: int) -> int:
        return 0


class TableFrame:
    """The words of a frame that is a page table.

    `slots[index]` reads a word at full speed; writing goes through the methods.
    `linked` says that the table is part of a tree.  `watch`, where set, remembers ways
    through this table and is emptied when somebody writes a word behind the tree's back.
    """

    __slots__ = ("limit", "linked", "live", "pfn", "size", "slots", "watch", "width")

    def __init__(self, pfn: Pfn, size: int, width: int) -> None:
        self.pfn = pfn
        self.size = size  # words
        self.width = width  # bytes in each
        self.limit = (1 << 8 * width) - 1
        self.slots: SparseWords | array[int] = SparseWords()
        self.live = 0
        self.linked = False
        self.watch: dict[int, TableFrame] | None = None

    def __getitem__(self, index: int) -> int:
        return self.slots[index]

    def __setitem__(self, index: int, word: int) -> None:
        if not 0 <= index < self.size:
            raise KernelBug(f"table {self.pfn:#x} has no word {index}: it has {self.size}")
        if self.watch is not None:
            self.watch.clear()
        self.exchange(index, word)

    def exchange(self, index: int, word: int) -> int:
        """Store a word and return the one that was there.

        The index is not checked, and no watcher learns of it: for those who know the tree.
        """
        if not 0 <= word <= self.limit:
            raise KernelBug(f"{word:#x} does not fit into the {8 * self.width} bits of a table entry")
        slots = self.slots
        old = slots[index]
        if word:
            slots[index] = word
            if not old:
                self.live += 1
                if self.live > SPARSE_MOST and type(slots) is SparseWords:
                    self._spread()
        elif old:
            self.live -= 1
            if type(slots) is SparseWords:
                del slots[index]
            else:
                slots[index] = 0
        return old

    def enter(self, index: int, word: int) -> None:
        """Store a word, not zero, where there was none."""
        if not 0 < word <= self.limit:
            raise KernelBug(f"{word:#x} does not fit into the {8 * self.width} bits of a table entry")
        self.slots[index] = word
        self.live += 1
        if self.live > SPARSE_MOST and type(self.slots) is SparseWords:
            self._spread()

    def mark(self, index: int, marks: int) -> None:
        """Set bits of a word that has others, as hardware sets A and D: less to do than `exchange`."""
        self.slots[index] |= marks

    def fill(self, first: int, words: Sequence[int]) -> None:
        """Store many words side by side, over whatever is there."""
        if first < 0 or first + len(words) > self.size:
            raise KernelBug(f"{len(words)} words from {first} on leave table {self.pfn:#x}")
        if self.live + len(words) <= SPARSE_MOST:
            for index, word in enumerate(words, first):
                self.exchange(index, word)
            return
        slots = self._spread()
        try:
            slots[first : first + len(words)] = array(slots.typecode, words)
        except OverflowError:
            raise KernelBug(f"one of {len(words)} words does not fit into {8 * self.width} bits") from None
        self.live = self.size - slots.count(0)

    def filled(self, first: int, last: int) -> list[tuple[int, int]]:
        """Index and word of those in [first, last) that are not zero, ascending; a snapshot."""
        slots = self.slots
        if isinstance(slots, SparseWords):
            return sorted(item for item in slots.items() if first <= item[0] < last)
        return [(index, word) for index, word in enumerate(slots[first:last], first) if word]

    def validate(self) -> None:
        """Recount the slow way."""
        words = [self.slots[index] for index in range(self.size)]
        assert self.live == sum(word != 0 for word in words), f"table {self.pfn:#x} miscounts"
        assert len(self.slots) == (self.live if isinstance(self.slots, SparseWords) else self.size)

    def _spread(self) -> "array[int]":
        """Keep the words in an array from now on."""
        slots = self.slots
        if isinstance(slots, array):
            return slots
        spread = array("I" if self.width == 4 else "Q", bytes(self.size * self.width))
        for index, word in slots.items():
            spread[index] = word
        self.slots = spread
        return spread


class Ram:
    """All frames of the machine by their contents."""

    def __init__(self) -> None:
        self._bytes: dict[int, bytearray] = {}
        self._tables: dict[int, TableFrame] = {}

    @property
    def bytes_in_use(self) -> int:
        """Bytes of the frames that hold anything."""
        return (len(self._bytes) + len(self._tables)) * PAGE_SIZE

    def read(self, pfn: Pfn, offset: int, size: int) -> bytes:
        """Bytes of one frame."""
        check_inside(pfn, offset, size)
        if (table := self._tables.get(pfn)) is not None:
            first, skip = divmod(offset, table.width)
            last = -(-(offset + size) // table.width)
            return words_as_bytes(table, first, last)[skip : skip + size]
        content = self._bytes.get(pfn)
        return bytes(size) if content is None else bytes(content[offset : offset + size])

    def write(self, pfn: Pfn, offset: int, data: bytes) -> None:
        """Write bytes into one frame."""
        check_inside(pfn, offset, len(data))
        if (table := self._tables.get(pfn)) is not None:
            write_words(table, offset, data)
            return
        content = self._bytes.get(pfn)
        if content is None:
            if not any(data):
                return  # zeros over zeros
            content = self._bytes[pfn] = bytearray(PAGE_SIZE)
        content[offset : offset + len(data)] = data

    def zero(self, pfn: Pfn) -> None:
        """Clear a frame; a table stays one, empty."""
        if (table := self._tables.get(pfn)) is not None:
            for index, _ in table.filled(0, table.size):
                table[index] = 0
        else:
            self._bytes.pop(pfn, None)

    def copy(self, source: Pfn, target: Pfn) -> None:
        """Make the bytes of one frame those of another."""
        if source in self._tables or target in self._tables:
            self.write(target, 0, self.read(source, 0, PAGE_SIZE))
        elif (content := self._bytes.get(source)) is None:
            self._bytes.pop(target, None)
        elif source != target:
            self._bytes[target] = bytearray(content)

    def make_table(self, pfn: Pfn, entries: int, width: int) -> TableFrame:
        """Turn a frame into an empty page table.

        Args:
            pfn: the frame; what it held is gone.
            entries: how many words it has.
            width: bytes of a word, 4 or 8.
        """
        if pfn in self._tables:
            raise KernelBug(f"frame {pfn:#x} is a page table already")
        if width not in (4, 8) or not 0 < entries * width <= PAGE_SIZE:
            raise KernelBug(f"{entries} entries of {width} bytes are no page table")
        self._bytes.pop(pfn, None)
        table = self._tables[pfn] = TableFrame(pfn, entries, width)
        return table

    def table(self, pfn: Pfn) -> TableFrame | None:
        """The frame as a page table, if it is one."""
        return self._tables.get(pfn)

    def forget(self, pfn: Pfn) -> None:
        """The frame is free: it is no table any more and what it held is gone.

        Raises:
            KernelBug: page tables still lead to it.
        """
        table = self._tables.get(pfn)
        if table is not None:
            if table.linked:
                raise KernelBug(f"frame {pfn:#x} freed while it is part of a tree of page tables")
            del self._tables[pfn]
        self._bytes.pop(pfn, None)


def check_inside(pfn: Pfn, offset: int, size: int) -> None:
    """An access stays within its frame.

    Raises:
        KernelBug: it does not.
    """
    if offset < 0 or size < 0 or offset + size > PAGE_SIZE:
        raise KernelBug(f"{size} bytes at offset {offset} leave frame {pfn:#x}")


def words_as_bytes(table: TableFrame, first: int, last: int) -> bytes:
    """Words [first, last) as memory; behind the last word of a short table there is nothing but zeros."""
    words = (table[index] if index < table.size else 0 for index in range(first, last))
    return b"".join(word.to_bytes(table.width, "little") for word in words)


def write_words(table: TableFrame, offset: int, data: bytes) -> None:
    """Store bytes into a table, word by word; bytes around them stay."""
    width = table.width
    first, skip = divmod(offset, width)
    last = -(-(offset + len(data)) // width)
    memory = bytearray(words_as_bytes(table, first, last))
    memory[skip : skip + len(data)] = data
    for index in range(first, last):
        start = (index - first) * width
        word = int.from_bytes(memory[start : start + width], "little")
        if index < table.size:
            if word != table[index]:
                table[index] = word
        elif word:
            raise KernelBug(f"a write to word {index} of table {table.pfn:#x}, which has {table.size}")
