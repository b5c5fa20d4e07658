"""Marking: which objects can be reached from the roots; tri-colour.

    white  nobody has been found to point to it    --a pointer to it is seen-->  grey
    grey   reached; what it points to is not known --its words are read-->       black
    black  reached and read

A word counts as a pointer if it leads anywhere into an object, so the address of a member keeps
its object as well as that of its beginning.  Objects that are made while marking goes on are not
part of it, and one that is freed is left out.

Objects move between lists while marking goes on.  So whoever writes a pointer then makes its
target grey, if it was white (`reach`, told by `Pointers`): no black object ever points to a white
one, and a pointer that moves from memory not read yet to memory read already is not lost.
Invariant: what is white when nothing is grey any more is reached by nobody.
Nothing here waits or costs time; all of it is synchronised.
Source: Dijkstra, Lamport, Martin, Scholten and Steffens, "On-the-fly garbage collection", 1978;
Linux mm/kmemleak.c, which has no such rule and puts off objects whose checksum has changed.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from coalsim.mm.debug.roots import WORD, Pointers
from coalsim.mm.debug.tracking import Tracked
from coalsim.units import KIB

BLOCK = 4 * KIB
"""Bytes read at a time; then others have their turn.  As Linux (MAX_SCAN_SIZE)."""


class Marking:
    """One marking of all objects that live when it begins.

    Args:
        objects: these; in any order.
        roots: words that are pointers, or not.
    """

    def __init__(self, objects: Iterable[Tracked], roots: Iterable[int]) -> None:
        self._objects: Sequence[Tracked] = sorted(objects, key=lambda tracked: tracked.address)
        self._starts = [tracked.address for tracked in self._objects]
        self._low = self._starts[0] if self._starts else 0
        self._high = self._objects[-1].address + self._objects[-1].size if self._starts else 0
        self._is_white = [True] * len(self._objects)
        self._grey: list[tuple[int, int]] = []  # object, and from where on it is not read yet
        for word in roots:
            self.reach(word)

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self._objects)

    def reach(self, word: int) -> None:
        """A word is in use somewhere; if it points into a white object, that becomes grey."""
        if not self._low <= word < self._high:
            return
        at = bisect_right(self._starts, word) - 1
        if self._is_white[at] and word < self._starts[at] + self._objects[at].size:
            self._is_white[at] = False
            self._grey.append((at, 0))

    @property
    def has_grey(self) -> bool:
        """Something reached has not been read."""
        return bool(self._grey)

    def read_block(self, pointers: Pointers) -> int:
        """Read grey objects until a block is full or none is left; how many bytes."""
        done = 0
        while self._grey and done < BLOCK:
            at, offset = self._grey.pop()
            tracked = self._objects[at]
            size = min(tracked.size - offset, BLOCK)
            if not tracked.is_live:
                continue
            if offset + size < tracked.size:
                self._grey.append((at, offset + size))
            done += size
            for word in words_at(pointers, tracked.address + offset, size):
                self.reach(word)
        return done

    def white(self) -> list[Tracked]:
        """Live objects that nobody points to, by address."""
        pairs = zip(self._objects, self._is_white, strict=True)
        return [tracked for tracked, is_white in pairs if is_white and tracked.is_live]


def words_at(pointers: Pointers, address: int, size: int) -> Sequence[int]:
    """The aligned words of a stretch of memory that are not zero; a last one that is cut short is none."""
    first = -(-address // WORD) * WORD
    count = max(0, (address + size - first) // WORD)
    memory = pointers.read(first, count * WORD)
    if not any(memory):
        return ()
    return [word for word in struct.unpack(f"<{count}Q", memory) if word]
