"""Which free belongs to which allocation, by the order of the text.

A pointer that is handed out again with no free in between ends its former holder: an *implied*
free.  A free of what is not live matches nothing.  Pages are matched in frames: a block may come
back in parts, or several in one; the block itself is over when the last of its frames is, and
then all of it is freed at once, because the simulated allocator does not split what it gave.

This is the same bookkeeping as that of `trace.lifetimes`, which counts; this one remembers the
blocks.  Invariant: memory grows with what is live.
"""

from coalsim.workloads.replay.operations import Block
from coalsim.workloads.trace.records import MAX_ORDER

KMALLOCED = -1
"""In place of a cache's handle: the object came from kmalloc."""


class LiveBlock:
    """A block of pages that the trace allocated and has not freed altogether."""

    __slots__ = ("blocks", "cpu", "order", "parts")

    def __init__(self, blocks: tuple[Block, ...], cpu: int, order: int) -> None:
        self.blocks = blocks
        self.cpu = cpu  # of the trace
        self.order = order
        self.parts = 0  # pieces of it that are live


LiveObject = tuple[tuple[Block, ...], int, int]
"""Blocks, CPU of the trace, handle of the cache or KMALLOCED."""


class LivePages:
    """Live blocks by frame; pieces never overlap."""

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[int, LiveBlock]] = {}  # first frame to order of the piece, block
        self._of_order = [0] * (MAX_ORDER + 1)  # live pieces
        self._larger = 0  # of them, those of several frames

    def allocate(self, first: int, block: LiveBlock) -> list[LiveBlock]:
        """A block is handed out; answers those that must have been freed before."""
        _, over = self.end(first, block.order)
        self._insert(first, block.order, block)
        return over

    def end(self, first: int, order: int) -> tuple[bool, list[LiveBlock]]:
        """Some frames are freed; answers whether any was live, and the blocks that are over."""
        piece = self._pieces.get(first)
        if piece is None:
            if not order and not self._larger:  # usual before an allocation
                return False, []
        elif piece[0] == order:  # usual at a free
            block = self._remove(first)[1]
            return True, [] if block.parts else [block]
        touched = [self._cut(start, first, order) for start in self._overlapped(first, order)]
        # Two pieces of one block may end at once: it is over once.
        return bool(touched), list(dict.fromkeys(block for block in touched if not block.parts))

    def _overlapped(self, first: int, order: int) -> list[int]:
        """First frames of the pieces that share frames with a block."""
        for larger in range(order, MAX_ORDER + 1):  # it may be inside a piece
            start = first >> larger << larger
            if self._of_order[larger] and (piece := self._pieces.get(start)) and piece[0] == larger:
                return [start]
        if not any(self._of_order[:order]):
            return []
        return [frame for frame in range(first, first + (1 << order)) if frame in self._pieces]

    def _cut(self, start: int, first: int, order: int) -> LiveBlock:
        """End the frames of a piece that a block covers; the rest stays live, in halves."""
        held, block = self._remove(start)
        while held > order:
            held -= 1
            half = start + (1 << held)
            if first >= half:
                start, half = half, start
            self._insert(half, held, block)
        return block

    def _insert(self, first: int, order: int, block: LiveBlock) -> None:
        self._pieces[first] = (order, block)
        self._of_order[order] += 1
        self._larger += order > 0
        block.parts += 1

    def _remove(self, first: int) -> tuple[int, LiveBlock]:
        piece = self._pieces.pop(first)
        self._of_order[piece[0]] -= 1
        self._larger -= piece[0] > 0
        piece[1].parts -= 1
        return piece
